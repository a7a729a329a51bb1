"""From a run that fails to the few faults that make it fail.

Delta debugging (Zeller and Hildebrandt, 2002) over the tape: leave out half of it, a quarter, an eighth, as long as the
run still breaks the same rule. Every fate is drawn by its place (`fates.py`), so leaving one out changes no other.
The order of turns is not: in half of the seeds it is one sequence of draws (`loop.py`), so without a fault all turns
after it come in another order, and a part of the tape counts as enough only where its own run has broken the rule.
"""

from collections.abc import Callable, Sequence

from orchestrator.limits import SHRINK_RUNS_MAX
from orchestrator.testing.fates import Fault, Kind
from orchestrator.testing.runs import Run
from orchestrator.testing.simulation import Simulation

OnProgress = Callable[[int, int], None]
"""Hears how many runs were made, and how long the shortest failing tape is."""


def rule_of(violation: str) -> str:
    """Return what a violation is of: its invariant, or `bug`, `caller`, `repetition`."""
    return violation.split(" ", 1)[0].removesuffix(":")


def shrink(simulation: Simulation, failing: Run, on_progress: OnProgress = lambda _runs, _left: None) -> Run:
    """Return a run with a shortest tape found that breaks the first rule that `failing` broke, and its tale."""
    wanted = rule_of(failing.violations[0])
    best, runs = failing, 0

    def fails(tape: Sequence[Fault]) -> bool:
        """Run it; keep it where it fails with fewer faults than the best, or with as many among fewer sagas."""
        nonlocal best, runs
        runs += 1
        run = simulation.run(failing.seed, tape=tape)
        is_better = _size(run) < _size(best) and any(rule_of(v) == wanted for v in run.violations)
        best = run if is_better else best
        on_progress(runs, len(_faults(best)))
        return is_better

    alone = [Fault(Kind.ABSENT, saga) for saga in failing.statuses if not _is_named(saga, failing.violations)]
    fails([*alone, *_faults(failing)])
    parts = 2
    while runs < SHRINK_RUNS_MAX and (tape := _faults(best)):
        left_out = [each for each in best.tape if each.kind is Kind.ABSENT]
        size = max(len(tape) // parts, 1)
        if any(fails([*left_out, *tape[:at], *tape[at + size :]]) for at in range(0, len(tape), size)):
            parts = max(parts - 1, 2)
        elif size == 1:
            break
        else:
            parts = min(parts * 2, len(tape))
    return simulation.run(failing.seed, tape=best.tape, story=True)


def _faults(run: Run) -> list[Fault]:
    """Return what went wrong; that nobody starts a saga is no fault."""
    return [each for each in run.tape if each.kind is not Kind.ABSENT]


def _size(run: Run) -> tuple[int, int]:
    return len(_faults(run)), len(run.statuses)


def _is_named(saga: str, violations: Sequence[str]) -> bool:
    """Return whether a violation is about a saga, or a child of it."""
    return any(f"saga {saga}{end}" in each for each in violations for end in (":", ".", " "))
