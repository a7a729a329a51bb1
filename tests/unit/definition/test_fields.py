"""Values and expressions into fields of every kind."""

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from orchestrator.definition import SagaBuilder
from orchestrator.definition.fields import put
from orchestrator.definition.misfit import Misfit
from orchestrator.errors import DefinitionInvalid
from orchestrator.ids import StepId
from orchestrator.limits import PAYLOAD_BYTES_MAX
from orchestrator.saga.plan import ExpressionFailure
from orchestrator.values import Payload
from tests.unit.definition.probe import (
    GIVEN,
    ORDER,
    PLACE,
    TYPES,
    any_of_an_unknown_type,
    as_json,
    message,
    payload,
    plan,
    rendered,
)
from tests.unit.definition.world import FixedFacts


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_plain_path_copies_a_field_of_every_kind_as_it_is(name: str) -> None:
    assert as_json(rendered({name: f"${{input.{name}}}"}, GIVEN)) == as_json(payload(ORDER, **{name: GIVEN[name]}))


@pytest.mark.parametrize("name", ["money", "note", "placed_at", "limit", "items", "counts", "order_id", "stock", "due"])
def test_a_plain_path_keeps_an_absent_field_absent(name: str) -> None:
    assert rendered({name: f"${{input.{name}}}"}, {}) == Payload(ORDER, b"")


def test_a_present_field_with_a_default_value_stays_present() -> None:
    assert as_json(rendered({"note": "${input.note}"}, {"note": ""})) == {"note": ""}


def test_a_computed_value_of_an_absent_field_is_its_default() -> None:
    assert as_json(rendered({"note": "${input.note + 'x'}", "count": "${input.count + 1}"}, {})) == {
        "note": "x",
        "count": 1,
    }


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("order_id", "${'a' + input.order_id}", "ao-1"),
        ("order_id", "id ${input.order_id}: ${input.count}, ${input.paid}, ${input.price}", "id o-1: 3, true, 2.5"),
        ("order_id", "at ${input.placed_at} $${x}", "at 2026-01-01T00:00:00.123456789Z ${x}"),
        ("order_id", "${input.order_id // a comment\n}", "o-1"),
        ("order_id", "no ${input.order_id // a comment\n} yes", "no o-1 yes"),
        ("order_id", "$${input.order_id}", "${input.order_id}"),
        ("count", "${input.count * 2}", 6),
        ("total", "${input.count}", "3"),
        ("seats", "${uint(input.count)}", 3),
        ("price", "${input.count}", 3.0),
        ("ratio", "${0.5}", 0.5),
        ("paid", "${input.count > 2}", True),
        ("raw", "${b'\\x00\\x01'}", "AAE="),
        ("status", "${input.count - 1}", "STATUS_PAID"),
        ("status", "${'STATUS_' + 'OPEN'}", "STATUS_OPEN"),
        ("status", "${shop.v1.Status.STATUS_OPEN}", "STATUS_OPEN"),
        ("tags", "${input.tags.map(t, t + '!')}", ["a!", "b!"]),
        ("money", "${input.items[0].price}", {}),
        ("money", "${shop.v1.Money{units: 7}}", {"units": "7"}),
        ("items", "${input.items.filter(i, i.qty > 1)}", [{"sku": "x", "qty": 2}]),
        ("counts", "${{'a': 1, 'b': 2}}", {"a": 1, "b": 2}),
        ("by_number", "${{7: input.items[1]}}", {"7": {"sku": "y"}}),
        ("flags", "${{true: 'x'}}", {"true": "x"}),
        ("placed_at", "${timestamp('2026-02-01T00:00:00Z')}", "2026-02-01T00:00:00Z"),
        ("placed_at", "2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("placed_at", "${saga.started_at}", "2023-11-14T22:13:20.250Z"),
        ("lasting", "${duration('90s')}", "90s"),
        ("lasting", "1.5s", "1.500s"),
        ("lasting", "${'2' + 'm'}", "120s"),
        ("extra", "${{'a': [1, 2.5, null, true], 'm': input.money}}", {"a": [1.0, 2.5, None, True], "m": {"units": "5", "currency": "EUR"}}),  # noqa: E501  (one case a line)
        ("extra", "${input.money}", {"units": "5", "currency": "EUR"}),
        ("extra", "${{'t': input.placed_at, 'd': duration('1s'), 'b': b'a', 'x': {1: 2}, 'y': {true: 3}}}", {"t": "2026-01-01T00:00:00.123456Z", "d": "1s", "b": "YQ==", "x": {"1": 2.0}, "y": {"true": 3.0}}),  # noqa: E501  (one case a line)
        ("anything", "${input.count}", 3.0),
        ("anything", "${null}", None),
        ("list", "${[1, 'x']}", [1.0, "x"]),
        ("limit", "${input.count}", "3"),
        ("limit", "${input.limit + 1}", "10"),
        ("mask", "${'a.b,c'}", "a.b,c"),
        ("note", "${input.?note.orValue('none')}", ""),
        ("history", "${[timestamp('2026-02-01T00:00:00Z')]}", ["2026-02-01T00:00:00Z"]),
        ("statuses", "${[1, 2]}", ["STATUS_OPEN", "STATUS_PAID"]),
        ("doubles", "${[1.0, 2.5]}", [1.0, 2.5]),
        ("order_id", "${saga.id + '/' + saga.uid}", "report-1/00000000-0000-0000-0000-000000000005"),
    ],
)  # fmt: skip
def test_an_expression_fills_a_field_of_its_type(field: str, text: str, value: object) -> None:
    assert as_json(rendered({field: text}, GIVEN)) == {field: value}


def test_trees_are_filled_part_by_part() -> None:
    request: JsonValue = {
        "money": {"units": "${input.count}", "currency": "EUR"},
        "items": [{"sku": "${input.order_id}", "parent": {"sku": "p"}}, "${input.items[1]}", {"sku": "z"}],
        "tags": ["a", "${input.order_id}", "x ${input.count}"],
        "counts": {"a": 1, "b": "${input.count}"},
        "by_number": {"7": {"sku": "${input.order_id}"}},
        "amounts": {"m": "${input.money}"},
        "extra": {"k": ["${input.count}", {"deep": "${input.order_id}"}], "text": "x ${input.count}"},
        "anything": ["${input.count}"],
        "sizes": [1, 2],
        "nothing": {},
        "orderId": "camel",
        "history": ["${input.placed_at}", "2026-02-01T00:00:00Z"],
    }

    assert as_json(rendered(request, GIVEN)) == {
        "order_id": "camel",
        "money": {"units": "3", "currency": "EUR"},
        "items": [{"sku": "o-1", "parent": {"sku": "p"}}, {"sku": "y"}, {"sku": "z"}],
        "tags": ["a", "o-1", "x 3"],
        "counts": {"a": 1, "b": 3},
        "by_number": {"7": {"sku": "o-1"}},
        "amounts": {"m": {"units": "5", "currency": "EUR"}},
        "extra": {"k": [3.0, {"deep": "o-1"}], "text": "x 3"},
        "anything": [3.0],
        "sizes": [1, 2],
        "nothing": {},
        "history": ["2026-01-01T00:00:00.123456789Z", "2026-02-01T00:00:00Z"],
    }


def test_a_constant_request_is_made_once() -> None:
    made = plan(steps={"first": {"call": PLACE, "kind": "read", "request": {"order_id": "x", "items": [{"qty": 1}]}}})
    render = made.steps[StepId("first")].call.render
    facts = FixedFacts(payload(ORDER))

    assert render(facts) is render(facts)
    assert as_json(render(facts)) == {"order_id": "x", "items": [{"qty": 1}]}


@pytest.mark.parametrize("text", ["${input}", "${ input\n}", "${true ? input : shop.v1.Order{}}"])
def test_a_whole_message_may_be_one_expression(text: str) -> None:
    assert as_json(rendered(text, GIVEN)) == as_json(payload(ORDER, **GIVEN))


def test_requests_are_written_the_same_way_every_time() -> None:
    words = {f"k{number}": "v" for number in range(40)}
    one = rendered({"words": "${input.words}"}, {"words": words})
    other = rendered({"words": "${input.words}"}, {"words": dict(reversed(words.items()))})

    assert one == other


# --- untyped input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "text", "given", "value"),
    [
        ("count", "${input.n}", {"n": 5}, 5),
        ("total", "${input.n}", {"n": "12345678901234567"}, "12345678901234567"),
        ("order_id", "${input.s}", {"s": "x"}, "x"),
        ("paid", "${input.b}", {"b": True}, True),
        ("raw", "${input.s}", {"s": "AAE="}, "AAE="),
        ("status", "${input.s}", {"s": "STATUS_OPEN"}, "STATUS_OPEN"),
        ("status", "${input.n}", {"n": 2}, "STATUS_PAID"),
        ("items", "${input.l}", {"l": [{"sku": "a", "qty": 1}]}, [{"sku": "a", "qty": 1}]),
        ("money", "${input.m}", {"m": {"units": 5}}, {"units": "5"}),
        ("counts", "${input.m}", {"m": {"a": 5}}, {"a": 5}),
        ("by_number", "${input.m}", {"m": {"5": {"sku": "a"}}}, {"5": {"sku": "a"}}),
        ("flags", "${input.m}", {"m": {"true": "a"}}, {"true": "a"}),
        ("placed_at", "${input.s}", {"s": "2026-01-01T00:00:00Z"}, "2026-01-01T00:00:00Z"),
        ("lasting", "${input.s}", {"s": "5m"}, "300s"),
        ("extra", "${input}", {"a": 1}, {"a": 1.0}),
        ("note", "${input.s}", {"s": "x"}, "x"),
        ("order_id", "${input.n}${input.s}", {"n": 3, "s": "x"}, "3x"),
    ],
)
def test_json_values_fill_typed_fields(field: str, text: str, given: Mapping[str, object], value: object) -> None:
    assert as_json(rendered({field: text}, given, input_type="json")) == {field: value}


def test_null_leaves_out_what_may_be_absent() -> None:
    found = rendered({"note": "${input.s}", "money": "${input.s}"}, {"s": None}, input_type="json")

    assert found == Payload(ORDER, b"")


@pytest.mark.parametrize(
    ("field", "text", "given", "why"),
    [
        ("count", "${input.n}", {"n": 5.5}, "request.count: int32 is needed, not a number with a fraction"),
        ("count", "${input.n}", {"n": 3e9}, "steps.second.request.count: the number is out of range"),
        ("count", "${input.n}", {"n": "5"}, "int32 is needed, not a text"),
        ("count", "${input.n}", {"n": True}, "int32 is needed, not a boolean"),
        ("total", "${input.n}", {"n": 1e300}, "int64 is needed, not a number too large to be exact"),
        ("order_id", "${input.n}", {"n": 5}, "string is needed, not a number"),
        ("order_id", "${input.n}", {"n": None}, "null where string is needed"),
        ("order_id", "${input.nope}", {}, 'order_id: Key not found in map : "nope"'),
        ("paid", "${input.n}", {"n": 1}, "bool is needed, not a number"),
        ("price", "${input.n}", {"n": "x"}, "double is needed, not a text"),
        ("ratio", "${input.n}", {"n": 1e39}, "the number is too large for a float"),
        ("raw", "${input.n}", {"n": "!"}, "bytes are written in base64"),
        ("raw", "${input.n}", {"n": 5}, "bytes are needed, not a number"),
        ("status", "${input.n}", {"n": "NOPE"}, "shop.v1.Status has no such value"),
        ("status", "${input.n}", {"n": 9}, "shop.v1.Status has no such value"),
        ("status", "${input.n}", {"n": []}, "shop.v1.Status is needed, not a list"),
        ("tags", "${input.n}", {"n": ["a", 5]}, "steps.second.request.tags[1]: string is needed"),
        ("tags", "${input.n}", {"n": "ab"}, "repeated string is needed, not a text"),
        ("tags", "${input.n}", {"n": None}, "null where repeated string is needed"),
        ("items", "${input.n}", {"n": [{"sku": "a"}, {"qty": "b"}]}, "items[1].qty: int32 is needed"),
        ("items", "${input.n}", {"n": [{"nope": "a"}]}, "items[0].nope: shop.v1.Item has no field `nope`"),
        ("items", "${input.n}", {"n": [5]}, "items[0]: shop.v1.Item is needed, not a number"),
        ("counts", "${input.n}", {"n": [5]}, "map<string, int32> is needed, not a list"),
        ("counts", "${input.n}", {"n": {"a": "b"}}, "counts['a']: int32 is needed"),
        ("by_number", "${input.n}", {"n": {"a": {}}}, "by_number['a']: int32 is needed, not a text"),
        ("flags", "${input.n}", {"n": {"maybe": "x"}}, "bool is needed, not a text"),
        ("placed_at", "${input.n}", {"n": "soon"}, "the text is not a timestamp"),
        ("placed_at", "${input.n}", {"n": 5}, "a timestamp is needed, not a number"),
        ("lasting", "${input.n}", {"n": "soon"}, "the text is not a duration"),
        ("lasting", "${input.n}", {"n": {}}, "a duration is needed, not a mapping"),
        ("extra", "${input.n}", {"n": 5}, "google.protobuf.Struct is needed, not a number"),
        ("list", "${input.n}", {"n": 5}, "google.protobuf.ListValue is needed, not a number"),
        ("money", "${input.n}", {"n": [1]}, "shop.v1.Money is needed, not a list"),
        ("items", "${[input.n]}", {"n": {"price": {"units": 1, "nope": 2}}}, "items[0].price.nope: shop.v1.Money has no"),  # noqa: E501  (one case a line)
    ],
)  # fmt: skip
def test_a_json_value_that_does_not_fit_names_the_field(
    field: str, text: str, given: Mapping[str, object], why: str
) -> None:
    found = rendered({field: text}, given, input_type="json")

    assert isinstance(found, ExpressionFailure)
    assert why in found.message


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("dyn(input.raw)", "bytes"),
        ("dyn(input)", "a shop.v1.Order"),
        ("dyn(input.placed_at)", "a timestamp"),
        ("dyn(input.lasting)", "a duration"),
        ("dyn(input.count)", "a whole number"),
        ("dyn(1.5)", "a number with a fraction"),
        ("dyn(1.0 / 0.0)", "no finite number"),
        ("dyn(input.words)", "a mapping"),
        ("dyn(type(input))", "a value of another type (Type)"),
        ("dyn('x' + string(input.words.size()))", "a text"),
    ],
)
def test_a_failure_says_what_a_value_is_and_nothing_of_what_is_in_it(text: str, what: str) -> None:
    found = rendered({"paid": f"${{{text}}}"}, GIVEN)

    assert found == ExpressionFailure(f"steps.second.request.paid: bool is needed, not {what}")


def test_a_message_that_has_no_json_form_is_a_failure() -> None:
    order = Payload(ORDER, payload(ORDER, order_id="x").data + any_of_an_unknown_type())

    found = rendered({"extra": "${input}"}, {}, FixedFacts(order))

    assert isinstance(found, ExpressionFailure)
    assert "this shop.v1.Order has no JSON form" in found.message


def test_a_whole_message_may_come_from_untyped_input() -> None:
    assert as_json(rendered("${input}", {"order_id": "x"}, input_type="json")) == {"order_id": "x"}
    assert as_json(rendered("${input.o}", {"o": {"order_id": "x"}}, input_type="json")) == {"order_id": "x"}
    found = rendered("${input}", {"nope": "x"}, input_type="json")
    assert found == ExpressionFailure("steps.second.request.nope: shop.v1.Order has no field `nope`")


def test_a_half_of_a_surrogate_pair_is_not_a_text() -> None:
    built = SagaBuilder("probe", input=ORDER, targets=["shop"])
    built.step("a", PLACE, kind="read", request={"order_id": "\ud800"})

    order = TYPES.message(ORDER)
    assert order is not None
    with pytest.raises(DefinitionInvalid, match="U\\+D800 is not allowed in YAML"):
        built.build()
    with pytest.raises(Misfit, match="half of a surrogate pair"):
        put(message(ORDER), order.fields_by_name["order_id"], "é\ud800")


@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("count", "${input.count / 0}", "steps.second.request.count: divide by zero"),
        ("count", "${input.total + 9223372036854775807}", "integer overflow"),
        ("count", "${input.total}", "the number is out of range for int32"),
        ("seats", "${-1}", "the number is out of range for uint32"),
        ("order_id", "${input.items[9].sku}", "Index error: index=9 size=2"),
        ("order_id", "a ${input.items[9].sku}", "Index error: index=9 size=2"),
        ("order_id", "${input.order_id.matches('a(') ? 'x' : 'y'}", "invalid regular expression"),
        ("extra", "${{'a': input.total}}", "the number is too large for a JSON number"),
        ("extra", "${{'a': 1.0 / 0.0}}", "is not a JSON number"),
        ("anything", "${input.items.map(i, type(i))}", "has no JSON form"),
        ("order_id", "${[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, [1,2,3,4,5,6,7,8,9,10].map(d, [1,2,3].map(e, string(e)))))).size() > 1 ? 'x' : 'y'}", "budget"),  # noqa: E501  (one case a line)
    ],
)  # fmt: skip
def test_an_evaluation_that_fails_is_a_value_that_says_why(field: str, text: str, why: str) -> None:
    found = rendered({field: text}, GIVEN)

    assert isinstance(found, ExpressionFailure)
    assert why in found.message


def test_a_request_past_the_payload_limit_is_a_failure() -> None:
    found = rendered({"raw": "${input.raw}"}, {"raw": "AAAA" * (PAYLOAD_BYTES_MAX // 3)})

    assert isinstance(found, ExpressionFailure)
    assert "more than the 4194304 allowed" in found.message
