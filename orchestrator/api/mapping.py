"""Between the wire and the domain: values in both directions side by side, sagas and definitions outwards.

Enums have the same words on both sides, so they are mapped by name and a test walks every member.
"""

import math
from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2, timestamp_pb2

from orchestrator import ids, limits
from orchestrator.errors import InputInvalid, OrchestratorError
from orchestrator.ports.journal import SearchRow
from orchestrator.ports.plans import JsonInput, Plans
from orchestrator.runtime.requests import ConflictPolicy, StartRequest, Until
from orchestrator.saga.events import Cause, CauseKind
from orchestrator.saga.plan import Call, Operation, Outcome, Plan
from orchestrator.saga.state import OperationState, SagaState, SagaStatus, StepState, StepStatus
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.values import AttributeValue, Payload, TraceContext

_Key = TypeVar("_Key")
_Word = TypeVar("_Word")

TYPE_URL_PREFIX = "type.googleapis.com/"
# Beyond this a double no longer tells a whole number from the next.
_EXACT = 2**53

STATUS = {status: pb.SagaStatus.Value(f"SAGA_STATUS_{status}") for status in SagaStatus}
STEP_STATUS = {status: pb.StepStatus.Value(f"STEP_STATUS_{status}") for status in StepStatus}
OUTCOME = {outcome: pb.StepOutcome.Value(f"STEP_OUTCOME_{outcome}") for outcome in Outcome}
OPERATION = {kind: pb.OperationKind.Value(f"OPERATION_KIND_{kind.name}") for kind in Operation}
CAUSE = {kind: pb.SagaCauseKind.Value(f"SAGA_CAUSE_KIND_{kind}") for kind in CauseKind}
CONFLICT = {
    rpc.ID_CONFLICT_POLICY_UNSPECIFIED: ConflictPolicy.SAME_REQUEST,
    **{rpc.IdConflictPolicy.Value(f"ID_CONFLICT_POLICY_{policy.name}"): policy for policy in ConflictPolicy},
}
UNTIL = {
    rpc.WAIT_UNTIL_UNSPECIFIED: Until.TERMINAL,
    **{rpc.WaitUntil.Value(f"WAIT_UNTIL_{until.name}"): until for until in Until},
}

# --- values, both ways -----------------------------------------------------------------------------------------------


def instant(at: float) -> timestamp_pb2.Timestamp:
    """Return a Timestamp of Unix seconds; `instant_at` gives the same float back."""
    whole = math.floor(at)
    carry, nanos = divmod(round((at - whole) * 1e9), 1_000_000_000)
    return timestamp_pb2.Timestamp(seconds=whole + carry, nanos=nanos)


def instant_at(stamp: timestamp_pb2.Timestamp) -> float:
    """Return Unix seconds."""
    return stamp.seconds + stamp.nanos / 1e9


def duration(seconds: float) -> duration_pb2.Duration:
    """Return a Duration of seconds."""
    return duration_pb2.Duration(seconds=int(seconds), nanos=round((seconds - int(seconds)) * 1e9))


def duration_s(given: duration_pb2.Duration, path: str, *, least_s: float, most_s: float) -> float:
    """Return seconds; `InputInvalid` outside the bounds."""
    seconds = given.seconds + given.nanos / 1e9
    if not least_s <= seconds <= most_s:
        raise InputInvalid(path, f"{seconds:g} s is not between {least_s:g} s and {most_s:g} s")
    return seconds


def packed(payload: Payload) -> any_pb2.Any:
    """Return a payload as an Any."""
    return any_pb2.Any(type_url=TYPE_URL_PREFIX + payload.type_name, value=payload.data)


def unpacked(message: any_pb2.Any, path: str) -> Payload:
    """Return an Any as a payload, unread; `InputInvalid` where it names no type."""
    name = message.type_url.rpartition("/")[2]
    if not name:
        raise InputInvalid(path, "the Any names no type; its type_url is like type.googleapis.com/epro.v1.Report")
    return Payload(name, message.value)


def struct(values: Mapping[str, object]) -> struct_pb2.Struct:
    """Return JSON values as a Struct."""
    return json_format.ParseDict(dict(values), struct_pb2.Struct())


def struct_values(message: struct_pb2.Struct, path: str) -> dict[str, object]:
    """Return a Struct as JSON values, whole numbers as int; `InputInvalid` for what JSON cannot say (NaN, infinity)."""
    try:
        values: dict[str, object] = json_format.MessageToDict(message)
    except (ValueError, json_format.Error, RecursionError) as exc:
        raise InputInvalid(path, f"is no JSON: {exc}") from exc
    return values


def attribute(value: AttributeValue) -> struct_pb2.Value:
    """Return one attribute as a Value."""
    match value:
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)


def attribute_value(value: struct_pb2.Value, path: str) -> AttributeValue:
    """Return one attribute; a number without a fraction is an int, as long as a double tells it from its neighbours."""
    match value.WhichOneof("kind"):
        case "string_value":
            if len(value.string_value) > limits.ATTRIBUTE_CHARS_MAX:
                most = limits.ATTRIBUTE_CHARS_MAX
                raise InputInvalid(path, f"has {len(value.string_value)} characters, more than {most}")
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "number_value" if math.isfinite(value.number_value):
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= _EXACT else number
        case _:
            raise InputInvalid(path, "is not a text, a finite number or a boolean")


# --- requests, inwards -----------------------------------------------------------------------------------------------


def start_request(message: rpc.StartSagaRequest, trace: TraceContext | None) -> StartRequest:
    """Return what the caller asks for; `InputInvalid` names the first field that cannot be right."""
    forward_s = None
    if message.HasField("deadline"):
        forward_s = duration_s(message.deadline, "deadline", least_s=0.001, most_s=limits.API_DEADLINE_S_MAX)
    return StartRequest(
        definition=required(message.definition, "definition"),
        revision=message.revision,
        saga_id=saga_id(message.saga_id) if message.saga_id else "",
        request_id=_request_id(message.request_id),
        input=_input(message),
        attributes={
            _attribute_name(name): attribute_value(value, f"attributes.{name}")
            for name, value in sorted(message.attributes.items())
        },
        forward_s=forward_s,
        trace=trace,
        conflict=known(CONFLICT, message.id_conflict_policy, "id_conflict_policy"),
    )


def _input(message: rpc.StartSagaRequest) -> Payload | JsonInput:
    if message.HasField("typed"):
        return unpacked(message.typed, "input")
    return JsonInput(struct_values(message.json, "input"))


def _attribute_name(name: str) -> str:
    if not 0 < len(name) <= limits.ATTRIBUTE_NAME_CHARS_MAX:
        raise InputInvalid(
            "attributes", f"a name has 1 to {limits.ATTRIBUTE_NAME_CHARS_MAX} characters, not {len(name)}"
        )
    return name


def _request_id(text: str) -> str:
    if not text:
        return ""
    try:
        canonical = str(UUID(text))
    except ValueError:
        canonical = ""
    if canonical != text.lower():
        raise InputInvalid("request_id", f"{text[:64]!r} is not a UUID such as 123e4567-e89b-12d3-a456-426614174000")
    return canonical


def saga_id(text: str) -> str:
    """Return a saga id; `InputInvalid` names the alphabet."""
    try:
        return ids.saga_id(required(text, "saga_id"))
    except ValueError as exc:
        raise InputInvalid("saga_id", str(exc)) from exc


def required(text: str, path: str) -> str:
    """Return a text that must be there."""
    if not text:
        raise InputInvalid(path, "is required")
    return text


def known(table: Mapping[_Key, _Word], key: _Key, path: str) -> _Word:
    """Return the domain's word for an enum value; a newer client may send one that this server does not know."""
    if key not in table:
        raise InputInvalid(path, f"{key} is not a value this server knows")
    return table[key]


# --- sagas, outwards -------------------------------------------------------------------------------------------------


def listed(row: SearchRow) -> pb.Saga:
    """Return a saga as a list shows it."""
    saga = pb.Saga(
        saga_id=row.saga_id,
        uid=row.uid,
        definition=row.definition,
        revision=row.revision,
        status=STATUS[row.status],
        sequence=row.version,
        etag=str(row.version),
        attributes={name: attribute(value) for name, value in row.attributes.items()},
        request_id=row.request_id,
        start_time=instant(row.started_at),
        update_time=instant(row.updated_at),
        end_time=None if row.ended_at is None else instant(row.ended_at),
        attention=[word for word in row.attention.split(",") if word],
    )
    if row.failure:
        saga.cause.message = row.failure
    return saga


def saga(state: SagaState, view: int, plans: Plans) -> pb.Saga:
    """Return a saga in a view; `plans` knows how to read its payloads."""
    message = pb.Saga(
        saga_id=state.saga_id,
        uid=str(state.uid),
        definition=state.plan.definition,
        revision=state.plan.revision,
        status=STATUS[state.status],
        sequence=state.version,
        etag=str(state.version),
        attributes={name: attribute(value) for name, value in state.attributes.items()},
        request_id=state.request_id,
        start_time=instant(state.started_at),
        update_time=instant(state.updated_at),
        end_time=None if state.ended_at is None else instant(state.ended_at),
        forward_deadline=instant(state.forward_deadline_at),
        cause=None if state.cause is None else _cause(state.cause),
        attention=list(dict.fromkeys(state.attention)),
        trace_id=f"{state.trace.trace_id:032x}",
    )
    if view in {pb.SAGA_VIEW_STEPS, pb.SAGA_VIEW_FULL}:
        shown = _Shown(plans, state.plan) if view == pb.SAGA_VIEW_FULL else None
        message.steps.extend(_step(state.plan, step, shown) for step in state.steps.values())
        if shown:
            message.input.CopyFrom(shown.payload(state.input))
            if state.output is not None:
                message.output.CopyFrom(shown.payload(state.output))
    return message


class _Shown:
    """Payloads of one saga, as bytes and as JSON."""

    def __init__(self, plans: Plans, plan: Plan) -> None:
        self._plans = plans
        self._plan = plan

    def payload(self, payload: Payload) -> pb.SagaPayload:
        """Return both forms; JSON is left out where nobody can read the message any more."""
        return pb.SagaPayload(typed=packed(payload), json=json_of(self._plans, self._plan, payload))


def json_of(plans: Plans, plan: Plan, payload: Payload) -> struct_pb2.Struct | None:
    """Return a payload as JSON for people; None where it cannot be read."""
    try:
        return struct(plans.to_json(plan, payload))
    except (OrchestratorError, ValueError, json_format.Error):
        return None


def _cause(cause: Cause) -> pb.SagaCause:
    return pb.SagaCause(
        kind=CAUSE[cause.kind], message=cause.message, step=cause.step or "", code=cause.code, reason=cause.reason
    )


def _step(plan: Plan, state: StepState, shown: _Shown | None) -> pb.SagaStep:
    step = plan.steps[state.id]
    undo_call = step.compensation.call if step.compensation else None
    return pb.SagaStep(
        step=state.id,
        status=STEP_STATUS[state.status],
        outcome=OUTCOME[state.outcome] if state.outcome else pb.STEP_OUTCOME_UNSPECIFIED,
        settle_reason=state.settle_reason or "",
        code=state.code,
        message=state.message,
        attention=state.stuck or "",
        forward=_operation(step.call, state.forward, shown) if state.forward else None,
        undo=_operation(undo_call, state.undo, shown) if state.undo else None,
        reply=shown.payload(state.reply) if shown and state.reply else None,
    )


def _operation(call: Call | None, state: OperationState, shown: _Shown | None) -> pb.StepOperation:
    message = pb.StepOperation(
        idempotency_key=state.key,
        method=call.method if call else "",
        target=call.target if call else "",
        start_time=instant(state.started_at),
        attempts=state.attempts,
        retry_time=None if state.retry_at is None else instant(state.retry_at),
        parked=state.parked,
        last_code=state.last.code if state.last else "",
        last_message=state.last.message if state.last else "",
        request=shown.payload(state.request) if shown else None,
    )
    if state.open:
        message.open.attempt = state.open.number
        message.open.open_time.CopyFrom(instant(state.open.opened_at))
        message.open.deadline.CopyFrom(instant(state.open.deadline_at))
    return message
