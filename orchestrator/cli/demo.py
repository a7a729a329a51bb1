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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251  (an order to send in, seeded by the user)
from typing import TYPE_CHECKING, Self

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import duration, echo, note
from orchestrator.limits import DEMO_CONCURRENCY, DEMO_REPORTS_MAX

if TYPE_CHECKING:
    from orchestrator.cli.ledgers import Answer, Result
    from orchestrator.cli.mesh import Mesh
    from orchestrator.cli.traffic import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    reports: int
    kills: bool
    keep: bool
    as_json: bool
    quiet: bool
    seed: int | None
    concurrency: int
    keeps_files: bool


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
    options = Options(
        reports=reports,
        kills=not no_kill,
        keep=keep,
        as_json=as_json,
        quiet=quiet,
        seed=seed,
        concurrency=concurrency,
        keeps_files=folder is not None,
    )
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise click.UsageError(f"--dir {folder} exists and is not an empty folder")
    home = folder.absolute() if folder else Path(tempfile.mkdtemp(prefix="saga-demo-"))
    try:
        result = asyncio.run(_run(options, home))
    except* Failure as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    except* asyncio.CancelledError:
        raise click.Abort from None
    finally:
        if folder is None:
            shutil.rmtree(home, ignore_errors=True)
    return Exit.OK if result.is_clean else Exit.FAILED


async def _run(options: Options, folder: Path) -> "Result":
    from orchestrator.cli.ending import show, stay
    from orchestrator.cli.mesh import SERVICES, Mesh
    from orchestrator.cli.traffic import connect

    stop_cleanly_on_signals()
    began = time.monotonic()  # noqa: TID251  (the demo measures itself)
    async with Mesh(folder=folder) as mesh:
        _Lines(options).say(f"starting {len(SERVICES)} services and the orchestrator")
        await mesh.start_services()
        await mesh.start_orchestrator()
        async with connect(mesh.server) as client:
            result = await _stream(options, mesh, client, began)
            if options.as_json:
                echo(json.dumps(result.counts()))
            else:
                await show(client, result, is_last=not options.keep, kept=folder if options.keeps_files else None)
        if options.keep:
            await stay(mesh, result, note if options.as_json else echo)
    return result


def stop_cleanly_on_signals() -> None:
    """Let SIGTERM and a closed terminal do what Ctrl-C does: stop the processes that were started."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


async def _stream(options: Options, mesh: "Mesh", client: "Client", began: float) -> "Result":
    from orchestrator.cli.ledgers import EFFECT_STEPS, Result, judge, read_balance
    from orchestrator.cli.mesh import reports_file
    from orchestrator.cli.traffic import read_reports

    with reports_file().open(encoding="utf-8") as lines:
        reports = read_reports(lines, options.reports)
    kill_at = max(1, options.reports // 2)
    if options.seed is not None:
        luck = Random(options.seed)  # noqa: S311  (an order, not a secret)
        luck.shuffle(reports)
        kill_at = max(1, round(options.reports * luck.uniform(0.3, 0.7)))
    is_due = asyncio.Event()
    with _progress(options) as progress:
        killing = _Killing(mesh=mesh, client=client, say=progress.say)

        def ended(_: "Answer") -> None:
            killing.done += 1
            if killing.done >= kill_at:
                is_due.set()
            progress.advance()

        async with asyncio.TaskGroup() as tasks:
            if options.kills:
                tasks.create_task(killing.wait_and_kill(is_due))
            await client.send_all(reports, options.concurrency, ended)
    verdict = judge(client.answers.values(), await client.statuses(), read_balance(mesh.ledgers), EFFECT_STEPS)
    return Result(
        answers=list(client.answers.values()),
        verdict=verdict,
        kills=killing.kills,
        cut=killing.cut,
        retries=client.retries,
        away_s=killing.away_s,
        seconds=time.monotonic() - began,  # noqa: TID251  (the demo measures itself)
    )


class _Killing:
    """The crash in the middle."""

    def __init__(self, *, mesh: "Mesh", client: "Client", say: Callable[[str], None]) -> None:
        self._mesh, self._client, self._say = mesh, client, say
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
        self._say(f"killed the orchestrator (SIGKILL) with {len(under_way)} sagas under way; starting it again")
        await self._mesh.start_orchestrator(port)
        self.away_s = time.monotonic() - began  # noqa: TID251  (the same)
        self._say(f"the orchestrator answers again, {duration(self.away_s)} after the kill")


class _Lines:
    """Progress for a pipe: a line per tenth, on standard error."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._done = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was opened."""

    def say(self, text: str) -> None:
        """Tell what happens."""
        if not self._options.quiet:
            note(text)

    def advance(self) -> None:
        """Count one report."""
        self._done += 1
        if self._done % max(1, self._options.reports // 10) == 0 or self._done == self._options.reports:
            self.say(f"{self._done} of {self._options.reports} reports")


class _Bar:
    """Progress for a terminal: a bar on standard error, and what happens above it."""

    def __init__(self, options: Options) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._reports = options.reports
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("reports"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task("reports", total=self._reports)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """Tell what happens."""
        self._console.print(text)

    def advance(self) -> None:
        """Count one report."""
        self._bar.advance(self._task)


def _progress(options: Options) -> _Lines | _Bar:
    return _Bar(options) if sys.stderr.isatty() and not options.quiet else _Lines(options)
