"""Two and three nodes on one database that fails, one world a seed; no rule may be broken in any.

CLUSTER_SEEDS=10000 and CLUSTER_SEED_FROM=1 choose which. `saga sim --nodes 3 --seed N` (2 for an odd seed) shows a
failing one, shrunk, as a timeline.
"""

import os

import pytest

from orchestrator.testing import Fates, Run, swarm
from orchestrator.testing.campaign import run_seeds
from orchestrator.testing.fates import NEVER_DRAWN, OF_DISKS, Kind
from orchestrator.testing.flows import clustered
from tests.kit.figures import keep

SEEDS = int(os.environ.get("CLUSTER_SEEDS", "60"))
SEED_FROM = int(os.environ.get("CLUSTER_SEED_FROM", "1"))
SHARES = 2
"""So that two workers have something to share out."""
SECONDS_A_SEED = 4
"""At most, on a machine that has other work."""


@pytest.mark.timeout(300 + SEEDS * SECONDS_A_SEED)
@pytest.mark.parametrize("share", range(SHARES))
def test_no_rule_is_broken_in_any_world_of_several_nodes(share: int) -> None:
    campaign = run_seeds(clustered, range(SEED_FROM + share, SEED_FROM + SEEDS, SHARES), lambda _: True)
    keep(f"cluster_simulation_{share + 1}", first_seed=SEED_FROM + share, **campaign.figures())
    told = [f"seed {run.seed}, {run.nodes} nodes: {each}" for run in campaign.failing for each in run.violations]
    assert not told, "\n".join(told)
    assert campaign.seeds == len(range(share, SEEDS, SHARES))
    assert campaign.lives > 3 * campaign.seeds, "worlds too kind to tell anything"
    assert campaign.moved > 8 * campaign.seeds, "hardly a shard has had a second owner"
    assert campaign.fenced > campaign.seeds / 4, "hardly anybody was fenced"


def test_worlds_of_several_nodes_are_made_of_every_fault() -> None:
    struck: set[Kind] = set()
    for seed in range(20_001, 20_041):
        run = clustered(seed).run(seed, rates=swarm(Fates(seed)))
        assert run.is_sound, run.violations
        struck |= {fault.kind for fault in run.tape}
        if struck >= set(Kind) - NEVER_DRAWN - OF_DISKS:
            return
    assert struck == set(Kind) - NEVER_DRAWN - OF_DISKS


def drawn(seed: int) -> Run:
    return clustered(seed).run(seed, rates=swarm(Fates(seed)), digest=True)


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_several_nodes_are_the_same_run_again_from_the_seed_and_from_the_tape(seed: int) -> None:
    first, again = drawn(seed), drawn(seed)
    played = clustered(seed).run(seed, tape=first.tape, digest=True)
    assert first.tape
    assert (first.digest, first.tape, first.turns) == (again.digest, again.tape, again.turns)
    assert (first.digest, first.tape, first.turns) == (played.digest, played.tape, played.turns)
