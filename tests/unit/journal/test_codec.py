import dataclasses
import math
import typing
from uuid import UUID

import pytest

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.frozen import changed
from orchestrator.ids import SagaId, StepId
from orchestrator.journal import codec
from orchestrator.ports.journal import Append
from orchestrator.saga import events
from orchestrator.saga.events import AttemptSettled, CancelRequested, Phase, Report, StepSkipped
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.v1 import journal_pb2
from orchestrator.values import Payload, TraceContext
from tests.conformance.journal_values import append, cancelled
from tests.golden.writing import started

VALUE_TYPES = [*codec.EVENT_TYPES, Report, events.Cause, events.Parent, Payload, TraceContext]


@pytest.mark.parametrize("value_type", VALUE_TYPES, ids=lambda value_type: value_type.__name__)
def test_every_value_has_a_message_with_the_same_fields(value_type: type) -> None:
    message = getattr(journal_pb2, value_type.__name__)
    published = [field.name for field in message.DESCRIPTOR.fields]
    assert published == [field.name for field in dataclasses.fields(value_type)]


@pytest.mark.parametrize("value_type", VALUE_TYPES, ids=lambda value_type: value_type.__name__)
def test_what_may_be_none_may_be_absent_on_the_wire(value_type: type) -> None:
    fields = getattr(journal_pb2, value_type.__name__).DESCRIPTOR.fields_by_name
    for name, hint in typing.get_type_hints(value_type).items():
        if type(None) in typing.get_args(hint):
            assert fields[name].has_presence, f"{value_type.__name__}.{name} needs `optional`"


def test_the_envelope_has_every_event_once() -> None:
    fields = journal_pb2.Event.DESCRIPTOR.oneofs_by_name["event"].fields
    enveloped = [field.message_type.name if field.message_type else field.name for field in fields]
    assert sorted(enveloped) == sorted(event_type.__name__ for event_type in codec.EVENT_TYPES)


def test_an_event_with_nothing_but_its_instant_comes_back() -> None:
    event = events.AttentionCleared(at=1.5)
    assert codec.decode(*codec.encode(event)) == event


def test_an_unknown_type_is_never_guessed_at() -> None:
    with pytest.raises(codec.Undecodable, match="knows no record type 'SagaTeleported'"):
        codec.decode("SagaTeleported", b"")


def test_an_unknown_word_is_never_guessed_at() -> None:
    data = journal_pb2.StepSkipped(at=1.0, step="score", reason="BORED").SerializeToString()
    with pytest.raises(codec.Undecodable, match="BORED"):
        codec.decode("StepSkipped", data)


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf, 1e12, -1e12, 1e300])
def test_an_instant_that_no_calendar_has_is_refused(at: float) -> None:
    data = journal_pb2.AttentionCleared(at=at).SerializeToString()
    with pytest.raises(codec.Undecodable, match="is no instant"):
        codec.decode("AttentionCleared", data)


def test_a_length_of_time_without_end_is_refused() -> None:
    message = journal_pb2.SagaStarted.FromString(codec.encode(started("s"))[1])
    message.compensation_s = math.inf
    with pytest.raises(codec.Undecodable, match="inf is no length of time"):
        codec.decode("SagaStarted", message.SerializeToString())


def test_a_count_that_nothing_has_is_refused() -> None:
    message = journal_pb2.AttemptSettled(at=1.0, step="score", operation="forward", attempt=2**31, outcome="APPLIED")
    message.report.phase = "lost"
    with pytest.raises(codec.Undecodable, match="2147483648 is no count"):
        codec.decode("AttemptSettled", message.SerializeToString())


def test_an_attribute_without_a_value_is_refused() -> None:
    message = journal_pb2.SagaStarted.FromString(codec.encode(started("s"))[1])
    message.attributes["site"].Clear()
    with pytest.raises(codec.Undecodable, match="attribute 'site' has no value"):
        codec.decode("SagaStarted", message.SerializeToString())


def test_a_value_that_must_be_there_is_missed() -> None:
    data = journal_pb2.AttemptSettled(at=1.0, step="score", operation="forward", outcome="APPLIED").SerializeToString()
    with pytest.raises(codec.Undecodable, match="report is missing"):
        codec.decode("AttemptSettled", data)


def test_a_trace_id_has_sixteen_bytes() -> None:
    started = journal_pb2.SagaStarted(
        uid=str(UUID(int=1)),
        input=journal_pb2.Payload(),
        trace=journal_pb2.TraceContext(trace_id=b"short", span_id=bytes(8)),
    )
    with pytest.raises(codec.Undecodable, match="5 bytes where 16"):
        codec.decode("SagaStarted", started.SerializeToString())


def test_bytes_that_are_no_message_are_undecodable() -> None:
    with pytest.raises(codec.Undecodable, match="its 3 bytes are not a CancelRequested"):
        codec.decode("CancelRequested", b"\xff\xff\xff")


def test_a_field_that_an_older_release_did_not_write_takes_its_default() -> None:
    # the bytes of a report that has no field but those a first release must have had
    report = journal_pb2.Report(code="UNAVAILABLE", phase="NOT_SENT")
    settled = journal_pb2.AttemptSettled(
        at=2.0, step="score", operation="forward", attempt=1, opened_at=1.0, outcome="NOT_APPLIED", report=report
    )
    assert codec.decode("AttemptSettled", settled.SerializeToString()) == AttemptSettled(
        at=2.0,
        step=StepId("score"),
        operation=Operation.FORWARD,
        attempt=1,
        opened_at=1.0,
        outcome=Outcome.NOT_APPLIED,
        report=Report(code="UNAVAILABLE", phase=Phase.NOT_SENT),
    )


def test_a_field_of_a_newer_release_is_passed_over() -> None:
    newer = journal_pb2.CancelRequested(at=1.0, reason="r").SerializeToString() + b"\xa2\x06\x03new"  # field 100
    assert codec.decode("CancelRequested", newer) == CancelRequested(at=1.0, reason="r")


@pytest.mark.parametrize(
    "event",
    [
        CancelRequested(at=1.0, reason="\ud800"),
        StepSkipped(at="now", step=StepId("score"), reason=events.SkipReason.GUARD_FALSE),  # type: ignore[arg-type]
        StepSkipped(at=1.0, step=7, reason=events.SkipReason.GUARD_FALSE),  # type: ignore[arg-type]
        events.StepBegan(at=1.0, step=StepId("score"), due_at=None, count=-1),
        events.StepBegan(at=1.0, step=StepId("score"), due_at=None, count=2**32),
        changed(started("s"), attributes={"n": 2**63}),
        changed(started("s"), attributes={"n": -(2**63) - 1}),
        changed(started("s"), attributes={"n": None}),
        changed(started("s"), input=None),
        changed(started("s"), trace=TraceContext(trace_id=2**128, span_id=1, sampled=False)),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused_before_it_is_written(event: events.Event) -> None:
    with pytest.raises(InvariantViolated, match="cannot be recorded"):
        codec.encode(event)


def test_a_corrupt_record_is_named_with_saga_and_version() -> None:
    with pytest.raises(JournalCorrupted, match=r"record 7 of saga 'a' .* no record type 'X'") as raised:
        codec.decode_record(SagaId("a"), 7, 1, "X", b"")
    assert raised.value.metadata == {"saga_id": "a", "version": "7"}


def test_an_append_is_encoded_in_order_with_its_versions() -> None:
    wanted: Append = append("a", cancelled(3), cancelled(4), after=2, epoch=9)
    encoded = codec.encode_append(wanted)
    assert [entry[:4] for entry in encoded] == [(3, 9, 1.0, "CancelRequested"), (4, 9, 1.0, "CancelRequested")]
    assert [codec.checksum(*columns) for columns in [(name, body) for *_, name, _, body in encoded]] == [
        entry[4] for entry in encoded
    ]
