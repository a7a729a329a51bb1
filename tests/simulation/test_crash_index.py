"""Every canonical flow, killed at every turn of its event loop, every append and every call; and at pairs of these.

PAIRS=1000000 runs nearly every pair: the second kill at every place of the life that follows the first. A smaller
number runs about so many, the same for each flow, spread evenly over its pairs.
"""

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from orchestrator.ids import SagaId
from orchestrator.saga import SagaStatus
from orchestrator.testing import Fates, Fault, Run
from orchestrator.testing.flows import FLOWS, Flow
from tests.kit.figures import keep
from tests.simulation.crashes import killed, places, told

PAIRS = int(os.environ.get("PAIRS", "2000"))
SECONDS_A_PAIR = 0.1
"""At most, on a machine that has other work; one takes six milliseconds."""
SAGA = SagaId("s1")
SECONDS_MAX = 80.0
"""Virtual: the longest flow sleeps for half a minute; deadlines are a hundred seconds, but of a flow about one."""
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
@pytest.mark.timeout(300 + PAIRS / len(FLOWS) * SECONDS_A_PAIR)
def test_killed_anywhere_a_flow_ends_whole(flow: Flow) -> None:
    unharmed = killed(flow, ())
    assert unharmed.is_sound, told(flow, (), unharmed)
    assert set(flow.tape) <= set(unharmed.tape), "what goes wrong in the flow by itself did not happen"
    assert unharmed.statuses[SAGA] is flow.ends
    FIGURES["flows"] += 1
    wanted = PAIRS / len(FLOWS)
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
    allowed = {flow.ends, SagaStatus.COMPENSATED}
    if flow.tape:  # nobody heard a refusal, and it was not repeated; or an attempt of another number was made
        allowed.add(SagaStatus.COMPLETED)
    assert run.statuses[SAGA] in allowed, told(flow, kills, run)
    assert run.virtual_s < SECONDS_MAX, f"found by its deadline, not by recovery: {told(flow, kills, run)}"
