"""What may begin when, forward and backward: I15 and I17 to I21, read off the order of the records."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

from orchestrator.ids import StepId, item_of
from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga.events import (
    FOUND,
    GOOD_REASONS,
    AttemptOpened,
    AttemptSettled,
    RetryScheduled,
    SagaCompensated,
    StepReopened,
    StepSettled,
)
from orchestrator.saga.plan import Operation, Outcome, Scope, Step, StepKind, TriggerRule
from orchestrator.verify.findings import Violation
from orchestrator.verify.stream import ENDINGS, Life, Part, Stream

OWN_ORDER = "of plans whose author ordered undos by hand, the order is not held"
"""How far I20 goes."""
_FOUND_NOT_APPLIED = FOUND[Outcome.NOT_APPLIED]


def steps_wait_for_predecessors(stream: Stream) -> Iterator[Violation | int]:
    """I15: by every trigger rule, and within the time of what a step is part of."""
    for life in stream.every_life():
        if life.began is None:
            continue
        yield 1
        step, index = item_of(life.path)
        planned = stream.plan.steps[step]
        if index is not None:
            if not _is_under_way(stream, step, life.began):
                yield stream.broken("I15", f"{life.path} began outside its list's time", life.began)
            continue
        if planned.scope is not None:
            yield from _outside_its_scope(stream, life, planned.scope, life.began)
        if planned.trigger.rule is not TriggerRule.ALL_SUCCESS:
            if planned.needs and not _is_triggered(stream, planned, life.began):
                told = f"{step} started, and {planned.trigger.rule.value} of what it needs was not so"
                yield stream.broken("I15", told, life.began)
            continue
        for need in sorted(planned.needs):
            end = _end_before(stream, need, life.began)
            if end is None or end.outcome is not Outcome.APPLIED or end.reason not in GOOD_REASONS:
                yield stream.broken("I15", f"{step} started before {need} was applied", life.began)


def _is_triggered(stream: Stream, planned: Step, at: int) -> bool:
    """R14, of what had come to its end by then."""
    applied = failed = passed = 0
    for need in planned.needs:
        end = _end_before(stream, need, at)
        if end is None:
            passed += _is_passed(stream, need, at)
        elif end.outcome is Outcome.APPLIED and end.reason in GOOD_REASONS:
            applied += 1
        else:
            failed += 1
    is_done = applied + failed + passed == len(planned.needs)
    match planned.trigger.rule:
        case TriggerRule.ALL_SUCCESS:
            return applied == len(planned.needs)
        case TriggerRule.ALL_DONE:
            return is_done
        case TriggerRule.ONE_SUCCESS:
            return applied > 0
        case TriggerRule.ONE_DONE:
            return applied + failed + passed > 0
        case TriggerRule.ALL_FAILED:
            return failed == len(planned.needs)
        case TriggerRule.NONE_FAILED:
            return is_done and not failed
        case TriggerRule.AT_LEAST:
            return applied >= planned.trigger.count
        case _:
            assert_never(planned.trigger.rule)


def _is_passed(stream: Stream, need: StepId, at: int) -> bool:
    """Return whether a step had been skipped by a version, and had not begun anew."""
    for life in stream.lives.get(need, []):
        if life.skipped is not None and life.skipped < at and not (life.reset is not None and life.reset < at):
            return True
    return False


def _is_under_way(stream: Stream, step: StepId, at: int) -> bool:
    """Return whether a step that has items or members had begun, and not ended, at a version."""
    for life in stream.lives.get(step, []):
        begun = life.began is not None and life.began < at
        if begun and not (life.reset is not None and life.reset < at):
            return not any(version < at for version, _ in life.ended)
    return False


def _end_before(stream: Stream, step: StepId, at: int) -> StepSettled | None:
    for life in reversed(stream.lives.get(step, [])):
        if life.reset is not None and life.reset < at:
            return None
        before = [event for version, event in life.ended if version < at]
        if before:
            return before[-1]
    return None


def _outside_its_scope(stream: Stream, life: Life, scope: StepId, began: int) -> Iterator[Violation]:
    if not _is_under_way(stream, scope, began):
        yield stream.broken("I15", f"{life.path} began outside its scope {scope}'s time", began)
    body = stream.plan.steps[scope].body
    resets = [each.reset or 0 for each in stream.lives.get(scope, []) if each.reset is not None and each.reset < began]
    turned = [at for at, _ in stream.turned.get(scope, []) if max(resets, default=0) < at < began]
    if isinstance(body, Scope) and (life.path in body.otherwise) is not bool(turned):
        yield stream.broken("I15", f"{life.path} began in the other branch of {scope}", began)


def nothing_starts_backward(stream: Stream) -> Iterator[Violation | int]:
    """I17: neither in a saga that goes backward, nor in a part of it that does."""
    if stream.backward_from is None and not stream.parts:
        return
    for life in stream.every_life():
        yield 1
        starts = [version for version, _ in life.opened.get(Operation.FORWARD, [])]
        if life.began is not None and life.began not in starts:
            starts.append(life.began)
        late = [at for at in starts if stream.backward_from is not None and at > stream.backward_from]
        if late:
            yield stream.broken("I17", f"{life.path} was called after compensation began", *late)
        step = item_of(life.path)[0]
        for part in stream.parts:
            inside = [at for at in starts if step in part.event.steps and part.is_open(at)]
            if inside:
                yield stream.broken("I17", f"{life.path} was called while {part.event.step} was undone", *inside)


def undone_is_what_was_done(stream: Stream) -> Iterator[Violation | int]:
    """I18: both ways round, in the saga, in each part of it that was undone, and in what was run again."""
    for life in stream.every_life():
        yield int(life.undone is not None or life.reset is not None)
        if life.undone is not None and life.outcome not in {Outcome.APPLIED, Outcome.UNKNOWN}:
            yield stream.broken("I18", f"{life.path} was undone with outcome {life.outcome}", life.undone)
        if life.reset is not None and _was_to_undo(stream, life) and not life.is_settled_back(life.reset):
            yield stream.broken("I18", f"{life.path} began anew and was not undone before", life.reset)
    for part in stream.parts:
        if part.is_undone and not part.is_rerun and part.ended is not None:
            yield from _left_standing(stream, part, part.ended)
    if not isinstance(stream.ending, SagaCompensated):
        return
    yield 1
    for life in stream.every_life():
        if life.reset is None and _was_to_undo(stream, life) and not life.is_settled_back(len(stream.records)):
            version, event = life.ended[-1]
            yield stream.broken("I18", f"{life.path} was {event.outcome.value} and is not undone", version)


def _left_standing(stream: Stream, part: Part, by: int) -> Iterator[Violation]:
    for life in stream.every_life():
        if item_of(life.path)[0] not in part.event.steps or not _was_to_undo(stream, life):
            continue
        if life.ended[0][0] < by and (life.reset or by) >= by and not life.is_settled_back(by):
            yield stream.broken("I18", f"{life.path} stands after {part.event.step} was undone", by)


def _was_to_undo(stream: Stream, life: Life) -> bool:
    """Return whether a life left an effect that has an undo; of a list, each item answers for itself."""
    planned = stream.plan.step_of(life.path)
    is_list = planned.for_each is not None and life.path in stream.plan.steps
    return planned.is_undoable and not is_list and life.outcome in {Outcome.APPLIED, Outcome.UNKNOWN}


def undo_waits_for_calls(stream: Stream) -> Iterator[Violation | int]:
    """I19, the orchestrator's half: no undo opens while a call of what is being undone is open."""
    open_ones: dict[tuple[StepId, Operation], int] = {}
    for record in stream.records:
        event = record.event
        if isinstance(event, ENDINGS):
            open_ones.clear()  # a child that a person completed with calls open, and that its parent undoes now
        if not isinstance(event, AttemptOpened | AttemptSettled) or event.operation is Operation.STOP:
            continue
        key = event.step, event.operation
        if isinstance(event, AttemptSettled):
            open_ones.pop(key, None)
        elif event.operation is not Operation.COMPENSATE:
            open_ones[key] = record.version
        else:
            inside = _undone_with(stream, event.step, record.version)
            yield int(event.attempt == 1)
            late = [at for (path, _), at in open_ones.items() if inside is None or item_of(path)[0] in inside]
            if late and event.attempt == 1:
                message = f"{event.step} was being undone while a forward call was open"
                yield stream.broken("I19", message, record.version, *late)


def undo_waits_for_what_may_arrive(stream: Stream) -> Iterator[Violation | int]:
    """I19, R12: a call whose end nobody saw may act until its deadline has passed at the peer; a barrier stops it."""
    for life in stream.every_life():
        at = life.undo_opened
        call = None if at is None else stream.call_of(life.path, Operation.FORWARD)
        if at is None or call is None or call.barrier:
            continue
        deadlines = dict(_unknown_deadlines(stream, life))
        if not deadlines:
            continue
        yield 1
        opened = life.opened[Operation.COMPENSATE][0][1]
        late_at = max(deadlines.values()) + CLOCK_SKEW_S
        if opened.at < late_at:
            message = f"{life.path} was being undone while its call could arrive for {late_at - opened.at:.3f} s more"
            yield stream.broken("I19", message, *deadlines, at)


def _unknown_deadlines(stream: Stream, life: Life) -> Iterator[tuple[int, float]]:
    """Yield the forward attempts that nobody has found out about, and until when they may act."""
    known = [at for at, event in life.renewed if _is_found_out(event)]
    known += [at for at, event in stream.acted if event.step == life.path and event.outcome is Outcome.NOT_APPLIED]
    deadlines = {event.attempt: event.deadline_at for _, event in life.opened.get(Operation.FORWARD, [])}
    for at, event in life.settled.get(Operation.FORWARD, []):
        if event.outcome is Outcome.UNKNOWN and event.attempt in deadlines and at > max(known, default=0):
            yield at, deadlines[event.attempt]


def _is_found_out(event: RetryScheduled | StepReopened) -> bool:
    return event.as_new if isinstance(event, StepReopened) else event.reason == _FOUND_NOT_APPLIED


def _undone_with(stream: Stream, path: StepId, at: int) -> frozenset[StepId] | None:
    """Return the steps that are undone together with one at a version; None for the whole saga."""
    if stream.backward_from is not None and stream.backward_from < at:
        return None
    step = item_of(path)[0]
    inside = [part for part in stream.parts if part.is_open(at) and step in part.event.steps]
    return frozenset(inside[-1].event.steps) if inside else frozenset({step})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where one step stands in the order of undo; a list has one place for all of its items."""

    step: StepId
    began: int
    ended: int
    undo_opened: int | None
    lives: tuple[Life, ...]

    def is_undone(self, by: int) -> bool:
        return all(life.is_settled_back(by) for life in self.lives)


def later_is_undone_earlier(stream: Stream) -> Iterator[Violation | int]:
    """I20: unless the author ordered it otherwise."""
    if stream.plan.has_own_order:
        return
    places = list(_places(stream))
    for first in places:
        at = first.undo_opened
        if at is None:
            continue
        yield 1
        inside = _undone_with(stream, first.step, at)
        for second in places:
            if second.began <= first.ended or (inside is not None and second.step not in inside):
                continue
            if second.step != first.step and second.began < at and not second.is_undone(at):
                message = f"{first.step} was undone before {second.step}, which began after it"
                yield stream.broken("I20", message, at)


def _places(stream: Stream) -> Iterator[_Place]:
    runs: dict[tuple[StepId, int | None], list[Life]] = {}
    for life in stream.every_life():
        if life.opened.get(Operation.FORWARD) and _was_to_undo(stream, life):
            runs.setdefault((item_of(life.path)[0], life.reset), []).append(life)
    for (step, _), lives in runs.items():
        undos = [life.undo_opened for life in lives if life.undo_opened is not None]
        began = [life.began for life in stream.lives.get(step, []) if life.began is not None]
        first = min(life.began or 0 for life in lives)
        yield _Place(
            step=step,
            began=max([at for at in began if at <= first], default=first),
            ended=max(_last_end(stream, step, lives)),
            undo_opened=min(undos, default=None),
            lives=tuple(lives),
        )


def _last_end(stream: Stream, step: StepId, lives: Iterable[Life]) -> Iterator[int]:
    """Yield when a step, and each of its items, came to its end; a list's own end counts as well."""
    for life in lives:
        yield life.ended[-1][0]
        for own in stream.lives.get(step, []):
            if own.reset == life.reset and own.ended:
                yield own.ended[-1][0]


def nothing_is_risked_after_the_pivot(stream: Stream) -> Iterator[Violation | int]:
    """I21: nothing that can be undone begins beside or after the pivot; nothing goes backward once it is applied."""
    pivot = stream.plan.pivot
    lives = stream.lives.get(pivot, []) if pivot is not None else []
    if not lives or lives[-1].began is None:
        return
    yield 1
    life, began = lives[-1], lives[-1].began
    for other in stream.every_life():
        kind = stream.plan.step_of(other.path).kind
        if kind is StepKind.COMPENSATABLE and other.began is not None and other.began > began and _calls(other):
            yield stream.broken("I21", f"{other.path} can be undone and began after the pivot {pivot}", other.began)
    applied = [at for at, event in life.ended if event.outcome is Outcome.APPLIED]
    if applied and stream.backward_from is not None and stream.backward_from > applied[-1]:
        yield stream.broken("I21", f"it went backward after its pivot {pivot} was applied", stream.backward_from)


def _calls(life: Life) -> bool:
    return bool(life.opened.get(Operation.FORWARD))
