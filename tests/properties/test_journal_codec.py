import contextlib
import dataclasses
from pprint import pformat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.journal import codec
from orchestrator.saga.events import Event
from tests.properties.journal_strategies import events, events_of


def described(event: Any) -> str:
    """Say what each value is, whatever the order of attributes."""
    return pformat(dataclasses.asdict(event))


@pytest.mark.parametrize("event_type", codec.EVENT_TYPES, ids=lambda event_type: event_type.__name__)
def test_every_event_comes_back_as_it_was(event_type: type) -> None:
    @given(events_of(event_type))
    def comes_back(event: Event) -> None:
        name, data = codec.encode(event)
        assert name == event_type.__name__
        back = codec.decode(name, data)
        assert back == event
        assert described(back) == described(event)  # words are words again, not strings that merely equal them

    comes_back()


@given(st.sampled_from(codec.EVENT_TYPES), st.binary(max_size=80))
def test_any_bytes_are_an_event_or_undecodable(event_type: type, data: bytes) -> None:
    with contextlib.suppress(codec.Undecodable):
        assert isinstance(codec.decode(event_type.__name__, data), event_type)


@given(events, st.data())
def test_a_damaged_event_is_an_event_or_undecodable(event: Event, data: st.DataObject) -> None:
    name, good = codec.encode(event)
    bad = bytearray(good)
    if bad:
        place = data.draw(st.integers(0, len(bad) - 1))
        bad[place] ^= data.draw(st.integers(1, 255))
    cut = bytes(bad[: data.draw(st.integers(0, len(bad)))])
    with contextlib.suppress(codec.Undecodable):
        assert type(codec.decode(name, cut)).__name__ == name
