"""What each kind of step becomes in the plan, and what its functions give."""

import pytest
from google.longrunning import operations_pb2
from google.protobuf import struct_pb2
from google.protobuf.any_pb2 import Any
from google.rpc import status_pb2
from pydantic import JsonValue

from orchestrator.definition.descriptors import Types
from orchestrator.ids import StepId
from orchestrator.saga.plan import (
    Answer,
    ExpressionFailure,
    OnFailure,
    Outcome,
    Plan,
    Scope,
    Sleep,
    Step,
    StepKind,
    Wait,
)
from orchestrator.values import Payload
from tests.unit.definition.desk import Desk
from tests.unit.definition.probe import CANCEL, ORDER, PLACE, RECEIPT, payload, plan, source
from tests.unit.definition.world import FixedFacts

READ: dict[str, JsonValue] = {"call": PLACE, "kind": "read"}
EMPTY = FixedFacts(payload(ORDER))


def step(**keys: JsonValue) -> Step:
    """Return the plan of one step that calls the shop."""
    made = plan(steps={"one": {"call": PLACE, **keys}})
    return made.steps[StepId("one")]


# --- failure, pivot, probe -------------------------------------------------------------------------------------------


def test_what_follows_a_failure_is_said_by_the_innermost_scope() -> None:
    inner: JsonValue = {"scope": {"steps": {"deep": READ}, "on_failure": "ask"}}
    outer: JsonValue = {"scope": {"steps": {"inner": inner, "near": READ}}, "else": {"instead": READ}}
    made = plan(steps={"first": READ, "outer": outer}, on_failure="retry")

    assert {name: each.on_failure for name, each in made.steps.items()} == {
        "first": OnFailure.RETRY,
        "outer": OnFailure.RETRY,
        "inner": OnFailure.RETRY,
        "deep": OnFailure.ASK,
        "near": OnFailure.RETRY,
        "instead": OnFailure.RETRY,
    }


def test_kinds_reach_the_plan() -> None:
    steps: JsonValue = {
        "pay": {"call": PLACE, "kind": "pivot"},
        "ship": {"call": PLACE, "kind": "retriable", "after": ["pay"]},
        "rest": {"sleep": "1s", "after": ["pay"]},
    }
    made = plan(steps=steps)

    assert [each.kind for each in made.steps.values()] == [StepKind.PIVOT, StepKind.RETRIABLE, StepKind.READ]
    assert made.pivot == "pay"


def test_a_probe_of_the_same_type_is_the_reply() -> None:
    probe = step(compensate="none", probe={"call": PLACE, "applied": "${reply.ok}"}).probe
    assert probe is not None
    found = payload(RECEIPT, receipt_id="r-1", ok=True)

    assert probe.read(FixedFacts(payload(ORDER), own_reply=found)) == Answer(outcome=Outcome.APPLIED, reply=found)
    refused = FixedFacts(payload(ORDER), own_reply=payload(RECEIPT))
    assert probe.read(refused) == Answer(outcome=Outcome.NOT_APPLIED)
    assert isinstance(probe.read(EMPTY), ExpressionFailure)
    retry = probe.call.retry
    assert (retry.max_attempts, retry.initial_backoff_s, retry.max_backoff_s) == (10, 0.2, 30.0)


def test_a_probe_of_another_type_knows_the_reply_where_it_is_said_how() -> None:
    silent = step(compensate="none", probe={"call": CANCEL, "applied": "true"}).probe
    told = step(
        compensate="none", probe={"call": CANCEL, "applied": "true", "reply": {"receipt_id": "${input.order_id}"}}
    ).probe
    assert silent is not None
    assert told is not None
    facts = FixedFacts(payload(ORDER, order_id="o-1"), own_reply=Payload("google.protobuf.Empty", b""))

    assert silent.read(facts) == Answer(outcome=Outcome.APPLIED)
    answer = told.read(facts)
    assert isinstance(answer, Answer)
    assert answer.reply == payload(RECEIPT, receipt_id="o-1")


def test_an_undo_made_of_the_reply_is_fine_where_a_probe_may_know_it() -> None:
    undo: JsonValue = {"call": CANCEL, "request": {"receipt_id": "${reply.receipt_id}"}}
    one = step(compensate=undo, probe={"call": PLACE, "applied": "reply.ok"})

    assert one.compensation is not None
    assert one.compensation.reads_reply


# --- sleep, wait -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600.0),
        ("${duration('90s')}", 90.0),
        ("${input.count}", 3.0),
        ("${input.price}", 2.5),
        ("${input.lasting}", 1.5),
        ("${input.anything}", 7.0),
    ],
)
def test_a_sleep_is_a_duration_or_a_number_of_seconds(text: str, seconds: float) -> None:
    made = plan(steps={"nap": {"sleep": text}})
    body = made.steps[StepId("nap")].body
    assert isinstance(body, Sleep)

    facts = FixedFacts(payload(ORDER, count=3, price=2.5, lasting="1.5s", anything=7))
    assert body.duration(facts) == seconds


def test_a_sleep_that_cannot_be_told_says_so() -> None:
    made = plan(steps={"nap": {"sleep": "${input.anything}"}})
    body = made.steps[StepId("nap")].body
    assert isinstance(body, Sleep)

    found = body.duration(FixedFacts(payload(ORDER, anything=True)))
    assert isinstance(found, ExpressionFailure)
    assert "a duration or a number of seconds is needed, not a boolean" in found.message


def test_what_a_sleep_reads_has_run_before() -> None:
    made = plan(steps={"first": READ, "nap": {"sleep": "${steps.first.reply.order.count}"}})

    assert made.steps[StepId("nap")].needs == {"first"}


def test_a_wait_has_a_type_and_its_payload_is_its_reply() -> None:
    steps: JsonValue = {
        "go": {"wait": {"signal": "go", "type": "shop.v1.Receipt", "timeout": "1d"}},
        "free": {"wait": {"signal": "free", "type": "json"}},
        "then": {**READ, "request": {"order_id": "${steps.go.reply.receipt_id}"}},
    }
    made = plan(steps=steps)

    assert made.steps[StepId("go")].body == Wait(signal="go", type_name=RECEIPT, timeout_s=86_400.0)
    assert made.signals == {"go": RECEIPT, "free": "google.protobuf.Struct"}
    assert made.steps[StepId("then")].needs == {"go"}
    assert made.forward_s == 3_600.0 + 86_400.0


def test_the_default_deadline_grows_by_all_that_is_slept_and_waited() -> None:
    steps: JsonValue = {
        "nap": {"sleep": "1h"},
        "dream": {"sleep": "${input.count}"},
        "part": {"scope": {"steps": {"rest": {"sleep": "30m"}}}},
    }
    assert plan(steps=steps).forward_s == 3_600.0 + 3_600.0 + 1_800.0
    assert plan(steps=steps, deadline={"forward": "2h"}).forward_s == 7_200.0


# --- polls and operations --------------------------------------------------------------------------------------------


def test_a_poll_has_a_pause_and_an_end() -> None:
    poll = step(kind="read", until="reply.ok", at_most="1h").poll
    assert poll is not None

    assert (poll.every_s, poll.at_most_s) == (5.0, 3_600.0)
    assert poll.until(FixedFacts(payload(ORDER), own_reply=payload(RECEIPT, ok=True))) is True


async def test_what_was_declared_idempotent_when_it_was_kept_stays_so(desk: Desk) -> None:
    steps: JsonValue = {
        "put": {"call": "stock/stock.v1.Stock/Put", "compensate": "none", "until": "reply.sku != ''", "at_most": "1h"}
    }
    kept = await desk.keep(source(steps=steps, targets=["stock"], input="stock.v1.Amount"))
    desk.methods.sets = {}

    assert (await desk.fresh().plan("probe", kept.revision)).steps[StepId("put")].poll is not None


async def _jobs(desk: Desk, **keys: JsonValue) -> Plan:
    steps: JsonValue = {"run": {"call": "jobs/jobs.v1.Jobs/Run", "compensate": "none", **keys}}
    output: JsonValue = {"result": "${steps.run.reply.result_id}"}
    await desk.keep(source(steps=steps, targets=["jobs"], input="jobs.v1.Job", output=output))
    return await desk.revisions.plan("probe")


def _operation(**fields: object) -> FixedFacts:
    operation = operations_pb2.Operation(name="operations/7", **fields)
    data = operation.SerializeToString()
    return FixedFacts(Payload("jobs.v1.Job", b""), own_reply=Payload("google.longrunning.Operation", data))


async def test_an_operation_is_asked_about_and_can_be_cancelled(desk: Desk) -> None:
    run = (await _jobs(desk, poll="250ms")).steps[StepId("run")]
    awaits = run.awaits
    assert awaits is not None
    assert awaits.stop is not None

    assert run.call.reply_type == "google.longrunning.Operation"
    assert awaits.every_s == 0.25
    assert (awaits.call.target, awaits.call.method) == ("jobs", "google.longrunning.Operations/GetOperation")
    assert (awaits.call.idempotent, awaits.call.retry.max_attempts) == (True, 0)
    assert awaits.stop.method == "google.longrunning.Operations/CancelOperation"
    asked, cancelled = awaits.call.render(_operation()), awaits.stop.render(_operation())
    assert isinstance(asked, Payload)
    assert isinstance(cancelled, Payload)
    assert operations_pb2.GetOperationRequest.FromString(asked.data).name == "operations/7"
    assert operations_pb2.CancelOperationRequest.FromString(cancelled.data).name == "operations/7"
    assert desk.revisions.to_json(await desk.revisions.plan("probe"), asked) == {"name": "operations/7"}


async def test_what_an_answer_says_about_an_operation(desk: Desk) -> None:
    awaits = (await _jobs(desk)).steps[StepId("run")].awaits
    assert awaits is not None
    result = Any(type_url="type.googleapis.com/jobs.v1.Result", value=b"\n\x03r-1")
    other = Any(type_url="type.googleapis.com/jobs.v1.Job", value=b"")
    failed = status_pb2.Status(code=9, message="no")
    odd = status_pb2.Status(code=99)

    assert awaits.read(_operation()) == Answer(outcome=None)
    assert awaits.read(_operation(done=True, response=result)) == Answer(
        outcome=Outcome.APPLIED, reply=Payload("jobs.v1.Result", b"\n\x03r-1")
    )
    assert awaits.read(_operation(done=True, error=failed)) == Answer(
        outcome=Outcome.NOT_APPLIED, code="FAILED_PRECONDITION", message="no"
    )
    assert awaits.read(_operation(done=True, error=odd)) == Answer(outcome=Outcome.NOT_APPLIED, code="UNKNOWN")
    for wrong in (_operation(done=True, response=other), _operation(done=True), EMPTY):
        assert isinstance(awaits.read(wrong), ExpressionFailure)
    assert isinstance(awaits.call.render(EMPTY), ExpressionFailure)


async def test_an_operations_response_is_pinned_and_read_as_the_reply(desk: Desk) -> None:
    made = await _jobs(desk, refuse="reply.result_id == ''")
    desk.methods.sets = {}
    again = await desk.fresh().plan("probe", made.revision)
    assert again.output is not None

    found = again.output(
        FixedFacts(Payload("jobs.v1.Job", b""), replies={"run": Payload("jobs.v1.Result", b"\n\x03r-1")})
    )
    struct = struct_pb2.Struct()
    struct.update({"result": "r-1"})
    assert isinstance(found, Payload)
    assert struct_pb2.Struct.FromString(found.data) == struct


# --- scopes ----------------------------------------------------------------------------------------------------------


def test_edges_that_cross_a_scope_are_the_scopes() -> None:
    def calls(**keys: JsonValue) -> JsonValue:
        return {"call": PLACE, "kind": "read", **keys}

    inner: JsonValue = {"scope": {"steps": {"deep": calls(request={"order_id": "${steps.first.reply.receipt_id}"})}}}
    steps: JsonValue = {
        "first": calls(),
        "second": calls(),
        "outer": {
            "scope": {
                "steps": {"near": calls(after=["second"]), "inner": inner, "last": calls(after=["deep"])},
                "timeout": "5m",
            },
            "else": {
                "instead": calls(when="steps.near.applied"),
                "more": calls(after=["instead", "near"]),
            },
        },
        "reader": calls(request={"note": "${steps.deep.applied ? steps.deep.reply.receipt_id : ''}"}),
        "other": calls(after=["instead"]),
    }
    made = plan(steps=steps)

    assert {name: set(each.needs) for name, each in made.steps.items()} == {
        "first": set(),
        "second": set(),
        "outer": {"first", "second"},
        "near": set(),
        "inner": set(),
        "deep": set(),
        "last": {"inner"},
        "instead": set(),
        "more": {"instead"},
        "reader": {"outer"},
        "other": {"outer"},
    }
    assert made.steps[StepId("outer")].body == Scope(
        steps=(StepId("near"), StepId("inner"), StepId("last")),
        otherwise=(StepId("instead"), StepId("more")),
        timeout_s=300.0,
    )
    assert {name: each.scope for name, each in made.steps.items() if each.scope} == {
        "near": "outer",
        "inner": "outer",
        "deep": "inner",
        "last": "outer",
        "instead": "outer",
        "more": "outer",
    }


def test_types_are_known_that_no_service_describes() -> None:
    assert Types(b"").message("google.longrunning.GetOperationRequest") is not None
    assert Types(b"").message("google.longrunning.Operation") is None
