"""What an author orders by hand concerns those steps; all others are undone in the natural order (R19)."""

from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import started


def test_what_ended_before_another_began_waits_for_that_one_though_others_are_ordered_by_hand() -> None:
    by_hand = step("k", undo_after=["h"])
    machine = started(plan(step("a"), step("c"), step("h"), by_hand, step("b", "c"), step("z", "b")))
    for name in ("a", "c", "h", "k", "b"):
        machine.reply(name)
    machine.reply("z", "NOT_FOUND")
    assert [call.step for call in machine.calls] == ["b", "h"], "a and c ended before b began; k is undone after h"
    machine.reply("b")
    machine.reply("h")
    assert sorted(call.step for call in machine.calls) == ["a", "c", "k"]
