"""`saga explore` and `saga simulate`: what a definition does, before it does it to anybody."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.check import coloured_finding, described_by
from orchestrator.cli.definitions import FILES, sources
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.given import COLUMNS, DURATION, INPUT
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.serve import load_settings, with_config
from orchestrator.cli.session import formatted
from orchestrator.limits import EXPLORE_FLAWS_MAX, EXPLORE_PROGRESS_S, EXPLORE_S_DEFAULT

if TYPE_CHECKING:
    from orchestrator.definition import Revisions
    from orchestrator.explore import End, Explored, Flaw, Progress
    from orchestrator.explore.play import Played
    from orchestrator.ports.methods import Methods
    from orchestrator.saga.plan import Plan

NOTHING_WRONG = "nothing"
STEP_COLUMNS_MAX = 8
"""More steps than this are told in one cell, of those that did not just go well."""

DESCRIPTORS = click.option(
    "--descriptors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Check against this FileDescriptorSet (buf build -o, protoc --include_imports) instead of the targets.",
)


# --- explore ---------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILES, metavar="FILE...")
@DESCRIPTORS
@click.option("--faults", default=2, show_default=True, type=click.IntRange(0, 4), help="Faults on one path, at most.")
@click.option(
    "--within", type=DURATION, default=EXPLORE_S_DEFAULT, show_default="2m", help="How long to look, at most."
)
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the shortest bad path.")
@click.option(
    "--replay",
    "script",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Play a path that --save has written, and show what the machine records.",
)
@with_config
@formatted
def explore(
    printer: Printer,
    *,
    files: Sequence[Path],
    descriptors: Path | None,
    faults: int,
    within: float,
    save: Path | None,
    script: Path | None,
    file: Path | None,
    settings: Sequence[str],
) -> int:
    """Try every way a definition can go: every failure, lost answer, cancel and order of events.

    The machine that will run it is run on every path with at most --faults faults. Proven is that each ends COMPLETED,
    COMPENSATED with nothing left, or NEEDS_ATTENTION with a reason; the table says which failure leaves what. Exits 1
    where the proof fails, and shows the shortest bad path.
    """
    plans = compiled(files, descriptors, file, settings)[1]
    if script is not None:
        return _replayed(printer, plans[0], script)
    reports = [_explored(printer, plan, faults, within) for plan in plans]
    if not printer.is_table:
        printer.values([report_values(plan, report) for plan, report in zip(plans, reports, strict=True)])
    for plan, report in zip(plans, reports, strict=True):
        for flaw in report.flaws[:1]:
            _shown_flaw(plan, flaw, save)
    return Exit.OK if all(report.is_proven for report in reports) else Exit.FAILED


def _explored(printer: Printer, plan: "Plan", faults: int, within_s: float) -> "Explored":
    from orchestrator.explore import explore as search

    began = time.monotonic()  # noqa: TID251  (how long a person has waited)

    told_at = began

    def on_progress(progress: "Progress") -> bool:
        nonlocal told_at
        now = time.monotonic()  # noqa: TID251  (as above)
        if now - told_at >= EXPLORE_PROGRESS_S and not printer.quiet:
            told_at = now
            note(f"{plan.definition}: {progress.states:,} states, {progress.waiting:,} to look at")
        return now - began < within_s

    report = search(plan, faults=faults, on_progress=on_progress)
    took_s = time.monotonic() - began  # noqa: TID251  (as above)
    if printer.is_table:
        paths = f"at most {faults} fault{'' if faults == 1 else 's'} a path"
        echo(f"{plan.definition}: {report.states:,} states, {report.moves:,} moves, {paths}, {took_s:.1f} s")
        echo(f"  {verdict(report)}")
        if not printer.quiet:
            echo("")
            printer.columns(*table(plan, report))
            echo("")
    return report


def verdict(report: "Explored") -> str:
    """Return in a sentence what the search has shown."""
    if report.flaws:
        count = f"{len(report.flaws)}{' or more' if len(report.flaws) == EXPLORE_FLAWS_MAX else ''}"
        return f"NOT PROVEN: {count} paths do not end as they must; the shortest with the fewest faults is below"
    if not report.is_complete:
        return "NOT PROVEN: a bound was reached before all was looked at; try fewer --faults, or more time (--within)"
    return "proven: every path ends COMPLETED, COMPENSATED with nothing left, or NEEDS_ATTENTION with a reason"


def table(plan: "Plan", report: "Explored") -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the table of outcomes: a row for each fault alone and each status it may end in, then the pairs in sum.

    Where one row has several ends, a cell lists what may have become of its step: `undone/failed`.
    """
    from orchestrator.saga.plan import Scope, Sleep, Wait

    names = [step for step, step_ in plan.steps.items() if not isinstance(step_.body, Sleep | Wait | Scope)]
    wide = len(names) <= STEP_COLUMNS_MAX
    header = ["what goes wrong", "ends", *(map(str, names) if wide else ("what became of the steps",))]
    rows: list[tuple[str, ...]] = []
    for faults in sorted((each for each in report.ends if len(each) <= 1), key=lambda each: (len(each), each)):
        by_status: dict[str, list[End]] = {}
        for end in sorted(report.ends[faults], key=str):
            by_status.setdefault(_status(end), []).append(end)
        for status, ends in by_status.items():
            words = _merged(ends)
            told = ", ".join(f"{step} {word}" for step, word in words.items() if word not in {"done", "-"})
            cells = [words[step] for step in names] if wide else [told]
            rows.append((faults[0] if faults else NOTHING_WRONG, status, *cells))
    sums: dict[str, int] = {}
    for faults, ends_of in report.ends.items():
        for end, count in ends_of.items() if len(faults) > 1 else ():
            sums[_status(end)] = sums.get(_status(end), 0) + count
    rest = [""] * (len(header) - 3)
    for status, count in sorted(sums.items()):
        rows.append((f"{report.faults} of these", status, f"in {count:,} ways", *rest))
    return header, rows


def _merged(ends: "Sequence[End]") -> dict[str, str]:
    """Return for each step what may have become of it."""
    found: dict[str, dict[str, None]] = {}
    for end in ends:
        for step, word in end.steps:
            found.setdefault(step, {})[word.value] = None
    return {step: "/".join(words) for step, words in found.items()}


def _status(end: "End") -> str:
    return end.status.value + (f" ({', '.join(end.attention)})" if end.attention else "")


def report_values(plan: "Plan", report: "Explored") -> dict[str, object]:
    """Return a report for programs."""
    return {
        "definition": plan.definition,
        "revision": plan.revision,
        "proven": report.is_proven,
        "complete": report.is_complete,
        "states": report.states,
        "moves": report.moves,
        "faults": report.faults,
        "outcomes": [
            {
                "faults": list(faults),
                "status": end.status.value,
                "attention": list(end.attention),
                "steps": {step: word.value for step, word in end.steps},
                "ways": count,
            }
            for faults, ends in sorted(report.ends.items())
            for end, count in ends.items()
        ],
        "flaws": [{"rule": flaw.rule, "what": flaw.what, "path": list(flaw.path)} for flaw in report.flaws],
    }


def _shown_flaw(plan: "Plan", flaw: "Flaw", save: Path | None) -> None:
    note(f"{plan.definition}: {flaw.rule}: {flaw.what}")
    for number, move in enumerate(flaw.path, 1):
        note(f"  {number:3} {move}")
    if save is not None:
        head = f"# {plan.definition} {plan.revision}\n# {flaw.rule}: {flaw.what}\n"
        save.write_text(head + "".join(f"{move}\n" for move in flaw.path), encoding="utf-8")
        note(f"written to {save}; play it with `saga explore FILE --replay {save}`")


def _replayed(printer: Printer, plan: "Plan", script: Path) -> int:
    from orchestrator.explore import replay

    lines = [line for line in text_of(script).splitlines() if line and not line.startswith("#")]
    rows: list[tuple[str, ...]] = []
    for line, events, state in replay(plan, lines):
        recorded = ", ".join(" ".join(filter(None, (type(e).__name__, getattr(e, "step", None)))) for e in events)
        rows.append((line, state.status.value, recorded))
    printer.columns(("what happens", "saga", "recorded"), rows)
    return Exit.OK


# --- simulate ---------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILES, metavar="FILE...")
@DESCRIPTORS
@click.option(
    "--input", "given", type=INPUT, default="{}", help="The saga's input: JSON, @FILE, or - for standard input."
)
@click.option(
    "--replies",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What services answer, and when (YAML or JSON); what is not in it is answered OK with an empty message.",
)
@click.option(
    "--latency", type=DURATION, default="100ms", show_default=True, help="Of a reply that says nothing of it."
)
@click.option("--cancel-at", type=DURATION, help="Cancel the saga so long after its start.")
@click.option("--width", type=COLUMNS, help="Columns; the terminal's where absent, 80 in a pipe.")
@with_config
@formatted
def simulate(
    printer: Printer,
    *,
    files: Sequence[Path],
    descriptors: Path | None,
    given: dict[str, object],
    replies: Path | None,
    latency: float,
    cancel_at: float | None,
    width: int | None,
    file: Path | None,
    settings: Sequence[str],
) -> int:
    """Play one saga in virtual time with scripted replies, and draw its waterfall. No service is called.

    The first FILE is played; the others are the definitions of its child sagas. Exits as `saga wait` does: 0 where the
    saga COMPLETED, 3 COMPENSATED, 5 NEEDS_ATTENTION.
    """
    from orchestrator.cli.simulating import answers_of, drawn, inputs_of, script_of
    from orchestrator.explore.play import play
    from orchestrator.ports.plans import JsonInput

    revisions, plans = compiled(files, descriptors, file, settings)
    plan = plans[0]
    payload = revisions.input(plan, JsonInput(given))
    script = script_of(read_script(replies) if replies is not None else {})
    inputs = inputs_of(script, revisions, plan, cancel_at)
    played = play(plan, payload, answers_of(script, revisions, plan, latency), inputs)
    drawn(printer, plan, revisions, played, width)
    return _exit_of(played)


def _exit_of(played: "Played") -> int:
    from orchestrator.saga import SagaStatus

    if not played.is_complete:
        note("the saga did not come to an end: it was stopped after the largest number of records that is played")
        return Exit.FAILED
    return {
        SagaStatus.COMPLETED: Exit.OK,
        SagaStatus.COMPENSATED: Exit.COMPENSATED,
        SagaStatus.NEEDS_ATTENTION: Exit.NEEDS_ATTENTION,
    }.get(played.state.status, Exit.FAILED)


def read_script(path: Path) -> Mapping[str, object]:
    """Return a script's tree; a mistake of its YAML is told with its place."""
    from orchestrator.definition.yaml import read

    document, diagnostics = read(text_of(path), str(path))
    if document is None or not isinstance(document.root, dict):
        found = "; ".join(one.render() for one in diagnostics) or f"{path} is not a mapping"
        raise Failure(found, Exit.USAGE)
    return document.root


def text_of(path: Path) -> str:
    """Return a file's text; `Failure` where it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as failed:
        raise Failure(f"cannot read {path}: it is not UTF-8 text", Exit.USAGE) from failed


# --- both ---------------------------------------------------------------------------------------------------------


def compiled(
    files: Sequence[Path], descriptors: Path | None, file: Path | None, settings: Sequence[str]
) -> "tuple[Revisions, list[Plan]]":
    """Compile definitions as the server would, in memory; every finding is told, and an error ends the command."""
    from orchestrator.bootstrap import SystemClock
    from orchestrator.definition import Revisions, Severity
    from orchestrator.invoker import GrpcInvoker
    from orchestrator.journal.memory import MemoryJournal

    texts = sources(files)

    async def compile_all(methods: "Methods") -> "tuple[Revisions, list[Plan]]":
        revisions = Revisions(MemoryJournal(), methods, SystemClock())
        names: list[str] = []
        errors = False
        for revision, diagnostics in await revisions.create_together(texts):
            for one in diagnostics:
                note(coloured_finding(one))
            errors = errors or any(one.severity is Severity.ERROR for one in diagnostics)
            if revision is not None:
                await revisions.activate(revision.definition, revision.revision)
                names.append(revision.definition)
        if errors or not names:
            raise Failure("the definitions have errors; mend them first (`saga check` shows them alone)", Exit.FAILED)
        return revisions, [await revisions.plan(name) for name in names]

    if descriptors is not None:
        return asyncio.run(compile_all(described_by(descriptors, texts)))
    loaded = load_settings(file, (), settings, {})
    targets = loaded.settings.target_configs()

    async def by_targets() -> "tuple[Revisions, list[Plan]]":
        invoker = GrpcInvoker({target.name: target for target in targets}, SystemClock())
        try:
            return await compile_all(invoker.methods)
        finally:
            await invoker.close(0)

    return asyncio.run(by_targets())
