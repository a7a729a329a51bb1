"""Many seeds, one sum: what `saga sim` and the tests run."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import process_time

from orchestrator.testing.fates import Fates, Kind, swarm
from orchestrator.testing.runs import Run
from orchestrator.testing.simulation import Simulation

REPETITION = "repetition"
"""The rule that a seed breaks which does not give the same run again. It is no rule of a run: no tape leads to it."""
TWICE_EVERY = 100
"""Each so-many-th seed is run twice: the same seed must be the same run, bit for bit."""
_KILLS = frozenset(kind for kind in Kind if kind.startswith("kill."))


@dataclass(slots=True, kw_only=True)
class Campaign:
    """What many runs came to."""

    seeds: int = 0
    moved: int = 0
    """Shards that have left their owner."""
    fenced: int = 0
    sagas: int = 0
    nodes: Counter[int] = field(default_factory=Counter[int])
    """Nodes -> seeds that had so many."""
    statuses: Counter[str] = field(default_factory=Counter[str])
    faults: Counter[str] = field(default_factory=Counter[str])
    """Kind -> how often it struck."""
    kills: int = 0
    lives: int = 0
    records: int = 0
    effects: int = 0
    asked_again: int = 0
    checked: Counter[str] = field(default_factory=Counter[str])
    """Invariant -> facts held against it."""
    repeated: int = 0
    """Seeds that were run twice and gave the same run."""
    cpu_s: float = 0.0
    failing: list[Run] = field(default_factory=list[Run])

    @property
    def sagas_a_second(self) -> float:
        """Return how many sagas one core simulates in a second."""
        return self.sagas / self.cpu_s if self.cpu_s else 0.0

    def figures(self) -> dict[str, float | str]:
        """Return what is worth keeping, by name."""
        return {
            "seeds": self.seeds,
            **{f"seeds_of_{count}_nodes": seeds for count, seeds in sorted(self.nodes.items()) if count > 1},
            **({"shards_moved": self.moved, "members_fenced": self.fenced} if self.moved else {}),
            "executions": self.sagas,
            "kills": self.kills,
            "lives": self.lives,
            "faults": self.faults.total(),
            "records": self.records,
            "effects": self.effects,
            "facts_checked": self.checked.total(),
            "repeated_bit_for_bit": self.repeated,
            "violations": sum(len(run.violations) for run in self.failing),
            "sagas_per_second_per_core": round(self.sagas_a_second),
            "seconds": round(self.cpu_s, 1),
        }


def run_seeds(
    of_seed: Callable[[int], Simulation],
    seeds: Iterable[int],
    on_run: Callable[[Campaign], bool] = lambda campaign: not campaign.failing,
) -> Campaign:
    """Run each seed with a swarm of its own; `on_run` hears of each and says whether to go on."""
    campaign = Campaign()
    began = process_time()
    for seed in seeds:
        simulation, rates = of_seed(seed), swarm(Fates(seed))
        is_twice = seed % TWICE_EVERY == 0
        run = simulation.run(seed, rates=rates, digest=is_twice)
        if is_twice:
            again = simulation.run(seed, rates=rates, digest=True)
            if again.digest == run.digest:
                campaign.repeated += 1
            else:
                told = f"{REPETITION}: the same seed gave another run: {run.digest}, then {again.digest}"
                run.violations = (*run.violations, told)
        _add(campaign, run)
        campaign.cpu_s = process_time() - began
        if not on_run(campaign):
            break
    return campaign


def _add(campaign: Campaign, run: Run) -> None:
    campaign.seeds += 1
    campaign.nodes[run.nodes] += 1
    campaign.moved += run.moved
    campaign.fenced += run.fenced
    campaign.sagas += len(run.statuses)
    campaign.statuses.update(status.value for status in run.statuses.values())
    campaign.faults.update(fault.kind.value for fault in run.tape)
    campaign.kills += sum(fault.kind in _KILLS for fault in run.tape)
    campaign.lives += run.lives
    campaign.records += run.records
    campaign.effects += run.effects
    campaign.asked_again += run.asked_again
    campaign.checked.update(run.checked)
    if run.violations:
        campaign.failing.append(run)
