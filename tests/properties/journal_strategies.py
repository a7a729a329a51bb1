"""Any event of any type, made from the dataclasses' own annotations: a new event is covered without a line here."""

import dataclasses
import typing
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from orchestrator.ids import SagaId, StepId
from orchestrator.journal.codec import EVENT_TYPES
from orchestrator.saga.events import Event
from orchestrator.values import Payload, TraceContext

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
real = st.floats(allow_nan=False)
attributes = st.dictionaries(text, st.one_of(text, st.integers(-(2**63), 2**63 - 1), real, st.booleans()), max_size=4)

_SPECIAL: dict[Any, st.SearchStrategy[Any]] = {
    str: text,
    SagaId: text,
    StepId: text,
    float: st.floats(-6e10, 2e11),  # instants that a calendar has; lengths of time are as long
    bool: st.booleans(),
    int: st.integers(0, 2**31 - 1),
    UUID: st.uuids(),
    Payload: st.builds(Payload, text, st.binary(max_size=50)),
    TraceContext: st.builds(
        TraceContext,
        trace_id=st.integers(0, 2**128 - 1),
        span_id=st.integers(0, 2**64 - 1),
        sampled=st.booleans(),
        state=text,
    ),
}


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for an annotation."""
    if hint in _SPECIAL:
        return _SPECIAL[hint]
    if typing.get_origin(hint) is Mapping:
        return attributes
    if typing.get_origin(hint) is tuple:
        return st.lists(values_of(typing.get_args(hint)[0]), max_size=3).map(tuple)
    if arms := typing.get_args(hint):
        return st.one_of([st.none() if arm is type(None) else values_of(arm) for arm in arms])
    if issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    assert isinstance(hint, type), hint
    assert dataclasses.is_dataclass(hint), hint
    hints = typing.get_type_hints(hint)
    return st.builds(hint, **{field.name: values_of(hints[field.name]) for field in dataclasses.fields(hint)})


def events_of(event_type: type) -> st.SearchStrategy[Event]:
    """Return a strategy for one event type."""
    return values_of(event_type)


events: st.SearchStrategy[Event] = st.one_of([events_of(event_type) for event_type in EVENT_TYPES])
