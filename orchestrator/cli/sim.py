"""`saga sim`: definitions, or the orchestrator's own flows, in a world that fails, as often as there are seeds."""

import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from orchestrator.cli.definitions import FILES
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.exploring import DESCRIPTORS, compiled, read_script, text_of
from orchestrator.cli.given import InputType
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.serve import with_config
from orchestrator.cli.session import formatted
from orchestrator.limits import EXPLORE_PROGRESS_S, SIMULATED_NODES_MAX, SIMULATED_SAGAS_MAX, TOLD_MOMENTS_MAX

if TYPE_CHECKING:
    from orchestrator.testing import Fault, Run, Simulation
    from orchestrator.testing.campaign import Campaign

    OfSeed = Callable[[int], Simulation]

_GIVEN = "orchestrator.input_as_given"


class _InputType(InputType):
    """As it is everywhere, and its text is kept for the line that plays a tape again."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, object]:
        if ctx is not None and isinstance(value, str):
            ctx.meta[_GIVEN] = value
        return super().convert(value, param, ctx)


@click.command()
@click.argument("files", nargs=-1, type=FILES, metavar="[FILE...]")
@click.option("--seeds", default=100, show_default=True, type=click.IntRange(min=1), help="How many worlds to try.")
@click.option("--from", "first", default=1, show_default=True, help="The first seed.")
@click.option("--seed", type=int, help="Try this one alone.")
@click.option(
    "--tape",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Play these faults and no others; the seed is in its first line, or in --seed.",
)
@click.option(
    "--sagas", default=10, show_default=True, type=click.IntRange(1, SIMULATED_SAGAS_MAX), help="Sagas of one seed."
)
@click.option(
    "--nodes",
    type=click.IntRange(1, SIMULATED_NODES_MAX),
    help="Processes on one database.  [default: one on a disk of its own; of the own flows, by the seed]",
)
@click.option(
    "--input", "given", type=_InputType(), default="{}", help="The sagas' input: JSON, @FILE, or - for standard input."
)
@click.option(
    "--replies",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What services answer where nothing goes wrong: `steps` of a script of `saga simulate`.",
)
@DESCRIPTORS
@click.option(
    "--save",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write a failing tape.  [default: seed-N.tape]",
)
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
    nodes: int | None,
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
    _refuse_what_goes_unheard(click.get_current_context())
    if files:
        of_seed = _of_files(files, descriptors, file, settings, given, replies, sagas, nodes or 1)
    else:
        of_seed = _own_flows(sagas, nodes)
    if files:
        _doubted(of_seed(first))
    if tape is not None:
        return _played(printer, of_seed, seed, tape)
    campaign = _ran(printer, of_seed, [seed] if seed is not None else range(first, first + seeds))
    if printer.is_table:
        _summed(printer, campaign)
    found = _explained(printer, of_seed, campaign.failing[0], save) if campaign.failing else None
    if not printer.is_table:
        printer.values(_values(campaign) | {"shrunk": found})
    return Exit.FAILED if campaign.failing else Exit.OK


def _refuse_what_goes_unheard(context: click.Context) -> None:
    """Refuse options that would change nothing, given what else is given."""
    given = _typed(context)
    if not context.params["files"] and (unheard := given & {"--input", "--replies", "--descriptors"}):
        raise Failure(
            f"{' and '.join(sorted(unheard))} is for definitions, and no FILE is given: the orchestrator's own flows "
            "take none of it; give a FILE, or leave it out",
            Exit.USAGE,
        )
    alone = next((name for name in ("--tape", "--seed") if name in given), "")
    many = {"--seeds", "--from"} | ({"--save"} if alone == "--tape" else set())
    if alone and (unheard := given & many):
        raise Failure(
            f"{alone} is one run, and {' and '.join(sorted(unheard))} is for trying seeds: leave out one or the other",
            Exit.USAGE,
        )


def _typed(context: click.Context) -> set[str]:
    """Return the options that somebody gave."""
    return {
        option.opts[0]
        for option in context.command.params
        if context.get_parameter_source(option.name) is not ParameterSource.DEFAULT
    }


def _again(context: click.Context) -> str:
    """Return the command line without what says which worlds are tried and how that is told."""
    params, given = context.params, _typed(context)
    words = ["saga", "sim", *map(str, params["files"])]
    kept = {
        "--sagas": params["sagas"],
        "--nodes": params["nodes"],
        "--input": context.meta.get(_GIVEN),
        "--replies": params["replies"],
        "--descriptors": params["descriptors"],
        "--config": params["file"],
    }
    for name, value in kept.items():
        words += [name, str(value)] if name in given else []
    for setting in params["settings"]:
        words += ["--set", setting]
    return shlex.join(words)


def _own_flows(sagas: int, nodes: int | None) -> "OfSeed":
    from orchestrator.testing.flows import mixed

    return lambda seed: mixed(seed, sagas, nodes)


def _of_files(  # noqa: PLR0917  (what the command line says)
    files: Sequence[Path],
    descriptors: Path | None,
    file: Path | None,
    settings: Sequence[str],
    given: dict[str, object],
    replies: Path | None,
    sagas: int,
    nodes: int,
) -> "OfSeed":
    from orchestrator.cli.simulating import script_of, words_of
    from orchestrator.ports.plans import JsonInput
    from orchestrator.testing import Begin, Simulation

    revisions, plans = compiled(files, descriptors, file, settings)
    script = script_of(read_script(replies) if replies is not None else {})
    begin = Begin(definition=plans[0].definition, input=revisions.input(plans[0], JsonInput(given)))
    words = words_of(script, revisions, plans)
    simulation = Simulation(plans=plans, begins=[begin] * sagas, catalogue=revisions, replies=words, nodes=nodes)
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


def _read(tape: Path, seed: int | None) -> "tuple[int, Sequence[Fault]]":
    """Return the seed that a tape is of, and its faults."""
    from orchestrator.testing import read_tape, seed_of_tape

    text = text_of(tape)
    of = seed_of_tape(text)
    if of is not None and seed is not None and of != seed:
        raise Failure(
            f"{tape} is of seed {of}, and of seed {seed} it would be another run: leave --seed out", Exit.USAGE
        )
    known = seed if of is None else of
    if known is None:
        raise Failure(
            f"{tape} does not say in its first line of which seed it is (`# seed N`): give --seed", Exit.USAGE
        )
    return known, read_tape(text)


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


def _values(campaign: "Campaign") -> dict[str, object]:
    return {
        **campaign.figures(),
        "statuses": dict(campaign.statuses),
        "struck": dict(campaign.faults),
        "checked": dict(campaign.checked),
        "failing": [{"seed": run.seed, "violations": list(run.violations)} for run in campaign.failing],
    }


def _summed(printer: Printer, campaign: "Campaign") -> None:
    ends = ", ".join(f"{count:,} {status}" for status, count in sorted(campaign.statuses.items()))
    echo(f"{campaign.seeds:,} seeds, {campaign.sagas:,} sagas: {ends}")
    repeated = f"; {campaign.repeated:,} seeds run twice, bit for bit" if campaign.repeated else ""
    echo(
        f"  {campaign.kills:,} kills, {campaign.lives:,} lives, {campaign.records:,} records, "
        f"{campaign.sagas_a_second:,.0f} sagas a second on one core{repeated}"
    )
    if several := {count: seeds for count, seeds in sorted(campaign.nodes.items()) if count > 1}:
        echo("  " + ", ".join(f"{seeds:,} seeds on {count} nodes" for count, seeds in several.items()))
    if not printer.quiet:
        rows = [(kind, f"{count:,}") for kind, count in sorted(campaign.faults.items())]
        printer.columns(("what went wrong", "times"), rows)
    found = sum(len(run.violations) for run in campaign.failing)
    echo(f"  {campaign.checked.total():,} facts held against {len(campaign.checked)} rules, {found} violations")


def _explained(printer: Printer, of_seed: "OfSeed", failing: "Run", save: Path | None) -> dict[str, object] | None:
    """Reduce a failing run, tell it, and write its tape; None where there is no other run like it."""
    run = _shrunk(of_seed, failing)
    if run is None:
        if printer.is_table:
            _told(failing)
        return None
    if printer.is_table:
        _told(run)
    path = save or Path(f"seed-{run.seed}.tape")
    is_written = _is_written(path, run)
    if is_written:
        note(f"play it again with `{_again(click.get_current_context())} --tape {shlex.quote(str(path))}`")
    return _told_values(run) | {"tape": [str(fault) for fault in run.tape], "path": str(path) if is_written else None}


def _shrunk(of_seed: "OfSeed", failing: "Run") -> "Run | None":
    from orchestrator.testing.campaign import REPETITION
    from orchestrator.testing.shrink import rule_of, shrink

    if any(rule_of(violation) == REPETITION for violation in failing.violations):
        note(
            f"seed {failing.seed} could not be repeated: run twice, it gave two runs, so no tape leads to either, and "
            "nothing is left out or written; what decides in it beside the seed?"
        )
        return None
    note(f"seed {failing.seed} breaks a rule, after {len(failing.tape)} faults; leaving out what does not matter ...")
    run = shrink(of_seed(failing.seed), failing)
    if not run.violations:
        note(f"seed {failing.seed} could not be repeated: its own faults, played from a tape, break no rule")
        return None
    return run


def _is_written(path: Path, run: "Run") -> bool:
    from orchestrator.testing import write_tape

    was_there = path.exists()
    try:
        path.write_text(write_tape(run.seed, run.tape, "\n".join(run.violations)), encoding="utf-8")
    except OSError as failed:
        note(f"cannot write the tape to {path}: {failed.strerror}; name another place with --save")
        return False
    note(f"written to {path}" + (", in place of what was there" if was_there else ""))
    return True


def _played(printer: Printer, of_seed: "OfSeed", seed: int | None, path: Path) -> int:
    of, tape = _read(path, seed)
    run = of_seed(of).run(of, tape=tape, story=True)
    if idle := [str(fault) for fault in tape if fault not in run.tape]:
        note(f"on the tape, and did not strike, as nothing came to their place: {', '.join(idle)}")
    if printer.is_table:
        _told(run)
    else:
        printer.values(_told_values(run))
    return Exit.FAILED if run.violations else Exit.OK


def _told_values(run: "Run") -> dict[str, object]:
    rows = [{"at_s": each.at_s, "who": each.who, "what": each.what} for each in run.story]
    return {"seed": run.seed, "violations": list(run.violations), "timeline": rows}


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
