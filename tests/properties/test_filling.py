"""The quick ways into a message give what the careful ones give."""

import math
from collections.abc import Sequence
from functools import cache, partial
from unittest.mock import patch

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definition import fields
from orchestrator.definition.descriptors import message_class
from orchestrator.definition.diagnostics import At, Findings, Nowhere
from orchestrator.definition.fields import copying, fill, put, putting
from orchestrator.definition.fits import ANY_TYPE
from orchestrator.definition.misfit import Misfit
from orchestrator.definition.names import during_steps
from orchestrator.definition.render import compile_message
from orchestrator.saga.plan import ExpressionFailure, Render
from orchestrator.values import Payload
from tests.unit.definition.probe import (
    GIVEN,
    LEGACY,
    LEGACY_PARTS,
    ORDER,
    TYPES,
    any_of_an_unknown_type,
    message,
)
from tests.unit.definition.world import FixedFacts

DESCRIPTOR = TYPES.message(ORDER)
assert DESCRIPTOR is not None
FIELDS = {field.name: field for field in DESCRIPTOR.fields}
EMPTY = {"money": {}, "items": [], "order_id": "", "due": "1970-01-01T00:00:00Z", "stock": 0, "card": "", "extra": {}}
SOME = {**GIVEN, "statuses": [1, 77], "status": 77, "words": {"": ""}, "history": ["2026-01-01T00:00:00.000000001Z"]}


def requests(name: str) -> Sequence[Render]:
    """Return, for each field of a type, a request that copies it."""
    descriptor = TYPES.message(name)
    assert descriptor is not None
    known, at = during_steps(TYPES, descriptor, {}), At(Findings(origins=Nowhere("copy.yaml")), ("request",))
    found = [
        compile_message({field.name: f"${{input.{field.name}}}"}, descriptor, at, known) for field in fields_of(name)
    ]
    assert not at.findings.kept
    return [render for render in found if render is not None]


def fields_of(name: str) -> Sequence[FieldDescriptor]:
    descriptor = TYPES.message(name)
    assert descriptor is not None
    return [
        field for field in descriptor.fields if field.message_type is None or field.message_type.full_name != ANY_TYPE
    ]


copies = cache(requests)


@cache
def puts(name: str) -> Sequence[Render]:
    """Return the same requests, filled by the careful way."""
    with patch.object(fields, "copying", putting):
        return requests(name)


def put_into(field: FieldDescriptor, made: Message, value: object) -> None:
    put(made, field, value)


def outcome(way: fields.Put, value: object) -> bytes | str:
    made = message(ORDER)
    try:
        way(made, value)
    except Misfit as misfit:
        return f"{misfit.path}: {misfit.why}"
    return made.SerializeToString(deterministic=True)


ORDERS = st.sampled_from((GIVEN, EMPTY, SOME)).flatmap(
    lambda values: st.sets(st.sampled_from(sorted(values))).map(lambda names: {name: values[name] for name in names})
)


@given(ORDERS)
def test_a_copied_field_is_as_if_it_had_been_put(values: dict[str, object]) -> None:
    if "cash" in values:
        values = {name: value for name, value in values.items() if name != "card"}
    facts = FixedFacts(Payload(ORDER, message(ORDER, **values).SerializeToString()))
    for copy, careful in zip(copies(ORDER), puts(ORDER), strict=True):
        assert copy(facts) == careful(facts)


@given(st.lists(st.sampled_from(sorted(LEGACY_PARTS)), unique=True))
def test_a_field_that_is_copied_from_a_proto2_message_is_as_if_it_had_been_put(parts: list[str]) -> None:
    facts = FixedFacts(Payload(LEGACY, b"".join(LEGACY_PARTS[part] for part in parts)))
    for copy, careful in zip(copies(LEGACY), puts(LEGACY), strict=True):
        assert copy(facts) == careful(facts)


@pytest.mark.parametrize(
    ("name", "part", "path"),
    [("text", "text that is none", "text"), ("texts", "texts with one that is none", "texts[1]")],
)
def test_a_text_that_is_not_utf_8_does_not_fit(name: str, part: str, path: str) -> None:
    facts = FixedFacts(Payload(LEGACY, LEGACY_PARTS[part]))
    copy = copies(LEGACY)[[field.name for field in fields_of(LEGACY)].index(name)]

    assert copy(facts) == ExpressionFailure(f"request.{path}: string is needed, not bytes")


VALUES = st.sampled_from((None, True, 0, -1, 3, 2**31, 2**63, 2**64, 1.0, 1.5, -0.0, 1e39, math.inf, "", "a", "\ud800"))
VALUES |= st.sampled_from(("STATUS_PAID", "77", "AAE=", b"\xff", [], ["a"], {}, {"units": "1"}))


@given(st.sampled_from(sorted(FIELDS)), VALUES)
def test_a_field_that_was_looked_at_once_takes_what_any_field_takes(name: str, value: object) -> None:
    field = FIELDS[name]

    assert outcome(putting(field), value) == outcome(partial(put_into, field), value)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=3) | st.just("\ud800")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"])
@given(value=JSON)
def test_a_json_value_is_what_the_librarys_parser_makes_of_it(name: str, value: object) -> None:
    descriptor = TYPES.message(name)
    assert descriptor is not None
    made, wanted = message_class(descriptor)(), message_class(descriptor)()
    try:
        json_format.ParseDict(value, wanted)  # type: ignore[arg-type]  # it takes any JSON value
    except (json_format.ParseError, ValueError):
        with pytest.raises(Misfit):
            fill(made, value)
        return

    fill(made, value)

    assert made == wanted
    assert made.SerializeToString(deterministic=True) == wanted.SerializeToString(deterministic=True)


def test_an_order_of_an_unknown_type_within_is_copied_whole() -> None:
    order = message_class(FIELDS["order_id"].containing_type).FromString(any_of_an_unknown_type())  # type: ignore[arg-type]
    receipt = TYPES.message("shop.v1.Receipt")
    assert receipt is not None
    made = message_class(receipt)()

    copying(receipt.fields_by_name["order"])(made, order)

    assert any_of_an_unknown_type() in made.SerializeToString()
