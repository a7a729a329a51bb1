"""The search sees every end of a definition, proves what is so, and shows the shortest path to what is not."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from orchestrator.errors import InputInvalid, InvariantViolated
from orchestrator.explore import Explored, Word, explore, replay
from orchestrator.explore.proof import flaw_of
from orchestrator.frozen import changed
from orchestrator.ids import StepId
from orchestrator.saga import SagaState, SagaStatus, StepState, StepStatus, backward, evolve_order, outcome
from orchestrator.saga.evolve_order import is_to_undo
from orchestrator.saga.plan import Plan
from orchestrator.testing import shorthand as plans
from orchestrator.testing.shorthand import plan, step


def ends_of(report: Explored, *faults: str) -> dict[SagaStatus, set[tuple[Word, ...]]]:
    """Return how paths with exactly these faults ended, as the words of their steps."""
    found: dict[SagaStatus, set[tuple[Word, ...]]] = {}
    for end in report.ends[tuple(sorted(faults))]:
        found.setdefault(end.status, set()).add(tuple(word for _, word in end.steps))
    return found


def two_steps() -> Plan:
    return plan(step("a", idempotent=True, barrier=True), step("b", "a", idempotent=True, barrier=True))


def test_without_a_fault_a_saga_of_two_steps_has_one_end() -> None:
    report = explore(two_steps(), faults=0)
    assert report.is_proven
    assert ends_of(report) == {SagaStatus.COMPLETED: {(Word.DONE, Word.DONE)}}


def test_a_refusal_leaves_what_came_before_it_undone() -> None:
    report = explore(two_steps(), faults=1)
    assert ends_of(report, "b: refuses") == {SagaStatus.COMPENSATED: {(Word.UNDONE, Word.FAILED)}}
    assert ends_of(report, "a: refuses") == {SagaStatus.COMPENSATED: {(Word.FAILED, Word.NOT_BEGUN)}}


def test_a_lost_answer_is_asked_again_of_a_method_that_keeps_keys_and_undone_otherwise() -> None:
    keeps = explore(plan(step("a", idempotent=True)), faults=1)
    assert ends_of(keeps, "a: does it, and the answer is lost") == {SagaStatus.COMPLETED: {(Word.DONE,)}}
    does_not = explore(plan(step("a")), faults=1)
    assert ends_of(does_not, "a: does it, and the answer is lost") == {SagaStatus.COMPENSATED: {(Word.UNDONE,)}}


def test_both_answers_of_a_condition_are_tried() -> None:
    report = explore(plan(step("a", when=plans.applied("a"))), faults=0)
    assert ends_of(report) == {SagaStatus.COMPLETED: {(Word.DONE,), (Word.SKIPPED,)}}


def test_an_undo_that_is_refused_asks_a_person_and_says_why() -> None:
    report = explore(two_steps(), faults=2)
    asking = [end for ends in report.ends.values() for end in ends if end.status is SagaStatus.NEEDS_ATTENTION]
    assert report.is_proven
    assert asking
    assert all(end.attention == ("UNDO_REFUSED",) for end in asking)


def test_an_undo_made_from_a_reply_that_was_lost_asks_a_person() -> None:
    made = step("a")
    assert made.compensation is not None
    needs = replace(made, compensation=replace(made.compensation, reads_reply=True))
    report = explore(plan(needs), faults=1)
    assert ends_of(report, "a: does it, and the answer is lost") == {SagaStatus.NEEDS_ATTENTION: {(Word.STUCK,)}}


def test_an_effect_without_an_undo_is_said_to_stay() -> None:
    report = explore(plan(step("a", no_undo=True), step("b", "a")), faults=1)
    assert ends_of(report, "b: refuses") == {SagaStatus.COMPENSATED: {(Word.STAYS, Word.FAILED)}}


def test_the_same_plan_gives_the_same_report() -> None:
    assert explore(two_steps(), faults=2) == explore(two_steps(), faults=2)


def test_a_search_that_reached_its_bound_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.explore.search.EXPLORE_STATES_MAX", 3)
    report = explore(two_steps(), faults=2)
    assert not report.is_complete
    assert not report.is_proven


def _forgets_b(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a defect: the machine forgets to undo step b."""

    def forgetful(state: SagaState, step: StepState) -> bool:
        return step.id != "b" and is_to_undo(state, step)

    monkeypatch.setattr(evolve_order, "is_to_undo", forgetful)


def test_an_effect_that_is_left_is_found_by_the_shortest_path_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _forgets_b(monkeypatch)
    report = explore(two_steps(), faults=1)
    assert not report.is_proven
    flaw = min(report.flaws, key=lambda flaw: len(flaw.path))
    assert flaw.rule in {"M5", "M13"}, "the machine's own invariants are held on every path"
    a_alone = ("the saga starts", "a succeeds", "the saga's deadline passes", "b succeeds", "a (compensate) succeeds")
    assert flaw.path == a_alone


def test_a_path_that_was_found_can_be_played_again(monkeypatch: pytest.MonkeyPatch) -> None:
    _forgets_b(monkeypatch)
    flaw = explore(two_steps(), faults=1).flaws[0]
    with pytest.raises(InvariantViolated, match=flaw.rule):
        _play(two_steps(), flaw.path)
    monkeypatch.undo()
    path = flaw.path[:-1]  # a machine that forgets nothing has b undone first
    moves = list(replay(two_steps(), path))
    assert [line for line, _, _ in moves] == list(path)
    assert moves[-1][2].status is SagaStatus.COMPENSATING


def test_a_path_that_cannot_happen_is_refused_with_what_can() -> None:
    with pytest.raises(InputInvalid, match=r"cannot happen here; what can: .*a succeeds"):
        _play(two_steps(), ["the saga starts", "b succeeds"])


def _play(of: Plan, path: Sequence[str]) -> None:
    for _ in replay(of, path):
        pass


def test_a_state_from_which_no_end_is_reached_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a defect: undo is never begun, and nobody is told."""

    def never(_state: SagaState, _now_at: float, _root: object = None) -> Iterator[str]:
        return iter(())

    monkeypatch.setattr(backward, "startable", never)
    report = explore(two_steps(), faults=1)
    assert {flaw.rule for flaw in report.flaws} & {"I35", "M8"}


def test_a_saga_that_ends_with_an_effect_left_is_a_flaw_whatever_the_machine_thinks_of_it() -> None:
    """The world's own account is held against the saga's: here an undo whose service lies."""
    state = explore(plan(step("a")), faults=0)
    assert state.is_proven
    played = list(replay(plan(step("a")), ["the saga starts", "somebody cancels the saga", "a was stopped"]))[-1][2]
    compensated = changed(played, status=SagaStatus.COMPENSATED)
    assert flaw_of(compensated, frozenset({StepId("a")})) is not None
    assert flaw_of(compensated, frozenset()) is None
    completed = changed(played, status=SagaStatus.COMPLETED, steps={StepId("a"): _applied(played)})
    assert flaw_of(completed, frozenset()) is not None
    silent = changed(played, status=SagaStatus.RUNNING)
    assert flaw_of(silent, frozenset()) is not None


def _applied(state: SagaState) -> StepState:
    return changed(state.steps[StepId("a")], status=StepStatus.APPLIED)


def test_the_orchestrator_is_killed_at_every_point_and_the_saga_ends_all_the_same() -> None:
    report = explore(two_steps(), faults=1)
    assert ends_of(report, "killed") == {SagaStatus.COMPLETED: {(Word.DONE, Word.DONE)}}
    unkeyed = explore(plan(step("a")), faults=1)
    assert ends_of(unkeyed, "killed") == {SagaStatus.COMPENSATED: {(Word.UNDONE,)}}


def test_a_search_whose_time_is_over_says_so() -> None:
    report = explore(two_steps(), faults=2, on_progress=lambda progress: progress.states < 10)
    assert not report.is_complete
    assert not report.flaws


def test_a_call_that_arrives_after_the_saga_has_ended_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a defect: a refusal is believed to speak for a call that it has overtaken (R8a)."""
    keyed = plan(step("a", idempotent=True, refuse=None))
    assert explore(keyed, faults=2).is_proven
    monkeypatch.setattr(outcome, "_is_decisive", lambda _end: True)
    flaw = explore(keyed, faults=2).flaws[0]
    assert flaw.rule == "I4"
    assert flaw.path == ("the saga starts", "the orchestrator is killed", "a refuses")
