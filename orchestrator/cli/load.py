"""`saga load`: the demo's client on a server that runs already, round after round.

It has a pace besides, and ids that no earlier run used; with the services' ledgers it gives the demo's verdict.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.demo import stop_cleanly_on_signals
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.given import FiniteType
from orchestrator.cli.output import duration, echo, note
from orchestrator.cli.session import server_option
from orchestrator.limits import DEMO_CONCURRENCY, DEMO_REPORTS_MAX, DEMO_SILENCE_S_MAX, LOAD_RATE_MAX, LOAD_RATE_MIN

if TYPE_CHECKING:
    from orchestrator.cli.ledgers import Answer, Result
    from orchestrator.cli.traffic import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for."""

    server: str
    reports: int
    rounds: int
    every_s: float
    concurrency: int
    prefix: str
    ledgers: Path | None
    as_json: bool
    quiet: bool


@click.command()
@server_option("Where the orchestrator listens; `dns:///NAME:PORT` asks all that the name stands for, in turn.")
@click.option("--reports", type=click.IntRange(1, DEMO_REPORTS_MAX), default=1_000, show_default=True, help="A round.")
@click.option("--rounds", type=click.IntRange(0), default=1, show_default=True, help="How many; 0: until stopped.")
@click.option("--rate", type=FiniteType(0, LOAD_RATE_MAX), default=0, help="Reports a second; 0: as many as it goes.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1_000),
    default=DEMO_CONCURRENCY,
    show_default=True,
    help="Reports under way at once.",
)
@click.option("--prefix", help="Begins the sagas' ids; the time of the start if not given.")
@click.option(
    "--ledgers",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the services keep their ledgers: hold each round against them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures of each round as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def load(
    *,
    server: str,
    reports: int,
    rounds: int,
    rate: float,
    concurrency: int,
    prefix: str | None,
    ledgers: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Send the demo's reports to a server that runs, and tell how they ended.

    The server has the definition `epro_intake`. A report whose start was not answered is sent again under the same id,
    so a round comes through the death of an orchestrator. Exit code 1 if a saga needs a person or, with --ledgers, if
    anything was lost, done twice or left undone.
    """
    if 0.0 < rate < LOAD_RATE_MIN:
        raise click.UsageError(
            f"--rate {rate:g} is less than {LOAD_RATE_MIN:g}, one report in {1 / LOAD_RATE_MIN:,.0f} s"
        )
    wanted = Wanted(
        server=server,
        reports=reports,
        rounds=rounds,
        every_s=1 / rate if rate else 0.0,
        concurrency=concurrency,
        prefix=prefix or f"{time.time_ns() // 1_000_000:x}-",  # noqa: TID251  (a name that no earlier run had)
        ledgers=ledgers,
        as_json=as_json,
        quiet=quiet,
    )
    try:
        is_clean = asyncio.run(_run(wanted))
    except* Failure as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    except* asyncio.CancelledError:
        raise click.Abort from None
    return Exit.OK if is_clean else Exit.FAILED


async def _run(wanted: Wanted) -> bool:
    from orchestrator.cli.traffic import connect

    stop_cleanly_on_signals()  # the first process of a container hears no SIGTERM that it does not listen for
    is_clean, number = True, 0
    while not wanted.rounds or number < wanted.rounds:
        number += 1
        async with connect(wanted.server) as client:
            client.every_s = wanted.every_s
            client.on_silence = None if wanted.quiet else partial(_tell_silence, wanted.server)
            result = await _round(wanted, client, number)
        _tell(wanted, result, number)
        is_clean = is_clean and result.is_clean
    return is_clean


def _tell_silence(server: str) -> None:
    note(f"{server} does not answer; asking again for {DEMO_SILENCE_S_MAX:.0f} s in all (Ctrl-C to stop)")


async def _round(wanted: Wanted, client: "Client", number: int) -> "Result":
    from orchestrator.cli.ledgers import EFFECT_STEPS, Result, Verdict, judge, read_balance
    from orchestrator.cli.mesh import reports_file
    from orchestrator.cli.traffic import read_reports

    prefix = wanted.prefix if number == 1 else f"{wanted.prefix}{number}-"
    with reports_file().open(encoding="utf-8") as lines:
        reports = read_reports(lines, wanted.reports, prefix)
    began = time.monotonic()  # noqa: TID251  (a round measures itself)
    done = 0

    def ended(_: "Answer") -> None:
        nonlocal done
        done += 1
        if not wanted.quiet and done % max(1, wanted.reports // 10) == 0:
            note(f"{done} of {wanted.reports} reports")

    await client.send_all(reports, wanted.concurrency, ended)
    seconds = time.monotonic() - began  # noqa: TID251  (the same)
    answers = list(client.answers.values())
    verdict = Verdict()
    if wanted.ledgers is not None:
        verdict = judge(answers, await client.statuses(), read_balance(wanted.ledgers), EFFECT_STEPS)
    return Result(answers=answers, verdict=verdict, kills=0, cut=0, retries=client.retries, away_s=0.0, seconds=seconds)


def _tell(wanted: Wanted, result: "Result", number: int) -> None:
    counts = result.counts()
    judged = ("lost", "duplicated_effects", "left_undone")
    took = sorted(answer.took_s for answer in result.answers)
    if wanted.as_json:
        unknown = {"kills"} if wanted.ledgers else {"kills", *judged}
        told = {key: value for key, value in counts.items() if key not in unknown}
        slowest = {f"p{percent}_s": round(_quantile(took, percent), 4) for percent in (50, 99)}
        echo(json.dumps({"round": number, **told, "retries": result.retries, **slowest}))
        return
    echo(
        f"round {number}: {counts['reports']:,} reports in {duration(result.seconds)}:"
        f" {counts['completed']:,} completed, {counts['alerted']:,} of them alerted,"
        f" {counts['refused']:,} refused, {counts['compensated']:,} compensated,"
        f" {counts['needs_attention']:,} need attention; {result.retries:,} retries;"
        f" p50 {duration(_quantile(took, 50))}, p99 {duration(_quantile(took, 99))}"
    )
    if wanted.ledgers:
        echo(
            f"by the ledgers: {counts['lost']:,} lost, {counts['duplicated_effects']:,} done twice,"
            f" {counts['left_undone']:,} left undone"
        )


def _quantile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
