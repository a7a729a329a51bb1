"""Random plans from a tape of bytes: a shorter or more zeroed tape is a plainer plan, so that failures shrink.

Every plan keeps R15, as a definition that was checked does: what can be undone comes before the pivot, what comes
after it is retriable, a read, or lets time pass; and a read may run beside it.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from orchestrator.saga.plan import Plan, Step
from orchestrator.testing import shorthand as plans

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
BODIES = ("call",) * 7 + ("items", "sleep", "wait", "scope", "scope")


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
    top: list[str] = []
    is_rich = tape.chance(2)
    pivot = tape.pick((None, None, 1, 2, 0)) if is_rich else None
    for number in range(tape.pick((3, 1, 2, 4, 5, 6) if not is_rich else (3, 2, 4, 5))):
        name = f"s{number}"
        if number == pivot:
            steps.append(_pivot(tape, name, top))
        elif pivot is not None and number > pivot:
            steps.append(_after_pivot(tape, name, top, f"s{pivot}"))
        else:
            steps += _random_part(tape, name, top, is_rich=is_rich)
        top.append(name)
    return plans.plan(
        *steps,
        forward_s=tape.pick((100.0, 30.0, 8.0)),
        compensation_s=tape.pick((50.0, 10.0)),
        sequential=tape.chance(4),
        output=plans.fails if tape.chance(12) else None,
    )


def _needs(tape: Tape, before: list[str]) -> list[str]:
    return [name for name in before if tape.chance(2)]


def _random_part(tape: Tape, name: str, before: list[str], *, is_rich: bool, inside: str | None = None) -> list[Step]:
    """A step, or a scope with all that is in it."""
    needs = _needs(tape, before)
    body = tape.pick(BODIES) if is_rich else "call"
    common: dict[str, Any] = {
        "trigger": tape.pick(TRIGGERS),
        "optional": tape.chance(3),
        "when": tape.pick((None,) * 8 + (lambda _facts: False, plans.fails)),
        "on_failure": tape.pick(("compensate",) * 6 + ("ask", "retry")) if is_rich else "compensate",
        "inside": inside,
    }
    if body == "sleep":
        return [plans.sleep(name, *needs, seconds=tape.pick((3.0, 0.0, 40.0, None)), **common)]
    if body == "wait":
        return [plans.wait(name, *needs, signal=tape.pick(("go", "stop")), within_s=tape.pick((None, 6.0)), **common)]
    if body == "scope" and inside is None:
        return _scope(tape, name, needs, common, depth=1)
    options = _options(tape, name, is_rich=is_rich) | common
    if body == "items":
        options["for_each"] = plans.fails if tape.chance(12) else plans.items(tape.pick((3, 0, 1, 5)))
        options |= {"parallel": tape.pick((2, 1, 4)), "tolerate": tape.pick((0, 0, 1, 2))}
        options |= {"undo_after": [], "undo_first": False}
    return [plans.step(name, *needs, **options)]


def _scope(tape: Tape, name: str, needs: list[str], common: dict[str, Any], *, depth: int) -> list[Step]:
    found: list[Step] = []
    branches: list[list[str]] = []
    for letter in "xy" if tape.chance(2) else "x":
        branch: list[str] = []
        for number in range(tape.pick((2, 1, 3))):
            member = f"{name}{letter}{number}"
            if depth == 1 and tape.chance(8):
                inner: dict[str, Any] = {"optional": tape.chance(3), "inside": name}
                found += _scope(tape, member, _needs(tape, branch), inner, depth=2)
            else:
                found += _random_part(tape, member, branch, is_rich=True, inside=name)
            branch.append(member)
        branches.append(branch)
    within_s = tape.pick((None, None, 5.0, 20.0))
    otherwise = branches[1] if len(branches) > 1 else []
    return [plans.scope(name, *needs, steps=branches[0], otherwise=otherwise, within_s=within_s, **common), *found]


def _options(tape: Tape, name: str, *, is_rich: bool) -> dict[str, Any]:
    others = [f"s{each}" for each in range(6) if f"s{each}" != name]
    options: dict[str, Any] = {
        "read": tape.chance(6),
        "no_undo": tape.chance(8),
        "request": tape.pick((None,) * 12 + (plans.fails,)),
        "refuse": tape.pick((plans.says_no,) * 9 + (None, plans.fails)),
        "reason": tape.pick((None, plans.fails)),
        "undo": tape.pick((None,) * 6 + (plans.undo_by_reply(name), plans.fails)),
        "undo_after": [tape.pick(others)] if tape.chance(5) and not is_rich else [],
        "undo_first": tape.chance(7),
        "undo_policy": plans.retry(tape.pick((0, 0, 0, 2))),
    }
    return options | _calling(tape, is_rich=is_rich)


def _calling(tape: Tape, *, is_rich: bool) -> dict[str, Any]:
    """How a call is made, of whatever kind the step is."""
    options: dict[str, Any] = {
        "policy": plans.retry(tape.pick((3, 1, 2, 0)), explicit=tape.chance(3)),
        "timeout_s": tape.pick((10.0, 3.0)),
        "idempotent": tape.chance(2),
        "barrier": tape.chance(3),
    }
    if is_rich:
        options["probe"] = tape.chance(3)
        options["probe_request"] = plans.fails if tape.chance(12) else None
        options["probe_policy"] = plans.retry(tape.pick((3, 1, 12)))
        options["dtm"] = tape.chance(6)
        special = tape.pick((None,) * 5 + ("awaits", "awaits", "poll", "child"))
        if special is not None:
            options[special] = True
        options["stoppable"] = not tape.chance(4)
        options["await_request"] = plans.fails if tape.chance(12) else None
        options["stop_request"] = plans.fails if tape.chance(8) else None
        options["at_most_s"] = tape.pick((20.0, 5.0))
    return options


def _pivot(tape: Tape, name: str, before: list[str]) -> Step:
    options = _calling(tape, is_rich=True) | {"on_failure": tape.pick(("compensate", "compensate", "ask", "retry"))}
    refuse = tape.pick((plans.says_no, plans.says_no, None, plans.fails))
    return plans.step(
        name, *before, pivot=True, trigger=tape.pick(("all_success", "all_done")), refuse=refuse, **options
    )


def _after_pivot(tape: Tape, name: str, before: list[str], pivot: str) -> Step:
    kind = tape.pick(("retriable", "retriable", "retriable", "read", "beside", "wait", "sleep", "optional", "items"))
    needs = [each for each in before if each != pivot and tape.chance(3)]
    if kind == "beside":
        # A read that the pivot does not wait for, and that does not wait for it.
        return plans.step(name, read=True, **_calling(tape, is_rich=True))
    if kind == "wait":
        return plans.wait(name, pivot, *needs, within_s=tape.pick((None, 6.0)))
    if kind == "sleep":
        return plans.sleep(name, pivot, *needs, seconds=tape.pick((3.0, None)))
    options = _calling(tape, is_rich=True) | {"request": tape.pick((None,) * 12 + (plans.fails,))}
    options["refuse"] = tape.pick((plans.says_no,) * 5 + (plans.fails,))
    if kind == "items":
        options |= {"for_each": plans.items(tape.pick((3, 1))), "parallel": tape.pick((2, 1))}
    return plans.step(
        name, pivot, *needs, read=kind == "read", retriable=kind != "read", optional=kind == "optional", **options
    )
