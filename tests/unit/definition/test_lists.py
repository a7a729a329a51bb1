"""Steps over a list: what is made of it, what its items and others may read, and what reading a large input costs."""

import time

import pytest
from google.protobuf import struct_pb2
from pydantic import JsonValue

from orchestrator.ids import StepId
from orchestrator.limits import ITEMS_MAX, WHOLE_BYTES_MAX
from orchestrator.saga.plan import ExpressionFailure, Step
from orchestrator.values import Payload
from tests.unit.definition.probe import GIVEN, ORDER, PLACE, RECEIPT, as_json, payload, plan
from tests.unit.definition.world import FixedFacts

READ: dict[str, JsonValue] = {"call": PLACE, "kind": "read"}


def step(**keys: JsonValue) -> Step:
    """Return the plan of one step that calls the shop."""
    made = plan(steps={"one": {"call": PLACE, **keys}})
    return made.steps[StepId("one")]


def test_a_list_that_is_recorded_is_not_copied() -> None:
    one = step(
        kind="read", for_each="${input.items}", **{"as": "line"}, request={"items": ["${line}"], "count": "${index}"}
    )
    assert one.for_each is not None
    given: JsonValue = [{"sku": f"s{index}", "qty": index} for index in range(ITEMS_MAX)]
    facts = FixedFacts(payload(ORDER, items=given))

    began = time.process_time()
    items = one.for_each.items(facts)
    assert not isinstance(items, ExpressionFailure)
    elements = [items[index] for index in range(0, len(items), 100)]
    took_s = time.process_time() - began

    assert (len(items), len(elements)) == (ITEMS_MAX, 1_000)
    assert took_s < 0.5
    rendered = one.call.render(FixedFacts(payload(ORDER), index=7, item=items[7]))
    assert as_json(rendered) == {"items": [{"sku": "s7", "qty": 7}], "count": 7}


def test_a_list_of_json_is_not_copied_either() -> None:
    made = plan(
        input="json",
        steps={"one": {**READ, "for_each": "${input.a.rows}", "request": {"order_id": "${item.name}"}}},
    )
    one = made.steps[StepId("one")]
    assert one.for_each is not None
    struct = struct_pb2.Struct()
    struct.update({"a": {"rows": [{"name": f"n{index}"} for index in range(20_000)]}, "b": {"rows": 5}, "c": [1]})
    facts = FixedFacts(Payload("google.protobuf.Struct", struct.SerializeToString()))

    items = one.for_each.items(facts)

    assert not isinstance(items, ExpressionFailure)
    assert len(items) == 20_000
    assert as_json(one.call.render(FixedFacts(facts.input, index=3, item=items[3]))) == {"order_id": "n3"}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("input.nope", "no such key: nope"),
        ("input.text", "a list is needed, not a JSON string"),
        ("input.text.deep", "what holds `deep` is no object"),
        ("[input.text][0]", "a list is needed, not a text"),
    ],
)
def test_what_is_no_list_is_told(path: str, why: str) -> None:
    made = plan(input="json", steps={"one": {**READ, "for_each": f"${{{path}}}"}})
    one = made.steps[StepId("one")]
    struct = struct_pb2.Struct()
    struct.update({"text": "x"})
    assert one.for_each is not None

    found = one.for_each.items(FixedFacts(Payload("google.protobuf.Struct", struct.SerializeToString())))

    assert found == ExpressionFailure(f"steps.one.for_each ({path}): {why}")


@pytest.mark.parametrize(
    ("items", "fields", "given", "wanted"),
    [
        ("${input.tags}", {"order_id": "${item}"}, "t", {"order_id": "t"}),
        ("${input.sizes}", {"count": "${item}"}, 5, {"count": 5}),
        ("${input.statuses}", {"status": "${item}"}, 1, {"status": "STATUS_OPEN"}),
        ("${input.doubles}", {"price": "${item * 2.0}"}, 1.5, {"price": 3.0}),
        ("${['a', 'b']}", {"order_id": "${item + string(index)}"}, "b", {"order_id": "b4"}),
        ("${input.items.map(i, i.qty)}", {"count": "${item}"}, 5, {"count": 5}),
    ],
)
def test_an_element_has_the_type_of_its_list(
    items: str, fields: JsonValue, given: object, wanted: dict[str, object]
) -> None:
    one = step(kind="read", for_each=items, request=fields)

    assert as_json(one.call.render(FixedFacts(payload(ORDER), index=4, item=given))) == wanted


def test_what_is_computed_is_a_list_too() -> None:
    one = step(kind="read", for_each="${input.items.filter(i, i.qty > 1)}", request={"items": ["${item}"]})
    assert one.for_each is not None

    found = one.for_each.items(FixedFacts(payload(ORDER, items=[{"sku": "a", "qty": 1}, {"sku": "b", "qty": 2}])))

    assert not isinstance(found, ExpressionFailure)
    assert as_json(one.call.render(FixedFacts(payload(ORDER), index=0, item=found[0]))) == {
        "items": [{"sku": "b", "qty": 2}]
    }


def test_others_read_the_replies_and_how_many_there_are() -> None:
    made = plan(
        steps={"many": {**READ, "for_each": "${input.items}"}},
        output={
            "all": "${steps.many.replies}",
            "ids": "${steps.many.replies.map(r, r.receipt_id)}",
            "good": "${steps.many.applied_count}",
            "bad": "${steps.many.failed_count}",
        },
    )
    replies = [payload(RECEIPT, receipt_id="r-1"), payload(RECEIPT, receipt_id="r-2")]
    assert made.output is not None

    found = made.output(FixedFacts(payload(ORDER), many={"many": replies}, failed={"many": 3}))

    assert as_json(found) == {
        "all": [{"receipt_id": "r-1"}, {"receipt_id": "r-2"}],
        "ids": ["r-1", "r-2"],
        "good": 2.0,
        "bad": 3.0,
    }


def test_a_list_may_be_gone_through_again() -> None:
    made = plan(
        steps={
            "many": {**READ, "for_each": "${input.items}"},
            "more": {**READ, "for_each": "${steps.many.replies}", "request": {"order_id": "${item.receipt_id}"}},
        }
    )
    more = made.steps[StepId("more")]
    assert more.for_each is not None
    assert more.needs == {"many"}

    items = more.for_each.items(FixedFacts(payload(ORDER), many={"many": [payload(RECEIPT, receipt_id="r-1")]}))

    assert not isinstance(items, ExpressionFailure)
    assert as_json(more.call.render(FixedFacts(payload(ORDER), index=0, item=items[0]))) == {"order_id": "r-1"}


def test_reading_one_field_of_a_large_input_does_not_cost_all_of_it() -> None:
    fields: JsonValue = {"order_id": "${input.order_id}-${index}", "count": "${size(input.tags) + index}"}
    one = step(kind="read", for_each="${input.items}", request=fields)
    given: JsonValue = [{"sku": f"s{index}"} for index in range(50_000)]
    input_ = payload(ORDER, order_id="o", tags=["a"], items=given)

    began = time.process_time()
    found = [one.call.render(FixedFacts(input_, index=index)) for index in range(1_000)]
    took_s = time.process_time() - began

    assert as_json(found[-1]) == {"order_id": "o-999", "count": 1_000}
    assert took_s < 1.0  # whole, a thousand copies of it take ten


_READS = [
    "input.order_id",
    "has(input.note) ? input.note + '!' : 'none'",
    "has(input.money) ? input.money.currency : string(has(input.due))",
    "input.items.exists(i, i.qty < input.count) ? input.order_id : ''",
    "input.tags.map(t, t + input.order_id).join(',')",
    "{'a': input.order_id}['a'] + ([input.status][0] == 2 ? 'x' : 'y')",
    "input.words['w'] + string(input.counts.size())",
    "input == input ? input.order_id : ''",
    "string(input.total) + string(input.raw)",
    "input.extra.k[2] + string(input.anything.deep)",
    "string(input.limit) + string(input.placed_at) + string(input.lasting)",
]


@pytest.mark.parametrize("source", _READS)
def test_an_expression_gives_the_same_of_a_large_message_as_of_a_small_one(source: str) -> None:
    one = step(kind="read", request={"order_id": f"${{{source}}}"})
    small = {**GIVEN, "extra": {"k": [1, None, "x"]}}
    large = {**small, "history": ["2026-01-01T00:00:00Z"] * 1_000}

    first, second = (as_json(one.call.render(FixedFacts(payload(ORDER, **given)))) for given in (small, large))

    assert first == second != {}
    assert payload(ORDER, **small).size_bytes < WHOLE_BYTES_MAX < payload(ORDER, **large).size_bytes


def test_json_is_read_key_by_key_too() -> None:
    made = plan(
        input="json", steps={"one": {**READ, "request": {"order_id": "${has(input.no) ? 'a' : input.name + 'x'}"}}}
    )
    struct = struct_pb2.Struct()
    struct.update({"name": "n", "rows": ["x"] * 5_000})

    facts = FixedFacts(Payload("google.protobuf.Struct", struct.SerializeToString()))
    assert as_json(made.steps[StepId("one")].call.render(facts)) == {"order_id": "nx"}
