"""`saga verify-participant`: does a service keep what sagas would rely on?"""

import asyncio
import functools
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator import limits
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.given import DURATION, INPUT
from orchestrator.cli.output import Printer, duration, echo, note, tame
from orchestrator.cli.serve import load_settings, with_config
from orchestrator.cli.session import formatted

if TYPE_CHECKING:
    from orchestrator.invoker import TargetConfig
    from orchestrator.proving import Asked, Exchange, Finding, Report

Json = Mapping[str, object]
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_COLOURS = {"HOLDS": "green", "BROKEN": "red", "NOT_JUDGED": "yellow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a configuration would say of a target beside its address."""

    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False
    descriptors: Path | None = None

    @property
    def wants_tls(self) -> bool:
        """Return whether the connection is to be encrypted."""
        return self.tls or self.tls_ca is not None or self.tls_cert is not None or self.tls_key is not None


def with_connection(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Give a command what it takes to reach and to understand a service that no configuration names."""

    @functools.wraps(command)
    def connected(
        *,
        tls: bool,
        tls_ca: Path | None,
        tls_cert: Path | None,
        tls_key: Path | None,
        insecure: bool,
        descriptors: Path | None,
        **others: object,
    ) -> int | None:
        connection = Connection(
            tls=tls, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure, descriptors=descriptors
        )
        return command(connection=connection, **others)

    decorated: Callable[..., int | None] = with_config(connected)
    for option in (
        click.option(
            "--descriptors", type=_FILE, metavar="FILE", help="A FileDescriptorSet, where it has no reflection."
        ),
        click.option("--insecure", is_flag=True, help="Plaintext, although TARGET is not on this machine."),
        click.option("--tls-key", type=_FILE, metavar="FILE", help="Our private key, PEM: mutual TLS."),
        click.option("--tls-cert", type=_FILE, metavar="FILE", help="Our certificate, PEM: mutual TLS."),
        click.option("--tls-ca", type=_FILE, metavar="FILE", help="The authority that signed its certificate, PEM."),
        click.option("--tls", is_flag=True, help="TLS, by the authorities that gRPC ships unless --tls-ca is given."),
    ):
        decorated = option(decorated)
    return decorated


@click.command("verify-participant")
@click.argument("target", metavar="TARGET")
@click.option("--forward", required=True, metavar="METHOD", help="The method that acts: package.Service/Method.")
@click.option("--compensate", required=True, metavar="METHOD", help="The method that undoes it.")
@click.option(
    "--request", required=True, type=INPUT, metavar="JSON", help="A request that --forward accepts; @FILE reads one."
)
@click.option("--undo-request", type=INPUT, default="{}", show_default=True, metavar="JSON", help="Its undo's request.")
@click.option("--probe", metavar="METHOD", help="A method that shows the effects.")
@click.option("--probe-request", type=INPUT, default="{}", show_default=True, metavar="JSON", help="Its request.")
@click.option("--effects", metavar="CEL", help="How many effects --probe shows: an expression over its `reply`.")
@click.option(
    "--parallel",
    type=click.IntRange(2, limits.PROVING_PARALLEL_MAX),
    default=limits.PROVING_PARALLEL_DEFAULT,
    show_default=True,
    metavar="N",
    help="How many duplicates are sent at once.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=DURATION,
    default=f"{limits.PROVING_TIMEOUT_S_DEFAULT:g}s",
    show_default=True,
    metavar="DURATION",
    help="For one call.",
)
@with_connection
@formatted
def verify_participant(
    printer: Printer,
    *,
    target: str,
    forward: str,
    compensate: str,
    request: Json,
    undo_request: Json,
    probe: str | None,
    probe_request: Json,
    effects: str | None,
    parallel: int,
    timeout_s: float,
    file: Path | None,
    settings: Sequence[str],
    connection: Connection,
) -> int:
    """Try a service's two methods against the barrier contract: docs/participants.md.

    TARGET is HOST:PORT, or the name of a target of --config. Sends duplicates, also at once, cuts connections, lets
    deadlines pass, undoes twice, undoes before it acts, acts late; some hundred calls that REALLY ACT, each with keys
    of its own, undone again in the end. Prints for each rule whether it holds, with what was sent and what came back.
    Exits 1 where one does not hold.

    In requests, {unique} stands for another word in every trial, {reply.a.b} for a field of the forward reply and
    {request.a.b} for one of the forward request. Without --probe and --effects, what only the service knows cannot be
    judged.
    """
    from orchestrator.proving import Asked, Probe

    if (probe is None) != (effects is None):
        raise Failure(
            "--probe and --effects come together: the method that shows effects, and how to count them", Exit.USAGE
        )
    if timeout_s <= 0:
        raise Failure("--timeout must be more than nothing", Exit.USAGE)
    config = _of_address(target, connection) if _is_address(target) else _of_name(target, file, settings, connection)
    asked = Asked(
        forward=forward,
        compensate=compensate,
        request=request,
        undo_request=undo_request,
        probe=None if probe is None or effects is None else Probe(method=probe, request=probe_request, count=effects),
    )
    report = asyncio.run(_prove(printer, config, asked, timeout_s=timeout_s, parallel=parallel))
    if printer.is_table:
        _show(printer, report)
    else:
        printer.values(_values(config, asked, report))
    return Exit.FAILED if report.broken else Exit.OK


async def _prove(
    printer: Printer, target: "TargetConfig", asked: "Asked", *, timeout_s: float, parallel: int
) -> "Report":
    from orchestrator.bootstrap import SystemClock
    from orchestrator.proving import Unfit, prove

    with _progress(printer) as on_progress:
        try:
            return await prove(
                target, asked, SystemClock(), timeout_s=timeout_s, parallel=parallel, on_progress=on_progress
            )
        except Unfit as unfit:
            raise Failure(str(unfit), Exit.USAGE) from unfit


def _is_address(target: str) -> bool:
    return ":" in target or "/" in target


def _of_address(address: str, connection: Connection) -> "TargetConfig":
    from orchestrator.invoker import DescriptorSetFile, Reflection, TargetConfig, Tls
    from orchestrator.invoker.targets import is_loopback

    if not connection.wants_tls and not connection.insecure and not is_loopback(address):
        raise Failure(
            f"{address} is not on this machine and would be called in plaintext; give --tls or --tls-ca FILE, or say"
            " --insecure where the network itself is trusted",
            Exit.USAGE,
        )
    tls = Tls(ca=connection.tls_ca, cert=connection.tls_cert, key=connection.tls_key)
    return TargetConfig(
        name="participant",
        address=address,
        descriptors=Reflection() if connection.descriptors is None else DescriptorSetFile(path=connection.descriptors),
        tls=tls if connection.wants_tls else None,
        insecure=connection.insecure,
    )


def _of_name(name: str, file: Path | None, settings: Sequence[str], connection: Connection) -> "TargetConfig":
    if connection != Connection():
        raise Failure(f"TLS and descriptors of target {name!r} are as the configuration has them", Exit.USAGE)
    targets = {one.name: one for one in load_settings(file, (), settings, {}).settings.target_configs()}
    if name not in targets:
        known = ", ".join(sorted(targets)) or "none"
        raise Failure(
            f"{name!r} is neither HOST:PORT nor a target of the configuration; configured are: {known}", Exit.USAGE
        )
    return targets[name]


def _show(printer: Printer, report: "Report") -> None:
    from orchestrator.proving import RULES

    for finding in report.findings:
        if printer.quiet:
            echo(f"{finding.verdict} {finding.rule}")
            continue
        verdict = click.style(f"{finding.verdict:<10}", fg=_COLOURS[finding.verdict])
        echo(f"{verdict}  {finding.rule:<10}  {RULES[finding.rule].sentence}")
        if finding.why:
            echo(f"{'':<12}{click.style(tame(finding.why), fg=_COLOURS[finding.verdict])}")
        for line in _told(finding):
            echo(f"{'':<14}{click.style(line, dim=True)}")
    if report.left and not printer.quiet:
        note(f"{report.left} calls may have acted, and no undo of them has succeeded: their effects may still stand")
    if not printer.quiet:
        counts = {word: sum(one.verdict == word for one in report.findings) for word in _COLOURS}
        note(
            f"{counts['HOLDS']} rules hold, {counts['BROKEN']} do not, {counts['NOT_JUDGED']} were not judged;"
            f" {report.calls} calls"
        )


def _told(finding: "Finding") -> Iterator[str]:
    """Yield a line for each call, one for several that were the same; keys get letters in the order they were sent."""
    letters: dict[str, str] = {}
    lines = []
    for call in finding.evidence:
        letter = letters.setdefault(call.key, chr(ord("A") + len(letters))) if call.key else " "
        lines.append((f"{letter} {call.sent}", _came_back(call), call.took_s))
    width = max((len(sent) for sent, _, _ in lines), default=0)
    for (sent, back), group in itertools.groupby(lines, key=lambda line: line[:2]):
        took = [took_s for _, _, took_s in group]
        times = f"  ({len(took)} times)" if len(took) > 1 else ""
        yield f"{sent:<{width}}  -> {back}  {duration(max(took))}{times}"


def _came_back(call: "Exchange") -> str:
    if call.effects is not None:
        return f"{call.effects} effect{'' if call.effects == 1 else 's'}"
    words = (call.code, call.reason, call.message or call.reply)
    text = tame(" ".join(word for word in words if word))
    return text if len(text) <= limits.PROVING_SHOWN_CHARS else text[: limits.PROVING_SHOWN_CHARS - 1] + "…"


def _values(target: "TargetConfig", asked: "Asked", report: "Report") -> object:
    from orchestrator.proving import RULES

    return {
        "target": target.address,
        "forward": asked.forward,
        "compensate": asked.compensate,
        "holds": not report.broken,
        "calls": report.calls,
        "left": report.left,
        "rules": [
            {
                "rule": finding.rule,
                "sentence": RULES[finding.rule].sentence,
                "verdict": str(finding.verdict),
                "why": finding.why,
                "evidence": [_exchange(call) for call in finding.evidence],
            }
            for finding in report.findings
        ],
    }


def _exchange(call: "Exchange") -> dict[str, object]:
    return {
        "sent": call.sent,
        "method": call.method,
        "metadata": dict(call.metadata),
        "request": call.request,
        "code": call.code,
        "reason": call.reason,
        "message": call.message,
        "reply": call.reply,
        "effects": call.effects,
        "took_s": round(call.took_s, 6),
    }


@contextmanager
def _progress(printer: Printer) -> "Iterator[Callable[[str, int, int], None] | None]":
    """Give what draws a bar on a terminal; a pipe gets none."""
    if printer.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("rules", total=None)
        yield lambda rule, done, total: bar.update(task, description=rule, completed=done, total=total)
