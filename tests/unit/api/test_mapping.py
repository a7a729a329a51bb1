"""Values survive the way out and back; every word of the domain has its word on the wire."""

import dataclasses
import math
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from google.protobuf import any_pb2, duration_pb2, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import limits
from orchestrator.api import events, mapping, views
from orchestrator.errors import InputInvalid
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.journal import Record, Rest, SearchRow
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime.requests import ConflictPolicy, Until
from orchestrator.runtime.rows import row_of
from orchestrator.saga import events as ev
from orchestrator.saga.events import CauseKind, Phase
from orchestrator.saga.explain import WaitKind
from orchestrator.saga.plan import Operation, Outcome, Plan, StepKind
from orchestrator.saga.state import SagaStatus, StepStatus, blank
from orchestrator.saga.undoplan import StayingReason
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.values import Payload, TraceContext

INSTANTS = st.floats(min_value=-62_135_596_800.0, max_value=253_402_300_799.0)


@given(INSTANTS)
def test_an_instant_comes_back_to_the_float(at: float) -> None:
    back = mapping.instant_at(mapping.instant(at))
    # Within a few hours of 1970 a float tells less than a nanosecond apart, which a Timestamp cannot.
    assert back == at or abs(back - at) <= 0.5e-9


@given(st.floats(min_value=1e9, max_value=1e10))
def test_an_instant_of_our_times_comes_back_exactly(at: float) -> None:
    assert mapping.instant_at(mapping.instant(at)) == at


@given(st.floats(min_value=0.001, max_value=1e9))
def test_a_duration_comes_back(seconds: float) -> None:
    back = mapping.duration_s(mapping.duration(seconds), "x", least_s=0.0, most_s=1e10)
    assert back == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(("seconds", "fits"), [(0.999, False), (1.0, True), (60.0, True), (60.001, False)])
def test_a_duration_has_bounds(seconds: float, fits: bool) -> None:
    if fits:
        assert mapping.duration_s(mapping.duration(seconds), "x", least_s=1.0, most_s=60.0) == seconds
    else:
        with pytest.raises(InputInvalid, match=r"^x: .* is not between 1 s and 60 s$"):
            mapping.duration_s(mapping.duration(seconds), "x", least_s=1.0, most_s=60.0)


@given(
    st.text(max_size=limits.ATTRIBUTE_CHARS_MAX)
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_an_attribute_comes_back(value: str | float | bool) -> None:
    back = mapping.attribute_value(mapping.attribute(value), "x")
    assert back == value
    assert isinstance(back, bool) == isinstance(value, bool)
    assert isinstance(back, str) == isinstance(value, str)


@pytest.mark.parametrize(
    "value",
    [
        struct_pb2.Value(null_value=struct_pb2.NULL_VALUE),
        struct_pb2.Value(number_value=math.nan),
        struct_pb2.Value(number_value=math.inf),
        struct_pb2.Value(list_value=struct_pb2.ListValue()),
        struct_pb2.Value(struct_value=struct_pb2.Struct()),
        struct_pb2.Value(),
    ],
)
def test_an_attribute_is_flat_and_finite(value: struct_pb2.Value) -> None:
    with pytest.raises(InputInvalid, match=r"^attributes\.a: "):
        mapping.attribute_value(value, "attributes.a")


@given(st.binary(), st.from_regex(r"[a-z]+(\.[a-z]+)*\.[A-Z][a-z]+", fullmatch=True))
def test_a_payload_comes_back_byte_for_byte(data: bytes, name: str) -> None:
    assert mapping.unpacked(mapping.packed(Payload(name, data)), "input") == Payload(name, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_json_comes_back_with_whole_numbers_whole(values: dict[str, object]) -> None:
    assert mapping.struct_values(mapping.struct(values), "input") == values


def test_what_json_cannot_say_is_refused() -> None:
    strange = struct_pb2.Struct(fields={"a": struct_pb2.Value(number_value=math.nan)})
    with pytest.raises(InputInvalid, match=r"^input: "):
        mapping.struct_values(strange, "input")


@pytest.mark.parametrize(
    ("table", "words", "enum"),
    [
        (mapping.STATUS, SagaStatus, pb.SagaStatus),
        (mapping.STEP_STATUS, StepStatus, pb.StepStatus),
        (mapping.OUTCOME, Outcome, pb.StepOutcome),
        (mapping.OPERATION, Operation, pb.OperationKind),
        (mapping.CAUSE, CauseKind, pb.SagaCauseKind),
        (mapping.KIND, StepKind, pb.StepKind),
        (mapping.WAIT, WaitKind, pb.SagaWaitKind),
        (mapping.STAYING, StayingReason, pb.StayingReason),
    ],
)
def test_every_word_has_one_on_the_wire_and_none_is_left_over(
    table: dict[StrEnum, int], words: type[StrEnum], enum: Any
) -> None:
    assert set(table) == set(words)
    assert sorted(table.values()) == sorted(set(enum.values()) - {0})


@pytest.mark.parametrize(
    ("table", "words", "enum"),
    [(mapping.CONFLICT, ConflictPolicy, rpc.IdConflictPolicy), (mapping.UNTIL, Until, rpc.WaitUntil)],
)
def test_every_word_of_the_wire_means_something(table: dict[int, StrEnum], words: type[StrEnum], enum: Any) -> None:
    assert set(table) == set(enum.values())
    assert set(table.values()) == set(words)


def test_a_start_says_everything_the_facade_can_be_asked() -> None:
    trace = TraceContext(trace_id=1, span_id=2, sampled=True)
    message = rpc.StartSagaRequest(
        saga_id="a-1",
        request_id="6F9A3C0E-2b1d-4c55-9d5e-0a1b2c3d4e5f",
        definition="job",
        revision="r1",
        json=mapping.struct({"n": 1}),
        attributes={"n": struct_pb2.Value(number_value=3), "x": struct_pb2.Value(number_value=0.5)},
        deadline=duration_pb2.Duration(seconds=90),
        id_conflict_policy=rpc.ID_CONFLICT_POLICY_FAIL,
    )
    request = mapping.start_request(message, trace, "plan-id=7")
    assert {field.name for field in dataclasses.fields(request)} == {
        "definition",
        "input",
        "revision",
        "saga_id",
        "request_id",
        "attributes",
        "forward_s",
        "trace",
        "baggage",
        "conflict",
    }, "the façade can be asked something new: put it on the wire"
    assert request.input == JsonInput({"n": 1})
    assert request.request_id == "6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e5f"
    assert request.attributes == {"n": 3, "x": 0.5}
    assert isinstance(request.attributes["n"], int)
    assert (request.forward_s, request.trace, request.conflict) == (90.0, trace, ConflictPolicy.FAIL)
    assert request.baggage == "plan-id=7"


def test_a_start_without_input_has_an_empty_one() -> None:
    assert mapping.start_request(rpc.StartSagaRequest(definition="job"), None).input == JsonInput({})


@pytest.mark.parametrize(
    "request_id", ["7", "{6f9a3c0e-2b1d-4c55-9d5e-0a1b2c3d4e5f}", "6f9a3c0e2b1d4c559d5e0a1b2c3d4e5f", "x" * 10_000]
)
def test_a_request_id_is_a_uuid_in_its_one_usual_form(request_id: str) -> None:
    with pytest.raises(InputInvalid, match=r"^request_id: "):
        mapping.start_request(rpc.StartSagaRequest(definition="job", request_id=request_id), None)


@pytest.mark.parametrize("seconds", [-1, 0, int(limits.API_DEADLINE_S_MAX) + 1])
def test_a_deadline_is_a_budget_that_can_be_kept(seconds: int) -> None:
    message = rpc.StartSagaRequest(definition="job", deadline=duration_pb2.Duration(seconds=seconds))
    with pytest.raises(InputInvalid, match=r"^deadline: "):
        mapping.start_request(message, None)


@pytest.mark.parametrize("over", [0, 1])
def test_an_attribute_has_bounds(over: int) -> None:
    text = struct_pb2.Value(string_value="x" * (limits.ATTRIBUTE_CHARS_MAX + over))
    name = "n" * (limits.ATTRIBUTE_NAME_CHARS_MAX + over)
    for attributes in ({"a": text}, {name: struct_pb2.Value(bool_value=True)}):
        message = rpc.StartSagaRequest(definition="job", attributes=attributes)
        if over:
            with pytest.raises(InputInvalid, match=r"^attributes"):
                mapping.start_request(message, None)
        else:
            assert mapping.start_request(message, None).attributes


def test_an_any_names_its_type() -> None:
    with pytest.raises(InputInvalid, match=r"^input: the Any names no type"):
        mapping.unpacked(any_pb2.Any(value=b"x"), "input")


def test_a_row_shows_what_a_list_promises() -> None:
    row = SearchRow(
        saga_id=SagaId("a-1"),
        uid="u",
        request_id="q",
        definition="job",
        revision="r1",
        status=SagaStatus.NEEDS_ATTENTION,
        version=9,
        epoch=2,
        attributes={"patient": "p"},
        started_at=1.5,
        updated_at=2.5,
        ended_at=None,
        wake_at=None,
        attention="UNDO_REFUSED,DATA_LOSS",
        failure="score refused",
    )
    saga = views.listed(row)
    assert (saga.sequence, saga.etag, saga.status) == (9, "9", pb.SAGA_STATUS_NEEDS_ATTENTION)
    assert list(saga.attention) == ["UNDO_REFUSED", "DATA_LOSS"]
    assert saga.cause.message == "score refused"
    assert not saga.HasField("end_time")
    calm = views.listed(dataclasses.replace(row, attention="", failure="", ended_at=3.0))
    assert (list(calm.attention), calm.HasField("cause"), calm.end_time.seconds) == ([], False, 3)


STEP = StepId("work")
SECRET = Payload("google.protobuf.Struct", mapping.struct({"secret": 1}).SerializeToString())
FORWARD = Operation.FORWARD
EVENTS: tuple[ev.Event, ...] = (
    ev.SagaStarted(
        at=1.0,
        saga_id=SagaId("a-1"),
        uid=UUID(int=7),
        definition="job",
        revision="r1",
        input=SECRET,
        attributes={"patient": "p"},
        request_id="q",
        forward_deadline_at=9.0,
        compensation_s=1.0,
        trace=TraceContext(trace_id=7, span_id=0, sampled=True),
    ),
    ev.StepSkipped(at=1.0, step=STEP, reason=ev.SkipReason.GUARD_FALSE),
    ev.AttemptOpened(
        at=1.0, step=STEP, operation=FORWARD, attempt=2, epoch=1, key="k", request=SECRET, deadline_at=5.0
    ),
    ev.AttemptSettled(
        at=2.0,
        step=STEP,
        operation=FORWARD,
        attempt=2,
        opened_at=1.0,
        outcome=Outcome.APPLIED,
        report=ev.Report(code="OK", phase=Phase.REPLIED, message="fine", reply=SECRET),
    ),
    ev.RetryScheduled(at=2.0, step=STEP, operation=FORWARD, due_at=3.0, parked=True, reason="UNAVAILABLE"),
    ev.StepSettled(
        at=2.0,
        step=STEP,
        started_at=1.0,
        outcome=Outcome.APPLIED,
        reason=ev.SettleReason.REPLIED,
        code="OK",
        message="fine",
        undo_request=SECRET,
    ),
    ev.CancelRequested(at=2.0, reason="no longer wanted"),
    ev.CompensationBegan(
        at=2.0,
        cause=ev.Cause(kind=CauseKind.STEP_FAILED, message="refused", step=STEP, code="ABORTED"),
        deadline_at=8.0,
    ),
    ev.StepUndone(at=2.0, step=STEP, started_at=1.0, nothing_to_undo=True),
    ev.StepStuck(
        at=2.0, step=STEP, operation=Operation.COMPENSATE, reason=ev.AttentionReason.UNDO_REFUSED, message="never"
    ),
    ev.AttentionRaised(at=2.0, reason=ev.AttentionReason.UNDO_REFUSED, step=STEP, message="never"),
    ev.SagaCompleted(at=2.0, started_at=1.0, output=SECRET),
    ev.SagaCompensated(at=2.0, started_at=1.0, compensation_began_at=1.5, undone_count=3),
    ev.StepBegan(at=2.0, step=STEP, due_at=9.0, count=7),
    ev.SignalReceived(at=2.0, signal="paid", request_id="q", payload=SECRET),
    ev.RollbackBegan(
        at=2.0, step=STEP, steps=(STEP,), cause=ev.Cause(kind=CauseKind.STEP_FAILED, message="refused", step=STEP)
    ),
    ev.ElseBegan(at=2.0, step=STEP),
    ev.StepsReset(at=2.0, step=STEP, steps=(STEP,)),
    ev.StepReopened(at=2.0, step=STEP, operation=FORWARD, request=SECRET, as_new=True),
    ev.StepLeft(at=2.0, step=STEP),
    ev.AttentionCleared(at=2.0),
    ev.OperatorActed(
        at=2.0,
        verb=ev.Verb.RESOLVE,
        by="ann",
        reason="the bank says so",
        step=STEP,
        operation=FORWARD,
        outcome=Outcome.APPLIED,
    ),
    ev.SagaTerminated(at=2.0, started_at=1.0, left=(STEP,)),
)
PLAN = Plan(definition="job", revision="r1", input_type="", steps={}, forward_s=1.0, compensation_s=1.0)


class Reader:
    """Reads every payload as the one above."""

    def to_json(self, plan: Plan, payload: Payload) -> dict[str, object]:
        return {"secret": 1}


def test_get_and_list_name_a_reason_for_attention_once() -> None:
    refused = ev.AttentionReason.UNDO_REFUSED
    lost = ev.AttentionReason.DATA_LOSS
    state = dataclasses.replace(blank(PLAN), attention=(refused, lost, refused))
    shown = views.saga(state, pb.SAGA_VIEW_BASIC, Reader())  # type: ignore[arg-type]  # reads, which is all that is asked
    listed = views.listed(row_of(state, None, Rest.AWAKE, epoch=1))
    assert list(shown.attention) == list(listed.attention) == ["UNDO_REFUSED", "DATA_LOSS"]


def test_every_event_of_the_vocabulary_is_here() -> None:
    assert {type(event) for event in EVENTS} == set(ev.Event.__args__)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_tells_its_facts_and_keeps_payloads_to_itself(event: ev.Event) -> None:
    record = Record(version=4, epoch=2, event=event)
    told = events.event(record, PLAN, None)
    assert (told.sequence, told.epoch, told.type) == (4, 2, type(event).__name__)
    assert mapping.instant_at(told.event_time) == event.at
    assert told.summary
    assert told.step == (getattr(event, "step", None) or getattr(getattr(event, "cause", None), "step", None) or "")
    assert b"secret" not in told.SerializeToString()
    whole = events.event(record, PLAN, Reader())  # type: ignore[arg-type]  # reads, which is all that is asked
    has_payload = any(SECRET in (value, getattr(value, "reply", None)) for value in dataclass_values(event))
    assert (b"secret" in whole.SerializeToString()) == has_payload


def dataclass_values(event: ev.Event) -> list[object]:
    return [getattr(event, field.name) for field in dataclasses.fields(event)]


def test_an_attempts_end_is_told_in_full() -> None:
    told = events.event(Record(version=1, epoch=1, event=EVENTS[3]), PLAN, None)
    assert (told.operation, told.attempt, told.code) == (pb.OPERATION_KIND_FORWARD, 2, "OK")
    assert told.outcome == pb.STEP_OUTCOME_APPLIED
    assert mapping.instant_at(told.start_time) == 1.0
    assert told.details["phase"] == "REPLIED"


@pytest.mark.parametrize("verb", ev.Verb)
def test_every_verb_of_an_operator_has_its_sentence(verb: ev.Verb) -> None:
    acted = ev.OperatorActed(at=2.0, verb=verb, by="ann", reason="the bank says so")
    told = events.event(Record(version=1, epoch=1, event=acted), PLAN, None)
    assert told.summary.startswith("ann ")
    assert told.summary.endswith(" the saga: the bank says so")
    assert told.details["verb"] == verb
    assert told.details["by"] == "ann"


def test_a_payload_too_large_for_a_message_is_named_and_left_out() -> None:
    class Vast:
        def to_json(self, plan: Plan, payload: Payload) -> dict[str, object]:
            return {"secret": "x" * limits.API_MESSAGE_BYTES_MAX}

    told = events.event(Record(version=1, epoch=1, event=EVENTS[0]), PLAN, Vast())  # type: ignore[arg-type]  # the same
    assert told.ByteSize() < limits.API_MESSAGE_BYTES_MAX
    shown = mapping.struct_values(told.details, "x")["input"]
    assert shown == {"type": SECRET.type_name, "omitted_bytes": SECRET.size_bytes}
