"""Flows on two nodes whose owner is killed at places spread over all of its life: the other one goes on.

CLUSTER_PLACES=100000 tries every turn, append and call; a smaller number about so many over all flows.
"""

import os

import pytest

from orchestrator.ids import SagaId
from orchestrator.saga import SagaStatus
from orchestrator.testing import Fates, Run
from orchestrator.testing.flows import FLOWS, Flow
from tests.kit.figures import keep
from tests.simulation.crashes import SEED, places, told

PLACES = int(os.environ.get("CLUSTER_PLACES", "120"))
NAMES = frozenset(
    {
        "straight",
        "parallel-undone",
        "cancelled-between",
        "pivot-lost",
        "list-undone",
        "wait",
        "operation",
        "child-undone",
    }
)
CHOSEN = [flow for flow in FLOWS if flow.name in NAMES]
SECONDS_A_PLACE = 1.0
"""At most, on a machine that has other work."""
SAGA = SagaId("s1")
SECONDS_MAX = 110.0
"""Virtual: sagas begin within a quarter of a minute, and leases take some seconds; deadlines are a hundred."""


@pytest.mark.timeout(300 + PLACES * SECONDS_A_PLACE)
def test_wherever_an_owner_is_killed_the_other_node_brings_its_saga_to_an_end() -> None:
    assert len(CHOSEN) == len(NAMES)
    kills = violations = 0
    for flow in CHOSEN:
        unharmed = flow.simulation(nodes=2).run(SEED, tape=flow.tape)
        assert unharmed.is_sound, told(flow, (), unharmed)
        assert unharmed.statuses[SAGA] is flow.ends
        every = [place for life in sorted(unharmed.passes) for place in places(unharmed, life)]
        share = PLACES / len(CHOSEN) / len(every)
        for kill in every:
            if Fates(1).draw(f"{flow.name}/{kill}") >= share:
                continue
            run = flow.simulation(nodes=2).run(SEED, tape=(*flow.tape, kill))
            kills, violations = kills + (kill in run.tape), violations + len(run.violations)
            assert run.is_sound, told(flow, (kill,), run)
            assert run.statuses[SAGA] in _allowed(flow), told(flow, (kill,), run)
            assert run.virtual_s < SECONDS_MAX, f"found by its deadline, not taken over: {told(flow, (kill,), run)}"
    keep("cluster_crashes", flows=len(CHOSEN), kills=kills, places_wanted=PLACES, violations=violations)
    assert kills > PLACES / 2


def _allowed(flow: Flow) -> set[SagaStatus]:
    """As in the index of crashes: who dies over a call may not have heard its refusal."""
    return {flow.ends, SagaStatus.COMPENSATED, *([SagaStatus.COMPLETED] if flow.tape else [])}


def test_a_run_on_two_nodes_says_where_each_life_can_be_killed() -> None:
    run: Run = CHOSEN[0].simulation(nodes=2).run(SEED, tape=())
    assert set(run.passes) == {"n1.life-1", "n2.life-1"}
    assert all(turns > 0 for turns, _, _ in run.passes.values())
