"""Texts that are no UTF-8: CEL ends the process where one is the key of a map that leaves an expression."""

import pytest
from google.protobuf import any_pb2

from orchestrator.definition.loose import why_loose
from orchestrator.limits import LOOSE_VALUES_MAX
from orchestrator.values import Payload
from tests.unit.definition.probe import LEGACY, LEGACY_PARTS, ORDER, TYPES, compiled, told
from tests.unit.definition.world import FixedFacts

NO_TEXT = b"\x32\x05\x0a\x01\xff\x10\x01"
"""Of a `Legacy`: an entry of `by_name` whose key is no UTF-8."""
BELOW = b"\x42" + bytes([len(NO_TEXT)]) + NO_TEXT


def legacy(data: bytes) -> object:
    descriptor = TYPES.message(LEGACY)
    assert descriptor is not None
    return TYPES.parser(descriptor)(data)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        (NO_TEXT, "by_name"),
        (BELOW, "by_name"),
        (LEGACY_PARTS["text that is none"], "text"),
        (LEGACY_PARTS["texts with one that is none"], "texts"),
        (LEGACY_PARTS["parent"], "text"),
    ],
)
def test_a_text_that_is_none_is_found_wherever_it_is(data: bytes, field: str) -> None:
    assert why_loose(legacy(data)) == f"a text of shop.v1.Legacy.{field} is not UTF-8"
    assert why_loose([legacy(b""), legacy(data)]) != ""


@pytest.mark.parametrize("data", [b"", b"\x32\x05\x0a\x01k\x10\x01", b"\x42\x02\x18\x05", LEGACY_PARTS["texts a"]])
def test_all_other_messages_are_well(data: bytes) -> None:
    assert why_loose(legacy(data)) == ""


def test_what_lies_in_an_any_is_found_too() -> None:
    descriptor = TYPES.message("google.protobuf.Any")
    assert descriptor is not None
    packed = any_pb2.Any(type_url=f"type.googleapis.com/{LEGACY}", value=NO_TEXT).SerializeToString()
    unknown = any_pb2.Any(type_url="type.googleapis.com/no.Such", value=NO_TEXT).SerializeToString()

    assert "by_name" in why_loose(TYPES.parser(descriptor)(packed))
    assert why_loose(TYPES.parser(descriptor)(unknown)) == ""


def test_a_message_of_very_many_values_is_not_looked_through_for_ever() -> None:
    few, many = b"\x42\x00" * (LOOSE_VALUES_MAX // 100), b"\x12\x00" * (LOOSE_VALUES_MAX + 1)

    assert why_loose(legacy(few)) == ""
    assert "too many to look for" in why_loose(legacy(many))


def test_what_lets_no_such_text_pass_is_not_looked_through() -> None:
    descriptor = TYPES.message("shop.v1.Item")
    assert descriptor is not None
    made = TYPES.parser(descriptor)(b"")

    assert why_loose([made] * (LOOSE_VALUES_MAX + 1)) == ""


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("steps.old.reply.by_name", NO_TEXT),
        ("[steps.old.reply.by_name]", NO_TEXT),
        ("{steps.old.reply.text: 1}", LEGACY_PARTS["text that is none"]),
        ("steps.old.reply.texts.map(each, {each: 1})", LEGACY_PARTS["texts with one that is none"]),
        ("google.protobuf.Struct{fields: {steps.old.reply.text: google.protobuf.Value{bool_value: true}}}",
         LEGACY_PARTS["text that is none"]),
    ],
)  # fmt: skip
def test_an_expression_that_gives_a_map_of_it_fails_and_the_process_lives(source: str, data: bytes) -> None:
    facts = FixedFacts(Payload(ORDER, b""), replies={"old": Payload(LEGACY, data)})

    assert "is not UTF-8" in told(compiled(source), facts)


def test_an_expression_that_gives_none_reads_the_rest_of_it() -> None:
    facts = FixedFacts(Payload(ORDER, b""), replies={"old": Payload(LEGACY, NO_TEXT + b"\x18\x05")})

    assert told(compiled("size(steps.old.reply.by_name) + steps.old.reply.number == 6"), facts) == "bool True"
