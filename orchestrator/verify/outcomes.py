"""What the wire said of forward calls, read again from the reports: a second opinion on what the machine made of it.

Two things follow from a call that may have been applied, whatever was recorded as its outcome: it is not made again
where that is not safe (I13), and its step does not end as one that was not applied (I18), which nobody would undo.
"""

from collections.abc import Iterator

from orchestrator.saga.events import (
    FOUND,
    AttemptSettled,
    OperatorActed,
    Phase,
    Report,
    RetryScheduled,
    SettleReason,
    StepReopened,
    Verb,
)
from orchestrator.saga.plan import CHILD_TARGET, Call, Operation, Outcome, OutcomeProfile, Step, StepKind
from orchestrator.verify.findings import Violation
from orchestrator.verify.stream import Life, Stream

_JUDGED = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"})
"""The application has looked at the request and said no (R6)."""
_GATES = frozenset({"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
_TOLD = frozenset({SettleReason.PROBED, SettleReason.RESOLVED})
"""Somebody was asked what became of the call."""


def may_stand(step: Step, call: Call, event: AttemptSettled) -> bool:
    """Return whether a forward attempt may have taken effect (R5 to R9), by its report alone."""
    report = event.report
    if report.phase is Phase.NOT_SENT and report.code != "DATA_LOSS":
        return False
    if report.code == "OK":
        # A reply may mean no, or name an operation that fails; what was made of it is in the records after.
        return step.refuse is None and step.awaits is None
    if report.phase is not Phase.LOST and report.code != "DATA_LOSS" and report.applied is not None:
        return report.applied
    if _is_ongoing(call, report):
        return True
    judged = report.code in _JUDGED or report.code == "ABORTED" or (report.code in _GATES and _is_replied(report))
    return event.outcome is Outcome.APPLIED if judged else True


def _is_ongoing(call: Call, report: Report) -> bool:
    """Return whether a service says, in DTM's way, that it is still at it."""
    return call.profile is OutcomeProfile.DTM and report.code == "FAILED_PRECONDITION"


def _is_replied(report: Report) -> bool:
    return report.phase is Phase.REPLIED


def what_may_stand_is_not_repeated(stream: Stream) -> Iterator[Violation | int]:
    """I13, the orchestrator's half (R8, R8a): unless somebody has found out that it did not take place."""
    for life in stream.every_life():
        opened = life.opened.get(Operation.FORWARD, [])
        call = stream.call_of(life.path, Operation.FORWARD) if len(opened) > 1 else None
        if call is None:
            continue
        yield len(opened) - 1
        step = stream.plan.step_of(life.path)
        if step.kind is StepKind.READ or call.idempotent or call.repeatable or step.poll is not None:
            continue
        ends = life.settled.get(Operation.FORWARD, [])
        doubts = [at for at, event in ends if may_stand(step, call, event) and not _is_willing(call, event.report)]
        known = [at for at, event in life.renewed if _settles_doubt(event)]
        for version, event in opened[1:]:
            before = [at for at in doubts if at < version and not any(at < found < version for found in known)]
            if before:
                message = f"attempt {event.attempt} of {life.path} was sent, and one before it may have been applied"
                yield stream.broken("I13", message, *before, version)


def _is_willing(call: Call, report: Report) -> bool:
    """Return whether the author, or the service, wants to be asked again after such an end (R8)."""
    if _is_ongoing(call, report):
        return True
    pushback = report.retry_after_s is not None
    transient = report.code == "UNAVAILABLE" or (report.code == "RESOURCE_EXHAUSTED" and pushback)
    return call.retry.explicit and (transient or report.phase is Phase.LOST)


def _settles_doubt(event: RetryScheduled | StepReopened) -> bool:
    """Return whether somebody knows better: a probe or a look at the operation, or a person who says try again."""
    if isinstance(event, StepReopened):
        return event.operation is Operation.FORWARD
    return event.reason == FOUND[Outcome.NOT_APPLIED]


def what_may_stand_is_not_forgotten(stream: Stream) -> Iterator[Violation | int]:
    """I18, the other way round (R8a): an earlier doubt is settled by no later answer but a keyed method's judgement."""
    for life in stream.every_life():
        call = stream.call_of(life.path, Operation.FORWARD)
        ends = life.settled.get(Operation.FORWARD)
        if call is None or not ends or not life.ended:
            continue
        yield 1
        step = stream.plan.step_of(life.path)
        version, event = life.ended[0]
        told = event.outcome is not Outcome.NOT_APPLIED or event.reason in _TOLD or step.awaits is not None
        brought = event.reason is SettleReason.REFUSED and Operation.PROBE in life.settled  # a reply that meant no
        if told or brought or step.kind is StepKind.READ or call.target == CHILD_TARGET:
            continue
        since = _known_from(stream, life)
        doubts = [at for at, attempt in ends if since < at < version and may_stand(step, call, attempt)]
        if doubts and not (call.idempotent and _judges(step, call, ends[-1][1].report)):
            message = f"{life.path} ended as NOT_APPLIED, and a call of it may have been applied"
            yield stream.broken("I18", message, *doubts, version)


def _known_from(stream: Stream, life: Life) -> int:
    """Return from when on nothing of before is in doubt."""
    known = [at for at, event in life.renewed if isinstance(event, RetryScheduled) and _settles_doubt(event)]
    known += [at for at, event in life.renewed if isinstance(event, StepReopened) and event.as_new]
    known += [at for at, event in stream.acted if event.step == life.path and _denies(event)]
    return max(known, default=0)


def _denies(event: OperatorActed) -> bool:
    return event.verb is Verb.RESOLVE and event.outcome is Outcome.NOT_APPLIED


def _judges(step: Step, call: Call, report: Report) -> bool:
    """Return whether an answer is one that a method which keeps keys would not give after it had done the work."""
    if report.code == "OK":
        return step.refuse is not None
    if call.profile is OutcomeProfile.DTM:
        return _is_replied(report) and report.code in (_JUDGED - {"FAILED_PRECONDITION"}) | {"ABORTED"}
    return _is_replied(report) and report.code in _JUDGED
