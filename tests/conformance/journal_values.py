"""Appends, rows and records for tests of stores; a test names what it is about, the rest is filled in."""

import uuid
from typing import Any

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.journal import Append, Record, SearchRow
from orchestrator.saga.events import AttemptOpened, CancelRequested, Event, OperatorActed, Verb
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import SagaStatus
from orchestrator.values import Payload


def cancelled(number: int, *, at: float = 1.0) -> Event:
    """Return the smallest event, told apart by its number."""
    return CancelRequested(at=at, reason=f"reason {number}")


def acted(by: str, number: int) -> Event:
    """Return what a person did."""
    return OperatorActed(at=float(number), verb=Verb.PAUSE, by=by, reason=f"reason {number}")


def opened(number: int, size_bytes: int = 1_000) -> Event:
    """Return an event with a payload, as most are."""
    return AttemptOpened(
        at=float(number),
        step=StepId("score"),
        operation=Operation.FORWARD,
        attempt=number,
        epoch=1,
        key="5ff6a7c2-45b8-5d3c-8a6b-0d1f7d2c9e11",
        request=Payload("epro.v1.ScoreRequest", bytes(size_bytes)),
        deadline_at=number + 10.0,
    )


def append(saga: str, *events: Event, after: int = 0, epoch: int = 1, **row: Any) -> Append:
    """Return an append of these events (one, if none is given) after a version; `row` overrides row fields."""
    given = events or (cancelled(after + 1),)
    version = after + len(given)
    records = tuple(
        Record(version=number, epoch=epoch, event=event) for number, event in enumerate(given, start=after + 1)
    )
    return Append(
        saga_id=SagaId(saga),
        expected_version=after,
        epoch=epoch,
        records=records,
        row=search_row(saga, version=version, epoch=epoch, **row),
    )


def search_row(saga: str, **changed: Any) -> SearchRow:
    """Return a row that differs from an ordinary one as told."""
    fields: dict[str, Any] = {
        "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, saga)),
        "request_id": "",
        "definition": "epro",
        "revision": "3f2a",
        "status": SagaStatus.RUNNING,
        "version": 1,
        "epoch": 1,
        "started_at": 1_000.0,
        "updated_at": 1_000.0,
        "ended_at": None,
        "wake_at": None,
    }
    return SearchRow(saga_id=SagaId(saga), **{**fields, **changed})
