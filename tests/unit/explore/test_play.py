"""A played saga is the machine's own, in virtual time: the same script gives the same records."""

from orchestrator.explore.play import BEGIN_AT, Answers, Input, Scripted, from_script, play
from orchestrator.ids import StepId
from orchestrator.saga import SagaStatus
from orchestrator.saga.commands import CancelSaga
from orchestrator.saga.events import AttemptSettled, CompensationBegan, Phase, Report
from orchestrator.saga.plan import Operation
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report

INPUT = Payload("Input", b"")


def ok(_path: StepId, _operation: Operation, _attempt: int) -> Scripted:
    return Scripted(report=report("OK"), after_s=0.1)


def scripted(**entries: list[Scripted]) -> Answers:
    return from_script({(StepId(name), Operation.FORWARD): found for name, found in entries.items()}, ok)


def test_a_saga_takes_the_time_of_its_longest_path_and_not_of_a_clock() -> None:
    slow = [Scripted(report=report("OK"), after_s=5.0)]
    played = play(plan(step("a"), step("b"), step("c", "a", "b")), INPUT, scripted(b=slow))
    assert played.state.status is SagaStatus.COMPLETED
    assert played.events[-1].at == BEGIN_AT + 5.1


def test_the_nth_entry_answers_the_nth_attempt() -> None:
    away = Scripted(report=Report(code="UNAVAILABLE", phase=Phase.NOT_SENT), after_s=0.0)
    played = play(plan(step("a")), INPUT, scripted(a=[away, Scripted(report=report("OK"), after_s=0.0)]))
    ends = [event.report.code for event in played.events if isinstance(event, AttemptSettled)]
    assert ends == ["UNAVAILABLE", "OK"]


def test_a_reply_later_than_its_deadline_is_a_missed_deadline() -> None:
    late = [Scripted(report=report("OK"), after_s=60.0)]
    played = play(plan(step("a", timeout_s=10.0)), INPUT, scripted(a=late))
    first = next(event for event in played.events if isinstance(event, AttemptSettled))
    assert (first.report.code, first.at) == ("DEADLINE_EXCEEDED", BEGIN_AT + 10.0)


def test_a_cancel_comes_when_the_script_says_and_stops_what_is_open() -> None:
    cancel = Input(after_s=0.05, command=CancelSaga(reason="enough"))
    played = play(plan(step("a")), INPUT, ok, [cancel])
    began = next(event for event in played.events if isinstance(event, CompensationBegan))
    assert began.at == BEGIN_AT + 0.05
    assert played.state.status is SagaStatus.COMPENSATED


def test_the_same_script_gives_the_same_records() -> None:
    played, again = (play(plan(step("a"), step("b", "a")), INPUT, ok) for _ in range(2))
    assert played.events == again.events
