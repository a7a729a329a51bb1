"""Records of the journal as `SagaEvent`: what callers may read of what happened.

The journal's own messages (`journal.proto`) are for the journal; this is a view, so payload bytes never leave by
accident, and every event has a sentence.
"""

from typing import assert_never

from google.protobuf import struct_pb2

from orchestrator import limits
from orchestrator.api.mapping import OPERATION, OUTCOME, instant, json_of, struct
from orchestrator.ports.journal import Record
from orchestrator.ports.plans import Plans
from orchestrator.saga import events as ev
from orchestrator.saga.plan import Operation, Plan
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.values import Payload

_WORDS = {Operation.FORWARD: "call", Operation.COMPENSATE: "undo"}


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
    match event:
        case ev.SagaStarted():
            found = {"input": event.input}
        case ev.AttemptOpened(request=Payload() as request):
            found = {"request": request}
        case ev.AttemptSettled(report=ev.Report(reply=Payload() as reply)):
            found = {"reply": reply}
        case ev.StepSettled(undo_request=Payload() as undo_request):
            found = {"undo_request": undo_request}
        case ev.SagaCompleted(output=Payload() as output):
            found = {"output": output}
        case _:
            found = {}
    return found


def _fill(message: pb.SagaEvent, event: ev.Event) -> None:
    match event:
        case ev.SagaStarted():
            message.summary = f"started {event.definition} at revision {event.revision}"
            message.due_time.CopyFrom(instant(event.forward_deadline_at))
            _details(message, definition=event.definition, revision=event.revision, attributes=dict(event.attributes))
            _details(message, request_id=event.request_id, trace_id=f"{event.trace.trace_id:032x}")
        case ev.CancelRequested():
            message.summary = f"cancel requested{_because(event.reason)}"
            _details(message, reason=event.reason)
        case ev.CompensationBegan():
            message.summary = f"going backward{_because(event.cause.message)}"
            message.step, message.code = event.cause.step or "", event.cause.code
            message.due_time.CopyFrom(instant(event.deadline_at))
            _details(message, kind=event.cause.kind, reason=event.cause.reason)
        case ev.AttentionRaised():
            message.summary = f"needs attention: {event.reason}{_because(event.message)}"
            message.step = event.step or ""
            _details(message, reason=event.reason)
        case ev.SagaCompleted():
            message.summary = "completed"
            message.start_time.CopyFrom(instant(event.started_at))
        case ev.SagaCompensated():
            message.summary = f"compensated, {event.undone_count} steps undone"
            message.start_time.CopyFrom(instant(event.started_at))
            _details(message, undone_count=event.undone_count)
        case _:
            message.step = event.step
            _fill_step(message, event)


_StepEvent = (
    ev.StepSkipped
    | ev.AttemptOpened
    | ev.AttemptSettled
    | ev.RetryScheduled
    | ev.StepSettled
    | ev.StepUndone
    | ev.StepStuck
)


def _fill_step(message: pb.SagaEvent, event: _StepEvent) -> None:
    match event:
        case ev.StepSkipped():
            message.summary = f"{event.step} skipped: {event.reason}"
            _details(message, reason=event.reason)
        case ev.AttemptOpened():
            _about(message, event.operation, event.attempt)
            message.summary = f"{event.step} {_WORDS[event.operation]}, attempt {event.attempt}"
            message.due_time.CopyFrom(instant(event.deadline_at))
            _details(message, idempotency_key=event.key)
        case ev.AttemptSettled():
            _about(message, event.operation, event.attempt)
            message.outcome, message.code = OUTCOME[event.outcome], event.report.code
            message.start_time.CopyFrom(instant(event.opened_at))
            said = f"{event.report.code}{_because(event.report.message)}"
            message.summary = f"{event.step} {_WORDS[event.operation]}, attempt {event.attempt}: {said}"
            _details(message, phase=event.report.phase, message=event.report.message)
            _details(message, error_reason=event.report.error_reason)
        case ev.RetryScheduled():
            _about(message, event.operation, 0)
            message.due_time.CopyFrom(instant(event.due_at))
            message.summary = f"{event.step} {_WORDS[event.operation]} again later{_because(event.reason)}"
            _details(message, parked=event.parked, reason=event.reason)
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
        case _:
            assert_never(event)


def _about(message: pb.SagaEvent, operation: Operation, attempt: int) -> None:
    message.operation, message.attempt = OPERATION[operation], attempt


def _details(target: pb.SagaEvent, /, **values: object) -> None:
    target.details.MergeFrom(struct({name: value for name, value in values.items() if value not in ("", None)}))


def _because(sentence: str) -> str:
    return f": {sentence}" if sentence else ""
