"""Write the golden journals of a release, once: `python -m tests.golden.writing 0.2`.

A line of a golden file is one record as a store keeps it, beside what it means: version, epoch, type, body (base64) and
the event's fields as JSON. What is written is never written again; a release that changes the format adds a folder.
"""

import base64
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from orchestrator.ids import SagaId, StepId
from orchestrator.journal.codec import encode
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    AttentionReason,
    CancelRequested,
    Cause,
    CauseKind,
    CompensationBegan,
    Event,
    Phase,
    Report,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    SettleReason,
    SkipReason,
    StepSettled,
    StepSkipped,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.values import Payload, TraceContext
from tests.golden import shapes

FOLDER = Path(__file__).parent


def plain(value: object) -> Any:
    """Return a value as JSON has it: what a golden line says an event means."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 2**53:
        return hex(value)  # JSON readers in other languages would round it
    return value


def main(release: str) -> None:
    """Write what is not there yet."""
    folder = FOLDER / release
    folder.mkdir(exist_ok=True)
    for name, events in {**JOURNALS, **shapes.JOURNALS}.items():
        path = folder / f"{name}.jsonl"
        if path.exists():
            print(f"{path.name} of {release} is written already and stays as it is")
            continue
        path.write_text("".join(f"{line(number, event)}\n" for number, event in enumerate(events, start=1)))
        print(f"wrote {path.name} of {release}")


def line(version: int, event: Event) -> str:
    """Return one record as a line."""
    type_name, body = encode(event)
    record = {"version": version, "epoch": 3, "type": type_name, "body": base64.b64encode(body).decode()}
    return json.dumps({**record, "event": plain(event)}, ensure_ascii=False)


SCORE, ARCHIVE, NOTIFY = StepId("score"), StepId("archive"), StepId("notify")
FORWARD, COMPENSATE = Operation.FORWARD, Operation.COMPENSATE


def payload(kind: str, data: bytes) -> Payload:
    return Payload(f"epro.v1.{kind}", data)


def started(saga: str) -> Event:
    return SagaStarted(
        at=1_763_689_123.5,
        saga_id=SagaId(saga),
        uid=UUID("0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d10"),
        definition="epro",
        revision="5d41402abc4b",
        input=payload("Report", b"\x0a\x0creport-7F3A1"),
        attributes={"site": "DE-1", "score": 17, "ratio": 0.25, "late": True, "patient": "Žofie"},
        request_id="req-1",
        forward_deadline_at=1_763_692_723.5,
        compensation_s=300.0,
        trace=TraceContext(
            trace_id=0x4BF92F3577B34DA6A3CE929D0E0E4736, span_id=0x00F067AA0BA902B7, sampled=True, state="vendor=1"
        ),
    )


def opened(step: StepId, operation: Operation, attempt: int, request: Payload | None) -> Event:
    return AttemptOpened(
        at=1_763_689_124.0, step=step, operation=operation, attempt=attempt, epoch=3,
        key="9a7b330a-a736-51e5-8f09-6a5c3c7b6a1d", request=request, deadline_at=1_763_689_134.0,
    )  # fmt: skip


def settled(step: StepId, operation: Operation, attempt: int, outcome: Outcome, report: Report) -> Event:
    return AttemptSettled(
        at=1_763_689_124.25, step=step, operation=operation, attempt=attempt, opened_at=1_763_689_124.0,
        outcome=outcome, report=report,
    )  # fmt: skip


OK = Report(code="OK", phase=Phase.REPLIED, reply=payload("ScoreReply", b"\x08\x11"), sent_at=1.5, ended_at=2.5)
LOST = Report(code="UNAVAILABLE", phase=Phase.LOST)
REFUSED = Report(
    code="FAILED_PRECONDITION", phase=Phase.REPLIED, message="no such patient", applied=False,
    error_reason="PATIENT_UNKNOWN", retry_after_s=-1.0, parked=True, sent_at=0.0, ended_at=0.0,
)  # fmt: skip

JOURNALS: Mapping[str, Sequence[Event]] = {
    "completed": [
        started("report-1"),
        opened(SCORE, FORWARD, 1, payload("ScoreRequest", b"\x00\x01\xff")),
        settled(SCORE, FORWARD, 1, Outcome.UNKNOWN, LOST),
        RetryScheduled(at=2.0, step=SCORE, operation=FORWARD, due_at=2.25, parked=True, reason="scoring is paused"),
        opened(SCORE, FORWARD, 2, None),
        settled(SCORE, FORWARD, 2, Outcome.APPLIED, OK),
        StepSettled(
            at=3.0, step=SCORE, started_at=1.0, outcome=Outcome.APPLIED, reason=SettleReason.REPLIED, code="OK",
            message="", undo_request=payload("UnscoreRequest", b""),
        ),
        StepSkipped(at=3.0, step=NOTIFY, reason=SkipReason.GUARD_FALSE),
        SagaCompleted(at=4.0, started_at=1.0, output=payload("Receipt", b"\x0a\x02ok")),
    ],
    "compensated": [
        started("report-2"),
        opened(ARCHIVE, FORWARD, 1, payload("ArchiveRequest", b"\x08\x01")),
        settled(ARCHIVE, FORWARD, 1, Outcome.NOT_APPLIED, REFUSED),
        CancelRequested(at=5.0, reason="the patient withdrew"),
        CompensationBegan(
            at=5.0,
            cause=Cause(
                kind=CauseKind.STEP_FAILED, message="archive refused", step=ARCHIVE, code="FAILED_PRECONDITION",
                reason="PATIENT_UNKNOWN",
            ),
            deadline_at=305.0,
        ),
        opened(SCORE, COMPENSATE, 1, payload("UnscoreRequest", b"")),
        StepStuck(
            at=6.0, step=SCORE, operation=COMPENSATE, reason=AttentionReason.UNDO_REFUSED, message="already billed",
        ),
        AttentionRaised(at=6.0, reason=AttentionReason.UNDO_REFUSED, step=SCORE, message="already billed"),
        AttentionRaised(at=7.0, reason=AttentionReason.COMPENSATION_OVERDUE, step=None, message="score is not undone"),
        StepUndone(at=8.0, step=SCORE, started_at=6.0, nothing_to_undo=False),
        SagaCompensated(at=9.0, started_at=1.0, compensation_began_at=5.0, undone_count=1),
    ],
    "cancelled_before_anything": [
        started("report-3"),
        CancelRequested(at=2.0, reason=""),
        CompensationBegan(at=2.0, cause=Cause(kind=CauseKind.CANCELLED, message="cancelled"), deadline_at=302.0),
        SagaCompensated(at=2.0, started_at=1.0, compensation_began_at=2.0, undone_count=0),
    ],
}  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
