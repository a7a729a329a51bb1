"""Records of the journal as `SagaEvent`: what callers may read of what happened.

The journal's own messages (`journal.proto`) are for the journal; this is a view, so payload bytes never leave by
accident, and every event has a sentence.
"""

from typing import assert_never

from google.protobuf import struct_pb2

from orchestrator import limits
from orchestrator.api.mapping import OPERATION, OUTCOME, instant, struct
from orchestrator.api.views import json_of
from orchestrator.ports.journal import Record
from orchestrator.ports.plans import Plans
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation, Plan
from orchestrator.saga.sentences import listed
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.values import Payload

_WORDS = {
    Operation.FORWARD: "call",
    Operation.AWAIT: "look",
    Operation.PROBE: "probe",
    Operation.STOP: "stop",
    Operation.COMPENSATE: "undo",
}
_VERBS = {
    ev.Verb.RETRY: "retried",
    ev.Verb.RESOLVE: "resolved",
    ev.Verb.SKIP: "skipped",
    ev.Verb.OVERRIDE_REQUEST: "overrode the request of",
    ev.Verb.FORCE_COMPLETE: "forced the completion of",
    ev.Verb.TERMINATE: "terminated",
    ev.Verb.PAUSE: "paused",
    ev.Verb.RESUME: "resumed",
    ev.Verb.RERUN: "ran again from",
}


def event(record: Record, plan: Plan, plans: Plans | None) -> pb.SagaEvent:
    """Return a record as an event; with payloads where `plans` is given, which can read them."""
    message = pb.SagaEvent(
        sequence=record.version,
        event_time=instant(record.event.at),
        epoch=record.epoch,
        type=type(record.event).__name__,
    )
    _fill(message, record.event)
    if plans is not None:
        for name, payload in _payloads(record.event).items():
            _attach(message, name, payload, plan, plans)
    return message


def _attach(message: pb.SagaEvent, name: str, payload: Payload, plan: Plan, plans: Plans) -> None:
    shown = struct_pb2.Struct(fields={"type": struct_pb2.Value(string_value=payload.type_name)})
    json = json_of(plans, plan, payload)
    # Half of what a message may have: an event that cannot be delivered would end every watch at the same place.
    if json is None or json.ByteSize() > limits.API_MESSAGE_BYTES_MAX // 2:
        shown.fields["omitted_bytes"].number_value = payload.size_bytes
    else:
        shown.fields["value"].struct_value.CopyFrom(json)
    message.details.fields[name].struct_value.CopyFrom(shown)


def _payloads(event: ev.Event) -> dict[str, Payload]:
    found: dict[str, Payload | None] = {}
    match event:
        case ev.SagaStarted():
            found = {"input": event.input}
        case ev.SignalReceived():
            found = {"payload": event.payload}
        case ev.AttemptOpened() | ev.StepReopened():
            found = {"request": event.request}
        case ev.AttemptSettled():
            found = {"reply": event.report.reply}
        case ev.StepSettled():
            found = {"reply": event.reply, "undo_request": event.undo_request}
        case ev.SagaCompleted():
            found = {"output": event.output}
        case _:
            pass
    return {name: payload for name, payload in found.items() if payload is not None}


def _fill(message: pb.SagaEvent, event: ev.Event) -> None:
    match event:
        case (
            ev.SagaStarted()
            | ev.SagaCompleted()
            | ev.SagaCompensated()
            | ev.SagaTerminated()
            | ev.CancelRequested()
            | ev.CompensationBegan()
        ):
            _fill_life(message, event)
        case ev.SignalReceived() | ev.AttentionRaised() | ev.AttentionCleared() | ev.OperatorActed():
            _fill_people(message, event)
        case ev.AttemptOpened() | ev.AttemptSettled() | ev.RetryScheduled():
            message.step = event.step
            _fill_attempt(message, event)
        case _:
            message.step = event.step
            _fill_step(message, event)


_Life = (
    ev.SagaStarted
    | ev.SagaCompleted
    | ev.SagaCompensated
    | ev.SagaTerminated
    | ev.CancelRequested
    | ev.CompensationBegan
)


def _fill_life(message: pb.SagaEvent, event: _Life) -> None:
    match event:
        case ev.SagaStarted():
            message.summary = f"started {event.definition} at revision {event.revision}"
            message.due_time.CopyFrom(instant(event.forward_deadline_at))
            _details(message, definition=event.definition, revision=event.revision, attributes=dict(event.attributes))
            _details(message, request_id=event.request_id, trace_id=f"{event.trace.trace_id:032x}")
            _details(message, baggage=event.baggage)
            if event.parent is not None:
                _details(message, parent_saga_id=event.parent.saga_id, parent_step=event.parent.step)
        case ev.CancelRequested():
            message.summary = f"cancel requested{_because(event.reason)}"
            _details(message, reason=event.reason)
        case ev.CompensationBegan():
            message.summary = f"going backward{_because(event.cause.message)}"
            message.step, message.code = event.cause.step or "", event.cause.code
            message.due_time.CopyFrom(instant(event.deadline_at))
            _details(message, kind=event.cause.kind, reason=event.cause.reason)
        case ev.SagaCompleted():
            message.summary = "completed"
            message.start_time.CopyFrom(instant(event.started_at))
        case ev.SagaCompensated():
            message.summary = f"compensated, {event.undone_count} steps undone"
            message.start_time.CopyFrom(instant(event.started_at))
            _details(message, undone_count=event.undone_count)
        case ev.SagaTerminated():
            left = f"; left as they are: {listed(event.left)}" if event.left else ""
            message.summary = f"terminated{left}"
            message.start_time.CopyFrom(instant(event.started_at))
            _details(message, left=list(event.left))
        case _:
            assert_never(event)


_People = ev.SignalReceived | ev.AttentionRaised | ev.AttentionCleared | ev.OperatorActed


def _fill_people(message: pb.SagaEvent, event: _People) -> None:
    match event:
        case ev.SignalReceived():
            message.summary = f"signal {event.signal}"
            _details(message, signal=event.signal, request_id=event.request_id)
        case ev.AttentionRaised():
            message.summary = f"needs attention: {event.reason}{_because(event.message)}"
            message.step = event.step or ""
            _details(message, reason=event.reason, message=event.message)
        case ev.AttentionCleared():
            message.summary = "needs attention no longer"
        case ev.OperatorActed():
            what = f"{event.by} {_VERBS[event.verb]} {event.step or 'the saga'}"
            what += f" as {event.outcome}" if event.outcome is not None else ""
            message.summary = f"{what}{_because(event.reason)}"
            message.step = event.step or ""
            if event.operation is not None:
                message.operation = OPERATION[event.operation]
            if event.outcome is not None:
                message.outcome = OUTCOME[event.outcome]
            _details(message, verb=event.verb, by=event.by, reason=event.reason)
        case _:
            assert_never(event)


def _fill_attempt(message: pb.SagaEvent, event: ev.AttemptOpened | ev.AttemptSettled | ev.RetryScheduled) -> None:
    word = _WORDS[event.operation]
    match event:
        case ev.AttemptOpened():
            _about(message, event.operation, event.attempt)
            message.summary = f"{event.step} {word}, attempt {event.attempt}"
            message.due_time.CopyFrom(instant(event.deadline_at))
            _details(message, idempotency_key=event.key)
            if event.manual_epoch:
                _details(message, manual_epoch=event.manual_epoch)
        case ev.AttemptSettled():
            _about(message, event.operation, event.attempt)
            message.outcome, message.code = OUTCOME[event.outcome], event.report.code
            message.start_time.CopyFrom(instant(event.opened_at))
            said = f"{event.report.code}{_because(event.report.message)}"
            message.summary = f"{event.step} {word}, attempt {event.attempt}: {said}"
            _details(message, phase=event.report.phase, message=event.report.message)
            _details(message, error_reason=event.report.error_reason)
        case ev.RetryScheduled():
            _about(message, event.operation, 0)
            message.due_time.CopyFrom(instant(event.due_at))
            why = ": not yet" if event.reason == ev.POLL else _because(event.reason)
            message.summary = f"{event.step} {word} again later{why}"
            _details(message, parked=event.parked, reason=event.reason)
        case _:
            assert_never(event)


_Step = (
    ev.StepBegan
    | ev.RollbackBegan
    | ev.ElseBegan
    | ev.StepsReset
    | ev.StepSkipped
    | ev.StepSettled
    | ev.StepUndone
    | ev.StepStuck
    | ev.StepReopened
    | ev.StepLeft
)


def _fill_step(message: pb.SagaEvent, event: _Step) -> None:
    match event:
        case ev.StepBegan():
            message.summary = f"{event.step} began" + (f", {event.count} items" if event.count is not None else "")
            if event.due_at is not None:
                message.due_time.CopyFrom(instant(event.due_at))
            _details(message, **({} if event.count is None else {"count": event.count}))
        case ev.RollbackBegan():
            message.summary = f"undoing a part of the saga, {len(event.steps)} steps{_because(event.cause.message)}"
            message.code = event.cause.code
            _details(message, steps=list(event.steps), kind=event.cause.kind, reason=event.cause.reason)
        case ev.ElseBegan():
            message.summary = f"{event.step} is undone and goes on with its alternative"
        case ev.StepsReset():
            message.summary = f"{event.step} begins anew, {len(event.steps)} steps"
            _details(message, steps=list(event.steps))
        case ev.StepSkipped():
            message.summary = f"{event.step} skipped: {event.reason}"
            _details(message, reason=event.reason)
        case ev.StepSettled():
            message.outcome, message.code = OUTCOME[event.outcome], event.code
            message.start_time.CopyFrom(instant(event.started_at))
            message.summary = f"{event.step} {event.outcome}{_because(event.message)}"
            _details(message, reason=event.reason, message=event.message)
        case ev.StepUndone():
            message.start_time.CopyFrom(instant(event.started_at))
            message.summary = f"{event.step} undone{', nothing was there' if event.nothing_to_undo else ''}"
            _details(message, nothing_to_undo=event.nothing_to_undo)
        case ev.StepStuck():
            _about(message, event.operation, 0)
            message.summary = f"{event.step} stuck: {event.reason}{_because(event.message)}"
            _details(message, reason=event.reason, message=event.message)
        case ev.StepReopened():
            _about(message, event.operation, 0)
            new = " under a new key" if event.as_new else ""
            message.summary = f"{event.step} {_WORDS[event.operation]} is tried again{new}"
            _details(message, as_new=event.as_new)
        case ev.StepLeft():
            message.summary = f"{event.step} is left as it is"
        case _:
            assert_never(event)


def _about(message: pb.SagaEvent, operation: Operation, attempt: int) -> None:
    message.operation, message.attempt = OPERATION[operation], attempt


def _details(target: pb.SagaEvent, /, **values: object) -> None:
    target.details.MergeFrom(struct({name: value for name, value in values.items() if value not in ("", None)}))


def _because(sentence: str) -> str:
    return f": {sentence}" if sentence else ""
