"""`saga verify`: a journal, and the services' ledgers, against the invariants."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.serve import load_settings, with_config
from orchestrator.cli.session import formatted

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from orchestrator.config import Settings
    from orchestrator.verify import Findings

    OnProgress = Callable[[int, int], None]


@click.command()
@click.option(
    "--journal",
    required=True,
    metavar="PATH|URL",
    help="The SQLite file, on which no orchestrator may be running; or postgres://USER@HOST/DATABASE, as it is.",
)
@click.option(
    "--ledger",
    "ledgers",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the services' *.ledger.jsonl files; without it, effects are not checked.",
)
@click.option(
    "--forgetful",
    is_flag=True,
    help="Ended sagas were removed (`retention`): who is missed is no violation. Follows from --config as well.",
)
@with_config
@formatted
def verify(
    printer: Printer,
    *,
    journal: str,
    ledgers: Path | None,
    forgetful: bool,
    file: Path | None,
    settings: Sequence[str],
) -> int:
    """Hold every saga of a journal against the invariants that journal and ledgers can show.

    Reads every record; nothing is changed, in the file or beside it, and no service is called. Prints how many facts
    were held against each invariant, why one was not checked or where else it is held, and each violation with its
    saga and records. Exits 1 on a violation. A PostgreSQL on which processes run is checked saga by saga, and what only
    several sagas together show is left out. What --config declares of its targets' methods is needed to judge calls
    that were made again, and undos of calls that nobody saw the end of.
    """
    declared = load_settings(file, (), settings, {}).settings if file is not None else None
    has_forgotten = forgetful or (declared is not None and declared.retention.is_on)
    findings = asyncio.run(_verify(journal, ledgers, declared, printer, has_forgotten=has_forgotten))
    if printer.is_table:
        _show(printer, findings)
    else:
        printer.values(_values(findings))
    return Exit.FAILED if findings.violation_count else Exit.OK


async def _verify(
    journal: str, folder: Path | None, declared: "Settings | None", printer: Printer, *, has_forgotten: bool
) -> "Findings":
    from orchestrator import bootstrap
    from orchestrator.verify import Ledgers, read_ledgers, verify

    ledgers = None if folder is None else Ledgers(read_ledgers(folder))
    async with bootstrap.open_records(journal, declared) as (store, revisions):
        is_live = await bootstrap.has_company(store)
        if is_live and ledgers is not None:
            raise Failure("processes run on the store, and services act meanwhile: stop them to check ledgers")
        with _progress(printer) as on_progress:
            return await verify(
                store,
                revisions,
                ledgers=ledgers,
                knows_targets=declared is not None,
                in_order=True,
                is_live=is_live,
                has_forgotten=has_forgotten,
                on_progress=on_progress,
            )


def _show(printer: Printer, findings: "Findings") -> None:
    if not printer.quiet:
        printer.columns(("rule", "checked", "broken", "what must hold, or why it was not checked"), _rows(findings))
    for violation in findings.violations:
        echo(click.style(str(violation), fg="red"))
    if hidden := findings.violation_count - len(findings.violations):
        echo(f"and {hidden:,} violations more")
    if not printer.quiet:
        for left in findings.left:
            echo(f"no violation: {left}")
        if more := findings.left_count - len(findings.left):
            echo(f"and {more:,} more that people let stand")
        note(
            f"{findings.sagas:,} sagas, {findings.records:,} records, {findings.effects:,} ledger lines: "
            f"{findings.violation_count:,} violations"
        )


def _rows(findings: "Findings") -> list[tuple[str, str, str, str]]:
    """Return a row for each of the fifty, by number; those that no witness shows have no counts."""
    from orchestrator.verify import ELSEWHERE, INVARIANTS

    rows = [(name, "-", "-", why) for name, why in ELSEWHERE.items()]
    for name, rule in INVARIANTS.items():
        told = findings.not_checked.get(name, rule)
        if told is rule and name in findings.partly:
            told = f"{rule} (in part: {findings.partly[name]})"
        rows.append((name, f"{findings.checked[name]:,}", f"{findings.by_invariant[name]:,}", told))
    return sorted(rows, key=lambda row: int(row[0].removeprefix("I")))


def _values(findings: "Findings") -> object:
    from orchestrator.verify import ELSEWHERE, INVARIANTS

    return {
        "sagas": findings.sagas,
        "records": findings.records,
        "ledger_lines": findings.effects,
        "violation_count": findings.violation_count,
        "invariants": [
            {
                "id": name,
                "rule": rule,
                "checked": findings.checked[name],
                "broken": findings.by_invariant[name],
                "not_checked": findings.not_checked.get(name, ""),
                "partly": findings.partly.get(name, ""),
            }
            for name, rule in INVARIANTS.items()
        ],
        "elsewhere": [{"id": name, "why": why} for name, why in ELSEWHERE.items()],
        "violations": [
            {"invariant": v.invariant, "saga_id": v.saga_id, "message": v.message, "records": list(v.versions)}
            for v in findings.violations
        ],
        "left_count": findings.left_count,
        "left": [{"saga_id": each.saga_id, "path": each.path, "why": each.why} for each in findings.left],
    }


def _progress(printer: Printer) -> "AbstractContextManager[OnProgress | None]":
    """Return a bar for a terminal; a pipe gets none."""
    return nullcontext() if printer.quiet or not sys.stderr.isatty() else _Bar()


class _Bar:
    """Progress on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("sagas"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar: Progress = Progress(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> "OnProgress":
        self._bar.start()
        task = self._bar.add_task("sagas", total=None)
        return lambda done, total: self._bar.update(task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
