"""What release 0.2 added to the record format, each record with every field set once and left out once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from orchestrator.ids import SagaId, StepId
from orchestrator.saga.events import (
    POLL,
    AttemptOpened,
    AttemptSettled,
    AttentionCleared,
    AttentionRaised,
    AttentionReason,
    CancelRequested,
    Cause,
    CauseKind,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    Parent,
    Phase,
    Report,
    RetryScheduled,
    RollbackBegan,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SagaTerminated,
    SettleReason,
    SignalReceived,
    SkipReason,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepsReset,
    StepStuck,
    StepUndone,
    Verb,
)
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.values import Payload, TraceContext

AT = 1_795_242_600.25
RESERVE, ITEM, TRIP, FLIGHT, LOAD, PAY = map(StepId, ("reserve", "reserve[17]", "trip", "flight", "load", "pay"))
APPROVAL = StepId("approval")
SENDER = TraceContext(trace_id=0x4BF92F3577B34DA6A3CE929D0E0E4736, span_id=0x00F067AA0BA902B7, sampled=True)
PARENT = Parent(
    saga_id=SagaId("trip-1"), uid=UUID("6f1c4a2e-0000-4000-8000-000000000001"), step=StepId("book"),
    trace_id=0x6F1C4A2E000040008000000000000001, span_id=0x0102030405060708,
)  # fmt: skip
BROKE = Cause(kind=CauseKind.STEP_FAILED, message="sold out", step=FLIGHT, code="FAILED_PRECONDITION", reason="REPLIED")


def payload(kind: str, data: bytes) -> Payload:
    return Payload(f"shop.v1.{kind}", data)


def started(saga: str, parent: Parent | None = None) -> SagaStarted:
    return SagaStarted(
        at=AT, saga_id=SagaId(saga), uid=UUID("0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d10"), definition="shop",
        revision="5d41402abc4b", input=payload("Order", b"\x0a\x01x"), attributes={}, request_id="",
        forward_deadline_at=AT + 3_600, compensation_s=300.0, trace=SENDER, parent=parent,
    )  # fmt: skip


def call(
    step: StepId, operation: Operation = Operation.FORWARD, *, attempt: int = 1, manual_epoch: int = 0
) -> list[Event]:
    opened = AttemptOpened(
        at=AT, step=step, operation=operation, attempt=attempt, epoch=3, key="9a7b330a-a736-51e5-8f09-6a5c3c7b6a1d",
        request=payload("Request", b"\x08\x01"), deadline_at=AT + 10, manual_epoch=manual_epoch,
    )  # fmt: skip
    report = Report(code="OK", phase=Phase.REPLIED, reply=payload("Reply", b"\x08\x02"), sent_at=AT, ended_at=AT + 0.5)
    settled = AttemptSettled(
        at=AT + 0.5, step=step, operation=operation, attempt=attempt, opened_at=AT, outcome=Outcome.APPLIED,
        report=report,
    )  # fmt: skip
    return [opened, settled]


def ended(phase: Phase) -> AttemptSettled:
    return AttemptSettled(
        at=AT, step=PAY, operation=Operation.FORWARD, attempt=1, opened_at=AT, outcome=Outcome.UNKNOWN,
        report=Report(code="UNAVAILABLE", phase=phase),
    )  # fmt: skip


def done(step: StepId, reason: SettleReason, reply: Payload | None = None) -> StepSettled:
    return StepSettled(
        at=AT + 1, step=step, started_at=AT, outcome=Outcome.APPLIED, reason=reason, code="OK", message="",
        undo_request=None, reply=reply,
    )  # fmt: skip


def acted(verb: Verb, step: StepId | None = None, **more: object) -> OperatorActed:
    return OperatorActed(at=AT + 2, verb=verb, by="ada@example.org", reason="the shop called", step=step, **more)  # type: ignore[arg-type]  # its own fields


def failed(step: StepId, reason: SettleReason) -> StepSettled:
    return replace(done(step, reason), outcome=Outcome.NOT_APPLIED, code="FAILED_PRECONDITION", message="sold out")


JOURNALS: Mapping[str, Sequence[Event]] = {
    "every_shape": [
        started("order-1"),
        StepBegan(at=AT, step=StepId("pause"), due_at=AT + 5, count=None),
        StepBegan(at=AT, step=RESERVE, due_at=None, count=100_000),
        *call(ITEM),
        done(ITEM, SettleReason.REPLIED),
        failed(StepId("reserve[99999]"), SettleReason.ITEM_FAILED),
        SignalReceived(at=AT, signal="approved", request_id="r-1", payload=payload("Approval", b""), trace=SENDER),
        SignalReceived(at=AT, signal="approved", request_id="r-2", payload=payload("Approval", b"\x08\x01")),
        done(APPROVAL, SettleReason.DONE, payload("Approval", b"\x08\x01")),
        failed(StepId("late"), SettleReason.TIMED_OUT),
        RollbackBegan(at=AT, step=TRIP, steps=(FLIGHT, StepId("hotel")), cause=BROKE),
        StepUndone(at=AT, step=FLIGHT, started_at=AT, nothing_to_undo=False),
        ElseBegan(at=AT, step=TRIP),
        failed(TRIP, SettleReason.SCOPE_FAILED),
        *call(LOAD),
        *call(LOAD, Operation.AWAIT),
        RetryScheduled(at=AT, step=LOAD, operation=Operation.AWAIT, due_at=AT + 1, parked=False, reason=POLL),
        *call(LOAD, Operation.STOP),
        done(LOAD, SettleReason.REPLIED, payload("Loaded", b"\x08\x03")),
        *call(PAY, Operation.PROBE),
        done(PAY, SettleReason.PROBED, payload("Paid", b"\x08\x04")),
        SagaCompleted(at=AT + 9, started_at=AT, output=None),
    ],
    "repaired": [
        started("order-2"),
        StepStuck(
            at=AT, step=PAY, operation=Operation.FORWARD, reason=AttentionReason.OUTCOME_UNKNOWN, message="no answer"
        ),
        AttentionRaised(at=AT, reason=AttentionReason.FAILED, step=PAY, message="it failed"),
        AttentionRaised(at=AT, reason=AttentionReason.EXPRESSION_FAILED, step=PAY, message="no such field"),
        AttentionRaised(at=AT, reason=AttentionReason.RETRYING, step=PAY, message="ten times"),
        acted(Verb.RETRY, PAY, operation=Operation.FORWARD),
        StepReopened(at=AT, step=PAY, operation=Operation.FORWARD),
        acted(Verb.OVERRIDE_REQUEST, PAY, operation=Operation.FORWARD),
        StepReopened(
            at=AT, step=PAY, operation=Operation.FORWARD, request=payload("Request", b"\x08\x09"), as_new=True
        ),
        *call(PAY, attempt=2, manual_epoch=1),
        acted(Verb.RESOLVE, PAY, operation=Operation.FORWARD, outcome=Outcome.APPLIED),
        done(PAY, SettleReason.RESOLVED, payload("Paid", b"\x08\x04")),
        acted(Verb.SKIP, APPROVAL),
        StepSkipped(at=AT, step=APPROVAL, reason=SkipReason.OPERATOR),
        AttentionCleared(at=AT),
        acted(Verb.PAUSE),
        acted(Verb.RESUME),
        acted(Verb.RERUN, TRIP),
        RollbackBegan(at=AT, step=TRIP, steps=(TRIP, FLIGHT), cause=replace(BROKE, kind=CauseKind.OPERATOR)),
        failed(FLIGHT, SettleReason.STOPPED),
        StepsReset(at=AT, step=TRIP, steps=(TRIP, FLIGHT)),
        StepLeft(at=AT, step=ITEM),
        acted(Verb.FORCE_COMPLETE),
        SagaCompleted(at=AT + 9, started_at=AT, output=payload("Receipt", b"")),
    ],
    "terminated": [
        started("order-3"),
        acted(Verb.TERMINATE),
        SagaTerminated(at=AT + 3, started_at=AT, left=(PAY, ITEM)),
    ],
    "terminated_with_nothing_left": [
        started("order-4"),
        CancelRequested(at=AT, reason="waits for the pivot"),
        acted(Verb.TERMINATE),
        SagaTerminated(at=AT + 3, started_at=AT, left=()),
    ],
    "child_undone_after_its_end": [
        started("trip-1-book", PARENT),
        SagaCompleted(at=AT + 1, started_at=AT, output=None),
        CompensationBegan(
            at=AT + 60, cause=Cause(kind=CauseKind.PARENT, message="undone by its parent"), deadline_at=AT + 360
        ),
        *call(ITEM, Operation.COMPENSATE),
        StepUndone(at=AT + 61, step=ITEM, started_at=AT + 60, nothing_to_undo=False),
        SagaCompensated(at=AT + 61, started_at=AT, compensation_began_at=AT + 60, undone_count=1),
    ],
    "linked": [
        started("trip-2-book", PARENT),
        acted(Verb.PAUSE, trace=SENDER),
        acted(Verb.RESUME, trace=replace(SENDER, sampled=False, state="vendor=1")),
        CancelRequested(at=AT, reason="the shop called", trace=SENDER),
        CompensationBegan(at=AT, cause=replace(BROKE, kind=CauseKind.PARENT), deadline_at=AT + 300, trace=SENDER),
        SagaCompensated(at=AT, started_at=AT, compensation_began_at=AT, undone_count=0),
    ],
    "every_word": [
        started("order-5"),
        *(failed(PAY, reason) for reason in SettleReason),
        *(replace(done(PAY, SettleReason.UNANSWERED), outcome=outcome) for outcome in Outcome),
        *(StepSkipped(at=AT, step=PAY, reason=reason) for reason in SkipReason),
        *(AttentionRaised(at=AT, reason=reason, step=None, message="") for reason in AttentionReason),
        *(CompensationBegan(at=AT, cause=replace(BROKE, kind=kind), deadline_at=AT) for kind in CauseKind),
        *(ended(phase) for phase in Phase),
    ],
}
