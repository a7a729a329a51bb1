"""`saga sim`: definitions, or the orchestrator's own flows, in a world that fails, as often as there are seeds."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.definitions import FILES
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.exploring import DESCRIPTORS, compiled, read_script, text_of
from orchestrator.cli.given import INPUT
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.serve import with_config
from orchestrator.cli.session import formatted
from orchestrator.limits import EXPLORE_PROGRESS_S, SIMULATED_SAGAS_MAX, TOLD_MOMENTS_MAX

if TYPE_CHECKING:
    from orchestrator.testing import Fault, Run, Simulation
    from orchestrator.testing.campaign import Campaign

    OfSeed = Callable[[int], Simulation]


@click.command()
@click.argument("files", nargs=-1, type=FILES, metavar="[FILE...]")
@click.option("--seeds", default=100, show_default=True, type=click.IntRange(min=1), help="How many worlds to try.")
@click.option("--from", "first", default=1, show_default=True, help="The first seed.")
@click.option("--seed", type=int, help="Try this one alone.")
@click.option(
    "--tape",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Play these faults and no others; with --seed.",
)
@click.option(
    "--sagas", default=10, show_default=True, type=click.IntRange(1, SIMULATED_SAGAS_MAX), help="Sagas of one seed."
)
@click.option(
    "--input", "given", type=INPUT, default="{}", help="The sagas' input: JSON, @FILE, or - for standard input."
)
@click.option(
    "--replies",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What services answer where nothing goes wrong: `steps` of a script of `saga simulate`.",
)
@DESCRIPTORS
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Where to write a failing tape.")
@with_config
@formatted
def sim(
    printer: Printer,
    *,
    files: Sequence[Path],
    seeds: int,
    first: int,
    seed: int | None,
    tape: Path | None,
    sagas: int,
    given: dict[str, object],
    replies: Path | None,
    descriptors: Path | None,
    save: Path | None,
    file: Path | None,
    settings: Sequence[str],
) -> int:
    """Run sagas on the real runtime in virtual time while everything fails: kills, lost answers, broken disks.

    The first FILE is started, the others are the definitions of its child sagas; without any, the orchestrator's own
    flows are run. No service is called: each does what its declarations promise. Each seed is another world, and the
    same seed always the same one. Where a rule is broken the faults are reduced to the few that matter, and shown as a
    timeline; exits 1.
    """
    if tape is not None and seed is None:
        raise Failure("a tape belongs to a seed: give --seed, it is in the tape's first line", Exit.USAGE)
    of_seed = _own_flows(sagas) if not files else _of_files(files, descriptors, file, settings, given, replies, sagas)
    if files:
        _doubted(of_seed(first))
    if tape is not None and seed is not None:
        return _played(printer, of_seed(seed), seed, _read(tape))
    tried = [seed] if seed is not None else range(first, first + seeds)
    campaign = _ran(printer, of_seed, tried)
    _shown(printer, campaign)
    if campaign.failing:
        _explained(of_seed, campaign.failing[0], save)
    return Exit.FAILED if campaign.failing else Exit.OK


def _own_flows(sagas: int) -> "OfSeed":
    from orchestrator.testing.flows import mixed

    return lambda seed: mixed(seed, sagas)


def _of_files(  # noqa: PLR0917  (what the command line says)
    files: Sequence[Path],
    descriptors: Path | None,
    file: Path | None,
    settings: Sequence[str],
    given: dict[str, object],
    replies: Path | None,
    sagas: int,
) -> "OfSeed":
    from orchestrator.cli.simulating import script_of, words_of
    from orchestrator.ports.plans import JsonInput
    from orchestrator.testing import Begin, Simulation

    revisions, plans = compiled(files, descriptors, file, settings)
    script = script_of(read_script(replies) if replies is not None else {})
    begin = Begin(definition=plans[0].definition, input=revisions.input(plans[0], JsonInput(given)))
    words = words_of(script, revisions, plans)
    simulation = Simulation(plans=plans, begins=[begin] * sagas, catalogue=revisions, replies=words)
    return lambda _seed: simulation


def _doubted(simulation: "Simulation") -> None:
    """Say so where sagas do not complete although nothing goes wrong: the services answer what nobody meant."""
    run = simulation.run(0, tape=())
    ends = {status.value for status in run.statuses.values()} - {"COMPLETED"}
    if ends:
        note(
            f"where nothing goes wrong, sagas end {' and '.join(sorted(ends))}: what --replies does not say is "
            "answered with an empty message; say there what services answer, and in --input what the definition needs"
        )


def _read(tape: Path) -> "Sequence[Fault]":
    from orchestrator.testing import read_tape

    return read_tape(text_of(tape))


def _ran(printer: Printer, of_seed: "OfSeed", seeds: Sequence[int]) -> "Campaign":
    from orchestrator.testing.campaign import run_seeds

    told_at = time.monotonic()  # noqa: TID251  (how long a person has waited)

    def on_run(campaign: "Campaign") -> bool:
        nonlocal told_at
        now = time.monotonic()  # noqa: TID251  (as above)
        if now - told_at >= EXPLORE_PROGRESS_S and not printer.quiet:
            told_at = now
            note(f"{campaign.seeds:,} of {len(seeds):,} seeds, {campaign.sagas:,} sagas, {campaign.kills:,} kills")
        return not campaign.failing

    return run_seeds(of_seed, seeds, on_run)


def _shown(printer: Printer, campaign: "Campaign") -> None:
    if not printer.is_table:
        printer.values(
            {
                **campaign.figures(),
                "statuses": dict(campaign.statuses),
                "struck": dict(campaign.faults),
                "checked": dict(campaign.checked),
                "failing": [{"seed": run.seed, "violations": list(run.violations)} for run in campaign.failing],
            }
        )
        return
    ends = ", ".join(f"{count:,} {status}" for status, count in sorted(campaign.statuses.items()))
    echo(f"{campaign.seeds:,} seeds, {campaign.sagas:,} sagas: {ends}")
    echo(
        f"  {campaign.kills:,} kills, {campaign.lives:,} lives, {campaign.records:,} records, "
        f"{campaign.sagas_a_second:,.0f} sagas a second on one core; {campaign.repeated} seeds run twice, bit for bit"
    )
    if not printer.quiet:
        rows = [(kind, f"{count:,}") for kind, count in sorted(campaign.faults.items())]
        printer.columns(("what went wrong", "times"), rows)
    found = sum(len(run.violations) for run in campaign.failing)
    echo(f"  {campaign.checked.total():,} facts held against {len(campaign.checked)} rules, {found} violations")


def _explained(of_seed: "OfSeed", failing: "Run", save: Path | None) -> None:
    """Reduce the first failing run, and tell it."""
    from orchestrator.testing import write_tape
    from orchestrator.testing.shrink import shrink

    note(f"seed {failing.seed} breaks a rule, after {len(failing.tape)} faults; leaving out what does not matter ...")
    run = shrink(of_seed(failing.seed), failing)
    _told(run)
    path = save or Path(f"seed-{failing.seed}.tape")
    path.write_text(write_tape(run.seed, run.tape, "\n".join(run.violations)), encoding="utf-8")
    note(f"written to {path}; play it again with `saga sim --seed {run.seed} --tape {path}` and the same FILEs")


def _played(printer: Printer, simulation: "Simulation", seed: int, tape: "Sequence[Fault]") -> int:
    run = simulation.run(seed, tape=tape, story=True)
    if idle := [str(fault) for fault in tape if fault not in run.tape]:
        note(f"on the tape, and did not strike, as nothing came to their place: {', '.join(idle)}")
    if printer.is_table:
        _told(run)
    else:
        rows = [{"at_s": each.at_s, "who": each.who, "what": each.what} for each in run.story]
        printer.values({"seed": seed, "violations": list(run.violations), "timeline": rows})
    return Exit.FAILED if run.violations else Exit.OK


def _told(run: "Run") -> None:
    """Print the timeline: the sagas that break a rule, or all, with what went wrong around them."""
    named = [saga for saga in run.statuses if any(f"saga {saga}:" in each for each in run.violations)]
    moments = [each for each in run.story if not named or each.is_about(named)]
    for each in moments[:TOLD_MOMENTS_MAX]:
        line = f"{each.at_s:9.3f}  {each.who:<12} {each.what}"
        echo(click.style(line, fg="yellow") if each.who == "*" else line)
    if (more := len(moments) - TOLD_MOMENTS_MAX) > 0:
        echo(f"and {more:,} moments more; -o json has them all")
    for violation in run.violations:
        echo(click.style(violation, fg="red"))
    if not run.violations:
        echo(f"no rule was broken: {', '.join(f'{saga} {status.value}' for saga, status in run.statuses.items())}")
