"""Sagas of every shape in worlds that fail, one world a seed; no rule may be broken in any.

SEEDS=10000 and SEED_FROM=1 choose which. `saga sim --seed N` shows a failing one, shrunk, as a timeline.
"""

import os

import pytest

from orchestrator.testing.campaign import run_seeds
from orchestrator.testing.fates import NEVER_DRAWN, OF_CLUSTERS, Kind
from orchestrator.testing.flows import mixed
from tests.kit.figures import keep

SEEDS = int(os.environ.get("SEEDS", "600"))
SEED_FROM = int(os.environ.get("SEED_FROM", "1"))
SHARES = 4
"""So that two workers have something to share out."""
SECONDS_A_SEED = 2
"""At most, on a machine that has other work."""


@pytest.mark.timeout(300 + SEEDS * SECONDS_A_SEED)
@pytest.mark.parametrize("share", range(SHARES))
def test_no_rule_is_broken_in_any_world(share: int) -> None:
    campaign = run_seeds(mixed, range(SEED_FROM + share, SEED_FROM + SEEDS, SHARES))
    keep(f"simulation_{share + 1}", first_seed=SEED_FROM + share, **campaign.figures())
    told = [f"saga sim --seed {run.seed}: {violation}" for run in campaign.failing for violation in run.violations]
    assert not told, "\n".join(told)
    assert campaign.seeds == len(range(share, SEEDS, SHARES))
    assert campaign.kills > campaign.seeds / 2, "worlds too kind to tell anything"
    assert campaign.checked.total() > 100 * campaign.sagas, "next to nothing was held against the rules"


def test_worlds_are_made_of_every_fault_and_every_end() -> None:
    campaign = run_seeds(mixed, range(20_001, 20_061))
    assert not campaign.failing
    assert campaign.statuses.keys() >= {"COMPLETED", "COMPENSATED", "NEEDS_ATTENTION"}
    assert set(Kind) - NEVER_DRAWN - OF_CLUSTERS <= {Kind(name) for name in campaign.faults}
