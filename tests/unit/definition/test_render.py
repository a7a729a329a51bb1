"""What expressions and trees give for recorded facts."""

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from orchestrator.ids import StepId
from orchestrator.limits import ATTRIBUTE_CHARS_MAX, PAYLOAD_BYTES_MAX
from orchestrator.saga.plan import ExpressionFailure
from orchestrator.values import Payload
from tests.unit.definition.probe import CANCEL, ORDER, PLACE, RECEIPT, as_json, payload, plan, rendered
from tests.unit.definition.world import FixedFacts

FIRST, SECOND = StepId("first"), StepId("second")
GIVEN: Mapping[str, object] = {
    "order_id": "o-1",
    "count": 3,
    "total": "9007199254740993",
    "seats": 4,
    "price": 2.5,
    "ratio": 0.5,
    "paid": True,
    "raw": "AAE=",
    "status": "STATUS_PAID",
    "tags": ["a", "b"],
    "sizes": [1, 2],
    "money": {"units": "5", "currency": "EUR"},
    "items": [{"sku": "x", "qty": 2}, {"sku": "y"}],
    "counts": {"a": 1},
    "by_number": {"7": {"sku": "seven"}},
    "flags": {"true": "yes"},
    "placed_at": "2026-01-01T00:00:00.123456789Z",
    "lasting": "1.000000001s",
    "extra": {"k": [1, None, "x"]},
    "anything": {"deep": True},
    "list": [1, "a"],
    "limit": "9",
    "mask": "a,b",
    "nothing": {},
    "history": ["2026-01-01T00:00:00Z"],
    "statuses": ["STATUS_OPEN"],
    "words": {"w": "v"},
    "doubles": [1.5],
    "amounts": {"m": {"units": "1"}},
    "note": "",
    "cash": {"units": "1"},
}


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
        ("extra", "${{'a': [1, 2.5, null, true], 'm': input.money}}", {"a": [1.0, 2.5, None, True], "m": {"units": "5", "currency": "EUR"}}),
        ("extra", "${input.money}", {"units": "5", "currency": "EUR"}),
        ("extra", "${{'t': input.placed_at, 'd': duration('1s'), 'b': b'a', 'x': {1: 2}, 'y': {true: 3}}}", {"t": "2026-01-01T00:00:00.123456Z", "d": "1s", "b": "YQ==", "x": {"1": 2.0}, "y": {"true": 3.0}}),
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
    render = made.steps[FIRST].call.render
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
        ("count", "${input.n}", {"n": 5.5}, "steps.second.request.count: int32 is needed, not the number 5.5"),
        ("count", "${input.n}", {"n": 3e9}, "steps.second.request.count: 3000000000 is out of range"),
        ("count", "${input.n}", {"n": "5"}, "int32 is needed, not the text `5`"),
        ("count", "${input.n}", {"n": True}, "int32 is needed, not the boolean true"),
        ("total", "${input.n}", {"n": 1e300}, "int64 is needed, not the number 1e+300"),
        ("order_id", "${input.n}", {"n": 5}, "string is needed, not the number 5"),
        ("order_id", "${input.n}", {"n": None}, "null where string is needed"),
        ("order_id", "${input.nope}", {}, "order_id: Key not found in map : \"nope\""),
        ("paid", "${input.n}", {"n": 1}, "bool is needed, not the number 1"),
        ("price", "${input.n}", {"n": "x"}, "double is needed, not the text `x`"),
        ("ratio", "${input.n}", {"n": 1e39}, "the number is too large for a float"),
        ("raw", "${input.n}", {"n": "!"}, "bytes are written in base64"),
        ("raw", "${input.n}", {"n": 5}, "bytes are needed, not the number 5"),
        ("status", "${input.n}", {"n": "NOPE"}, "shop.v1.Status has no value `NOPE`"),
        ("status", "${input.n}", {"n": 9}, "shop.v1.Status has no value 9"),
        ("status", "${input.n}", {"n": []}, "shop.v1.Status is needed, not a list"),
        ("tags", "${input.n}", {"n": ["a", 5]}, "steps.second.request.tags[1]: string is needed"),
        ("tags", "${input.n}", {"n": "ab"}, "repeated string is needed, not the text `ab`"),
        ("tags", "${input.n}", {"n": None}, "null where repeated string is needed"),
        ("items", "${input.n}", {"n": [{"sku": "a"}, {"qty": "b"}]}, "items[1].qty: int32 is needed"),
        ("items", "${input.n}", {"n": [{"nope": "a"}]}, "items[0].nope: shop.v1.Item has no field `nope`"),
        ("items", "${input.n}", {"n": [5]}, "items[0]: shop.v1.Item is needed, not the number 5"),
        ("counts", "${input.n}", {"n": [5]}, "map<string, int32> is needed, not a list"),
        ("counts", "${input.n}", {"n": {"a": "b"}}, "counts['a']: int32 is needed"),
        ("by_number", "${input.n}", {"n": {"a": {}}}, "by_number['a']: int32 is needed, not the text `a`"),
        ("flags", "${input.n}", {"n": {"maybe": "x"}}, "bool is needed, not the text `maybe`"),
        ("placed_at", "${input.n}", {"n": "soon"}, "`soon` is not a timestamp"),
        ("placed_at", "${input.n}", {"n": 5}, "a timestamp is needed, not the number 5"),
        ("lasting", "${input.n}", {"n": "soon"}, "`soon` is not a duration"),
        ("lasting", "${input.n}", {"n": {}}, "a duration is needed, not a mapping"),
        ("extra", "${input.n}", {"n": 5}, "google.protobuf.Struct is needed, not the number 5"),
        ("list", "${input.n}", {"n": 5}, "google.protobuf.ListValue is needed, not the number 5"),
        ("money", "${input.n}", {"n": [1]}, "shop.v1.Money is needed, not a list"),
        ("items", "${[input.n]}", {"n": {"price": {"units": 1, "nope": 2}}}, "items[0].price.nope: shop.v1.Money has no"),
    ],
)  # fmt: skip
def test_a_json_value_that_does_not_fit_names_the_field(
    field: str, text: str, given: Mapping[str, object], why: str
) -> None:
    found = rendered({field: text}, given, input_type="json")

    assert isinstance(found, ExpressionFailure)
    assert why in found.message


@pytest.mark.parametrize(
    ("field", "text", "why"),
    [
        ("count", "${input.count / 0}", "steps.second.request.count: divide by zero"),
        ("count", "${input.total + 9223372036854775807}", "integer overflow"),
        ("count", "${input.total}", "9007199254740993 is out of range for int32"),
        ("seats", "${-1}", "-1 is out of range for uint32"),
        ("order_id", "${input.items[9].sku}", "Index error: index=9 size=2"),
        ("order_id", "a ${input.items[9].sku}", "Index error: index=9 size=2"),
        ("order_id", "${input.order_id.matches('a(') ? 'x' : 'y'}", "invalid regular expression"),
        ("extra", "${{'a': input.total}}", "9007199254740993 is too large for a JSON number"),
        ("extra", "${{'a': 1.0 / 0.0}}", "inf is not a JSON number"),
        ("anything", "${input.items.map(i, type(i))}", "has no JSON form"),
        ("order_id", "${[1,2,3,4,5,6,7,8,9,10].map(a, [1,2,3,4,5,6,7,8,9,10].map(b, [1,2,3,4,5,6,7,8,9,10].map(c, [1,2,3,4,5,6,7,8,9,10].map(d, [1,2,3].map(e, string(e)))))).size() > 1 ? 'x' : 'y'}", "budget"),
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


# --- what is recorded ------------------------------------------------------------------------------------------------


def facts(**more: object) -> FixedFacts:
    found = FixedFacts(payload(ORDER, **GIVEN))
    for name, value in more.items():
        setattr(found, name, value)
    return found


RECEIVED = payload(RECEIPT, receipt_id="r-1", ok=True, order={"count": 7})


def test_replies_and_statuses_of_other_steps_are_read() -> None:
    request: JsonValue = {
        "order_id": "${steps.first.reply.receipt_id}",
        "paid": "${steps.first.applied && !steps.first.skipped}",
        "nested_name": "${steps.first.status}",
        "count": "${steps.first.reply.order.count}",
    }

    found = rendered(request, {}, facts(replies={"first": RECEIVED}))

    assert as_json(found) == {"order_id": "r-1", "paid": True, "nested_name": "APPLIED", "count": 7}


@pytest.mark.parametrize(
    "text",
    ["${steps.first.reply.receipt_id}", "${steps.first.reply.receipt_id + ''}", "x ${steps.first.reply.receipt_id}"],
)
def test_a_reply_that_is_not_there_is_never_read_as_empty(text: str) -> None:
    found = rendered({"order_id": text}, {}, facts(statuses={"first": "SKIPPED"}))

    assert found == ExpressionFailure("steps.second.request.order_id: step `first` has no reply, it is SKIPPED")


def test_a_reply_that_is_not_there_may_be_guarded() -> None:
    text = "${steps.first.applied ? steps.first.reply.receipt_id : 'none'}"

    assert as_json(rendered({"order_id": text}, {}, facts(statuses={"first": "SKIPPED"}))) == {"order_id": "none"}


@pytest.mark.parametrize("text", ["${steps.first.reply.receipt_id}", "${steps.first.reply.receipt_id + ''}"])
@pytest.mark.parametrize(
    ("recorded", "why"),
    [
        (Payload(RECEIPT, b"\xff"), "the recorded shop.v1.Receipt cannot be read"),
        (Payload(ORDER, b""), "a shop.v1.Order is recorded where a shop.v1.Receipt is expected"),
    ],
)
def test_a_recorded_reply_that_cannot_be_read_is_a_failure(text: str, recorded: Payload, why: str) -> None:
    found = rendered({"order_id": text}, {}, facts(replies={"first": recorded}))

    assert found == ExpressionFailure(f"steps.second.request.order_id: {why}")


STEPS: JsonValue = {
    "first": {
        "call": PLACE,
        "refuse": "!reply.ok",
        "reason": "no: ${reply.receipt_id}",
        "compensate": {"call": CANCEL, "request": {"order_id": "${input.order_id}", "reason": "${reply.receipt_id}"}},
    },
    "second": {
        "call": PLACE,
        "after": ["first"],
        "when": "${steps.first.reply.order.count > 5}",
        "refuse": "steps.first.reply.ok",
        "reason": "${reply.receipt_id + steps.first.reply.receipt_id}",
        "compensate": {"call": CANCEL, "request": {"order_id": "${steps.first.reply.receipt_id}"}},
    },
}


def test_a_step_judges_and_undoes_by_its_own_reply() -> None:
    step = plan(steps=STEPS).steps[FIRST]
    own = facts(own_reply=RECEIVED)

    assert step.refuse is not None
    assert step.reason is not None
    assert step.compensation is not None
    assert step.refuse(own) is False
    assert step.reason(own) == "no: r-1"
    assert as_json(step.compensation.call.render(own)) == {"order_id": "o-1", "reason": "r-1"}


def test_without_an_own_reply_nothing_that_reads_it_has_a_value() -> None:
    step = plan(steps=STEPS).steps[FIRST]

    assert step.refuse is not None
    assert step.reason is not None
    assert step.compensation is not None
    absent = "the step's own reply is not known"
    assert step.refuse(facts()) == ExpressionFailure(f"steps.first.refuse (!reply.ok): {absent}")
    assert step.reason(facts()) == ExpressionFailure(f"steps.first.reason (no: ${{reply.receipt_id}}): {absent}")
    assert step.compensation.call.render(facts()) == ExpressionFailure(
        f"steps.first.compensate.request.reason: {absent}"
    )


def test_what_a_step_reads_of_others_is_there_when_it_settles() -> None:
    step = plan(steps=STEPS).steps[SECOND]
    both = facts(replies={"first": RECEIVED}, own_reply=payload(RECEIPT, receipt_id="r-2"))

    assert step.when is not None
    assert step.refuse is not None
    assert step.reason is not None
    assert step.compensation is not None
    assert step.when(both) is True
    assert step.refuse(both) is True
    assert step.reason(both) == "r-2r-1"
    assert as_json(step.compensation.call.render(both)) == {"order_id": "r-1"}


def test_a_condition_or_a_sentence_of_another_type_is_a_failure() -> None:
    step = plan(
        input="json",
        steps={
            "first": {"call": PLACE, "kind": "read", "when": "input.x", "refuse": "input.x", "reason": "${input.x}"}
        },
    ).steps[FIRST]
    given = FixedFacts(payload("google.protobuf.Struct", x=5))

    assert step.when is not None
    assert step.reason is not None
    assert step.when(given) == ExpressionFailure(
        "steps.first.when (input.x): a condition is a bool, this gave the number 5"
    )
    assert step.reason(given) == ExpressionFailure(
        "steps.first.reason (${input.x}): a text is needed, not the number 5"
    )


# --- attributes and output -------------------------------------------------------------------------------------------


def test_attributes_are_flat_facts_of_the_input() -> None:
    given: JsonValue = {
        "a": "${input.order_id}", "b": "${input.count}", "c": "${input.price}", "d": "${input.paid}", "e": 5, "f": True,
        "g": "x ${input.count}", "h": "text",
    }  # fmt: skip
    render = plan(attributes=given).attributes

    assert render is not None
    assert render(facts()) == {
        "a": "o-1", "b": 3, "c": 2.5, "d": True, "e": 5, "f": True, "g": "x 3", "h": "text",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "given", "why"),
    [
        ("${input.x}", {"x": [1]}, "attributes.a: an attribute is flat, this gave a list"),
        ("${input.x}", {"x": None}, "attributes.a: an attribute is flat, this gave null"),
        ("${input.x}", {}, 'attributes.a: Key not found in map : "x"'),
        ("${input.x}", {"x": "y" * (ATTRIBUTE_CHARS_MAX + 1)}, "attributes.a: an attribute has at most 512 characters"),
    ],
)
def test_an_attribute_that_is_not_small_and_flat_is_a_failure(text: str, given: Mapping[str, object], why: str) -> None:
    render = plan(input="json", attributes={"a": text}).attributes

    assert render is not None
    found = render(FixedFacts(payload("google.protobuf.Struct", **given)))
    assert isinstance(found, ExpressionFailure)
    assert found.message.startswith(why)


def test_an_output_is_a_json_object() -> None:
    made = plan(output={"id": "${steps.first.reply.receipt_id}", "all": {"order": "${input.money}"}, "n": 5})

    assert made.output is not None
    assert as_json(made.output(facts(replies={"first": RECEIVED}))) == {
        "id": "r-1", "all": {"order": {"units": "5", "currency": "EUR"}}, "n": 5.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["${steps.first.reply}", "${steps.first.applied ? steps.first.reply : shop.v1.Receipt{}}"]
)
def test_an_output_may_be_a_message(text: str) -> None:
    made = plan(output=text)

    assert made.output is not None
    found = made.output(facts(replies={"first": RECEIVED}))
    assert isinstance(found, Payload)
    assert found.type_name == RECEIPT
    assert as_json(found) == as_json(RECEIVED)


@pytest.mark.parametrize("text", ["${input.extra}", "${{'k': [1.0, null, 'x']}}"])
def test_an_output_may_be_an_object_that_is_computed(text: str) -> None:
    made = plan(output=text)

    assert made.output is not None
    assert as_json(made.output(facts())) == {"k": [1.0, None, "x"]}


def test_an_output_that_cannot_be_made_is_a_failure() -> None:
    made = plan(output={"total": "${input.total}", "late": "${steps.first.reply.receipt_id}"})
    whole = plan(output="${steps.first.reply}")

    assert made.output is not None
    assert whole.output is not None
    done = facts(replies={"first": RECEIVED})
    assert made.output(facts()) == ExpressionFailure("output: step `first` has no reply, it is PENDING")
    assert made.output(done) == ExpressionFailure("output: 9007199254740993 is too large for a JSON number")
    assert whole.output(facts()) == ExpressionFailure("output: step `first` has no reply, it is PENDING")


def test_a_required_field_of_a_reply_that_is_missing_is_a_failure() -> None:
    made = plan(
        targets=["old", "shop"],
        steps={
            "first": {"call": "old/old.Old/Put", "kind": "read"},
            "second": {"call": PLACE, "kind": "read"},
        },
        output="${old.Must{more: input.order_id}}",
    )

    assert made.output is not None
    found = made.output(facts())
    assert isinstance(found, ExpressionFailure)
    assert "this old.Must cannot be written" in found.message
