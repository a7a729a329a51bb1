"""R15: the pivot is a join. What could still have to be undone is over before it begins, and nothing after it can fail.

Whether a step is over when another begins does not follow from edges alone: `one_success` begins while others still
run, and a step is skipped as soon as one of its predecessors rules it out, whatever the rest of them do. `_Endings`
therefore works out, for the moment a step begins, how each other one must have ended, and takes for running whatever is
not sure to have ended.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.definition import graph
from orchestrator.definition.diagnostics import At, Code, listing
from orchestrator.definition.edges import Needs
from orchestrator.definition.flat import Flat, Placed, members
from orchestrator.definition.model import AtLeast, Compensate

APPLIED: Final = "A"
FAILED: Final = "F"
SKIPPED: Final = "S"
ANY: Final = frozenset({APPLIED, FAILED, SKIPPED})

Known = Mapping[str, frozenset[str]]
"""Step -> how it may have ended; what is not in it may still be running."""


def judge(flat: Flat, needs: Needs, top: At) -> None:
    """Apply R15; nothing is asked of a definition without a pivot, except that it has no step that needs one."""
    pivots = [one for one in flat.values() if one.step.kind == "pivot"]
    for one in flat.values():
        if one.step.kind == "retriable":
            _retriable(one, pivots, top)
    if not pivots:
        return
    first, *more = pivots
    for other in more:
        message = f"`{first.id}` is the pivot already: a saga has one point of no return"
        _at(other, top, "kind").value(Code.PIVOT_MISPLACED, message, "make it `retriable`, or a saga of its own")
    if not _is_well_placed(first, top) or graph.cycles(needs):
        return
    _Pivot(flat=flat, needs=needs, top=top, pivot=first).judge()


def _at(one: Placed, top: At, *keys: str) -> At:
    return At(top.findings, (*one.path, *keys))


def _retriable(one: Placed, pivots: Iterable[Placed], top: At) -> None:
    if one.step.optional:
        message = "`retriable` is asked until it succeeds, and cannot be given up"
        _at(one, top, "optional").value(Code.RETRIABLE_MISPLACED, message, "remove `optional`, or the kind")
    if not pivots:
        message = "a step of kind `retriable` comes after a pivot, and there is none"
        _at(one, top, "kind").value(Code.RETRIABLE_MISPLACED, message, "name the pivot, or write `on_failure: retry`")


def _is_well_placed(pivot: Placed, top: At) -> bool:
    reasons = {
        "for_each": (pivot.step.for_each is not None, "it is one decision, and cannot be made for each item"),
        "optional": (pivot.step.optional, "the saga hangs on it"),
        "kind": (bool(pivot.scopes), "a scope is undone alone, and from the pivot on nothing is undone"),
    }
    for key, (is_wrong, why) in reasons.items():
        if is_wrong:
            fix = "move it out of the scope" if key == "kind" else f"remove `{key}`"
            _at(pivot, top, key).key(Code.PIVOT_MISPLACED, f"the pivot `{pivot.id}` cannot stand here: {why}", fix)
    return not any(is_wrong for is_wrong, _ in reasons.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pivot:
    flat: Flat
    needs: Needs
    top: At
    pivot: Placed

    def judge(self) -> None:
        endings = _Endings(flat=self.flat, needs=self.needs)
        above = graph.ancestors(self.needs)
        over = endings.at_start(self.pivot.id)
        for name in endings.order:
            one = self.flat[name]
            if name == self.pivot.id:
                continue
            if self.pivot.id in above[name]:
                self._after(one, is_sure=self.pivot.id in endings.at_start(name))
            elif name in over:
                self._before(one)
            else:
                self._beside(one, is_above=name in above[self.pivot.id])

    def _inside(self, one: Placed) -> list[Placed]:
        """Return the step, or the scope and all that is in it."""
        return [one, *(self.flat[name] for name in members(self.flat).get(one.id, ()))]

    def _before(self, outer: Placed) -> None:
        for one in self._inside(outer):
            if one.step.kind == "retriable":
                message = f"`{one.id}` comes before the pivot `{self.pivot.id}`, where a failure is undone"
                fix = f"add `{self.pivot.id}` to its `after`, or write `compensate`"
                _at(one, self.top, "kind").value(Code.RETRIABLE_MISPLACED, message, fix)

    def _beside(self, outer: Placed, *, is_above: bool) -> None:
        pivot = self.pivot.id
        for one in self._inside(outer):
            if one.step.body == "scope" and not one.step.optional:
                continue  # what is in it says why
            if _may_stay(one) and (one.step.optional or outer.step.optional):
                continue
            if is_above:
                way = _way(outer.id, pivot, self.needs)
                loose = [each for each in way[1:] if self.flat[each].step.trigger != "all_success"] or way[1:]
                message = (
                    f"`{one.id}` may still be running when the pivot `{pivot}` begins: on the path "
                    f"{' -> '.join(way)}, {listing(f'`{each}`' for each in loose)} need not wait for it"
                )
                fix = f"add `{one.id if outer is one else outer.id}` to `after` of `{pivot}`, or loosen no `trigger`"
            else:
                start = " -> ".join(_start(outer.id, self.needs))
                message = (
                    f"`{one.id}` can run beside the pivot `{pivot}`, or after it: "
                    f"the path {start} does not lead to `{pivot}`"
                )
                fix = f"add `{outer.id}` to `after` of `{pivot}`"
                if _may_stay(one):
                    fix += ", or mark it `optional: true`"
            _at(one, self.top).key(Code.BESIDE_PIVOT, message, fix)

    def _after(self, outer: Placed, *, is_sure: bool) -> None:
        way = " -> ".join(_way(self.pivot.id, outer.id, self.needs))
        if not is_sure:
            message = f"`{outer.id}` may begin before the pivot `{self.pivot.id}` has ended, by its trigger ({way})"
            at = _at(outer, self.top, *(["trigger"] if outer.step.trigger != "all_success" else []))
            at.key(Code.BESIDE_PIVOT, message, "write `trigger: all_success`")
        for one in self._inside(outer):
            why, fix = _failing(one)
            if why:
                message = f"`{one.id}` comes after the pivot, by the path {way}, where nothing may fail: {why}"
                _at(one, self.top).key(Code.AFTER_PIVOT, message, fix)
            elif one.step.refuse is not None and not one.step.optional and one.step.kind != "retriable":
                message = "after the pivot a refused step is asked again and again, and may be refused for ever"
                _at(one, self.top, "refuse").key(Code.ENDLESS_REFUSAL, message, "remove `refuse`")


def _may_stay(one: Placed) -> bool:
    """Return whether nothing would have to be undone of the step."""
    return not isinstance(one.step.compensate, Compensate) and one.step.compensate != "undo"


def _failing(one: Placed) -> tuple[str, str]:
    """Return how a step after the pivot could fail or would have to be undone, and what to write instead."""
    step = one.step
    if step.kind in {"retriable", "read"} or step.body == "sleep":
        return "", ""
    if not _may_stay(one):
        fix = "write `kind: retriable`" if step.body == "call" else "write `compensate: none` and `optional: true`"
        return "its undo could never run", fix
    if step.optional:
        return "", ""
    if step.body == "call":
        return "it may be refused", "write `kind: retriable`, or `optional: true`"
    if step.body == "saga":
        return "a child may be undone", "mark it `optional: true`"
    timeout = step.wait.timeout if step.wait is not None else step.scope.timeout if step.scope is not None else None
    if timeout is None:
        return "", ""
    return "it gives up after its timeout", "remove `timeout`, or mark it `optional: true`"


def _way(start: str, end: str, needs: Needs) -> list[str]:
    """Return a shortest path of steps that follow each other, from the one to the other."""
    following: dict[str, list[str]] = {name: [] for name in needs}
    for name, found in needs.items():
        for need in found:
            following[need].append(name)
    return graph.path(start, end, following)


def _start(end: str, needs: Needs) -> list[str]:
    """Return a path to a step from one that waits for nothing."""
    way = [end]
    while needs[way[0]]:
        way.insert(0, min(needs[way[0]]))
    return way


@dataclass(frozen=True, slots=True, kw_only=True)
class _Endings:
    """How steps outside of every scope must have ended at certain moments. None stands for what cannot happen."""

    flat: Flat
    needs: Needs
    order: list[str] = field(default_factory=list[str])
    """Predecessors first."""
    _known: dict[tuple[str, str], Known | None] = field(default_factory=dict[tuple[str, str], Known | None])

    def __post_init__(self) -> None:
        outer = {name: self.needs[name] for name, one in self.flat.items() if one.scope is None}
        self.order.extend(graph.in_order(outer))
        for name in self.order:  # so that nothing below recurses deeper than one step
            for ending in (APPLIED, FAILED, SKIPPED):
                self._ended(name, ending)

    def at_start(self, name: str) -> Known:
        """Return what is over, or will never begin, when a step begins."""
        return self._followed(self._begun(name) or {}, self.order)

    def _begun(self, name: str) -> Known | None:
        needs, trigger = sorted(self.needs[name]), self.flat[name].step.trigger
        if isinstance(trigger, AtLeast):
            trigger = "all_success" if trigger.at_least == len(needs) else "one_success"
        wanted = {
            "all_success": frozenset({APPLIED}),
            "one_success": frozenset({APPLIED}),
            "all_failed": frozenset({FAILED}),
            "none_failed": frozenset({APPLIED, SKIPPED}),
        }.get(trigger, ANY)
        together = self._any if trigger in {"one_success", "one_done"} else self._all
        return together([self._among(need, wanted) for need in needs]) if needs else {}

    def _ended(self, name: str, ending: str) -> Known | None:
        known = (name, ending)
        if known not in self._known:
            self._known[known] = self._how(name, ending)
        return self._known[known]

    def _how(self, name: str, ending: str) -> Known | None:
        step = self.flat[name].step
        if ending == FAILED and not step.optional:
            return None  # the saga goes backward
        before: Known | None
        if ending == SKIPPED:
            ways = [self._begun(name)] if step.when is not None else []
            before = self._any([*ways, self._ruled_out(name)])
        else:
            before = self._begun(name)
        return self._all([before, {name: frozenset({ending})}])

    def _ruled_out(self, name: str) -> Known | None:
        """Return what is over when a step is skipped because its trigger cannot be met any more."""
        trigger = self.flat[name].step.trigger
        if trigger in {"all_done", "one_done"}:
            return None
        lost = frozenset({FAILED, SKIPPED})
        if trigger in {"none_failed", "all_failed"}:
            lost = frozenset({FAILED}) if trigger == "none_failed" else frozenset({APPLIED, SKIPPED})
        each = [self._among(need, lost) for need in sorted(self.needs[name])]
        return self._all(each) if trigger == "one_success" and each else self._any(each)

    def _among(self, name: str, endings: frozenset[str]) -> Known | None:
        return self._any([self._ended(name, ending) for ending in sorted(endings)])

    def _all(self, parts: Iterable[Known | None]) -> Known | None:
        found: dict[str, frozenset[str]] = {}
        for part in parts:
            if part is None:
                return None
            for name, endings in part.items():
                found[name] = found.get(name, ANY) & endings
                if not found[name]:
                    return None
        return found

    def _any(self, parts: Iterable[Known | None]) -> Known | None:
        possible = [part for part in parts if part is not None]
        if not possible:
            return None
        if len(possible) == 1:
            return possible[0]
        told = frozenset[str]().union(*possible)
        in_order = [name for name in self.order if name in told]
        first, *rest = (self._followed(part, in_order) for part in possible)
        both = [name for name in first if all(name in other for other in rest)]
        return {name: first[name].union(*(other[name] for other in rest)) for name in both}

    def _followed(self, known: Known, among: Iterable[str]) -> Known:
        """Add the steps that can never begin, given what is known: they are skipped."""
        found = dict(known)
        for name in among:
            if name not in found and self.needs[name] and self._is_lost(name, found):
                found[name] = frozenset({SKIPPED})
        return found

    def _is_lost(self, name: str, known: Known) -> bool:
        trigger, needs = self.flat[name].step.trigger, self.needs[name]
        endings = [known.get(need, ANY) for need in needs]
        if isinstance(trigger, AtLeast):
            return sum(APPLIED in each for each in endings) < trigger.at_least
        match trigger:
            case "all_success":
                return any(APPLIED not in each for each in endings)
            case "none_failed":
                return any(each == frozenset({FAILED}) for each in endings)
            case "all_failed":
                return any(FAILED not in each for each in endings)
            case "one_success":
                return all(APPLIED not in each for each in endings)
            case _:
                return False
