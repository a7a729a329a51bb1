"""`python -m tests.mutation`: which mistakes in the machine the tests would notice."""

import argparse
import datetime
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.kit.figures import keep
from tests.mutation.kept import Count, count, equivalents, keep_score, recall, remember, survivors
from tests.mutation.killing import Verdict, judge
from tests.mutation.mutants import Mutant, by_luck, mutants_of, read, sample

STORIES = 400
CONTROLS = 3
"""Mutants in a sample that are known to be no mistake: tests that notice these would notice anything."""


def main() -> int:
    """Judge the mutants that were asked for; 1 where one went unnoticed that is not known for it, or the reverse."""
    asked, known, modules = _asked(), equivalents(), read()
    before = recall(modules)
    chosen = _chosen(asked, mutants_of(modules), known, before)
    began = time.monotonic()  # noqa: TID251  (how long a run takes is no saga's time)
    verdicts = (
        _judged(chosen, stories=None if asked.quick else asked.stories, until=began + asked.minutes * 60)
        if chosen
        else []
    )
    seconds = time.monotonic() - began  # noqa: TID251  (the same)
    judged = {each.mutant.name: each.killer for each in verdicts}
    remember(modules, before | judged)
    unnoticed = [name for name, killer in judged.items() if killer is None and name not in known]
    _show(verdicts, _counts([each.mutant for each in verdicts], judged, known), unnoticed, seconds)
    refuted = {name: killer for name, killer in judged.items() if killer is not None and name in known}
    for name, killer in refuted.items():
        print(f"is listed as no mistake, and was noticed: {name}: {killer}")
    if (unjudged := len(chosen) - len(verdicts)) > 0:
        print(f"NOT JUDGED, for want of time: {unjudged:,}")
    _keep(mutants_of(modules), before | judged, known, seconds, is_kept=asked.keep)
    return 1 if set(unnoticed) - survivors() or refuted or unjudged else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=main.__doc__)
    parser.add_argument("--module", help="of one module, such as forward")
    parser.add_argument("--name", default="", help="only mutants whose name contains this text")
    parser.add_argument("--sample", type=int, help="only so many, in functions, of those that are known to be mistakes")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    parser.add_argument("--again", action="store_true", help="only what survived so far, or was never judged")
    parser.add_argument("--stories", type=int, default=STORIES, help="random worlds, for what no test noticed")
    parser.add_argument("--quick", action="store_true", help="neither slow tests nor random worlds")
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after that, and say how far it came")
    parser.add_argument("--keep", action="store_true", help="keep the score of all that was judged so far")
    return parser.parse_args()


def _chosen(
    asked: argparse.Namespace, every: Sequence[Mutant], known: Mapping[str, str], before: Mapping[str, str | None]
) -> list[Mutant]:
    mutants = [each for each in every if asked.module in {None, each.module.name} and asked.name in each.name]
    if not mutants:
        sys.exit("there is no such mutant")
    if asked.again:
        mutants = [each for each in mutants if before.get(each.name) is None and each.name not in known]
    if asked.sample is None:
        return by_luck(mutants, asked.seed)
    # A mistake in what runs at the import is judged in seconds, not in hundredths of one: too dear for a sample.
    quick = [each for each in mutants if each.function is not None]
    controls = sample([each for each in quick if each.name in known], CONTROLS, asked.seed)
    mistakes = [each for each in quick if each.name not in known and each.name not in survivors()]
    return [*controls, *sample(mistakes, asked.sample, asked.seed)]


def _judged(mutants: Sequence[Mutant], *, stories: int | None, until: float) -> list[Verdict]:
    verdicts: list[Verdict] = []
    # Without a thread that draws: the mutants are judged in forks of this process.
    with Progress(console=Console(stderr=True), auto_refresh=False) as progress:
        task = progress.add_task("judging", total=len(mutants))

        def hear(verdict: Verdict) -> bool:
            verdicts.append(verdict)
            unnoticed = sum(each.killer is None for each in verdicts)
            progress.update(task, advance=1, description=f"{verdict.mutant.module.name}: {unnoticed} unnoticed")
            progress.refresh()
            return time.monotonic() < until  # noqa: TID251  (the same)

        judge(mutants, stories=stories, hear=hear)
    return verdicts


def _counts(
    mutants: Sequence[Mutant], verdicts: Mapping[str, str | None], known: Mapping[str, str]
) -> dict[str, Count]:
    """Return the count of every module, and of all under an empty name."""
    names = sorted({each.module.name for each in mutants})
    of = {name: [each for each in mutants if each.module.name == name] for name in names} | {"": list(mutants)}
    return {name: count(those, verdicts, known) for name, those in of.items()}


def _show(verdicts: Sequence[Verdict], counts: Mapping[str, Count], unnoticed: Sequence[str], seconds: float) -> None:
    console = Console()
    table = Table("module", *(("mutants", "killed", "no mistake", "survived", "score")), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, each in counts.items():
        figures = [f"{figure:,}" for figure in (each.mutants, each.killed, each.equivalent, each.survived)]
        table.add_row(name or "all", *figures, f"{each.score:.1%}", end_section=not name)
    console.print(table)
    stopped = sum(bool(each.killer and each.killer.startswith("stopped")) for each in verdicts)
    told = sum(bool(each.killer and each.killer.startswith("story")) for each in verdicts)
    console.print(f"{seconds:.0f} s; {stopped} ran into a bound, {told} were noticed by a random world alone")
    known = survivors()
    for name in unnoticed:
        console.print(
            f"survived{', as it did before' if name in known else ''}: {name}",
            soft_wrap=True,
            markup=False,
            highlight=False,
        )


def _keep(
    every: Sequence[Mutant],
    verdicts: Mapping[str, str | None],
    known: Mapping[str, str],
    seconds: float,
    *,
    is_kept: bool,
) -> None:
    """Keep the figures of all that was judged so far."""
    counts = _counts(every, verdicts, known)
    total = counts.pop("")
    keep("mutation", **asdict(total), score=round(total.score, 4), seconds=round(seconds, 1))
    if is_kept:
        today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()  # noqa: TID251  (the day of a run)
        unnoticed = [each.name for each in every if each.name not in known and verdicts.get(each.name, "") is None]
        keep_score(modules=counts, total=total, unnoticed=unnoticed, date=today)


if __name__ == "__main__":
    sys.exit(main())
