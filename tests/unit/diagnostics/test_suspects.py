"""What breaks a promise is suspect: named once for all of its kind, with the oldest as the example."""

import resource
from pathlib import Path

import pytest

from orchestrator.diagnostics.suspects import Suspicion, crowds, descriptors
from orchestrator.frozen import changed
from orchestrator.limits import (
    CALL_OVERDUE_S,
    SUSPECT_COMMIT_S,
    SUSPECT_DESCRIPTORS_SHARE,
    SUSPECT_IDLE_S,
    SUSPECT_TASKS,
    SUSPECT_TIMER_S,
)
from orchestrator.ports.diagnostics import ActorFacts, CallFacts, Suspect

NOW = 1_790_000_000.0
CALL = CallFacts(
    saga_id="s",
    step="a",
    operation="forward",
    attempt=1,
    target="shop",
    method="shop.v1.Shop/Buy",
    phase="sent",
    begun_at=NOW - 60.0,
    deadline_at=NOW,
)
ACTOR = ActorFacts(
    saga_id="s",
    definition="order",
    status="RUNNING",
    version=3,
    shard=0,
    mailbox=0,
    doing="idle",
    since_at=NOW,
    activated_at=NOW - 900.0,
    calls=0,
    wake_at=None,
    timers=0,
)


def thought_of(*facts: ActorFacts | CallFacts) -> list[Suspect]:
    suspicion = Suspicion(NOW)
    for each in facts:
        if isinstance(each, CallFacts):
            suspicion.call(each)
        else:
            suspicion.actor(each)
    return list(suspicion.told())


def idle(for_s: float, **more: object) -> ActorFacts:
    return changed(ACTOR, since_at=NOW - for_s, **more)


def test_a_call_is_suspect_when_the_invoker_should_have_given_it_up() -> None:
    assert thought_of(changed(CALL, deadline_at=NOW - CALL_OVERDUE_S)) == []
    (suspect,) = thought_of(changed(CALL, deadline_at=NOW - CALL_OVERDUE_S - 2.0))
    assert (suspect.kind, suspect.name, suspect.count) == ("call", "shop/shop.v1.Shop/Buy", 1)
    assert suspect.why.startswith("open 7 s past its deadline, of saga s for one")


@pytest.mark.parametrize("doing", ["idle", "timer", "children"])
def test_a_saga_with_nothing_to_do_is_suspect_when_it_should_have_left_memory(doing: str) -> None:
    assert thought_of(idle(SUSPECT_IDLE_S, doing=doing)) == []
    (suspect,) = thought_of(idle(SUSPECT_IDLE_S + 1.0, doing=doing))
    assert (suspect.kind, suspect.name) == ("actor", "order")
    assert "in memory for 31 s without anything to do" in suspect.why


@pytest.mark.parametrize("doing", ["calls", "held"])
def test_a_saga_that_has_something_to_do_may_take_as_long_as_it_likes(doing: str) -> None:
    assert thought_of(idle(86_400.0, doing=doing)) == []
    assert thought_of(idle(86_400.0, mailbox=1)) == []


def test_an_append_without_an_end_is_suspect_however_late_a_timer_is_meanwhile() -> None:
    late = {"doing": "commit", "wake_at": NOW - 3_600.0}
    assert thought_of(idle(SUSPECT_COMMIT_S, **late)) == []
    (suspect,) = thought_of(idle(SUSPECT_COMMIT_S + 10.0, **late))
    assert suspect.why.startswith("an append has been on its way to the store for 40 s")


@pytest.mark.parametrize("doing", ["idle", "timer", "calls"])
def test_a_timer_that_did_not_fire_is_suspect(doing: str) -> None:
    assert thought_of(idle(1.0, doing=doing, wake_at=NOW - SUSPECT_TIMER_S)) == []
    (suspect,) = thought_of(idle(1.0, doing=doing, wake_at=NOW - SUSPECT_TIMER_S - 1.0))
    assert suspect.why.startswith("a timer is 6 s late")


def test_suspects_of_a_kind_are_one_with_the_oldest_as_the_example_and_the_worst_kind_comes_first() -> None:
    idlers = [idle(100.0 + number, saga_id=f"idle-{number}") for number in (1, 3, 2)]
    overdue = changed(CALL, deadline_at=NOW - 200.0, saga_id="worst")
    first, second = thought_of(*idlers, overdue, idle(100.0, definition="other", doing="held"))
    assert (first.kind, first.count) == ("call", 1)
    assert (second.kind, second.count) == ("actor", 3)
    assert "for 103 s without anything to do, saga idle-3 for one" in second.why


def test_tasks_are_a_crowd_beyond_what_open_calls_explain() -> None:
    kinds = {"call": SUSPECT_TASKS + 7, "few": 3, "many": SUSPECT_TASKS * 2}
    assert [each.name for each in crowds(kinds, open_calls=6)] == ["many", "call"]
    assert [(each.name, each.count) for each in crowds(kinds, open_calls=7)] == [("many", SUSPECT_TASKS * 2)]


def test_descriptors_are_suspect_when_few_are_left() -> None:
    assert list(descriptors()) == []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sum(1 for _ in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(used / SUSPECT_DESCRIPTORS_SHARE) - 1, hard))
    try:
        (suspect,) = descriptors()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (suspect.kind, suspect.name) == ("object", "file descriptors")
    assert suspect.count >= used
