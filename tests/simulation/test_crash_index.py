"""Every canonical flow, killed at every turn of its event loop, every append and every call; and at pairs of these.

PAIRS=all runs every pair: the second kill at every place of the life that follows the first. A number runs so many of
them, spread evenly over all.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from orchestrator.saga import SagaStatus
from orchestrator.testing import Fates, Fault, Run
from orchestrator.testing.flows import FLOWS, Flow
from tests.kit.figures import keep
from tests.simulation.crashes import killed, places, told

PAIRS = os.environ.get("PAIRS", "2000")
_PAIRS_A_SINGLE = 150
"""About as many places has the life that follows; so many pairs there are for each single kill."""
FIGURES: Counter[str] = Counter()


@pytest.fixture(scope="module", autouse=True)
def figures() -> Iterator[None]:
    yield
    keep(
        "_".join(filter(None, ("crash_index", os.environ.get("PYTEST_XDIST_WORKER")))),
        flows=FIGURES["flows"],
        executions=FIGURES["singles"] + FIGURES["pairs"],
        singles=FIGURES["singles"],
        pairs=FIGURES["pairs"],
        pairs_wanted=PAIRS,
        kills=FIGURES["singles"] + 2 * FIGURES["pairs"],
        violations=FIGURES["violations"],
    )


@pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
@pytest.mark.timeout(3_600 if PAIRS == "all" else 120)
def test_killed_anywhere_a_flow_ends_whole(flow: Flow) -> None:
    unharmed = killed(flow, ())
    assert unharmed.is_sound, told(flow, (), unharmed)
    assert len(unharmed.tape) >= len(flow.tape), "what goes wrong in the flow by itself did not happen"
    FIGURES["flows"] += 1
    wanted = float("inf") if PAIRS == "all" else int(PAIRS) / len(FLOWS)
    singles = list(places(unharmed, "life-1"))
    share = wanted / (len(singles) * _PAIRS_A_SINGLE)
    for kill in singles:
        run = killed(flow, (kill,))
        FIGURES["singles"] += 1
        _hold(flow, (kill,), run)
        assert kill in run.tape, f"{flow.name}: {kill} did not strike"
        for second in places(run, "life-2") if "life-2" in run.passes else ():
            if share >= 1 or Fates(1).draw(f"{flow.name}/{kill}/{second}") < share:
                FIGURES["pairs"] += 1
                _hold(flow, (kill, second), killed(flow, (kill, second)))


def _hold(flow: Flow, kills: tuple[Fault, ...], run: Run) -> None:
    FIGURES["violations"] += len(run.violations)
    assert run.is_sound, told(flow, kills, run)
    assert SagaStatus.TERMINATED not in run.statuses.values()
