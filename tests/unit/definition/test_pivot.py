"""R15 against the machine's own rules: what the checker lets pass is played in every order it can go.

The player knows nothing of the checker: it starts, ends, fails and skips steps one by one, as `saga.forward` says what
a step's predecessors allow, and looks at every moment for a step that breaks R15.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from orchestrator.definition import edges, pivot
from orchestrator.definition.diagnostics import At, Code, Findings, Nowhere
from orchestrator.definition.flat import flatten
from orchestrator.definition.model import Definition
from orchestrator.saga.frontier import Readiness, Tally, readiness
from orchestrator.saga.plan import Trigger, TriggerRule
from tests.unit.definition.probe import CANCEL, PLACE, tree

PENDING, RUNNING, APPLIED, FAILED, SKIPPED = "PRAFS"
State = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A definition's step, as far as it matters here."""

    needs: tuple[int, ...]
    trigger: TriggerRule
    at_least: int
    has_guard: bool
    optional: bool
    has_undo: bool
    kind: str

    @property
    def tree(self) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {"call": PLACE, "after": [f"s{need}" for need in self.needs], "kind": self.kind}
        is_counted = self.trigger is TriggerRule.AT_LEAST
        found["trigger"] = {"at_least": self.at_least} if is_counted else self.trigger.value
        if self.kind == "compensatable":
            found["compensate"] = {"call": CANCEL} if self.has_undo else "none"
        if self.has_guard:
            found["when"] = "input.paid"
        return {**found, "optional": self.optional}

    @property
    def may_not_run_late(self) -> bool:
        """Return whether it must be over when the pivot begins, unless it comes after it for sure."""
        return self.has_undo or not self.optional


_KINDS = st.sampled_from(["compensatable", "compensatable", "read", "retriable"])
_UPSTREAM = st.sampled_from(["compensatable", "read"])
_TRIGGERS = st.sampled_from([*[TriggerRule.ALL_SUCCESS] * 6, *TriggerRule])


@st.composite
def sagas(draw: st.DrawFn, triggers: st.SearchStrategy[TriggerRule]) -> list[Drawn]:
    """Draw few steps that hang together, the pivot mostly last: elsewhere there is little to get wrong."""
    count = draw(st.integers(3, 6))
    at = draw(st.sampled_from([count - 1, count - 1, count - 1, count - 2, 0]))
    steps: list[Drawn] = []
    for index in range(count):
        few = st.frozensets(st.integers(0, index - 1), min_size=draw(st.integers(0, 1)), max_size=2)
        needs = tuple(sorted(draw(few))) if index else ()
        kind = "pivot" if index == at else draw(_KINDS if index > at else _UPSTREAM)
        step = Drawn(
            needs=needs,
            trigger=draw(triggers) if needs else TriggerRule.ALL_SUCCESS,
            at_least=draw(st.integers(1, len(needs))) if needs else 0,
            has_guard=draw(st.integers(0, 3)) == 0,
            optional=kind in {"compensatable", "read"} and draw(st.integers(0, 2)) == 0,
            has_undo=kind == "compensatable" and draw(st.booleans()),
            kind=kind,
        )
        steps.append(step)
    return steps


def findings_of(steps: list[Drawn]) -> Findings:
    definition = Definition.model_validate(tree(steps={f"s{index}": step.tree for index, step in enumerate(steps)}))
    findings = Findings(origins=Nowhere("probe.yaml"))
    top = At(findings, ())
    flat = flatten(definition, top)
    pivot.judge(flat, edges.edges(flat, [], top), top)
    return findings


def moves(steps: list[Drawn], state: State) -> Iterator[State]:
    """Yield every state one step on; the saga goes backward, and is not followed, where a required step fails."""

    def became(index: int, word: str) -> State:
        return (*state[:index], word, *state[index + 1 :])

    for index, step in enumerate(steps):
        if state[index] == RUNNING:
            yield became(index, APPLIED)
            if step.optional:
                yield became(index, FAILED)
        if state[index] != PENDING:
            continue
        ended = [state[need] for need in step.needs]
        tally = Tally(
            total=len(ended), applied=ended.count(APPLIED), failed=ended.count(FAILED), skipped=ended.count(SKIPPED)
        )
        ready = readiness(Trigger(rule=step.trigger, count=step.at_least), tally)
        if ready is Readiness.START:
            yield became(index, RUNNING)
        if ready is Readiness.SKIP or (ready is Readiness.START and step.has_guard):
            yield became(index, SKIPPED)


def broken(steps: list[Drawn]) -> str:
    """Return what breaks R15 on some way the saga can take; empty where nothing does."""
    at = next(index for index, step in enumerate(steps) if step.kind == "pivot")
    below: set[int] = set()
    for index, step in enumerate(steps):
        if below & set(step.needs) or at in step.needs:
            below.add(index)
    start: State = (PENDING,) * len(steps)
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for after in moves(steps, state):
            for index, step in enumerate(steps):
                began = state[index] == PENDING and after[index] == RUNNING
                if after[at] == RUNNING and state[at] == PENDING and state[index] == RUNNING and step.may_not_run_late:
                    return f"s{index} runs when the pivot s{at} begins: {state}"
                if began and index not in below and state[at] in {RUNNING, APPLIED} and step.may_not_run_late:
                    return f"s{index} begins beside or after the pivot s{at}: {state}"
                if began and index in below and state[at] in {PENDING, RUNNING} and step.kind == "retriable":
                    return f"s{index} begins before the pivot s{at} is over: {state}"
            if after not in seen:
                seen.add(after)
                todo.append(after)
    return ""


@settings(max_examples=1_500, deadline=None)
@given(sagas(_TRIGGERS))
def test_what_is_let_pass_cannot_break_the_rule(steps: list[Drawn]) -> None:
    is_refused = findings_of(steps).has_errors

    event("refused" if is_refused else "let pass")
    assert is_refused or broken(steps) == ""


@settings(max_examples=300, deadline=None)
@given(sagas(st.just(TriggerRule.ALL_SUCCESS)))
def test_what_is_refused_for_running_beside_the_pivot_can_do_so(steps: list[Drawn]) -> None:
    """Where everything waits for success the checker is exact; with other triggers it may be too careful."""
    told = {one.code for one in findings_of(steps).kept}

    assert told != {Code.BESIDE_PIVOT} or broken(steps) != ""
