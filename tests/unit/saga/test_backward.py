"""The quick way to what may be undone says what the rule says, pair by pair (R19)."""

from random import Random  # noqa: TID251  (seeded: the same plans again)

import pytest

from orchestrator.ids import StepId
from orchestrator.saga import SagaState, StepStatus
from orchestrator.saga.backward import startable
from orchestrator.saga.commands import ResolveStep
from orchestrator.saga.plan import Outcome, Step
from orchestrator.saga.state import StepState
from orchestrator.saga.undoorder import comes_before, remaining
from orchestrator.testing.shorthand import plan, retry, step
from tests.kit.machine import Machine, started

TRIGGERS = ("all_success", "one_success", "all_done", "one_done")


READY = {StepStatus.APPLIED, StepStatus.UNSETTLED}


def by_the_rule(state: SagaState) -> list[str]:
    left = sorted(remaining(state), key=lambda one: one.settled_version, reverse=True)
    ready = [one for one in left if one.status in READY]
    free = [one for one in ready if not any(comes_before(state, other, one) for other in left)]
    if not free and not any(one.status is StepStatus.UNDOING for one in left):
        free = despite_contradiction(state, ready, [one for one in left if one not in ready])
    return [one.id for one in free]


def despite_contradiction(state: SagaState, ready: list[StepState], stuck: list[StepState]) -> list[StepState]:
    """The natural order gives way within the circle, and the author's after it."""
    held = list(stuck)
    while more := [o for o in ready if o not in held and any(comes_before(state, other, o) for other in held)]:
        held += more
    circle = [one for one in ready if one not in held]
    willing = [one for one in circle if not any(demanded(state, other.id, one.id) for other in circle if other != one)]
    return (willing or circle)[:1]


def demanded(state: SagaState, first: StepId, second: StepId) -> bool:
    before, after = (state.plan.steps[each].compensation for each in (first, second))
    assert before is not None
    assert after is not None
    return first in after.after or (before.first and not after.first and second not in before.after)


def some_steps(luck: Random, *, by_hand: float) -> list[Step]:
    names = [f"s{number}" for number in range(luck.randint(2, 9))]
    return [
        step(
            name,
            *luck.sample(names[:at], luck.randint(0, min(at, 3))),
            trigger=luck.choice(TRIGGERS),
            no_undo=luck.random() < 0.1,
            optional=luck.random() < 0.3,
            undo_after=luck.sample(names, 1) if luck.random() < by_hand else [],
            undo_first=luck.random() < by_hand / 2,
        )
        for at, name in enumerate(names)
    ]


def reply_to_one(machine: Machine, luck: Random) -> None:
    call = luck.choice(machine.calls)
    codes = ("OK", "OK", "OK", "FAILED_PRECONDITION") if machine.state.is_backward else ("OK", "OK", "OK", "NOT_FOUND")
    machine.reply(call.step, luck.choice(codes))


@pytest.mark.parametrize("by_hand", [0.0, 0.2, 0.8])
@pytest.mark.parametrize("sequential", [False, True])
def test_what_may_be_undone_is_what_no_other_undo_comes_before(*, sequential: bool, by_hand: float) -> None:
    looked = 0
    for seed in range(150):
        luck = Random(seed)
        machine = started(plan(*some_steps(luck, by_hand=by_hand), sequential=sequential))
        for _ in range(luck.randint(1, 8)):
            if machine.calls:
                reply_to_one(machine, luck)
        if not machine.state.is_terminal:
            machine.cancel()
        while machine.calls:
            if machine.state.is_backward and not any(
                s.forward and s.forward.open for s in machine.state.steps.values()
            ):
                assert list(startable(machine.state, machine.at + 1e6)) == by_the_rule(machine.state)
                looked += 1
            reply_to_one(machine, luck)
    assert looked > 100


def test_a_step_of_which_a_person_said_what_is_true_keeps_its_place_among_those_to_be_undone() -> None:
    machine = started(
        plan(step("a", optional=True, policy=retry(1)), step("b", "a", trigger="all_done"), step("c", "b"))
    )
    machine.reply("a", "UNAVAILABLE")
    machine.reply("b")
    machine.reply("c", "NOT_FOUND")
    assert machine.state.to_undo == ("a", "b")
    machine.tell(ResolveStep(step=StepId("a"), outcome=Outcome.APPLIED, reply=None, audit=machine.audit()))
    assert machine.rejected is None
    assert machine.state.steps[StepId("a")].status is StepStatus.APPLIED
    assert machine.state.to_undo == ("a", "b")
