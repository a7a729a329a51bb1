"""The third witness: what callers were told, as far as somebody wrote it down.

A caller is whoever asked the API and remembers the answer: the crowd of a test, or a service that keeps a log of its
own. Each field is a claim by itself, and one that is None was not written down; what it would show is then reported as
not checked. A claim is made only of an answer that arrived: of a call whose answer was lost nothing is known.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.ids import SagaId
from orchestrator.ports.journal import SearchRow
from orchestrator.saga.events import Event
from orchestrator.saga.state import SagaStatus
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.stream import Stream

_ENDS = frozenset({"COMPLETED", "COMPENSATED", "TERMINATED"})
_LATER = frozenset({"COMPENSATING", "NEEDS_ATTENTION", "COMPENSATED", "TERMINATED"})
"""What a child may be after somebody was told that it has completed."""

_NOT_GIVEN = {
    "I7": "no answers of callers were given",
    "I8": "no refusals that callers met were given",
    "I45": "nothing that watchers were handed was given",
    "I46": "no lists that callers saw were given",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one watcher was handed, over however many streams it took."""

    saga_id: SagaId
    seen: Sequence[tuple[int, Event | None]]
    """Each record's number and event, in the order they came; None where only the number was kept."""
    after: int = 0
    """The number that it asked to be handed what comes after."""
    is_whole: bool = False
    """It was told that the saga has ended, so that it must have been handed everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What one walk over all pages of the list, without a filter, has shown."""

    saga_ids: Sequence[SagaId]
    known: Collection[SagaId]
    """Sagas that were acknowledged before the first page was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What callers were told."""

    ends: Mapping[SagaId, str] | None = None
    """Saga -> the end its caller was told, "" for accepted (I7)."""
    signals: Mapping[SagaId, Collection[str]] | None = None
    """Saga -> request ids of signals that their senders were told are recorded (I29)."""
    cancels: Collection[SagaId] | None = None
    """Sagas whose cancel was answered OK (I7)."""
    requests: Mapping[str, SagaId] | None = None
    """Request id of a start -> the saga that its sender was told; not of one that met a saga started before (I9)."""
    refused: Collection[str] | None = None
    """Request ids of starts that were refused for good, each of them whenever it was sent (I8)."""
    refused_sagas: Collection[SagaId] | None = None
    """Sagas every start of which was refused for good (I8)."""
    watched: Sequence[Watched] | None = None
    """What watchers were handed (I45)."""
    listed: Sequence[Listed] | None = None
    """What the list has shown (I46)."""


def missing(answers: Answers) -> Mapping[str, str]:
    """Return the invariants that these answers cannot show, and why."""
    given = {
        "I7": (answers.ends, answers.cancels),
        "I8": (answers.refused, answers.refused_sagas),
        "I45": (answers.watched,),
        "I46": (answers.listed,),
    }
    return {name: _NOT_GIVEN[name] for name, fields in given.items() if all(each is None for each in fields)}


def check_saga_answers(stream: Stream, answers: Answers, watched: Sequence[Watched], findings: Findings) -> None:
    """Hold one saga against what was said about it: I7 for cancels, I29 for signals, I45 for what saw it."""
    saga_id = stream.row.saga_id
    if answers.signals is not None and (told := answers.signals.get(saga_id)):
        check_signals(stream, told, findings)
    if answers.cancels is not None and saga_id in answers.cancels:
        heard = stream.cancelled is not None or stream.backward_from is not None
        message = "the sender of its cancel was told that it is recorded, and the saga never turned back"
        findings.add("I7", [] if heard else [stream.broken("I7", message)])
    for each in watched:
        findings.add("I45", _badly_watched(stream, each), len(each.seen))


def check_signals(stream: Stream, told: Collection[str], findings: Findings) -> None:
    """I29: a signal that was answered OK is in the journal (M14)."""
    recorded = {event.request_id for _, event in stream.signals}
    lost = sorted(set(told) - recorded)
    message = "the sender of signal {} was told that it is recorded"
    findings.add("I29", (stream.broken("I29", message.format(request_id)) for request_id in lost), len(told))


def _badly_watched(stream: Stream, watched: Watched) -> list[Violation]:
    """Return the first thing that is wrong with what a watcher was handed."""
    expected = watched.after + 1
    for version, event in watched.seen:
        if version != expected:
            return [stream.broken("I45", f"a watcher was handed record {version} where {expected} follows", version)]
        recorded = stream.event(version)
        if recorded is None or (event is not None and event != recorded):
            return [stream.broken("I45", "a watcher was handed a record that is not the journal's", version)]
        expected += 1
    if watched.is_whole and expected <= len(stream.records):
        message = f"a watcher was told of the end and was never handed record {expected}"
        return [stream.broken("I45", message, expected)]
    return []


def check_answers(
    answers: Mapping[SagaId, str], statuses: Mapping[SagaId, str], children: Collection[SagaId], findings: Findings
) -> None:
    """I7: a saga that a caller was told is accepted exists, and one that was told ended has ended just so.

    But for `children`: one that has completed may be undone by its parent since.
    """
    for saga_id, told in answers.items():
        true = statuses.get(saga_id)
        expected = {told, *(_LATER if told == "COMPLETED" and saga_id in children else ())}
        lost = true is None or (told in _ENDS and true not in expected)
        message = f"a caller was told {told or 'accepted'}, the journal says {true or 'nothing'}"
        findings.add("I7", [Violation(invariant="I7", saga_id=saga_id, message=message)] if lost else [])


def check_store_answers(rows: Mapping[SagaId, SearchRow], answers: Answers, findings: Findings) -> None:
    """Hold the whole store against what was said about it: I7, I8, I9, I46."""
    for invariant, what, sagas in (("I7", "cancel", answers.cancels), ("I29", "signal", answers.signals)):
        for saga_id in sorted(set(sagas or ()) - set(rows)):
            message = f"the sender of its {what} was told that it is recorded, and the journal has no such saga"
            findings.add(invariant, [Violation(invariant=invariant, saga_id=saga_id, message=message)])
    by_request = {row.request_id: row.saga_id for row in rows.values() if row.request_id}
    for request_id, saga_id in (answers.requests or {}).items():
        true = by_request.get(request_id)
        message = f"the sender of request {request_id} was told this saga, the journal says {true or 'none'}"
        wrong = [] if true == saga_id else [Violation(invariant="I9", saga_id=saga_id, message=message)]
        findings.add("I9", wrong)
    for request_id in answers.refused or ():
        found = by_request.get(request_id)
        findings.add("I8", [] if found is None else [_refused(found, f"request {request_id}")])
    for saga_id in answers.refused_sagas or ():
        findings.add("I8", [_refused(saga_id, "every start of it")] if saga_id in rows else [])
    for listed in answers.listed or ():
        findings.add("I46", _badly_listed(listed), len(listed.saga_ids))


def _refused(saga_id: SagaId, what: str) -> Violation:
    message = f"the sender of {what} was told that it is refused, and the journal has the saga"
    return Violation(invariant="I8", saga_id=saga_id, message=message)


def _badly_listed(listed: Listed) -> list[Violation]:
    shown = set(listed.saga_ids)
    twice = sorted(each for each, count in Counter(listed.saga_ids).items() if count > 1)
    missed = sorted(set(listed.known) - shown)
    return [
        *(Violation(invariant="I46", saga_id=each, message="a list showed it twice") for each in twice),
        *(Violation(invariant="I46", saga_id=each, message="it was there, and a list left it out") for each in missed),
    ]


def check_at_rest(rows: Collection[SearchRow], findings: Findings) -> None:
    """I36: over a store in which, its caller says, nothing more is going to happen."""
    for row in rows:
        rests = row.ended_at is not None or row.status is SagaStatus.NEEDS_ATTENTION
        message = f"the faults are over, and it is {row.status.value}"
        findings.add("I36", [] if rests else [Violation(invariant="I36", saga_id=row.saga_id, message=message)])
