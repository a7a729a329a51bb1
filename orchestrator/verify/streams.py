"""One stream against its plan: one function an invariant, each a dumb reading of the records.

They recompute from the events what must be true, rather than asking the machine that wrote them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.ids import StepId, idempotency_key
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.saga import SagaState, blank, check, fold, owed, wake_at
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    CompensationBegan,
    Phase,
    Report,
    SagaCompensated,
    SagaCompleted,
    SagaStarted,
    StepSettled,
    StepUndone,
)
from orchestrator.saga.plan import Operation, Outcome, Plan, TriggerRule
from orchestrator.verify.findings import Findings, Violation

OperationKey = tuple[StepId, Operation]

_TARGET_TO_BLAME = frozenset({"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
"""Answers that cost no retry budget (R7)."""


@dataclass(slots=True, kw_only=True)
class Stream:
    """The records of one saga, sorted into what the checks ask for."""

    row: SearchRow
    plan: Plan
    records: Sequence[Record]
    state: SagaState | None
    """What the records fold to; None where they do not."""
    uid: UUID | None = None
    is_over: bool = False
    """Its last record ends it."""
    opened: dict[OperationKey, list[tuple[int, AttemptOpened]]] = field(default_factory=dict)
    settled: dict[OperationKey, list[tuple[int, AttemptSettled]]] = field(default_factory=dict)
    ended: dict[StepId, tuple[int, StepSettled]] = field(default_factory=dict)
    undone: dict[StepId, int] = field(default_factory=dict)
    backward_from: int | None = None
    """Version of CompensationBegan."""

    def broken(self, invariant: str, message: str, *versions: int) -> Violation:
        """Return a violation in this saga."""
        return Violation(invariant=invariant, saga_id=self.row.saga_id, message=message, versions=versions)


Check = Callable[[Stream], Iterator[Violation]]


def check_stream(row: SearchRow, plan: Plan, records: Sequence[Record], findings: Findings) -> Stream:
    """Hold one stream against every invariant; where it does not fold, against those that need no fold."""
    findings.sagas += 1
    findings.records += len(records)
    state: SagaState | None = None
    broken: list[Violation] = []
    try:
        state = fold(blank(plan), (record.event for record in records))
        check(state)
    except (JournalCorrupted, InvariantViolated) as error:
        broken.append(Violation(invariant="I5", saga_id=row.saga_id, message=error.message))
    findings.add("I5", broken)
    stream = sorted_stream(row, plan, records, state)
    for invariant, rule in RULES.items():
        findings.add(invariant, rule(stream))
    return stream


def sorted_stream(row: SearchRow, plan: Plan, records: Sequence[Record], state: SagaState | None) -> Stream:
    """Return the records by what they are about; steps that the plan does not have are the fold's to complain of."""
    stream = Stream(row=row, plan=plan, records=records, state=state)
    known = {None, *plan.steps}
    for record in records:
        if getattr(record.event, "step", None) in known:
            _sort(stream, record)
    stream.is_over = bool(records) and isinstance(records[-1].event, SagaCompleted | SagaCompensated)
    return stream


def _sort(stream: Stream, record: Record) -> None:
    match record.event:
        case SagaStarted() as event:
            stream.uid = event.uid
        case AttemptOpened() as event:
            stream.opened.setdefault((event.step, event.operation), []).append((record.version, event))
        case AttemptSettled() as event:
            stream.settled.setdefault((event.step, event.operation), []).append((record.version, event))
        case StepSettled() as event:
            stream.ended[event.step] = record.version, event
        case StepUndone() as event:
            stream.undone[event.step] = record.version
        case CompensationBegan():
            stream.backward_from = record.version
        case _:
            pass  # the other events bear on no rule that reads single records


def versions_are_dense(stream: Stream) -> Iterator[Violation]:
    """I1."""
    for number, record in enumerate(stream.records, 1):
        if record.version != number:
            yield stream.broken("I1", f"record {number} has version {record.version}", record.version)
            return


def epochs_do_not_fall(stream: Stream) -> Iterator[Violation]:
    """I2."""
    highest = 0
    for record in stream.records:
        if record.epoch < highest:
            yield stream.broken("I2", f"epoch {record.epoch} after {highest}", record.version)
        highest = max(highest, record.epoch)


def row_agrees(stream: Stream) -> Iterator[Violation]:
    """I4."""
    if stream.state is None:
        return
    told = stream.row.status, stream.row.version
    true = stream.state.status, stream.state.version
    if told != true:
        yield stream.broken("I4", f"the row says {told}, the records say {true}", stream.state.version)


def attempts_end_once(stream: Stream) -> Iterator[Violation]:
    """I11."""
    for key, opened in stream.opened.items():
        ends = Counter(event.attempt for _, event in stream.settled.get(key, []))
        for version, event in opened:
            count = ends[event.attempt]
            if count > 1 or (count == 0 and stream.is_over):
                yield stream.broken("I11", f"attempt {event.attempt} of {key[0]} has {count} ends", version)


def keys_are_derived(stream: Stream) -> Iterator[Violation]:
    """I12."""
    if stream.uid is None:
        return
    for (step, operation), opened in stream.opened.items():
        expected = idempotency_key(stream.uid, step, operation.value)
        for version, event in opened:
            if event.key != expected:
                yield stream.broken("I12", f"{operation.value} of {step} has key {event.key}", version)


def attempts_obey_the_policy(stream: Stream) -> Iterator[Violation]:
    """I14: of the attempts that count; one that was lost, or whose target is to blame, does not."""
    for (step, operation), settled in stream.settled.items():
        planned = stream.plan.steps[step]
        call = (
            planned.call
            if operation is Operation.FORWARD or planned.compensation is None
            else planned.compensation.call
        )
        counted = [version for version, event in settled if _costs(event.report)]
        most = call.retry.max_attempts
        if most and len(counted) > most:
            yield stream.broken(
                "I14", f"{operation.value} of {step} was tried {len(counted)} times of {most}", *counted
            )


def _costs(report: Report) -> bool:
    return not (report.parked or report.phase is Phase.LOST or report.code in _TARGET_TO_BLAME)


def steps_wait_for_predecessors(stream: Stream) -> Iterator[Violation]:
    """I15: for the default rule, which is nearly all; the other rules are the machine's own property tests."""
    for step in stream.plan.steps.values():
        opened = stream.opened.get((step.id, Operation.FORWARD))
        if opened is None or step.trigger.rule is not TriggerRule.ALL_SUCCESS:
            continue
        began = opened[0][0]
        for need in step.needs:
            end = stream.ended.get(need)
            if end is None or end[0] > began or end[1].outcome is not Outcome.APPLIED:
                yield stream.broken("I15", f"{step.id} started before {need} was applied", began)


def nothing_starts_backward(stream: Stream) -> Iterator[Violation]:
    """I17."""
    if stream.backward_from is None:
        return
    for (step, operation), opened in stream.opened.items():
        late = [version for version, _ in opened if version > stream.backward_from]
        if operation is Operation.FORWARD and late:
            yield stream.broken("I17", f"{step} was called after compensation began", *late)


def undone_is_what_was_done(stream: Stream) -> Iterator[Violation]:
    """I18: both ways round."""
    for step in stream.undone:
        outcome = stream.ended[step][1].outcome if step in stream.ended else None
        if outcome not in {Outcome.APPLIED, Outcome.UNKNOWN}:
            yield stream.broken("I18", f"{step} was undone with outcome {outcome}", stream.undone[step])
    if not (stream.is_over and isinstance(stream.records[-1].event, SagaCompensated)):
        return
    for step, (version, event) in stream.ended.items():
        wanted = event.outcome is not Outcome.NOT_APPLIED and stream.plan.steps[step].is_undoable
        if wanted and step not in stream.undone:
            yield stream.broken("I18", f"{step} was {event.outcome.value} and is not undone", version)


def undo_waits_for_calls(stream: Stream) -> Iterator[Violation]:
    """I19, the orchestrator's half: no undo opens while a forward call is open."""
    closed = [version for (_, op), ends in stream.settled.items() if op is Operation.FORWARD for version, _ in ends]
    last = max(closed, default=0)
    for (step, operation), opened in stream.opened.items():
        if operation is Operation.COMPENSATE and opened[0][0] < last:
            yield stream.broken("I19", f"{step} was being undone while a forward call was open", opened[0][0], last)


def later_is_undone_earlier(stream: Stream) -> Iterator[Violation]:
    """I20: unless the author ordered it otherwise."""
    if stream.plan.has_own_order:
        return
    wanted = [s for s, (_, e) in stream.ended.items() if e.outcome is not Outcome.NOT_APPLIED]
    wanted = [s for s in wanted if stream.plan.steps[s].is_undoable and (s, Operation.FORWARD) in stream.opened]
    for first in wanted:
        undo = stream.opened.get((first, Operation.COMPENSATE))
        if undo is None:
            continue
        for second in wanted:
            began = stream.opened[second, Operation.FORWARD][0][0]
            if began > stream.ended[first][0] and stream.undone.get(second, undo[0][0]) >= undo[0][0]:
                yield stream.broken("I20", f"{first} was undone before {second}, which began after it", undo[0][0])


def terminal_is_last(stream: Stream) -> Iterator[Violation]:
    """I25."""
    ends = [r.version for r in stream.records if isinstance(r.event, SagaCompleted | SagaCompensated)]
    if len(ends) > 1 or (ends and ends[0] != stream.records[-1].version):
        yield stream.broken("I25", f"{len(ends)} terminal events, {len(stream.records)} records", *ends)


def nobody_is_forgotten(stream: Stream) -> Iterator[Violation]:
    """I35."""
    if stream.state is None or stream.state.is_terminal:
        return
    due_at = wake_at(owed(stream.state))
    if due_at is not None and stream.row.wake_at is None:
        yield stream.broken("I35", f"something is owed at {due_at:.3f}, its row has no wake-up", stream.state.version)
    if not (owed(stream.state) or stream.state.attention):
        yield stream.broken("I35", "it is not terminal, owes nothing and has asked nobody", stream.state.version)


RULES: dict[str, Check] = {
    "I1": versions_are_dense,
    "I2": epochs_do_not_fall,
    "I4": row_agrees,
    "I11": attempts_end_once,
    "I12": keys_are_derived,
    "I14": attempts_obey_the_policy,
    "I15": steps_wait_for_predecessors,
    "I17": nothing_starts_backward,
    "I18": undone_is_what_was_done,
    "I19": undo_waits_for_calls,
    "I20": later_is_undone_earlier,
    "I25": terminal_is_last,
    "I35": nobody_is_forgotten,
}
