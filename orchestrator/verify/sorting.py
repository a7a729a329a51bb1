"""Sorts the records of one saga into what the checks ask for: one pass, whatever is asked later."""

from collections.abc import Sequence

from orchestrator.ids import StepId, item_of
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.saga import SagaState
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    AttentionRaised,
    CancelRequested,
    CauseKind,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    Phase,
    RetryScheduled,
    RollbackBegan,
    SagaStarted,
    SagaTerminated,
    SettleReason,
    SignalReceived,
    SkipReason,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepsReset,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.plan import Operation, Plan
from orchestrator.verify.stream import ENDINGS, Life, Part, Stream


def sorted_stream(row: SearchRow, plan: Plan, records: Sequence[Record], state: SagaState | None) -> Stream:
    """Return the records by what they are about; steps that the plan does not have are the fold's to complain of."""
    stream = Stream(row=row, plan=plan, records=records, state=state)
    previous: Event | None = None
    for record in records:
        _sort(stream, record, previous)
        previous = record.event
    stream.ending = previous if isinstance(previous, ENDINGS) else None
    return stream


def _sort(stream: Stream, record: Record, previous: Event | None) -> None:
    version, event = record.version, record.event
    match event:
        # First, because two of three records are one of these.
        case AttemptOpened(operation=operation):
            if (life := _life(stream, event.step)) is not None:
                life.opened.setdefault(operation, []).append((version, event))
                if operation is Operation.FORWARD and life.began is None:
                    life.began = version
                if event.epoch != record.epoch:
                    stream.foreign.append(version)
        case AttemptSettled():
            if (life := _life(stream, event.step)) is not None:
                _settled(stream, life, event, record)
        case StepSettled():
            if (life := _life(stream, event.step)) is not None:
                life.ended.append((version, event))
                _end_parts(stream, event, version)
            if event.reason is SettleReason.RESOLVED:
                stream.deeds.append((version, "was resolved", event.step, previous))
        case RetryScheduled():
            if (life := _life(stream, event.step)) is not None:
                life.renewed.append((version, event))
        case StepUndone():
            if (life := _life(stream, event.step)) is not None:
                life.undone = version
        case StepBegan():
            if (life := _life(stream, event.step)) is not None:
                life.began, life.due_at, life.count = version, event.due_at, event.count or 0
            _turn_round(stream, version)
        case _:
            _sort_seldom(stream, version, event, previous)


def _sort_seldom(stream: Stream, version: int, event: Event, previous: Event | None) -> None:
    match event:
        case SagaStarted():
            stream.started = event
        case SignalReceived():
            stream.signals.append((version, event))
        case AttentionRaised():
            stream.raised.append((version, event))
        case StepStuck():
            if (life := _life(stream, event.step)) is not None:
                life.stuck.append(version)
        case StepSkipped() | StepReopened() | StepLeft():
            if (life := _life(stream, event.step)) is not None:
                _of_person(stream, life, version, event, previous)
        case CancelRequested():
            _turn_round(stream, version)
            stream.cancelled = version
        case CompensationBegan():
            stream.backward_from, stream.cause, stream.backward_due_at = version, event.cause, event.deadline_at
            for part in stream.parts:
                part.ended = version if part.ended is None else part.ended
        case OperatorActed():
            if _is_known(stream, event.step):
                stream.acted.append((version, event))
        case SagaTerminated():
            stream.deeds.append((version, "was terminated", None, previous))
        case RollbackBegan() | ElseBegan() | StepsReset():
            _turn_round(stream, version)
            if _is_known(stream, event.step):
                _of_part(stream, version, event, previous)
        case _:
            pass  # the other events bear on no rule that reads single records


def _is_known(stream: Stream, path: StepId | None) -> bool:
    return path is None or path in stream.lives or item_of(path)[0] in stream.plan.steps


def _life(stream: Stream, path: StepId) -> Life | None:
    lives = stream.lives.get(path)
    if lives is None:
        if item_of(path)[0] not in stream.plan.steps:
            return None
        lives = stream.lives[path] = []
    if not lives or lives[-1].reset is not None:
        lives.append(Life(path=path))
    return lives[-1]


def _turn_round(stream: Stream, version: int) -> None:
    if stream.backward_from is not None:
        stream.turned_round.append(version)


def _settled(stream: Stream, life: Life, event: AttemptSettled, record: Record) -> None:
    life.settled.setdefault(event.operation, []).append((record.version, event))
    opened = life.opened.get(event.operation)
    if opened is None or event.report.phase is Phase.LOST:
        return
    version, last = opened[-1]
    if last.epoch != record.epoch and last.attempt == event.attempt:
        stream.crossed.append((version, record.version))


def _of_person(
    stream: Stream, life: Life, version: int, event: StepSkipped | StepReopened | StepLeft, previous: Event | None
) -> None:
    if isinstance(event, StepSkipped):
        life.skipped = version
        if event.reason is SkipReason.OPERATOR:
            stream.deeds.append((version, "was skipped", event.step, previous))
        return
    if isinstance(event, StepLeft):
        life.left = version
        stream.deeds.append((version, "was left", event.step, previous))
        return
    life.renewed.append((version, event))
    stream.deeds.append((version, "was tried again", event.step, previous))
    if event.operation is Operation.FORWARD:
        _turn_round(stream, version)


def _of_part(
    stream: Stream, version: int, event: RollbackBegan | ElseBegan | StepsReset, previous: Event | None
) -> None:
    if isinstance(event, RollbackBegan):
        stream.parts.append(Part(event=event, began=version))
        if event.cause.kind is CauseKind.OPERATOR:
            stream.deeds.append((version, "was to be run again", event.step, previous))
        return
    for part in stream.parts:
        if part.event.step == event.step and part.ended is None:
            part.ended, part.is_undone = version, True
    if isinstance(event, ElseBegan):
        stream.turned.setdefault(event.step, []).append((version, event))
        return
    inside = set(event.steps)
    for path, lives in stream.lives.items():
        if (path in inside or item_of(path)[0] in inside) and lives[-1].reset is None:
            lives[-1].reset = version


def _end_parts(stream: Stream, event: StepSettled, version: int) -> None:
    for part in stream.parts:
        # What is run again from a step ends with its reset instead.
        if part.event.step == event.step and part.ended is None and not part.is_rerun:
            part.ended, part.is_undone = version, event.reason is SettleReason.SCOPE_FAILED
