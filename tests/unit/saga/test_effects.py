"""Effects have one order in every process: calls, then timers, then stops."""

from itertools import permutations

from orchestrator.ids import StepId
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer, TimerKind, in_order
from orchestrator.saga.plan import Operation

A, B = StepId("a"), StepId("b")


def test_calls_come_before_timers_and_stops_come_last() -> None:
    expected: list[Effect] = [
        SendCall(A, Operation.FORWARD, 1),
        SendCall(A, Operation.FORWARD, 2),
        SendCall(B, Operation.COMPENSATE, 1),
        SetTimer(Timer(TimerKind.FORWARD_DEADLINE), 9.0),
        SetTimer(Timer(TimerKind.RETRY, A, Operation.FORWARD, 2), 3.0),
        SetTimer(Timer(TimerKind.RETRY, A, Operation.FORWARD, 2), 5.0),
        AbortCall(A, Operation.FORWARD, 2),
    ]
    for some in permutations(expected, 3):
        assert sorted(some, key=in_order) == [each for each in expected if each in some]


def test_the_order_names_all_that_tells_two_effects_apart() -> None:
    assert in_order(SendCall(A, Operation.PROBE, 3)) == (0, "a", Operation.PROBE, 3)
    assert in_order(SetTimer(Timer(TimerKind.STEP, B), 7.0)) == (1, "b", TimerKind.STEP, 7.0)
    assert in_order(SetTimer(Timer(TimerKind.FORWARD_DEADLINE), 7.0)) == (1, "", TimerKind.FORWARD_DEADLINE, 7.0)
    assert in_order(AbortCall(B, Operation.FORWARD, 2)) == (2, "b", Operation.FORWARD, 2)
