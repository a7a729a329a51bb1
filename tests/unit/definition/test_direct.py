"""Simple expressions are evaluated directly, and CEL is asked wherever that way gives no value."""

from dataclasses import replace

import pytest

from orchestrator.limits import WHOLE_BYTES_MAX
from orchestrator.saga.plan import Facts
from orchestrator.values import Payload
from tests.unit.definition.probe import LEGACY, LEGACY_PARTS, ORDER, compiled, payload, told
from tests.unit.definition.world import FixedFacts


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("input.count", "int 3"),
        ("input.count > 2 && input.paid", "bool True"),
        ("input.count == 4 || input.order_id == 'o-1'", "bool True"),
        ("!input.paid ? 'open' : input.order_id", "str 'o-1'"),
        ("'order ' + input.order_id + ', ' + string(input.count)", "str 'order o-1, 3'"),
        ("input.order_id.startsWith('o-') && size(input.order_id) == 3", "bool True"),
        ("has(input.note)", "bool False"),
        ("input.status == shop.v1.Status.STATUS_PAID", "bool True"),
        ("size(input.tags)", "int 2"),
        ("string(true)", "str 'true'"),
        ("steps.place.applied", "bool False"),
        ("input.raw == b'\\x00\\x01'", "bool True"),
    ],
)
def test_what_is_simple_needs_no_cel(source: str, value: str) -> None:
    expression = compiled(source)
    given = payload(ORDER, order_id="o-1", count=3, paid=True, status="STATUS_PAID", tags=["a", "b"], raw="AAE=")

    assert expression.direct is not None
    assert not expression.needs
    assert told(expression, FixedFacts(given)) == told(replace(expression, direct=None), FixedFacts(given)) == value


def test_a_field_called_as_a_method_of_messages_is_hides_nothing() -> None:
    facts = FixedFacts(Payload(ORDER, b""), replies={"old": Payload(LEGACY, b"".join(LEGACY_PARTS.values()))})

    assert told(compiled("has(steps.old.reply.parent)"), facts) == "bool True"
    assert told(compiled("steps.old.reply.HasField"), facts) == "int 1"


@pytest.mark.parametrize(
    "source",
    [
        "input.count + 1",
        "string(input.price)",
        "input.limit == 1",
        "input.money == input.money",
        "input.extra.a == 1.0",
        "dyn(input.count) == 1",
        "input.tags.exists(tag, tag == 'a')",
        "input.tags[0]",
        "input.counts['a'] == 1",
        "input.due",
        "input",
        "input.money",
        "input.tags",
        "has(input.price)",
        "steps.old.reply.status == 77",
        "has(steps.old.reply.status)",
        "size(steps.old.reply.statuses)",
        "has(steps.old.reply.statuses)",
        "size(steps.old.reply.by_name)",
    ],
)
def test_what_may_fail_or_has_rules_of_its_own_is_cels(source: str) -> None:
    assert compiled(source).direct is None


@pytest.mark.parametrize("part", sorted(LEGACY_PARTS))
@pytest.mark.parametrize(
    "source",
    [
        "steps.old.reply.text",
        "steps.old.reply.text == 'a'",
        "steps.old.reply.text < 'b'",
        "steps.old.reply.text + 'a'",
        "steps.old.reply.text.contains('a')",
        "steps.old.reply.text.startsWith('a')",
        "steps.old.reply.text.endsWith('a') || steps.old.reply.number == 7",
        "string(steps.old.reply.text)",
        "size(steps.old.reply.text)",
        "steps.old.reply.status",
        "size(steps.old.reply.statuses)",
        "has(steps.old.reply.parent)",
        "steps.old.reply.kind",
    ],
)
def test_a_proto2_message_reads_alike_with_and_without_cel(source: str, part: str) -> None:
    expression = compiled(source)
    facts = FixedFacts(Payload(ORDER, b""), replies={"old": Payload(LEGACY, LEGACY_PARTS[part])})

    assert told(expression, facts) == told(replace(expression, direct=None), facts)


def test_an_open_enum_of_a_proto2_message_reads_alike_in_every_expression() -> None:
    facts = FixedFacts(Payload(ORDER, b""), replies={"old": Payload(LEGACY, LEGACY_PARTS["status without a name"])})

    for source in ("steps.old.reply.status == 77", "steps.old.reply.status + 0 == 77", "has(steps.old.reply.status)"):
        assert told(compiled(source), facts) == "bool False"


@pytest.mark.parametrize("simple", ["steps.old.reply.text == 'a'", "steps.old.reply.text + '' == 'a'"])
def test_a_large_message_is_read_whole_where_a_text_of_it_is_not_utf_8(simple: str) -> None:
    padding = b"\x12\x80\x80\x04" + b"x" * 2**16
    large = Payload(LEGACY, LEGACY_PARTS["text that is none"] + padding)
    assert large.size_bytes >= WHOLE_BYTES_MAX

    for source in (simple, f"{simple} || 1 + 1 == 3"):
        assert told(compiled(source), FixedFacts(Payload(ORDER, b""), replies={"old": large})) == "bool False"


@pytest.mark.parametrize("surprise", [TypeError, ValueError])
def test_what_nobody_has_thought_of_is_cels_too(surprise: type[Exception]) -> None:
    def surprised(_: Facts) -> object:
        raise surprise

    expression = replace(compiled("input.count == 0"), direct=surprised)

    assert told(expression, FixedFacts(Payload(ORDER, b""))) == "bool True"


def test_cel_is_asked_where_a_part_has_no_value() -> None:
    guarded = compiled("steps.gone.reply.receipt_id == 'a' || input.count == 0")

    assert guarded.direct is not None
    assert told(guarded, FixedFacts(Payload(ORDER, b""))) == "bool True"
