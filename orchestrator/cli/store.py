"""`saga store`: what is done to a whole store while nobody runs on it."""

import asyncio
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.session import formatted
from orchestrator.errors import JournalUnavailable
from orchestrator.limits import CLI_PROGRESS_SAGAS, SHARDS_DEFAULT, SHARDS_MAX

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from orchestrator.journal.promoting import Progress


@click.group()
def store() -> None:
    """Move a store with all its sagas into another one."""


@store.command()
@click.option("--from", "origin", required=True, metavar="sqlite:PATH", help="The file; nobody may be running on it.")
@click.option(
    "--to",
    "destination",
    required=True,
    metavar="postgres://USER@HOST/DATABASE",
    help="An empty database, or one that an earlier run was moving this file to; give a password as PGPASSWORD.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, SHARDS_MAX),
    default=SHARDS_DEFAULT,
    show_default=True,
    help="How many parts the sagas are dealt out in, for ever; as `cluster.shards` of the processes.",
)
@click.option("--validate-only", is_flag=True, help="Look at both and count; change nothing.")
@formatted
def promote(printer: Printer, *, origin: str, destination: str, shards: int, validate_only: bool) -> int:
    """Move every saga, running and sleeping ones, from a file to PostgreSQL.

    Killed at any moment, it goes on where it ended when it is run again. At the end every record is compared byte for
    byte; then the file is retired, so that `saga serve` on it is refused, and PostgreSQL is opened to processes. Until
    then the file is as it was, and sagas can go on there instead. Stop the orchestrator first.
    """
    from orchestrator.config import is_postgres, without_password

    if not origin.startswith("sqlite:") or not is_postgres(destination):
        raise click.UsageError("a store is promoted --from sqlite:PATH --to postgres://USER@HOST/DATABASE")
    path, shown = Path(origin.removeprefix("sqlite:")), without_password(destination)
    if validate_only:
        _validate(printer, path, destination, shown)
        return Exit.OK
    _move(printer, path, destination, shown, shards)
    note(f"{origin} is retired; set `store: {shown}` and start the processes")
    return Exit.OK


def _validate(printer: Printer, path: Path, destination: str, shown: str) -> None:
    from orchestrator import bootstrap

    with _progress(printer) as on_progress:
        found, there = asyncio.run(bootstrap.survey_promotion(path, destination, on_progress))
    is_there = "no store yet" if there is None else f"a store with {there:,} sagas"
    said = f"{found.sagas:,} sagas, {found.unfinished:,} of them not over, {found.records:,} records; "
    said += f"{shown} has {is_there}; nothing was changed"
    counts = {"sagas": found.sagas, "unfinished": found.unfinished, "records": found.records, "sagas_there": there}
    _say(printer, counts, said)


def _move(printer: Printer, path: Path, destination: str, shown: str, shards: int) -> None:
    from orchestrator import bootstrap

    try:
        with _progress(printer) as on_progress:
            done = asyncio.run(bootstrap.promote(path, destination, shards, on_progress))
    except JournalUnavailable as lost:
        again = "run the command again, it goes on where it ended"
        raise Failure(f"{shown} or the file did not answer: {again} ({lost.message})", Exit.UNAVAILABLE) from lost
    said = f"{done.sagas:,} sagas, {done.records:,} records on {shown}: "
    said += f"the same as they were, byte for byte (SHA-256 {done.digest})" if done.digest else "moved before"
    counts = {"sagas": done.sagas, "records": done.records, "sagas_taken": done.taken, "sha256": done.digest}
    _say(printer, counts, said)


def _say(printer: Printer, values: object, line: str) -> None:
    if printer.is_table:
        echo(line)
    else:
        printer.values(values)


def _progress(printer: Printer) -> "AbstractContextManager[Progress]":
    """Return a bar for a terminal, a line now and then for a pipe, nothing for whoever wants it quiet."""
    if printer.quiet:
        return nullcontext(lambda *_: None)
    return _Bar() if sys.stderr.isatty() else nullcontext(_tell)


def _tell(stage: str, done: int, total: int) -> None:
    if done == total or done % CLI_PROGRESS_SAGAS == 0:
        note(f"{stage} {done:,} of {total:,} sagas")


class _Bar:
    """Progress on standard error, a bar for each stage."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar: Bars = Bars(*columns, console=Console(stderr=True), transient=True)
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _show(self, stage: str, done: int, total: int) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._bar.add_task(stage, total=total)
        self._bar.update(self._stages[stage], completed=done)
