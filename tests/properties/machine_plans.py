"""Random plans from a tape of bytes: a shorter or more zeroed tape is a plainer plan, so that failures shrink."""

from collections.abc import Sequence
from typing import TypeVar

from orchestrator.saga.plan import Plan, Step
from tests.kit import plans

T = TypeVar("T")

TRIGGERS = ("all_success",) * 5 + (
    "all_done",
    "one_success",
    "one_done",
    "all_failed",
    "none_failed",
    "at_least:1",
    "at_least:2",
)


class Tape:
    """Choices in advance; past its end every choice is the first one, which is the benign one."""

    def __init__(self, data: bytes) -> None:
        self._left = list(reversed(data))

    @property
    def is_over(self) -> bool:
        return not self._left

    def pick(self, choices: Sequence[T]) -> T:
        return choices[(self._left.pop() if self._left else 0) % len(choices)]

    def chance(self, one_in: int) -> bool:
        """True in about one of so many cases; never once the tape is over."""
        return self.pick(range(one_in)) == one_in - 1


def random_plan(tape: Tape) -> Plan:
    steps: list[Step] = []
    for number in range(tape.pick((3, 1, 2, 4, 5, 6))):
        steps.append(_random_step(tape, number, [each.id for each in steps]))
    return plans.plan(
        *steps,
        forward_s=tape.pick((100.0, 30.0, 8.0)),
        compensation_s=tape.pick((50.0, 10.0)),
        sequential=tape.chance(4),
        output=plans.fails if tape.chance(12) else None,
    )


def _random_step(tape: Tape, number: int, before: list[str]) -> Step:
    others = [f"s{each}" for each in range(6) if each != number]
    read, no_undo = tape.chance(6), tape.chance(8)
    return plans.step(
        f"s{number}",
        *[name for name in before if tape.chance(2)],
        read=read,
        trigger=tape.pick(TRIGGERS),
        optional=tape.chance(3),
        when=tape.pick((None,) * 8 + (lambda _facts: False, plans.fails)),
        request=tape.pick((None,) * 12 + (plans.fails,)),
        refuse=tape.pick((plans.says_no,) * 9 + (None, plans.fails)),
        reason=tape.pick((None, plans.fails)),
        undo=tape.pick((None,) * 6 + (plans.undo_by_reply(f"s{number}"), plans.fails)),
        no_undo=no_undo,
        undo_after=[tape.pick(others)] if tape.chance(5) else [],
        undo_first=tape.chance(7),
        policy=plans.retry(tape.pick((3, 1, 2, 0)), explicit=tape.chance(3)),
        undo_policy=plans.retry(tape.pick((0, 0, 0, 2))),
        timeout_s=tape.pick((10.0, 3.0)),
        idempotent=tape.chance(2),
        barrier=tape.chance(3),
    )
