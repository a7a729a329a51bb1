"""The calls of one saga, attempt by attempt: how they end, under which keys, how often, and how many at once."""

from collections import Counter
from collections.abc import Iterable, Iterator

from orchestrator.ids import StepId, idempotency_key
from orchestrator.limits import FORWARD_PARALLEL_MAX, UNDO_PARALLEL_MAX
from orchestrator.saga.events import (
    POLL,
    AttemptOpened,
    AttemptSettled,
    OperatorActed,
    Phase,
    Report,
    RetryScheduled,
    StepReopened,
    Verb,
)
from orchestrator.saga.plan import OnFailure, Operation, Plan, Step, StepKind
from orchestrator.verify.findings import Violation
from orchestrator.verify.stream import Life, Stream

_TARGET_TO_BLAME = frozenset({"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"})
"""Answers that cost no retry budget (R7)."""
_ASKS = frozenset({Operation.AWAIT, Operation.PROBE})


def attempts_end_once(stream: Stream) -> Iterator[Violation | int]:
    """I11: a request to stop may outlive its saga, and so may any call of one that a person ended.

    What was only asked about is not asked any more, once a person has said what is true.
    """
    for life in stream.every_life():
        for operation, opened in life.opened.items():
            settled = life.settled.get(operation, [])
            yield len(opened)
            if len(opened) == 1 == len(settled) and opened[0][1].attempt == settled[0][1].attempt:
                continue  # nearly always
            ends = Counter(event.attempt for _, event in settled)
            open_is_wrong = stream.is_over and operation is not Operation.STOP and not stream.was_cut_short
            if operation in _ASKS:
                open_is_wrong = open_is_wrong and not any(is_word(stream, version) for version, _ in life.ended)
            for version, event in opened:
                count = ends[event.attempt]
                if count > 1 or (count == 0 and open_is_wrong):
                    yield stream.broken("I11", f"attempt {event.attempt} of {life.path} has {count} ends", version)


def is_word(stream: Stream, version: int) -> bool:
    """Return whether an end is what a person said."""
    before = stream.event(version - 1)
    return isinstance(before, OperatorActed) and before.verb is Verb.RESOLVE


def writers_end_their_own(stream: Stream) -> Iterator[Violation | int]:
    """I33: a writer that finds another's call open has not seen its end, and must not say that it has."""
    for opened, settled in stream.crossed:
        message = "an attempt has an end that was seen by another writer than its own"
        yield stream.broken("I33", message, opened, settled)
    yield sum(len(settled) for life in stream.every_life() for settled in life.settled.values())


def keys_are_derived(stream: Stream) -> Iterator[Violation | int]:
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
                    wrong = ""
                    if event.key != idempotency_key(stream.uid, life.path, operation.value, event.manual_epoch):
                        wrong = f"has key {event.key}"
                    if event.key in spent:
                        wrong = f"was begun anew under key {event.key}"
                    if event.request is not None and seen.setdefault(event.key, event.request) != event.request:
                        wrong = f"sent another request under key {event.key}"
                    if wrong:
                        yield stream.broken("I12", f"{operation.value} of {life.path} {wrong}", version)
                yield len(opened)
            spent |= mine


def attempts_obey_the_policy(stream: Stream) -> Iterator[Violation | int]:
    """I14: of the attempts that count; one that was lost, or whose target is to blame, does not."""
    for life in stream.every_life():
        step = stream.plan.step_of(life.path)
        for operation, settled in life.settled.items():
            call = stream.call_of(life.path, operation)
            if operation is Operation.AWAIT or call is None:
                continue  # asked until it is done
            yield len(settled)
            most = call.retry.max_attempts
            if not most or len(settled) <= most or (operation is Operation.FORWARD and has_to_succeed(stream, step)):
                continue
            counted = _longest_run(life, operation)
            if len(counted) > most:
                named = f"{operation.value} of {life.path}"
                yield stream.broken("I14", f"{named} was tried {len(counted)} times of {most}", *counted)


def has_to_succeed(stream: Stream, step: Step) -> bool:
    """Return whether a step has to succeed, at some time: so has what runs beside a pivot while that is undecided."""
    plan = stream.plan
    has_to = step.kind is StepKind.RETRIABLE or step.on_failure is OnFailure.RETRY or plan.is_after_pivot(step.id)
    return (has_to or _is_beside_pivot(stream, plan)) and not step.optional


def _is_beside_pivot(stream: Stream, plan: Plan) -> bool:
    return plan.pivot is not None and any(life.opened for life in stream.lives.get(plan.pivot, []))


def _longest_run(life: Life, operation: Operation) -> list[int]:
    """Return the most attempts in a row that cost budget: a person, or an answer that says not yet, makes it fresh.

    Put before a person, an operation has used it up; where the saga is turned back meanwhile, it may be asked again.
    """
    longest: list[int] = []
    run: list[int] = []
    stuck = [(version, None) for version in life.stuck]
    for version, event in sorted([*life.settled[operation], *life.renewed, *stuck], key=lambda entry: entry[0]):
        if isinstance(event, AttemptSettled):
            run = [*run, version] if costs(event.report) else run
            longest = max(longest, run, key=len)
        elif not isinstance(event, RetryScheduled) or _renews(event, operation):
            run = []
    return longest


def _renews(event: RetryScheduled, operation: Operation) -> bool:
    if event.operation is operation:
        return event.reason == POLL
    return event.operation is Operation.FORWARD  # which begins with a clean sheet for whoever asks about it


def costs(report: Report) -> bool:
    """Return whether an attempt that ended so costs retry budget (R7)."""
    return not (report.parked or report.phase is Phase.LOST or report.code in _TARGET_TO_BLAME)


def pauses_are_kept(stream: Stream) -> Iterator[Violation | int]:
    """I14: the pause that was recorded; a person need not wait for it. Both instants are of one clock, as recorded."""
    for life in stream.every_life():
        waiting: dict[Operation, RetryScheduled] = {}
        if not life.renewed:
            continue
        opened = [entry for each in life.opened.values() for entry in each]
        for version, event in sorted([*life.renewed, *opened], key=lambda entry: entry[0]):
            if isinstance(event, RetryScheduled):
                waiting[event.operation] = event
            elif isinstance(event, AttemptOpened) and event.operation in waiting:
                due_at = waiting.pop(event.operation).due_at
                if event.at < due_at:
                    early_s = due_at - event.at
                    message = f"{event.operation.value} of {life.path} was tried again {early_s:.3f} s too early"
                    yield stream.broken("I14", message, version)
                yield 1
            elif isinstance(event, StepReopened):
                waiting.pop(event.operation, None)


def windows_are_kept(stream: Stream) -> Iterator[Violation | int]:
    """I16: of every list, and of the saga; a call that is repeated has had its place before."""
    for step in stream.plan.steps.values() if stream.plan.has_parts else ():
        if step.for_each is None or step.id not in stream.lives:
            continue
        inside = f"{step.id}["
        mine = [life for path, lives in stream.lives.items() if path.startswith(inside) for life in lives]
        spans = [(life.began, life.over or life.reset) for life in mine if life.began is not None]
        yield len(spans)
        for at, count in _crowded(spans, step.for_each.parallel):
            told = f"{count} items of {step.id} were under way, and its window is {step.for_each.parallel}"
            yield stream.broken("I16", told, at)
    for operation, most in ((Operation.FORWARD, FORWARD_PARALLEL_MAX), (Operation.COMPENSATE, UNDO_PARALLEL_MAX)):
        if len(stream.lives) <= most:
            continue  # there is nothing to look at
        calls = [life for life in stream.every_life() if operation in life.opened]
        if len(calls) > most:
            yield from _too_many_calls(stream, calls, operation, most)
            yield len(calls)


def _crowded(spans: Iterable[tuple[int, int | None]], most: int) -> Iterator[tuple[int, int]]:
    """Yield every beginning at which more are under way than may be, itself included."""
    moves = [(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans if ended is not None]
    count = 0
    for at, move in sorted(moves):
        count += move
        if move > 0 and count > most:
            yield at, count


def _too_many_calls(stream: Stream, lives: list[Life], operation: Operation, most: int) -> Iterator[Violation]:
    """Look at what is open when a call is made for the first time."""
    moves: list[tuple[int, int, StepId]] = []
    for life in lives:
        by_hand = {version + 1 for version, event in life.renewed if isinstance(event, StepReopened)}
        for version, event in life.opened[operation]:
            moves.append((version, 1 if event.attempt == 1 and version not in by_hand else 0, life.path))
        moves += [(version, -1, life.path) for version, _ in life.settled.get(operation, [])]
    open_ones: set[StepId] = set()
    for version, move, path in sorted(moves):
        if move < 0:
            open_ones.discard(path)
            continue
        open_ones.add(path)
        if move and len(open_ones) > most:
            told = f"{len(open_ones)} {operation.value} calls were open, and a saga has at most {most}"
            yield stream.broken("I16", told, version)
