"""One stream against its plan: one function an invariant, each a dumb reading of the records.

They recompute from the events what must be true, rather than asking the machine that wrote them. What is about order is
in `order.py`.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.ids import idempotency_key
from orchestrator.ports.journal import Record, Rest, SearchRow
from orchestrator.saga import SagaState, SagaStatus, blank, check, check_steps, fold, owed, wake_at
from orchestrator.saga.effects import SendCall
from orchestrator.saga.events import (
    POLL,
    AttemptSettled,
    AttentionRaised,
    CauseKind,
    CompensationBegan,
    Phase,
    Report,
    RetryScheduled,
    SagaCompleted,
    SettleReason,
    StepStuck,
)
from orchestrator.saga.plan import OnFailure, Operation, Plan, Step, StepKind, Wait
from orchestrator.saga.state import StepStatus
from orchestrator.verify import order
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.stream import ENDINGS, Life, Stream, sorted_stream

_TARGET_TO_BLAME = frozenset({"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
"""Answers that cost no retry budget (R7)."""

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
        check_steps(state, state.items)
    except (JournalCorrupted, InvariantViolated) as error:
        broken.append(Violation(invariant="I5", saga_id=row.saga_id, message=error.message))
    findings.add("I5", broken)
    stream = sorted_stream(row, plan, records, state)
    for invariant, rule in RULES.items():
        findings.add(invariant, rule(stream))
    return stream


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
    row, state = stream.row, stream.state
    told = row.status, row.version, {word for word in row.attention.split(",") if word}
    true = state.status, state.version, {reason.value for reason in state.attention}
    if told != true:
        yield stream.broken("I4", f"the row says {told}, the records say {true}", state.version)


def attempts_end_once(stream: Stream) -> Iterator[Violation]:
    """I11: a request to stop may outlive its saga, and so may any call of one that a person ended."""
    for life in stream.every_life():
        for operation, opened in life.opened.items():
            ends = Counter(event.attempt for _, event in life.settled.get(operation, []))
            open_is_wrong = stream.is_over and operation is not Operation.STOP and not stream.was_cut_short
            for version, event in opened:
                count = ends[event.attempt]
                if count > 1 or (count == 0 and open_is_wrong):
                    yield stream.broken("I11", f"attempt {event.attempt} of {life.path} has {count} ends", version)


def keys_are_derived(stream: Stream) -> Iterator[Violation]:
    """I12: and one key stands for one request, in all lives of a step."""
    if stream.uid is None:
        return
    for lives in stream.lives.values():
        seen: dict[str, object] = {}
        spent: set[str] = set()
        for life in lives:
            mine: set[str] = set()
            for operation, opened in life.opened.items():
                for version, event in opened:
                    mine.add(event.key)
                    named = f"{operation.value} of {life.path}"
                    if event.key != idempotency_key(stream.uid, life.path, operation.value, event.manual_epoch):
                        yield stream.broken("I12", f"{named} has key {event.key}", version)
                    if event.key in spent:
                        yield stream.broken("I12", f"{named} was begun anew under key {event.key}", version)
                    if event.request is not None and seen.setdefault(event.key, event.request) != event.request:
                        yield stream.broken("I12", f"{named} sent another request under key {event.key}", version)
            spent |= mine


def attempts_obey_the_policy(stream: Stream) -> Iterator[Violation]:
    """I14: of the attempts that count; one that was lost, or whose target is to blame, does not."""
    for life in stream.every_life():
        step = stream.plan.step_of(life.path)
        for operation in life.settled:
            if operation is Operation.AWAIT or (operation is Operation.FORWARD and _insists(stream.plan, step)):
                continue  # asked until it is done
            most = step.call_of(operation).retry.max_attempts
            counted = _longest_run(life, operation)
            if most and len(counted) > most:
                named = f"{operation.value} of {life.path}"
                yield stream.broken("I14", f"{named} was tried {len(counted)} times of {most}", *counted)


def _insists(plan: Plan, step: Step) -> bool:
    has_to = step.kind is StepKind.RETRIABLE or step.on_failure is OnFailure.RETRY or plan.is_after_pivot(step.id)
    return has_to and not step.optional


def _longest_run(life: Life, operation: Operation) -> list[int]:
    """Return the most attempts in a row that cost budget: a person, or an answer that says not yet, makes it fresh."""
    longest: list[int] = []
    run: list[int] = []
    for version, event in sorted([*life.settled[operation], *life.renewed], key=lambda entry: entry[0]):
        if isinstance(event, AttemptSettled):
            run = [*run, version] if _costs(event.report) else run
            longest = max(longest, run, key=len)
        elif not isinstance(event, RetryScheduled) or _renews(event, operation):
            run = []
    return longest


def _renews(event: RetryScheduled, operation: Operation) -> bool:
    if event.operation is operation:
        return event.reason == POLL
    return event.operation is Operation.FORWARD  # which begins with a clean sheet for whoever asks about it


def _costs(report: Report) -> bool:
    return not (report.parked or report.phase is Phase.LOST or report.code in _TARGET_TO_BLAME)


def terminal_is_last(stream: Stream) -> Iterator[Violation]:
    """I25: but for a child that had completed and is undone by its parent."""
    ends = [at for at, record in enumerate(stream.records) if isinstance(record.event, ENDINGS)]
    for at in ends:
        if at == len(stream.records) - 1:
            continue
        event, following = stream.records[at].event, stream.records[at + 1].event
        by_parent = isinstance(following, CompensationBegan) and following.cause.kind is CauseKind.PARENT
        if not (isinstance(event, SagaCompleted) and by_parent and stream.parent is not None):
            versions = [stream.records[each].version for each in ends]
            yield stream.broken("I25", f"{len(ends)} terminal events, {len(stream.records)} records", *versions)
            return


def signals_come_once(stream: Stream) -> Iterator[Violation]:
    """I29: a repeated signal is the same one, and no step takes one that has not come."""
    seen: dict[str, int] = {}
    for version, event in stream.signals:
        if event.request_id in seen:
            message = f"signal {event.signal} of request {event.request_id} is recorded twice"
            yield stream.broken("I29", message, seen[event.request_id], version)
        seen[event.request_id] = version
    taken: Counter[str] = Counter()
    for version, signal in _taken(stream):
        taken[signal] += 1
        if taken[signal] > sum(1 for at, event in stream.signals if event.signal == signal and at < version):
            yield stream.broken("I29", f"a step took signal {signal}, which had not come", version)


def _taken(stream: Stream) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for life in stream.every_life():
        body = stream.plan.step_of(life.path).body
        if isinstance(body, Wait):
            found += [(at, body.signal) for at, event in life.ended if event.reason is SettleReason.DONE]
    return sorted(found)


def nobody_is_forgotten(stream: Stream) -> Iterator[Violation]:
    """I35: and whoever is asked is told why."""
    for record, following in zip(stream.records, [*stream.records[1:], None], strict=True):
        if isinstance(record.event, StepStuck):
            told = following.event if following is not None else None
            if not (isinstance(told, AttentionRaised) and told.step == record.event.step):
                yield stream.broken("I35", f"{record.event.step} is stuck and nobody was told", record.version)
    state, row = stream.state, stream.row
    if state is None or state.is_terminal:
        return
    if state.status is SagaStatus.NEEDS_ATTENTION and not (state.attention and row.attention):
        yield stream.broken("I35", "it needs attention and gives no reason", state.version)
    due_at = wake_at(owed(state))
    if due_at is not None and row.wake_at is None:
        yield stream.broken("I35", f"something is owed at {due_at:.3f}, its row has no wake-up", state.version)
    waits = state.is_paused or any(state.step(path).status is StepStatus.WAITING for path in state.live)
    if row.rest is Rest.ASLEEP and any(isinstance(effect, SendCall) for effect in owed(state)):
        yield stream.broken("I35", "calls are open, and its row says that nobody need take it up", state.version)
    if not (owed(state) or state.attention or waits):
        yield stream.broken("I35", "it is not terminal, owes nothing and has asked nobody", state.version)


RULES: dict[str, Check] = {
    "I1": versions_are_dense,
    "I2": epochs_do_not_fall,
    "I4": row_agrees,
    "I11": attempts_end_once,
    "I12": keys_are_derived,
    "I14": attempts_obey_the_policy,
    "I15": order.steps_wait_for_predecessors,
    "I17": order.nothing_starts_backward,
    "I18": order.undone_is_what_was_done,
    "I19": order.undo_waits_for_calls,
    "I20": order.later_is_undone_earlier,
    "I21": order.nothing_is_risked_after_the_pivot,
    "I25": terminal_is_last,
    "I29": signals_come_once,
    "I35": nobody_is_forgotten,
}
