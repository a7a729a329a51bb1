"""Between the wire and the domain: values in both directions side by side, and requests inwards.

Enums have the same words on both sides, so they are mapped by name and a test walks every member. Outwards, a saga is
`views.py`'s, its events are `events.py`'s.
"""

import math
from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID

from google.protobuf import any_pb2, duration_pb2, json_format, struct_pb2, timestamp_pb2

from orchestrator import ids, limits
from orchestrator.errors import InputInvalid
from orchestrator.ids import StepId
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime.requests import ConflictPolicy, StartRequest, Until
from orchestrator.saga.events import CauseKind
from orchestrator.saga.explain import WaitKind
from orchestrator.saga.plan import Operation, Outcome, StepKind
from orchestrator.saga.state import SagaStatus, StepStatus
from orchestrator.saga.undoplan import StayingReason
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.values import AttributeValue, Payload, TraceContext

_Key = TypeVar("_Key")
_Word = TypeVar("_Word")

TYPE_URL_PREFIX = "type.googleapis.com/"
# Beyond this a double no longer tells a whole number from the next.
_EXACT = 2**53
# A version has at most the digits of a 64-bit number.
_ETAG_CHARS_MAX = 18

STATUS = {status: pb.SagaStatus.Value(f"SAGA_STATUS_{status}") for status in SagaStatus}
STEP_STATUS = {status: pb.StepStatus.Value(f"STEP_STATUS_{status}") for status in StepStatus}
OUTCOME = {outcome: pb.StepOutcome.Value(f"STEP_OUTCOME_{outcome}") for outcome in Outcome}
OPERATION = {kind: pb.OperationKind.Value(f"OPERATION_KIND_{kind.name}") for kind in Operation}
CAUSE = {kind: pb.SagaCauseKind.Value(f"SAGA_CAUSE_KIND_{kind}") for kind in CauseKind}
KIND = {kind: pb.StepKind.Value(f"STEP_KIND_{kind.name}") for kind in StepKind}
WAIT = {kind: pb.SagaWaitKind.Value(f"SAGA_WAIT_KIND_{kind}") for kind in WaitKind}
STAYING = {reason: pb.StayingReason.Value(f"STAYING_REASON_{reason}") for reason in StayingReason}
CONFLICT = {
    rpc.ID_CONFLICT_POLICY_UNSPECIFIED: ConflictPolicy.SAME_REQUEST,
    **{rpc.IdConflictPolicy.Value(f"ID_CONFLICT_POLICY_{policy.name}"): policy for policy in ConflictPolicy},
}
_VIEWS = frozenset(pb.SagaView.values())
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


def start_request(message: rpc.StartSagaRequest, trace: TraceContext | None, baggage: str = "") -> StartRequest:
    """Return what the caller asks for; `InputInvalid` names the first field that cannot be right."""
    forward_s = None
    if message.HasField("deadline"):
        forward_s = duration_s(message.deadline, "deadline", least_s=0.001, most_s=limits.API_DEADLINE_S_MAX)
    return StartRequest(
        definition=required(message.definition, "definition"),
        revision=message.revision,
        saga_id=saga_id(message.saga_id) if message.saga_id else "",
        request_id=request_id(message.request_id),
        input=_input(message),
        attributes={
            _attribute_name(name): attribute_value(value, f"attributes.{name}")
            for name, value in sorted(message.attributes.items())
        },
        forward_s=forward_s,
        trace=trace,
        baggage=baggage,
        conflict=known(CONFLICT, message.id_conflict_policy, "id_conflict_policy"),
    )


def _input(message: rpc.StartSagaRequest) -> Payload | JsonInput:
    if message.HasField("typed"):
        return unpacked(message.typed, "input")
    return JsonInput(struct_values(message.json, "input"))


def signal_payload(message: rpc.SignalSagaRequest) -> Payload | JsonInput:
    """Return what comes with a signal."""
    if message.HasField("typed"):
        return unpacked(message.typed, "payload")
    return JsonInput(struct_values(message.json, "payload"))


def _attribute_name(name: str) -> str:
    if not 0 < len(name) <= limits.ATTRIBUTE_NAME_CHARS_MAX:
        raise InputInvalid(
            "attributes", f"a name has 1 to {limits.ATTRIBUTE_NAME_CHARS_MAX} characters, not {len(name)}"
        )
    return name


def signal_name(text: str) -> str:
    """Return a signal's name; whether there is such a one, the saga knows."""
    return _name(text, "signal")


def step_path(text: str) -> StepId:
    """Return the path of a step or of an item; whether there is such a one, the saga knows."""
    return StepId(_name(text, "step"))


def _name(text: str, path: str) -> str:
    if len(required(text, path)) > limits.API_NAME_CHARS_MAX or not text.isprintable():
        raise InputInvalid(path, f"is no name of at most {limits.API_NAME_CHARS_MAX} characters")
    return text


def if_version(etag: str) -> int | None:
    """Return the version that an etag stands for; None where none was given."""
    if not etag:
        return None
    if not (etag.isascii() and etag.isdecimal() and len(etag) <= _ETAG_CHARS_MAX):
        raise InputInvalid("etag", f"{etag[:64]!r} is none that this server gave; take the saga's own")
    return int(etag)


def reason(text: str) -> str:
    """Return why a person does something, which is kept for ever."""
    if not text.strip():
        raise InputInvalid("reason", "is required: it is what the audit's readers will have")
    return bounded_reason(text)


def bounded_reason(text: str) -> str:
    """Return a reason that may be left out."""
    if len(text) > limits.MESSAGE_CHARS_MAX:
        raise InputInvalid("reason", f"has {len(text)} characters, more than {limits.MESSAGE_CHARS_MAX}")
    return text


def view(asked: int) -> int:
    """Return a view that this server knows."""
    if asked not in _VIEWS:
        raise InputInvalid("view", f"{asked} is not a value this server knows")
    return asked


def request_id(text: str) -> str:
    """Return a caller's UUID in its usual form; empty where none was given."""
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
