"""One stream against its plan: one function an invariant, each a dumb reading of the records.

They recompute from the events what must be true, rather than asking the machine that wrote them. Here are signals and
wake-ups; `sequence.py` has what is about the stream as such, `attempts.py` the calls, `pauses.py` what is between them,
`outcomes.py` what they came to, `order.py` what begins and is undone when, `turning.py` how a saga turns back,
`timers.py` what time brings about.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from orchestrator.errors import InvariantViolated, JournalCorrupted
from orchestrator.ports.journal import Record, Rest, SearchRow
from orchestrator.saga import SagaState, SagaStatus, blank, check, check_steps, fold, owed, wake_at
from orchestrator.saga.effects import SendCall
from orchestrator.saga.events import AttentionRaised, SettleReason, StepStuck
from orchestrator.saga.plan import Plan, Wait
from orchestrator.saga.state import StepStatus
from orchestrator.verify import attempts, order, outcomes, pauses, sequence, timers, turning
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.sorting import sorted_stream
from orchestrator.verify.stream import Stream

Check = Callable[[Stream], Iterator[Violation | int]]


def check_stream(
    row: SearchRow, plan: Plan, records: Sequence[Record], findings: Findings, *, knows_targets: bool = True
) -> Stream:
    """Hold one stream against every invariant; where it does not fold, against those that need no fold.

    `knows_targets`: the plan has what the targets' configuration declares of methods, which no journal records.
    """
    findings.sagas += 1
    findings.records += len(records)
    state: SagaState | None = None
    broken: list[Violation] = []
    try:
        state = fold(blank(plan), (record.event for record in records))
        check(state)
        if state.items:
            check_steps(state, state.items)
    except (JournalCorrupted, InvariantViolated) as error:
        broken.append(Violation(invariant="I5", saga_id=row.saga_id, message=error.message))
    findings.add("I5", broken, len(records))
    stream = sorted_stream(row, plan, records, state)
    if plan.has_own_order:
        findings.partly["I20"] = order.OWN_ORDER
    for invariant, rule in RULES:
        findings.hold(invariant, rule(stream))
    for invariant, rule in RULES_OF_TARGETS if knows_targets else ():
        findings.hold(invariant, rule(stream))
    return stream


def signals_come_once(stream: Stream) -> Iterator[Violation | int]:
    """I29: a repeated signal is the same one, and no step takes one that has not come."""
    yield len(stream.signals)
    if not (stream.signals or stream.plan.signals):
        return
    seen: dict[str, int] = {}
    for version, event in stream.signals:
        if event.request_id in seen:
            message = f"signal {event.signal} of request {event.request_id} is recorded twice"
            yield stream.broken("I29", message, seen[event.request_id], version)
        seen[event.request_id] = version
    taken: Counter[str] = Counter()
    for at, name in _taken(stream):
        yield 1
        taken[name] += 1
        if taken[name] > sum(1 for version, event in stream.signals if event.signal == name and version < at):
            yield stream.broken("I29", f"a step took signal {name}, which had not come", at)


def _taken(stream: Stream) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    for life in stream.every_life():
        body = stream.plan.step_of(life.path).body
        if isinstance(body, Wait):
            found += [(at, body.signal) for at, event in life.ended if event.reason is SettleReason.DONE]
    return sorted(found)


def nobody_is_forgotten(stream: Stream) -> Iterator[Violation | int]:
    """I35: and whoever is asked is told why."""
    yield 1
    for record, following in zip_longest(stream.records, stream.records[1:]):
        if isinstance(record.event, StepStuck):
            told = following.event if following is not None else None
            if not (isinstance(told, AttentionRaised) and told.step == record.event.step):
                yield stream.broken("I35", f"{record.event.step} is stuck and nobody was told", record.version)
    state, row = stream.state, stream.row
    if state is None or state.is_terminal:
        return
    if state.status is SagaStatus.NEEDS_ATTENTION and not (state.attention and row.attention):
        yield stream.broken("I35", "it needs attention and gives no reason", state.version)
    effects = owed(state)
    due_at = wake_at(effects)
    if due_at is not None and (row.wake_at is None or row.wake_at > due_at):
        named = "has no wake-up" if row.wake_at is None else f"wakes it at {row.wake_at:.3f}"
        yield stream.broken("I35", f"something is owed at {due_at:.3f}, its row {named}", state.version)
    waits = state.is_paused or any(state.step(path).status is StepStatus.WAITING for path in state.live)
    waits = waits or row.rest is Rest.AWAKE  # a process that drained has left it to the next one, which takes it up
    if row.rest is Rest.ASLEEP and any(isinstance(effect, SendCall) for effect in effects):
        yield stream.broken("I35", "calls are open, and its row says that nobody need take it up", state.version)
    if not (effects or state.attention or waits):
        yield stream.broken("I35", "it is not terminal, owes nothing and has asked nobody", state.version)


RULES: tuple[tuple[str, Check], ...] = (
    ("I1", sequence.versions_are_dense),
    ("I2", sequence.epochs_do_not_fall),
    ("I3", sequence.writers_sign_for_themselves),
    ("I4", sequence.row_agrees),
    ("I11", attempts.attempts_end_once),
    ("I12", attempts.keys_are_derived),
    ("I14", attempts.attempts_obey_the_policy),
    ("I14", attempts.pauses_are_kept),
    ("I14", pauses.pauses_are_long_enough),
    ("I15", order.steps_wait_for_predecessors),
    ("I16", attempts.windows_are_kept),
    ("I17", order.nothing_starts_backward),
    ("I18", order.undone_is_what_was_done),
    ("I19", order.undo_waits_for_calls),
    ("I20", order.later_is_undone_earlier),
    ("I21", order.nothing_is_risked_after_the_pivot),
    ("I22", turning.undo_is_shielded),
    ("I23", turning.failed_undo_goes_on),
    ("I25", sequence.terminal_is_last),
    ("I26", turning.cancel_stops),
    ("I27", turning.failure_stops),
    ("I27", turning.only_a_failure_stops),
    ("I27", turning.lists_tolerate_what_they_may),
    ("I27", turning.siblings_end_first),
    ("I29", signals_come_once),
    ("I30", timers.timers_are_not_early),
    ("I31", timers.waits_take_what_has_come),
    ("I33", attempts.writers_end_their_own),
    ("I35", nobody_is_forgotten),
    ("I41", sequence.the_revision_stays),
    ("I43", sequence.people_are_named),
    ("I44", sequence.it_stays_within_bounds),
)
"""Each yields a number of facts that hold, or a violation for one that does not."""
RULES_OF_TARGETS: tuple[tuple[str, Check], ...] = (
    ("I13", outcomes.what_may_stand_is_not_repeated),
    ("I18", outcomes.what_may_stand_is_not_forgotten),
    ("I19", order.undo_waits_for_what_may_arrive),
)
"""Rules about methods that keep keys or the barrier, or do not."""
