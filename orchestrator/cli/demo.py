"""`saga demo`: a thousand reports through five services, the orchestrator killed half-way, and the proof.

The command is a client like any other. It starts real processes (`mesh.py`), streams the shipped reports through the
published API (`traffic.py`), kills the orchestrator with SIGKILL while sagas are under way, starts it again on the same
journal, and in the end compares what it was told with what the services did (`ledgers.py`).
"""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251  (an order to send in, seeded by the user)
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import duration, echo, note
from orchestrator.limits import DEMO_CONCURRENCY, DEMO_REPORTS_MAX

if TYPE_CHECKING:
    from orchestrator.cli.ledgers import Answer, Verdict
    from orchestrator.cli.mesh import Mesh
    from orchestrator.cli.traffic import Client
    from orchestrator.v1.saga_pb2 import SagaEvent

# Steps of the demo's definition whose effects the ledgers count, and the one that refuses a report.
EFFECT_STEPS = frozenset({"archive", "adverse_event", "notify"})
ALERT_STEP = "notify"
REFUSING_STEP = "validate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for."""

    reports: int
    kills: bool
    keep: bool
    as_json: bool
    quiet: bool
    seed: int | None
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out."""

    answers: Sequence["Answer"]
    verdict: "Verdict"
    kills: int
    cut: int
    """Sagas that were under way when the orchestrator was killed."""
    away_s: float
    """From the kill until the orchestrator answered again."""
    seconds: float

    def counts(self) -> dict[str, int | float]:
        """Return the figures of `--json`."""
        ended = [answer.status for answer in self.answers]
        refused = sum(_is_refused(answer) for answer in self.answers)
        return {
            "reports": len(self.answers),
            "completed": ended.count("COMPLETED"),
            "alerted": sum(_is_alerted(answer) for answer in self.answers),
            "refused": refused,
            "compensated": ended.count("COMPENSATED") - refused,
            "needs_attention": ended.count("NEEDS_ATTENTION"),
            "lost": len(self.verdict.lost),
            "duplicated_effects": len(self.verdict.duplicated),
            "left_undone": len(self.verdict.left_undone),
            "kills": self.kills,
            "seconds": round(self.seconds, 2),
        }

    @property
    def is_clean(self) -> bool:
        """Return whether every report came to an end that nobody must look at."""
        return self.verdict.is_clean and all(answer.status in {"COMPLETED", "COMPENSATED"} for answer in self.answers)


@click.command()
@click.option("--reports", type=click.IntRange(1, DEMO_REPORTS_MAX), default=1_000, show_default=True, help="How many.")
@click.option("--no-kill", is_flag=True, help="Leave the orchestrator alone.")
@click.option("--keep", is_flag=True, help="Leave everything running to play with, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object, and nothing else.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("--seed", type=int, help="Send the reports in another order, and kill at another moment.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Keep all files here; must be new or empty.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1_000),
    default=DEMO_CONCURRENCY,
    show_default=True,
    help="Reports under way at once.",
)
def demo(
    *,
    reports: int,
    no_kill: bool,
    keep: bool,
    as_json: bool,
    quiet: bool,
    seed: int | None,
    folder: Path | None,
    concurrency: int,
) -> int:
    """Watch a thousand patient questionnaires go through five real gRPC services.

    Some are refused, some compensated, and half-way the orchestrator is killed (SIGKILL) and started again. In the end
    nothing is lost, nothing done twice and nothing left undone, checked against the services' own ledgers; exit code 1
    if that is not so.
    """
    plan = Plan(
        reports=reports,
        kills=not no_kill,
        keep=keep,
        as_json=as_json,
        quiet=quiet,
        seed=seed,
        concurrency=concurrency,
    )
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.UsageError(f"--dir {folder} exists and is not an empty folder")
    home = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="saga-demo-"))
    try:
        result = asyncio.run(_run(plan, home))
    except* Failure as failed:
        first = failed.exceptions[0]
        while isinstance(first, ExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    finally:
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)
    return Exit.OK if result.is_clean else Exit.FAILED


async def _run(plan: Plan, folder: Path) -> Result:
    from orchestrator.cli.mesh import SERVICES, Mesh
    from orchestrator.cli.traffic import connect

    began = time.monotonic()  # noqa: TID251  (the demo measures itself)
    async with Mesh(folder=folder) as mesh:
        _tell(plan, f"starting {len(SERVICES)} services and the orchestrator")
        await mesh.start_services()
        await mesh.start_orchestrator()
        async with connect(mesh.server) as client:
            result = await _stream(plan, mesh, client, began)
            if plan.as_json:
                echo(json.dumps(result.counts()))
            else:
                await _show(plan, mesh, client, result)
        if plan.keep:
            await _stay(plan, mesh, result)
    return result


async def _stream(plan: Plan, mesh: "Mesh", client: "Client", began: float) -> Result:
    from orchestrator.cli.ledgers import judge, read_balance
    from orchestrator.cli.mesh import reports_file
    from orchestrator.cli.traffic import read_reports

    with reports_file().open(encoding="utf-8") as lines:
        reports = read_reports(lines, plan.reports)
    kill_at = max(1, plan.reports // 2)
    if plan.seed is not None:
        luck = Random(plan.seed)  # noqa: S311  (an order, not a secret)
        luck.shuffle(reports)
        kill_at = max(1, round(plan.reports * luck.uniform(0.3, 0.7)))
    killing = _Killing(mesh=mesh, client=client, plan=plan)
    is_due = asyncio.Event()
    with _progress(plan) as on_done:

        def ended(answer: "Answer") -> None:
            killing.done += 1
            if killing.done >= kill_at:
                is_due.set()
            on_done(answer)

        async with asyncio.TaskGroup() as tasks:
            if plan.kills:
                tasks.create_task(killing.wait_and_kill(is_due))
            await client.send_all(reports, plan.concurrency, ended)
    verdict = judge(client.answers.values(), await client.statuses(), read_balance(mesh.ledgers), EFFECT_STEPS)
    return Result(
        answers=list(client.answers.values()),
        verdict=verdict,
        kills=killing.kills,
        cut=killing.cut,
        away_s=killing.away_s,
        seconds=time.monotonic() - began,  # noqa: TID251  (the demo measures itself)
    )


class _Killing:
    """The crash in the middle."""

    def __init__(self, *, mesh: "Mesh", client: "Client", plan: Plan) -> None:
        self._mesh, self._client, self._plan = mesh, client, plan
        self.done = 0
        self.kills = 0
        self.cut = 0
        self.away_s = 0.0

    async def wait_and_kill(self, is_due: asyncio.Event) -> None:
        """Kill the orchestrator when it is due, and start it again on the same journal and port."""
        await is_due.wait()
        port = int(self._mesh.server.rpartition(":")[2])
        began = time.monotonic()  # noqa: TID251  (the demo measures itself)
        await self._mesh.kill_orchestrator()
        under_way = set(self._client.in_flight)
        self.kills, self.cut = self.kills + 1, len(under_way)
        for saga_id in under_way:
            self._client.answers[saga_id].was_cut = True
        _tell(self._plan, f"killed the orchestrator (SIGKILL) with {len(under_way)} sagas under way; starting it again")
        await self._mesh.start_orchestrator(port)
        self.away_s = time.monotonic() - began  # noqa: TID251  (the same)
        _tell(self._plan, f"the orchestrator answers again, {duration(self.away_s)} after the kill")


@dataclass(slots=True, kw_only=True)
class _Lines:
    """Progress for a pipe: a line per tenth."""

    plan: Plan
    done: int = 0

    def __call__(self, answer: "Answer") -> None:
        self.done += 1
        tenth = max(1, self.plan.reports // 10)
        if not self.plan.quiet and (self.done % tenth == 0 or self.done == self.plan.reports):
            note(f"{self.done} of {self.plan.reports} reports")


def _progress(plan: Plan) -> "nullcontext[Callable[[Answer], None]] | _Bar":
    return _Bar(plan) if sys.stderr.isatty() and not plan.quiet else nullcontext(_Lines(plan=plan))


class _Bar:
    """Progress for a terminal: a bar on standard error."""

    def __init__(self, plan: Plan) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._plan = plan
        self._bar: Progress = Progress(
            TextColumn("reports"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> "Callable[[Answer], None]":
        self._bar.start()
        task = self._bar.add_task("reports", total=self._plan.reports)
        return lambda _: self._bar.advance(task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _tell(plan: Plan, text: str) -> None:
    if not plan.quiet:
        note(text)


def _is_refused(answer: "Answer") -> bool:
    return answer.status == "COMPENSATED" and answer.failed_step == REFUSING_STEP


def _is_alerted(answer: "Answer") -> bool:
    return answer.status == "COMPLETED" and ALERT_STEP in answer.applied


# --- the ending ------------------------------------------------------------------------------------------------------


async def _show(plan: Plan, mesh: "Mesh", client: "Client", result: Result) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 80).print(_table(result))
    for title, answer in _examples(result.answers):
        echo(f"\n{title}\n")
        _draw(answer.saga_id, await client.events(answer.saga_id))
    for name, found in (
        ("lost", result.verdict.lost),
        ("done twice", result.verdict.duplicated),
        ("left undone", result.verdict.left_undone),
    ):
        for one in found[:10]:
            note(f"{name}: {one}")
    if not plan.keep:
        echo("\nnext: saga demo --keep        leaves it running, to look around with the other commands")
        echo("      saga demo --seed 7      another order, another moment to be killed")
        echo("      docs/tour.md            write your own saga")


def _table(result: Result) -> object:
    from rich import box
    from rich.table import Table

    counts = result.counts()
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(style="dim")

    def row(key: str, name: str, why: str, *, must_be_zero: bool = False) -> None:
        colour = "" if not must_be_zero else "green" if counts[key] == 0 else "bold red"
        table.add_row(f"[{colour}]{counts[key]:,}[/]" if colour else f"{counts[key]:,}", name, why)

    row("reports", "reports", f"in {result.seconds:.1f} s, starting and stopping included")
    table.add_section()
    row("completed", "completed", "every step applied")
    row("alerted", "  of them alerted", "the score was high, a nurse was told")
    row("refused", "refused", "the validator said no: nothing to undo")
    row("compensated", "compensated", "a later step failed: what was done was undone")
    row("needs_attention", "need attention", "waiting for a person", must_be_zero=True)
    table.add_section()
    row("lost", "lost", "acknowledged starts that did not come to their end", must_be_zero=True)
    row("duplicated_effects", "done twice", "effects, by the services' own ledgers", must_be_zero=True)
    row("left_undone", "left undone", "effects of compensated sagas that still stand", must_be_zero=True)
    table.add_section()
    away = f"{result.cut} sagas under way, back after {duration(result.away_s)}" if result.kills else ""
    row("kills", "kill (SIGKILL)", away)
    took = sorted(answer.took_s for answer in result.answers)
    calm = sorted(answer.took_s for answer in result.answers if not answer.was_cut)
    table.add_row(duration(_quantile(calm or took, 0.50)), "a saga, p50", "from the request to the end, at the client")
    table.add_row(duration(_quantile(calm or took, 0.99)), "a saga, p99", "those that were cut by the kill not counted")
    return table


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _examples(answers: Sequence["Answer"]) -> list[tuple[str, "Answer"]]:
    """Pick one saga of each interesting kind."""

    def first(title: str, fits: "Callable[[Answer], bool]") -> list[tuple[str, "Answer"]]:
        return [(title, answer) for answer in answers if fits(answer)][:1]

    return [
        *first("One that went well, with an alert:", lambda one: _is_alerted(one) and not one.was_cut),
        *first(
            "One that failed half-way, and was undone:",
            lambda one: one.status == "COMPENSATED" and not _is_refused(one) and not one.was_cut,
        ),
        *first("One that lived through the kill:", lambda one: one.was_cut and len(one.applied) > 1),
    ]


def _draw(saga_id: str, events: "Sequence[SagaEvent]") -> None:
    from orchestrator.cli.events import coloured, glyphs_here, width_here
    from orchestrator.cli.waterfall import draw, fold

    for line in draw(fold(saga_id, events), width_here(), glyphs_here()):
        echo(coloured(line))


async def _stay(plan: Plan, mesh: "Mesh", result: Result) -> None:
    """Leave everything running until Ctrl-C or SIGTERM."""
    shown = next((answer for answer in result.answers if _is_alerted(answer)), result.answers[0])
    say: Callable[[str], None] = note if plan.as_json else echo
    say(f"\nEverything is still running; its files are in {mesh.folder}\n")
    for program in mesh.programs.values():
        say(f"  {program.name:<12}  {program.address}")
    say(f"\n  export ORCHESTRATOR_SERVER={mesh.server}")
    say("  saga count --by status")
    say("  saga list --filter 'status = COMPENSATED' --limit 10")
    say(f"  saga trace {shown.saga_id}")
    say("  saga start epro_intake --wait --input '" + json.dumps({"reportId": "MINE-1"}) + "'    # refused, and why")
    say("\nCtrl-C stops it all.")
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
