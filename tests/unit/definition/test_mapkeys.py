"""A map's key that is no text is refused before CEL sees it: it ends the process as such a map leaves an expression."""

import pytest
from google.protobuf.message import DecodeError

from orchestrator.definition.mapkeys import parsing
from orchestrator.values import Payload
from tests.unit.definition.probe import LEGACY, ORDER, TYPES, compiled, told
from tests.unit.definition.world import FixedFacts

NO_TEXT = b"\x32\x05\x0a\x01\xff\x10\x01"
"""Of a `Legacy`: an entry of `by_name` whose key is no UTF-8."""
BELOW = b"\x42" + bytes([len(NO_TEXT)]) + NO_TEXT


@pytest.mark.parametrize("data", [NO_TEXT, BELOW], ids=["of its own", "of a message in it"])
def test_a_message_with_such_a_key_does_not_parse(data: bytes) -> None:
    descriptor = TYPES.message(LEGACY)
    assert descriptor is not None

    with pytest.raises(DecodeError, match=r"a key of its map shop\.v1\.Legacy\.by_name is not UTF-8"):
        parsing(descriptor)(data)


@pytest.mark.parametrize("data", [b"", b"\x32\x05\x0a\x01k\x10\x01", b"\x0a\x02\xff\xfe", b"\x42\x02\x18\x05"])
def test_all_other_messages_parse(data: bytes) -> None:
    descriptor = TYPES.message(LEGACY)
    assert descriptor is not None

    assert parsing(descriptor)(data).SerializeToString() == data


def test_a_type_whose_parser_refuses_them_itself_is_not_looked_through() -> None:
    descriptor = TYPES.message(ORDER)
    assert descriptor is not None

    assert parsing(descriptor) == type(parsing(descriptor)(b"")).FromString


@pytest.mark.parametrize(
    "source",
    ["steps.old.reply.by_name", "[steps.old.reply.by_name]", "size(steps.old.reply.by_name) == 1"],
)
def test_an_expression_over_such_a_reply_fails_and_the_process_lives(source: str) -> None:
    facts = FixedFacts(Payload(ORDER, b""), replies={"old": Payload(LEGACY, NO_TEXT)})

    assert "the recorded shop.v1.Legacy cannot be read" in told(compiled(source), facts)
