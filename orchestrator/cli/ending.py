"""How the demo ends: the table, a few waterfalls, what to try next, and the mesh left running for those who asked."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from orchestrator.cli.events import WIDTH_PIPED, coloured, glyphs_here, width_here
from orchestrator.cli.ledgers import Answer, Result, is_alerted, is_refused
from orchestrator.cli.mesh import Mesh
from orchestrator.cli.output import duration, echo, note, wants_colour
from orchestrator.cli.story import Waterfall, fold
from orchestrator.cli.traffic import Client
from orchestrator.cli.waterfall import draw


async def show(client: Client, result: Result, *, is_last: bool, kept: Path | None) -> None:
    """Print the table, the examples, and what to try next."""
    terminal = Console(width=None if sys.stdout.isatty() else WIDTH_PIPED, no_color=not wants_colour())
    with terminal.capture() as captured:
        terminal.print(_table(result))
    for text in captured.get().splitlines():
        echo(text.rstrip())
    for title, drawn in await _examples(client, result.answers):
        echo(f"\n{title}\n")
        for line in draw(drawn, width_here(), glyphs_here()):
            echo(coloured(line))
    for name, found in (
        ("lost", result.verdict.lost),
        ("done twice", result.verdict.duplicated),
        ("left undone", result.verdict.left_undone),
    ):
        for one in found[:10]:
            note(f"{name}: {one}")
    if kept:
        echo(f"\ncheck it again: saga verify --journal {kept / 'saga.sqlite'} --ledger {kept / 'data'}")
    if is_last:
        echo("\nnext: saga demo --keep      leaves it running, to look around")
        echo("      saga demo --seed 7    another order, another moment to be killed")
        echo("      saga demo --dir X     keeps the files, for `saga verify` and for you")
        echo("      docs/tutorial.md      write your own saga")


def _table(result: Result) -> Table:
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
    row("lost", "lost", "acknowledged, and not brought to its end", must_be_zero=True)
    row("duplicated_effects", "done twice", "effects, by the services' own ledgers", must_be_zero=True)
    row("left_undone", "left undone", "effects of compensated sagas that still stand", must_be_zero=True)
    table.add_section()
    away = f"{result.cut} sagas under way, back in {duration(result.away_s)}, {result.retries} retries"
    row("kills", "kill (SIGKILL)", away if result.kills else "--no-kill")
    took = sorted(answer.took_s for answer in result.answers)
    calm = sorted(answer.took_s for answer in result.answers if not answer.was_cut)
    table.add_row(duration(_quantile(calm or took, 0.50)), "a saga, p50", "from the request to the end, at the client")
    table.add_row(duration(_quantile(calm or took, 0.99)), "a saga, p99", "those that were cut by the kill not counted")
    return table


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def _examples(client: Client, answers: Sequence[Answer]) -> list[tuple[str, Waterfall]]:
    """Return one saga of each interesting kind."""
    calm = [answer for answer in answers if not answer.was_cut]
    wanted = [
        ("One that went well, with an alert:", [one for one in calm if is_alerted(one)]),
        (
            "One that failed half-way, and was undone:",
            [one for one in calm if one.status == "COMPENSATED" and not is_refused(one)],
        ),
    ]
    found = [(title, await _drawn(client, fitting[0])) for title, fitting in wanted if fitting]
    for answer in answers:
        if answer.was_cut and (drawn := await _drawn(client, answer)).restarted_at:
            found.append(("One that was under way when the orchestrator was killed:", drawn))
            break
    return found


async def _drawn(client: Client, answer: Answer) -> Waterfall:
    return fold(answer.saga_id, await client.events(answer.saga_id))


async def stay(mesh: Mesh, result: Result, say: Callable[[str], None]) -> None:
    """Leave everything running until Ctrl-C or SIGTERM."""
    shown = next((answer for answer in result.answers if is_alerted(answer)), result.answers[0])
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
