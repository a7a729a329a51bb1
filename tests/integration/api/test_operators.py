"""OperatorService over loopback: each verb does its work, leaves its entry, tries without changing, and refuses."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2, json_format

from orchestrator.saga.events import Phase, Report
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.refusals import refused, struct
from tests.integration.api.rig import Rig, json_payload, running
from tests.integration.api.test_signals import start, until

ANN = (("x-operator", "ann"),)
LOST = Report(code="UNAVAILABLE", phase=Phase.SENT, message="the connection was reset")
STUCK, PENDING = pb.STEP_STATUS_STUCK, pb.STEP_STATUS_PENDING


async def undo_refused(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    """`a` and `b` are applied, `c` fails, and `b` is not undone because the service refuses."""
    rig.hands.refuse("c", "undo_b")
    await rig.sagas.StartSaga(start("trip", saga_id, json=struct(n=1)))
    return await until(rig, saga_id, "b", STUCK)


async def undo_unknown(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    """`a` may have been applied, and its undo needs the reply that was lost."""
    rig.hands.answers["a"] = [LOST]
    await rig.sagas.StartSaga(start("lossy", saga_id))
    return await until(rig, saga_id, "a", STUCK)


async def pivot_unknown(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    """Nobody knows whether the pivot was applied."""
    rig.hands.answers["p"] = [LOST]
    await rig.sagas.StartSaga(start("payment", saga_id))
    return await until(rig, saga_id, "p", STUCK)


async def asking(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    """`b` failed, and its definition says that a person is asked."""
    rig.hands.refuse("b")
    await rig.sagas.StartSaga(start("asking", saga_id, json=struct(n=1)))
    return await until(rig, saga_id, "b", STUCK)


async def napping(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    """`a` is applied, and an hour has to pass."""
    await rig.sagas.StartSaga(start("night", saga_id))
    return await until(rig, saga_id, "nap", pb.STEP_STATUS_WAITING)


async def ended(rig: Rig, saga_id: str = "s-1") -> pb.Saga:
    return (await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id=saga_id, view=pb.SAGA_VIEW_STEPS))).saga


def status(saga: pb.Saga, step: str) -> str:
    return next(pb.StepStatus.Name(each.status) for each in saga.steps if each.step == step).removeprefix(
        "STEP_STATUS_"
    )


Verb = Callable[[Rig, pb.Saga, bool], Awaitable[Any]]


def verb(method: str, request: type[Any], **more: Any) -> Verb:
    """A verb about `s-1`, with the etag of the saga as it was looked at."""

    def call(rig: Rig, saga: pb.Saga, validate_only: bool) -> Awaitable[Any]:
        asked = request(saga_id="s-1", reason="the desk says so", etag=saga.etag, validate_only=validate_only, **more)
        asked.view = pb.SAGA_VIEW_STEPS
        done: Awaitable[Any] = getattr(rig.operators, method)(asked, metadata=ANN)
        return done

    return call


APPLIED, NOT_APPLIED = pb.STEP_OUTCOME_APPLIED, pb.STEP_OUTCOME_NOT_APPLIED
retry = verb("RetryStep", op.RetryStepRequest, step="b")
CASES: list[tuple[str, Callable[..., Awaitable[pb.Saga]], Verb, str, dict[str, str]]] = [
    ("RETRY", undo_refused, retry, "COMPENSATED", {"b": "UNDONE", "a": "UNDONE"}),
    (
        "RETRY",
        undo_refused,
        verb("RetryStep", op.RetryStepRequest, step="b", as_new=True),
        "COMPENSATED",
        {"b": "UNDONE", "a": "UNDONE"},
    ),
    (
        "RESOLVE",
        undo_refused,
        verb("ResolveStep", op.ResolveStepRequest, step="b", outcome=APPLIED),
        "COMPENSATED",
        {"b": "UNDONE", "a": "UNDONE"},
    ),
    ("SKIP", undo_refused, verb("SkipStep", op.SkipStepRequest, step="b"), "COMPENSATED", {"b": "LEFT", "a": "UNDONE"}),
    (
        "OVERRIDE_REQUEST",
        undo_refused,
        verb("OverrideStepRequest", op.OverrideStepRequestRequest, step="b", json=struct(n=2)),
        "COMPENSATED",
        {"b": "UNDONE", "a": "UNDONE"},
    ),
    (
        "OVERRIDE_REQUEST",
        undo_unknown,
        verb("OverrideStepRequest", op.OverrideStepRequestRequest, step="a", json=struct(n=2)),
        "COMPENSATED",
        {"a": "UNDONE"},
    ),
    (
        "RESOLVE",
        pivot_unknown,
        verb("ResolveStep", op.ResolveStepRequest, step="p", outcome=APPLIED, json=struct(paid=True)),
        "COMPLETED",
        {"p": "APPLIED", "z": "APPLIED"},
    ),
    (
        "RESOLVE",
        pivot_unknown,
        verb("ResolveStep", op.ResolveStepRequest, step="p", outcome=NOT_APPLIED),
        "COMPENSATED",
        {"p": "NOT_APPLIED", "a": "UNDONE"},
    ),
    ("SKIP", asking, verb("SkipStep", op.SkipStepRequest, step="b"), "COMPLETED", {"b": "SKIPPED"}),
    ("RETRY", asking, retry, "COMPLETED", {"b": "APPLIED"}),
    (
        "OVERRIDE_REQUEST",
        asking,
        verb("OverrideStepRequest", op.OverrideStepRequestRequest, step="b", json=struct(n=2)),
        "COMPLETED",
        {"b": "APPLIED"},
    ),
    ("FORCE_COMPLETE", asking, verb("ForceComplete", op.ForceCompleteRequest), "COMPLETED", {"b": "STUCK"}),
    ("TERMINATE", undo_refused, verb("TerminateSaga", op.TerminateSagaRequest), "TERMINATED", {"a": "APPLIED"}),
]


@pytest.mark.parametrize(("word", "stuck", "act", "end", "steps"), CASES)
async def test_a_verb_ends_what_is_stuck_and_leaves_its_entry(
    word: str, stuck: Callable[..., Awaitable[pb.Saga]], act: Verb, end: str, steps: dict[str, str]
) -> None:
    async with running() as rig:
        saga = await stuck(rig)
        assert saga.status == pb.SAGA_STATUS_NEEDS_ATTENTION
        done = await act(rig, saga, False)
        entry = done.audit_entry
        assert (entry.saga_id, entry.verb, entry.by, entry.reason) == ("s-1", word, "ann", "the desk says so")
        assert entry.sequence == int(saga.etag) + 1
        assert done.saga.sequence > saga.sequence
        over = await ended(rig)
        assert pb.SagaStatus.Name(over.status) == f"SAGA_STATUS_{end}"
        assert {name: status(over, name) for name in steps} == steps
        audit = await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest(saga_id="s-1"))
        assert list(audit.entries) == [entry]
        assert list((await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest())).entries) == [entry]


@pytest.mark.parametrize(("word", "stuck", "act", "end", "steps"), CASES)
async def test_a_verb_on_trial_changes_nothing_and_says_what_it_would_leave(
    word: str, stuck: Callable[..., Awaitable[pb.Saga]], act: Verb, end: str, steps: dict[str, str]
) -> None:
    async with running() as rig:
        saga = await stuck(rig)
        calls = len(rig.hands.open)
        done = await act(rig, saga, True)
        assert (done.audit_entry.verb, done.audit_entry.by, done.audit_entry.sequence) == (word, "ann", 0)
        assert done.saga.etag == saga.etag
        assert (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1"))).saga.etag == saga.etag
        assert len(rig.hands.open) == calls
        assert not (await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest(saga_id="s-1"))).entries


@pytest.mark.parametrize(("word", "stuck", "act", "end", "steps"), CASES)
async def test_a_verb_for_another_version_is_refused(
    word: str, stuck: Callable[..., Awaitable[pb.Saga]], act: Verb, end: str, steps: dict[str, str]
) -> None:
    async with running() as rig:
        saga = await stuck(rig)
        saga.etag = str(int(saga.etag) - 1)
        for validate_only in (True, False):
            code, found = await refused(act(rig, saga, validate_only))
            assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "ETAG_MISMATCH")
        assert not (await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest())).entries


async def test_a_pause_holds_what_is_new_and_a_resume_lets_it_go() -> None:
    async with running() as rig:
        rig.hands.held.add("a")
        await rig.sagas.StartSaga(start("trip"))
        await until(rig, "s-1", "a", pb.STEP_STATUS_IN_FLIGHT)
        paused = await rig.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="wait"), metadata=ANN)
        assert paused.saga.paused
        assert paused.audit_entry.verb == "PAUSE"
        rig.hands.settle()
        held = await until(rig, "s-1", "a", pb.STEP_STATUS_APPLIED)
        assert status(held, "b") == "PENDING"
        assert [wait.kind for wait in held.waiting_for] == [pb.SAGA_WAIT_KIND_RESUME]
        again = await rig.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="wait"))
        assert not again.HasField("audit_entry")
        tried = await rig.operators.PauseSaga(op.PauseSagaRequest(saga_id="s-1", reason="wait", validate_only=True))
        assert not tried.HasField("audit_entry")
        resumed = await rig.operators.ResumeSaga(op.ResumeSagaRequest(saga_id="s-1", reason="go"), metadata=ANN)
        assert resumed.audit_entry.verb == "RESUME"
        assert (await ended(rig)).status == pb.SAGA_STATUS_COMPLETED


async def test_a_rerun_undoes_what_lies_after_and_runs_it_again_under_new_keys() -> None:
    async with running() as rig:
        saga = await napping(rig)
        request = op.RerunFromStepRequest(saga_id="s-1", reason="wrong price", step="a", etag=saga.etag)
        done = await rig.operators.RerunFromStep(request, metadata=ANN)
        assert (done.audit_entry.verb, done.audit_entry.step) == ("RERUN", "a")
        after = 0
        while len(rig.hands.called("a")) < 2:
            request_ = rpc.WaitSagaRequest(saga_id="s-1", until=rpc.WAIT_UNTIL_CHANGE, after_sequence=after)
            after = (await rig.sagas.WaitSaga(request_)).saga.sequence
        assert len(rig.hands.called("undo_a")) == 1
        first, second = rig.hands.called("a")
        assert first.key != second.key


async def test_a_resolved_reply_is_what_later_steps_read() -> None:
    async with running() as rig:
        await pivot_unknown(rig)
        typed = json_payload(paid=True)
        message = any_pb2.Any(type_url=f"type.googleapis.com/{typed.type_name}", value=typed.data)
        await rig.operators.ResolveStep(
            op.ResolveStepRequest(saga_id="s-1", reason="the bank says so", step="p", outcome=APPLIED, typed=message)
        )
        await ended(rig)
        saga = (await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="s-1", view=pb.SAGA_VIEW_FULL))).saga
        (step,) = [each for each in saga.steps if each.step == "p"]
        assert (step.settle_reason, json_format.MessageToDict(step.reply.json)) == ("RESOLVED", {"paid": True})


async def test_an_overridden_request_is_what_is_sent_under_a_new_key() -> None:
    async with running() as rig:
        await undo_refused(rig)
        (first,) = rig.hands.called("undo_b")
        await rig.operators.OverrideStepRequest(
            op.OverrideStepRequestRequest(saga_id="s-1", reason="by hand", step="b", json=struct(n=2))
        )
        await ended(rig)
        _, second = rig.hands.called("undo_b")
        assert second.request == json_payload(n=2) != first.request
        assert second.key != first.key


Refused = tuple[Callable[..., Awaitable[pb.Saga]], Verb, str]
REFUSED: list[Refused] = [
    (undo_refused, verb("RetryStep", op.RetryStepRequest, step="x"), "STEP_UNKNOWN"),
    (undo_refused, verb("ResolveStep", op.ResolveStepRequest, step="x", outcome=APPLIED), "STEP_UNKNOWN"),
    (undo_refused, verb("SkipStep", op.SkipStepRequest, step="b[7]"), "STEP_UNKNOWN"),
    (
        undo_refused,
        verb("OverrideStepRequest", op.OverrideStepRequestRequest, step="x", json=struct(n=2)),
        "STEP_UNKNOWN",
    ),
    (undo_refused, verb("RerunFromStep", op.RerunFromStepRequest, step="x"), "STEP_UNKNOWN"),
    (undo_refused, verb("RetryStep", op.RetryStepRequest, step="a"), "STEP_STATE"),
    (undo_refused, verb("SkipStep", op.SkipStepRequest, step="a"), "STEP_STATE"),
    (undo_refused, verb("ResolveStep", op.ResolveStepRequest, step="b", outcome=NOT_APPLIED), "STEP_STATE"),
    (pivot_unknown, verb("SkipStep", op.SkipStepRequest, step="p"), "STEP_STATE"),
    (pivot_unknown, verb("RetryStep", op.RetryStepRequest, step="p", as_new=True), "STEP_STATE"),
    (
        pivot_unknown,
        verb("OverrideStepRequest", op.OverrideStepRequestRequest, step="p", json=struct(n=2)),
        "STEP_STATE",
    ),
    (undo_refused, verb("ForceComplete", op.ForceCompleteRequest), "GOING_BACKWARD"),
    (undo_refused, verb("RerunFromStep", op.RerunFromStepRequest, step="a"), "GOING_BACKWARD"),
    (pivot_unknown, verb("ForceComplete", op.ForceCompleteRequest), "PIVOT_UNDECIDED"),
    (pivot_unknown, verb("RerunFromStep", op.RerunFromStepRequest, step="a"), "PIVOT_UNDECIDED"),
    (napping, verb("SkipStep", op.SkipStepRequest, step="nap"), "STEP_STATE"),
]


@pytest.mark.parametrize(("stuck", "act", "reason"), REFUSED)
async def test_a_verb_that_would_guess_is_refused(
    stuck: Callable[..., Awaitable[pb.Saga]], act: Verb, reason: str
) -> None:
    async with running() as rig:
        saga = await stuck(rig)
        for validate_only in (True, False):
            code, found = await refused(act(rig, saga, validate_only))
            assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
            assert found["PreconditionFailure"].violations[0].type == reason  # type: ignore[attr-defined]  # it is one
        assert not (await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest())).entries


async def test_a_completion_is_not_forced_while_calls_are_in_flight() -> None:
    async with running() as rig:
        rig.hands.held.add("a")
        await rig.sagas.StartSaga(start("trip"))
        await until(rig, "s-1", "a", pb.STEP_STATUS_IN_FLIGHT)
        code, found = await refused(
            rig.operators.ForceComplete(op.ForceCompleteRequest(saga_id="s-1", reason="enough"))
        )
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "CALLS_IN_FLIGHT")
