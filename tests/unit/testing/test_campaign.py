from collections.abc import Sequence

from orchestrator.testing import Fates, Run, Simulation, swarm
from orchestrator.testing.campaign import TWICE_EVERY, Campaign, run_seeds
from orchestrator.testing.flows import mixed


class Spied(Simulation):
    """A simulation that keeps its runs, and may give another digest each time."""

    runs: list[Run]
    is_fickle = False

    def run(self, seed: int, **given: object) -> Run:
        run = super().run(seed, **given)  # type: ignore[arg-type]  # passed on
        run.digest += str(len(self.runs)) if self.is_fickle else ""
        self.runs.append(run)
        return run


def spied(sagas: int = 3, *, is_fickle: bool = False) -> Spied:
    given = mixed(1, sagas)
    found = Spied(plans=given.plans, begins=given.begins, catalogue=given.catalogue)
    found.runs, found.is_fickle = [], is_fickle
    return found


def ran(simulation: Spied, seeds: Sequence[int]) -> Campaign:
    return run_seeds(lambda _seed: simulation, seeds, lambda _campaign: True)


def test_the_figures_are_the_sum_of_all_runs() -> None:
    simulation = spied()
    campaign = ran(simulation, range(1, 21))
    runs = simulation.runs
    assert (campaign.seeds, len(runs)) == (20, 20)
    assert campaign.sagas == campaign.statuses.total() == sum(len(run.statuses) for run in runs)
    assert campaign.faults.total() == sum(len(run.tape) for run in runs)
    assert campaign.kills == sum(fault.kind.startswith("kill.") for run in runs for fault in run.tape) > 0
    assert campaign.lives == sum(run.lives for run in runs) > 20
    assert campaign.records == sum(run.records for run in runs)
    assert campaign.effects == sum(run.effects for run in runs)
    assert campaign.asked_again == sum(run.asked_again for run in runs)
    assert campaign.checked["I13"] == sum(run.checked["I13"] for run in runs)
    assert (campaign.repeated, campaign.failing) == (0, [])
    figures = campaign.figures()
    assert (figures["executions"], figures["faults"]) == (campaign.sagas, campaign.faults.total())
    assert (figures["violations"], figures["kills"]) == (0, campaign.kills)
    assert campaign.cpu_s > 0
    assert campaign.sagas_a_second == campaign.sagas / campaign.cpu_s


def test_each_seed_has_the_faults_of_its_own_swarm() -> None:
    simulation = spied()
    ran(simulation, [7, 8])
    assert [run.tape for run in simulation.runs] == [
        spied().run(seed, rates=swarm(Fates(seed))).tape for seed in (7, 8)
    ]


def test_each_so_many_th_seed_is_run_twice_and_counted_once() -> None:
    simulation = spied()
    campaign = ran(simulation, [TWICE_EVERY - 1, TWICE_EVERY, TWICE_EVERY + 1])
    assert [run.seed for run in simulation.runs] == [99, 100, 100, 101]
    assert (campaign.seeds, campaign.repeated, campaign.failing) == (3, 1, [])


def test_the_same_seed_that_gives_another_run_is_a_violation() -> None:
    campaign = ran(spied(is_fickle=True), [TWICE_EVERY])
    assert campaign.repeated == 0
    (run,) = campaign.failing
    again = f"{run.digest[:-1]}1"
    assert run.violations == (f"repetition: the same seed gave another run: {run.digest}, then {again}",)
    assert campaign.figures()["violations"] == 1


def test_it_ends_at_the_first_failure_or_where_whoever_listens_says_so() -> None:
    simulation = spied()
    campaign = run_seeds(lambda _seed: simulation, range(1, 100), lambda campaign: campaign.seeds < 3)
    assert campaign.seeds == 3
    fickle = run_seeds(lambda _seed: spied(is_fickle=True), range(TWICE_EVERY, 10 * TWICE_EVERY, TWICE_EVERY))
    assert (fickle.seeds, len(fickle.failing)) == (1, 1)


def test_nothing_run_is_no_figure_and_no_division() -> None:
    assert Campaign().sagas_a_second == 0.0
    assert Campaign().figures()["seeds"] == 0
