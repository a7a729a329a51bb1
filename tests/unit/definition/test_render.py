"""What expressions give for recorded facts: replies, statuses, attributes, output."""

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from orchestrator.ids import StepId
from orchestrator.limits import ATTRIBUTE_CHARS_MAX
from orchestrator.saga.plan import ExpressionFailure
from orchestrator.values import Payload
from tests.unit.definition.probe import (
    CANCEL,
    GIVEN,
    ORDER,
    PLACE,
    RECEIPT,
    as_json,
    payload,
    plan,
    rendered,
)
from tests.unit.definition.world import FixedFacts

FIRST, SECOND = StepId("first"), StepId("second")


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
        "steps.first.when (input.x): a condition is a bool, this gave a number"
    )
    assert step.reason(given) == ExpressionFailure("steps.first.reason (${input.x}): a text is needed, not a number")


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
        ("${1.0 / 0.0}", {}, "attributes.a: an attribute is a number of at most 64 bits, this gave another"),
        ("${-0.0 / 0.0}", {}, "attributes.a: an attribute is a number of at most 64 bits, this gave another"),
        ("${9223372036854775808u}", {}, "attributes.a: an attribute is a number of at most 64 bits, this gave another"),
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
    assert made.output(done) == ExpressionFailure("output: the number is too large for a JSON number")
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
