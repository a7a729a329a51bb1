"""What the rest of the package relies on about the expression library, and what it must never see."""

import datetime

import pytest
from google.protobuf import descriptor_pb2, timestamp_pb2
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.definition import descriptors
from orchestrator.definition.descriptors import Types
from orchestrator.definition.expressions import (
    BOOL,
    DYN,
    STRING,
    TIMESTAMP,
    EvaluationFailed,
    Expression,
    Language,
    ValueType,
)
from orchestrator.definition.faults import Fault
from orchestrator.limits import EXPRESSION_BYTES_MAX, SHARED_BYTES_MIN
from tests.unit.definition.probe import ORDER, RECEIPT, TYPES, message
from tests.unit.definition.shop import as_set, shop_file
from tests.unit.definition.world import descriptor_set

NAMES = {
    "input": ValueType(ORDER),
    "steps.a.reply": ValueType(RECEIPT),
    "steps.a.applied": BOOL,
    "steps.a.status": STRING,
    "saga.started_at": TIMESTAMP,
    "anything": DYN,
}
NUMBERS = "CEL never converts numbers by itself: write int(x), uint(x) or double(x)"
LANGUAGE = Language(TYPES.pool, NAMES)


def compiled(source: str) -> Expression:
    found = LANGUAGE.compile(source)
    assert isinstance(found, Expression), found
    return found


def faults(source: str) -> list[Fault]:
    found = LANGUAGE.compile(source)
    assert not isinstance(found, Expression)
    return list(found)


def value(source: str, **bound: object) -> object:
    given_names = {name.replace("__", "."): found for name, found in bound.items()}
    return compiled(source).evaluate(LANGUAGE.bind(given_names))


@pytest.mark.parametrize(
    ("source", "type_"),
    [
        ("input", "shop.v1.Order"),
        ("input.order_id", "string"),
        ("input.status", "int"),
        ("input.seats", "uint"),
        ("input.tags", "list(string)"),
        ("input.by_number", "map(int, shop.v1.Item)"),
        ("[[1]]", "list(list(int))"),
        ("{'a': {1: [true]}}", "map(string, map(int, list(bool)))"),
        ("input.placed_at", "timestamp"),
        ("input.extra", "map(string, dyn)"),
        ("anything", "dyn"),
        ("steps.a.reply.order.money", "shop.v1.Money"),
        ("optional.of(1)", "optional_type(int)"),
    ],
)
def test_the_type_is_known_before_anything_runs(source: str, type_: str) -> None:
    assert str(compiled(source).type) == type_


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("input.order_id + steps.a.reply.receipt_id", {"input", "steps.a.reply"}),
        ("steps.a.applied && steps.a.status == 'x'", {"steps.a.applied", "steps.a.status"}),
        ("input.tags.all(t, t == 'x')", {"input"}),
        ("1 + 1", set()),
        ("has(input.note)", {"input"}),
    ],
)
def test_the_names_an_expression_reads_are_known(source: str, names: set[str]) -> None:
    assert compiled(source).names == names


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("input", ("input",)),
        (" input . money .units", ("input", "money", "units")),
        ("steps.a.reply.order.order_id", ("steps.a.reply", "order", "order_id")),
        ("(input.count)", ("input", "count")),
        ("has(input.note)", ()),
        ("input.items[0].sku", ()),
        ("input.count + 1", ()),
        ("'input'", ()),
        ("input.tags.map(t, t)", ()),
    ],
)
def test_a_plain_path_is_recognised(source: str, path: tuple[str, ...]) -> None:
    assert compiled(source).path == path


@pytest.mark.parametrize(
    ("source", "offset", "said"),
    [
        ("input.nope", 5, "shop.v1.Order has no field `nope`"),
        ("1 + nope", 4, "`nope` is not known"),
        ("steps.b.reply.x", 0, "`steps.b.reply.x` is not known"),
        ("1 +\n  nope", 6, "`nope` is not known"),
        ("'é' + nope", 6, "`nope` is not known"),
        ("steps\n.b", 6, "`steps.b` is not known"),
        ("shop.v1.Order{order_id: 1}", 22, "expected type of field 'order_id' is 'string' but provided type is 'int'"),
        ("input.tags.map(1, x)", 15, "map() variable name must be a simple identifier"),
        ("for", 0, "reserved identifier: for"),
        ("input.count + 1.5", 12, f"`+` does not work on (int, double); {NUMBERS}"),
        ("true ? 1 : 'a'", 5, "`? :` does not work on (bool, int, string)"),
        ("", 0, "the expression ends too early"),
        ("a\x00b", 1, "`'` is not expected here"),
        ("é\ud800", 0, "half of a surrogate pair is not a character"),
        ("'" + "x" * EXPRESSION_BYTES_MAX + "'", 0, "an expression has at most 4096 bytes"),
        ("(" * 40 + "1" + ")" * 40, 0, "an expression is nested at most 32 deep"),
    ],
)  # fmt: skip
def test_a_fault_is_told_at_its_character(source: str, offset: int, said: str) -> None:
    found = faults(source)[0]

    assert (found.offset, found.message) == (offset, said)


def test_all_faults_are_told_at_once() -> None:
    assert [found.message for found in faults("input.nope + nope")] == [
        "shop.v1.Order has no field `nope`",
        "`nope` is not known",
    ]


def test_an_error_text_of_another_form_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def compile(self, _: str) -> None:
            raise RuntimeError("INTERNAL: something else [INTERNAL]\nmore")

    broken = Language(TYPES.pool, {})
    monkeypatch.setattr(broken, "_env", Broken())

    assert broken.compile("1") == [Fault(0, "INTERNAL: something else", is_syntax=True)]


def test_a_syntax_error_of_another_form_is_still_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def compile(self, _: str) -> None:
            raise RuntimeError("INVALID_ARGUMENT: ERROR: <input>:1:1: Syntax error: odd\n | 1 [INVALID_ARGUMENT]")

    broken = Language(TYPES.pool, {})
    monkeypatch.setattr(broken, "_env", Broken())

    assert broken.compile("1") == [Fault(0, "not an expression: odd", is_syntax=True)]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 / 0", "divide by zero"),
        ("[1][5]", "Index error: index=5 size=1"),
        ("{'a': 1}['b']", 'Key not found in map : "b"'),
        ("int('x')", "cannot convert string to int"),
        ("input.order_id", "input has no value"),
        ("optional.of(1)", "its value, or a part of it, cannot leave an expression: an optional"),
        ("[1].map(x, optional.none())", "its value, or a part of it, cannot leave an expression: an optional"),
        ("{'a': optional.of(1)}", "its value, or a part of it, cannot leave an expression: an optional"),
        ("[{'a': [{1: dyn(optional.of(1))}]}]", "its value, or a part of it, cannot leave an expression: an optional"),
    ],
)
def test_a_failed_evaluation_is_never_a_value(source: str, why: str) -> None:
    with pytest.raises(EvaluationFailed) as caught:
        value(source)

    assert caught.value.why.startswith(why)


def test_a_map_is_given_out_part_by_part() -> None:
    source = "{'a': [1, {2: [b'x', null, 3u]}], 'b': {true: timestamp(0)}, 'c': {}, 'd': dyn([[1.5]])}"

    assert value(source) == {
        "a": [1, {2: [b"x", None, 3]}],
        "b": {True: datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)},
        "c": {},
        "d": [[1.5]],
    }


def test_a_name_without_a_value_fails_only_where_it_is_reached() -> None:
    assert value("steps.a.applied ? steps.a.reply.receipt_id : 'none'", steps__a__applied=False) == "none"
    assert value("steps.a.applied || steps.a.reply.ok", steps__a__applied=True) is True
    for source in ("steps.a.reply", "has(steps.a.reply.order)", "steps.a.reply.ok || steps.a.applied"):
        with pytest.raises(EvaluationFailed) as caught:
            value(source, steps__a__applied=False)
        assert caught.value.unbound == "steps.a.reply"


def test_the_budget_of_iterations_ends_an_evaluation() -> None:
    numbers = "[" + ",".join("1" * 30) + "]"
    source = f"{numbers}.all(a, {numbers}.all(b, {numbers}.all(c, true)))"

    with pytest.raises(EvaluationFailed, match="budget"):
        value(source)


def test_values_come_back_as_plain_python() -> None:
    order = message(ORDER, raw="AAE=", tags=["a"], counts={"a": 1})

    assert value("input.raw", input=order) == b"\x00\x01"
    assert value("input.tags", input=order) == ["a"]
    assert value("input.counts", input=order) == {"a": 1}
    assert isinstance(value("input", input=order), Message)
    assert value("saga.started_at.getSeconds()", saga__started_at=timestamp_pb2.Timestamp(seconds=7)) == 7
    assert value("anything.a", anything={"a": 5}) == 5


def test_the_extensions_that_authors_are_promised_are_loaded() -> None:
    order = message(ORDER, tags=["b", "a"])

    assert value("input.tags.join(';')", input=order) == "b;a"
    assert value("math.greatest(1, 2)") == 2
    assert value("base64.encode(b'a')") == "YQ=="
    assert value("input.?note.orValue('none')", input=order) == "none"


def test_bindings_are_not_loaded_because_they_double_memory_without_bound() -> None:
    assert faults("cel.bind(x, 1, x)")


@given(st.text(alphabet="abinput.steps()[]{}'\"?:+-*/%=<>!&| 0123456789,\n", max_size=40))
def test_no_source_makes_the_compiler_raise(source: str) -> None:
    found = LANGUAGE.compile(source)

    if not isinstance(found, Expression):
        assert all(0 <= fault.offset <= len(source) for fault in found)


# --- types -----------------------------------------------------------------------------------------------------------


def order_bytes(size: int) -> bytes:
    return message(ORDER, order_id="x" * size).SerializeToString()


def test_a_payload_is_parsed_once() -> None:
    descriptor = TYPES.message(ORDER)
    assert descriptor is not None
    order = order_bytes(SHARED_BYTES_MIN)

    assert TYPES.parser(descriptor)(order) is TYPES.parser(descriptor)(bytes(bytearray(order)))


def test_a_small_payload_is_parsed_each_time_which_takes_no_longer_than_to_find_it() -> None:
    descriptor = TYPES.message(ORDER)
    assert descriptor is not None
    parse, order = TYPES.parser(descriptor), order_bytes(3)

    assert parse(order) == parse(order)
    assert parse(order) is not parse(order)


def test_parsed_payloads_are_bounded_by_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "PARSED_PAYLOADS_BYTES_MAX", 2 * SHARED_BYTES_MIN)
    types = Types(as_set(shop_file()))
    descriptor = types.message(ORDER)
    assert descriptor is not None
    parse = types.parser(descriptor)
    small, other, large = (order_bytes(SHARED_BYTES_MIN + more) for more in (0, 1, 5 * SHARED_BYTES_MIN))

    first = parse(small)
    assert parse(small) is first
    parse(other)
    assert parse(small) is not first
    kept = parse(large)
    assert parse(large) is kept


@pytest.mark.parametrize(
    ("name", "has"),
    [("shop.v1.Item", True), ("shop.v1.Order", False), ("shop.v1.Receipt", False), ("google.protobuf.Struct", False)],
)
def test_a_type_has_an_order_of_its_own_where_no_map_is_in_it_nor_below_it(name: str, has: bool) -> None:
    descriptor = TYPES.message(name)

    assert descriptor is not None
    assert descriptors.has_no_maps(descriptor) is has


def test_a_services_own_copy_of_a_well_known_type_is_not_used() -> None:
    odd = descriptor_pb2.FileDescriptorProto(name="google/protobuf/empty.proto", package="google.protobuf")
    odd.message_type.add(name="Empty").field.add(name="not_empty", number=1, type=9, label=1)

    types = Types(as_set(odd, shop_file()))

    empty = types.message("google.protobuf.Empty")
    assert empty is not None
    assert list(empty.fields) == []
    assert types.message("nope.Nope") is None
    assert list(types.methods("nope.Nope")) == []


def test_two_pools_of_one_name_do_not_meet() -> None:
    changed = shop_file()
    changed.message_type[0].field[0].name = "cents"

    here, there = Types(as_set(shop_file())).message("shop.v1.Money"), Types(as_set(changed)).message("shop.v1.Money")

    assert here is not None
    assert there is not None
    assert [field.name for field in here.fields] != [field.name for field in there.fields]


def test_the_descriptors_of_the_demo_build_a_pool() -> None:
    from services.epro.v1 import archive_service_pb2

    assert Types(descriptor_set(archive_service_pb2.DESCRIPTOR)).services() == ("epro.v1.Archive",)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("anything[anything.secret]", "Key not found in map"),
        ("anything.secret.matches(anything.secret + '(')", "invalid regular expression"),
        ("anything.nothing", 'Key not found in map : "nothing"'),
        ("int(anything.secret)", "cannot convert string to int"),
        ("timestamp(anything.secret)", "String to Timestamp conversion failed"),
    ],
)
def test_a_failure_quotes_what_the_author_wrote_and_nothing_that_was_computed(source: str, why: str) -> None:
    with pytest.raises(EvaluationFailed) as failed:
        value(source, anything={"secret": "4111-1111"})
    assert failed.value.why == why
