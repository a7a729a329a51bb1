"""How a saga turns back, and that nothing turns it round again: I22, I23, I26 and I27."""

from collections.abc import Iterator

from orchestrator.ids import StepId, item_of
from orchestrator.limits import ALERT_ATTEMPTS
from orchestrator.saga.events import (
    GOOD_REASONS,
    AttemptOpened,
    AttemptSettled,
    AttentionReason,
    CauseKind,
    Event,
    OperatorActed,
    Phase,
    RetryScheduled,
    SagaCompleted,
    SettleReason,
    StepSettled,
    StepStuck,
    StepUndone,
    Verb,
)
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.verify.attempts import costs, is_word
from orchestrator.verify.findings import Violation
from orchestrator.verify.stream import Life, Stream

_ROUNDING_S = 1e-6
_NOTHING_TO_UNDO = "SAGA_NOTHING_TO_UNDO"


def undo_is_shielded(stream: Stream) -> Iterator[Violation | int]:
    """I22: each attempt of an undo has its whole time (R23), and there is no way forward from there."""
    for version in stream.turned_round:
        what = type(stream.event(version)).__name__
        yield stream.broken("I22", f"{what} was recorded while everything was being undone", version)
    for life in stream.every_life():
        opened = life.opened.get(Operation.COMPENSATE, [])
        call = stream.call_of(life.path, Operation.COMPENSATE) if opened else None
        if call is None:
            continue
        for version, event in opened:
            if event.deadline_at - event.at < call.timeout_s - _ROUNDING_S:
                has_s = event.deadline_at - event.at
                message = f"the undo of {life.path} had {has_s:.3f} s of {call.timeout_s:g} s"
                yield stream.broken("I22", message, version)
        yield len(opened)


def failed_undo_goes_on(stream: Stream) -> Iterator[Violation | int]:
    """I23: what follows an undo's attempt is what its answer says (R10, R24)."""
    for life in stream.every_life():
        settled = life.settled.get(Operation.COMPENSATE, [])
        for version, event in settled:
            following = stream.event(version + 1)
            if _has_undone(event):
                right = isinstance(following, StepUndone) and following.step == life.path
                told = f"the undo of {life.path} was done, and it is not recorded as undone"
            else:
                right = _goes_on(following, life.path)
                told = f"the undo of {life.path} failed, and it is neither tried again nor put before a person"
            if not right:
                yield stream.broken("I23", told, version)
        yield len(settled)
        if life.undone is not None and not _was_said(stream.event(life.undone - 1), life.path):
            yield stream.broken("I23", f"{life.path} is recorded as undone, and nobody said so", life.undone)
        if len(settled) >= ALERT_ATTEMPTS:
            yield from _silent(stream, life)


def _has_undone(event: AttemptSettled) -> bool:
    report = event.report
    answered = report.phase is Phase.REPLIED
    nothing = answered and (report.code == "NOT_FOUND" or report.error_reason == _NOTHING_TO_UNDO)
    return event.outcome is Outcome.APPLIED or nothing


def _goes_on(following: Event | None, path: StepId) -> bool:
    match following:
        case RetryScheduled() | AttemptOpened() | StepStuck():
            return following.operation is Operation.COMPENSATE and following.step == path
        case _:
            return False


def _was_said(before: Event | None, path: StepId) -> bool:
    if isinstance(before, OperatorActed):
        return before.verb is Verb.RESOLVE and before.step == path
    is_its = isinstance(before, AttemptSettled) and before.operation is Operation.COMPENSATE and before.step == path
    return isinstance(before, AttemptSettled) and is_its and _has_undone(before)


def _silent(stream: Stream, life: Life) -> Iterator[Violation]:
    """An undo that fails again and again is tried on, but a person is told."""
    told = [version for version, event in stream.raised if event.reason is AttentionReason.RETRYING]
    count = 0
    renewed = [version for version, event in life.renewed if not isinstance(event, RetryScheduled)]
    last = 0
    for version, event in life.settled[Operation.COMPENSATE]:
        count = 0 if any(last < at < version for at in renewed) else count
        count, last = count + costs(event.report), version
        following = stream.event(version + 1)
        if count >= ALERT_ATTEMPTS and isinstance(following, RetryScheduled):
            if not any(at <= version + 2 for at in told):
                message = f"the undo of {life.path} has failed {count} times, and nobody was told"
                yield stream.broken("I23", message, version)
            return


def cancel_stops(stream: Stream) -> Iterator[Violation | int]:
    """I26: as far as records tell; that the open calls' peers hear of it is measured elsewhere."""
    cancelled = stream.cancelled
    if cancelled is None:
        return
    yield 1
    applied_at = _pivot_applied_at(stream)
    past = applied_at is not None and (stream.backward_from is None or applied_at < stream.backward_from)
    for life in stream.every_life():
        begins = life.began is not None and life.began > cancelled
        if begins and not (past and applied_at is not None and applied_at < (life.began or 0)):
            yield stream.broken("I26", f"{life.path} began after the saga was cancelled", cancelled, life.began or 0)
    completed = isinstance(stream.ending, SagaCompleted) and not stream.was_cut_short
    if completed and stream.backward_from is None and not past:
        yield stream.broken("I26", "it was cancelled, and completed all the same", cancelled, len(stream.records))


def _pivot_applied_at(stream: Stream) -> int | None:
    lives = stream.lives.get(stream.plan.pivot, []) if stream.plan.pivot is not None else []
    ends = [at for at, event in lives[-1].ended if event.outcome is Outcome.APPLIED] if lives else []
    return ends[0] if ends else None


def failure_stops(stream: Stream) -> Iterator[Violation | int]:
    """I27, the first error (R14): what has failed and is required stops everything in the same append."""
    for life in stream.every_life():
        if not life.ended:
            continue
        version, event = life.ended[0]
        if not _fails(event) or not _is_required(stream, life) or _is_stopped(stream, life.path, version):
            continue
        yield 1
        turned = stream.backward_from
        if turned is not None and turned < version:
            continue
        begun = [each.began for each in stream.every_life() if each.began is not None and each.began > version]
        late = [at for at in begun if turned is None or at < turned]
        if late:
            yield stream.broken("I27", f"{life.path} had failed, and something began all the same", version, *late)
        elif turned is None and isinstance(stream.ending, SagaCompleted) and not stream.was_cut_short:
            yield stream.broken("I27", f"{life.path} had failed, and the saga completed", version, len(stream.records))


def _fails(event: StepSettled) -> bool:
    return event.outcome is not Outcome.APPLIED or event.reason not in GOOD_REASONS


def _is_required(stream: Stream, life: Life) -> bool:
    """Return whether the whole saga hangs on it: no item, no member of a scope, nothing optional."""
    step = stream.plan.steps.get(life.path)
    return step is not None and step.scope is None and not step.optional


def _is_stopped(stream: Stream, path: StepId, at: int) -> bool:
    """Return whether something else had stopped it: a part that is undone to be run again, a cancel at the pivot."""
    if stream.cancelled is not None and stream.plan.pivot is not None:
        return True
    return any(part.is_open(at) and path in part.event.steps for part in stream.parts)


def only_a_failure_stops(stream: Stream) -> Iterator[Violation | int]:
    """I27, the other way round: what turns a saga, or a part of it, back is something that it cannot do without."""
    turned = [(part.began, part.event.cause) for part in stream.parts]
    if stream.backward_from is not None and stream.cause is not None:
        turned.append((stream.backward_from, stream.cause))
    for version, cause in turned:
        step = None if cause.step is None else stream.plan.steps.get(item_of(cause.step)[0])
        if step is None or cause.kind is CauseKind.OPERATOR:
            continue
        yield 1
        if step.optional and step.id != getattr(stream.event(version), "step", None):
            yield stream.broken("I27", f"{step.id} is optional, and its failure turned the saga back", version)


def lists_tolerate_what_they_may(stream: Stream) -> Iterator[Violation | int]:
    """I27: a list has failed when more of its items have than it tolerates, and not before."""
    lists = [life for life in stream.every_life() if life.count and life.ended]
    if not lists:
        return
    failures = [
        (item_of(life.path)[0], life.ended[0][0])
        for life in stream.every_life()
        if item_of(life.path)[1] is not None and life.ended and _fails(life.ended[0][1])
    ]
    for life in lists:
        (version, event), for_each = life.ended[0], stream.plan.step_of(life.path).for_each
        if for_each is None or event.reason not in {SettleReason.DONE, SettleReason.ITEM_FAILED}:
            continue
        failed = sum(step == life.path and (life.began or 0) < at < version for step, at in failures)
        yield 1
        if (event.reason is SettleReason.ITEM_FAILED) is not (failed > for_each.tolerate):
            message = f"{failed} items of {life.path} had failed of {for_each.tolerate}, and it ended {event.reason}"
            yield stream.broken("I27", message, version)


def siblings_end_first(stream: Stream) -> Iterator[Violation | int]:
    """I27, the join: everything under way comes to one end before anything of it is undone (R12, R14)."""
    for life in stream.every_life():
        again = [version for version, _ in life.ended[1:] if not is_word(stream, version)]
        if again:
            yield stream.broken("I27", f"{life.path} ended {len(life.ended)} times", life.ended[0][0], *again)
        if life.ended:
            yield 1
    if stream.backward_from is not None and not stream.was_cut_short:
        yield from _open_at_undo(stream, stream.backward_from, None, None)
    for part in stream.parts:
        yield from _open_at_undo(stream, part.began, part.ended, frozenset(part.event.steps))


def _open_at_undo(
    stream: Stream, turned: int, until: int | None, inside: frozenset[StepId] | None
) -> Iterator[Violation | int]:
    lives = [each for each in stream.every_life() if inside is None or item_of(each.path)[0] in inside]
    undos = [life.undo_opened for life in lives if life.undo_opened is not None and life.undo_opened > turned]
    first = min((at for at in undos if until is None or at < until), default=None)
    if first is None:
        return
    for life in lives:
        if life.began is None or life.began > turned or (life.reset is not None and life.reset < turned):
            continue
        yield 1
        if life.over is None or life.over > first:
            message = f"{life.path} was under way when undoing began"
            yield stream.broken("I27", message, life.began, first)
