import asyncio
from collections.abc import Sequence

import pytest

from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga.plan import Operation, Plan
from orchestrator.testing.clocks import SimulatedClock, WallClock
from orchestrator.testing.loop import Life
from orchestrator.testing.network import SimulatedInvoker
from tests.unit.testing.worlds import BARRED, KEPT, TIMEOUT_S, Line, call, passes, told

SITE = "s1/a/forward/1"
Seen = tuple[list[tuple[str, str]], list[int]]
"""What the process heard, and what the service did."""


def seen(*tape: str, given: Plan = KEPT, seed: int = 1) -> Seen:
    """Make one call, and wait until nothing of it is on the way any more."""

    async def story() -> Seen:
        line = Line(given, tape, seed)
        await line.begin(call())
        await passes(60)
        return line.codes, line.effects

    return told(story)


def every(*tape: str, given: Plan = KEPT) -> set[tuple[str, str, int]]:
    """Return what may come of it: code, phase and number of effects."""
    found = [seen(*tape, given=given, seed=seed) for seed in range(30)]
    assert all(len(heard) == 1 for heard, _ in found), "a call reports once"
    return {(*heard[0], sum(effects)) for heard, effects in found}


def test_a_call_arrives_and_its_answer_comes_back() -> None:
    assert seen() == ([("OK", "REPLIED")], [1])


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        ("refused", {("UNAVAILABLE", "NOT_SENT", 0)}),
        ("request.lost", {("UNAVAILABLE", "SENT", 0)}),
        ("reply.lost", {("UNAVAILABLE", "SENT", 1)}),
        ("late", {("DEADLINE_EXCEEDED", "SENT", 1)}),
        ("overtaken", {("UNAVAILABLE", "SENT", 1)}),
        ("slow", {("OK", "REPLIED", 1)}),
        ("restart", {("UNAVAILABLE", "SENT", 0), ("UNAVAILABLE", "SENT", 1)}),
        ("says.aborted", {("ABORTED", "REPLIED", 0)}),
        ("says.busy", {("RESOURCE_EXHAUSTED", "REPLIED", 0)}),
        ("says.denied", {("PERMISSION_DENIED", "REPLIED", 0)}),
        ("says.internal", {("INTERNAL", "REPLIED", 0), ("OK", "REPLIED", 1)}),
        ("refuses", {("FAILED_PRECONDITION", "REPLIED", 0)}),
    ],
)
def test_each_fault_ends_as_it_promises(fault: str, ends: set[tuple[str, str, int]]) -> None:
    assert every(f"{fault} {SITE}") == ends


def test_a_service_may_fail_after_its_effect() -> None:
    assert seen(f"says.internal {SITE}/after") == ([("INTERNAL", "REPLIED")], [1])


def test_something_in_between_sends_twice_only_to_a_service_that_keeps_the_barrier() -> None:
    twice, forgets = f"twice {SITE}", f"forgets.key {SITE}/again"
    assert seen(twice, given=BARRED) == ([("OK", "REPLIED")], [1]), "its key is remembered"
    assert seen(twice, forgets, given=BARRED) == ([("OK", "REPLIED")], [1, 1]), "it did arrive twice"
    assert seen(twice, forgets, given=KEPT) == ([("OK", "REPLIED")], [1])


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_call_that_is_late_ends_at_its_deadline_and_acts_within_the_skew_after_it() -> None:
    async def story() -> tuple[float, float]:
        line = Line(KEPT, [f"late {SITE}"])
        acted: list[float] = []
        line.services.on_written = lambda _line: acted.append(asyncio.get_running_loop().time())
        await line.begin(call())
        await passes(60)
        return line.heard[0][0], acted[0]

    heard_at, acted_at = told(story)
    assert heard_at == pytest.approx(TIMEOUT_S)
    assert TIMEOUT_S <= acted_at <= TIMEOUT_S + CLOCK_SKEW_S


def test_a_deadline_that_has_passed_sends_nothing() -> None:
    async def story() -> Seen:
        line = Line(KEPT, [])
        await line.begin(call(left_s=-1.0))
        await passes(60)
        return line.codes, line.effects

    assert told(story) == ([("DEADLINE_EXCEEDED", "NOT_SENT")], [])


def test_a_service_that_restarts_breaks_what_is_open_and_refuses_for_a_while() -> None:
    async def story() -> tuple[Sequence[tuple[str, str]], Seen]:
        line = Line(KEPT, ["slow s1/b/forward/1", "restart s1/a/forward/1"], seed=4)
        beside, other = line.begin(call(step="b")), line.begin(call(step="c", target="another"))
        await line.begin(call())
        await asyncio.gather(beside, other)
        first, line.heard = sorted(line.codes), []
        await line.begin(call(attempt=2))
        await passes(10)
        await line.begin(call(attempt=3, left_s=100.0))
        assert "b" not in {each.step for each in line.services.ledger}, "what was open there is lost with it"
        return first, (line.codes, line.effects[-1:])

    first, then = told(story)
    assert first == [("OK", "REPLIED"), ("UNAVAILABLE", "SENT"), ("UNAVAILABLE", "SENT")], "another target goes on"
    assert then == ([("UNAVAILABLE", "NOT_SENT"), ("OK", "REPLIED")], [1])


# --- the ends of a process -------------------------------------------------------------------------------------------


def test_a_dead_process_hears_nothing_and_its_call_arrives() -> None:
    async def story() -> Seen:
        line = Line(KEPT, [])
        line.begin(call())
        line.life.kill()
        await passes(60)
        return line.codes, line.effects

    assert told(story) == ([], [1])


@pytest.mark.parametrize(("fault", "effects"), [("kill.send.before", []), ("kill.send.after", [1])])
def test_a_process_dies_before_a_call_leaves_or_with_it_on_the_wire(fault: str, effects: list[int]) -> None:
    async def story() -> tuple[Seen, bool, int]:
        line = Line(KEPT, [f"{fault} life-1 1"])
        line.begin(call())
        await passes(60)
        return (line.codes, line.effects), line.life.is_over, line.invoker.sends

    assert told(story) == (([], effects), True, 1)


def test_a_dead_process_sends_nothing() -> None:
    async def story() -> Seen:
        line = Line(KEPT, [])
        line.life.kill()
        line.begin(call())
        await passes(60)
        return line.codes, line.effects

    assert told(story) == ([], [])


# --- what the port asks ----------------------------------------------------------------------------------------------


def test_an_aborted_call_reports_once_in_a_later_turn_and_the_service_may_have_heard_of_it() -> None:
    async def story(seed: int) -> Seen:
        line = Line(KEPT, [], seed)
        opened = line.invoker.begin(call(), lambda report: line.heard.append((0.0, report)))
        opened.abort()
        opened.abort()
        assert line.heard == [], "never from within abort"
        await passes(60)
        opened.abort()
        await passes(1)
        return line.codes, line.effects

    ends = [told(lambda seed=seed: story(seed)) for seed in range(20)]  # type: ignore[misc]  # the seed of this turn
    assert all(codes == [("CANCELLED", "SENT")] for codes, _ in ends)
    assert {sum(effects) for _, effects in ends} == {0, 1}


def test_a_report_never_comes_from_within_begin() -> None:
    async def story() -> None:
        for request in (call(), call(left_s=-1.0)):
            line = Line(KEPT, [f"refused {SITE}"])
            ended = line.begin(request)
            assert line.heard == []
            await ended

    told(story)


def test_what_is_open_is_counted_by_target_and_closing_ends_it() -> None:
    async def story() -> None:
        line = Line(KEPT, ["slow s1/b/forward/1"])
        ended = asyncio.gather(*(line.begin(call(step=name, target=target)) for name, target in ("bx", "cx", "dy")))
        assert line.invoker.in_flight() == {"x": 2, "y": 1}
        await line.invoker.close(0.0)
        await ended
        assert set(line.codes) == {("CANCELLED", "SENT")}
        assert line.invoker.in_flight() == {}

    told(story)


def test_two_processes_share_the_line_and_each_hears_its_own() -> None:
    async def story() -> tuple[Seen, list[str]]:
        line = Line(KEPT, [])
        life, heard = Life("life-2"), list[str]()
        clock = SimulatedClock(WallClock(), line.invoker.network.faults.fates, "life-2")
        SimulatedInvoker(line.invoker.network, life, clock).begin(call(attempt=2), lambda said: heard.append(said.code))
        await line.begin(call())
        await passes(1)
        return (line.codes, line.effects), heard

    assert told(story) == (([("OK", "REPLIED")], [1]), ["OK"])


def test_undoing_is_done_whether_or_not_anything_is_there() -> None:
    async def story() -> Seen:
        line = Line(KEPT, [])
        await line.begin(call(Operation.COMPENSATE))
        return line.codes, line.effects

    assert told(story) == ([("OK", "REPLIED")], [0])
