"""`saga check`: definitions against the services' own types, without a server and before anything is deployed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.definitions import FILES, sources
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import Printer, echo, note
from orchestrator.cli.serve import load_settings, with_config
from orchestrator.cli.session import formatted

if TYPE_CHECKING:
    from orchestrator.definition.diagnostics import Diagnostic
    from orchestrator.definition.oneset import OneSet
    from orchestrator.invoker import TargetConfig
    from orchestrator.ports.methods import Methods

Source = tuple[str, str]


@click.command()
@click.argument("files", nargs=-1, required=True, type=FILES, metavar="FILE...")
@click.option(
    "--descriptors",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Check against this FileDescriptorSet (buf build -o, protoc --include_imports) instead of the targets.",
)
@with_config
@formatted
def check(
    printer: Printer,
    *,
    files: Sequence[Path],
    descriptors: Path | None,
    file: Path | None,
    settings: Sequence[str],
) -> int:
    """Check definitions without a server: every mistake at once, with its place and a fix.

    FILE is a definition, a folder of them, or - for standard input. What they call is looked up at the targets of
    --config, which must be up unless their descriptors are files, or in --descriptors alone. Exits 1 on an error.
    """
    from orchestrator.definition.diagnostics import Severity

    texts = sources(files)
    if descriptors is not None:
        found = asyncio.run(_judge(texts, described_by(descriptors, texts)))
    else:
        loaded = load_settings(file, (), settings, {})
        found = asyncio.run(_judge_by_targets(texts, loaded.settings.target_configs()))
    errors = sum(1 for one in found if one.severity is Severity.ERROR)
    if printer.is_table:
        for one in found:
            echo(coloured_finding(one))
        if not printer.quiet:
            warnings = _count(len(found) - errors, "warning")
            note(f"{_count(len(texts), 'definition')}: {_count(errors, 'error')}, {warnings}")
    else:
        printer.values([_values(one) for one in found])
    return Exit.FAILED if errors else Exit.OK


async def _judge_by_targets(texts: Sequence[Source], targets: "Sequence[TargetConfig]") -> "list[Diagnostic]":
    from orchestrator.bootstrap import SystemClock
    from orchestrator.invoker import GrpcInvoker

    invoker = GrpcInvoker({target.name: target for target in targets}, SystemClock())
    try:
        return await _judge(texts, invoker.methods)
    finally:
        await invoker.close(0)


async def _judge(texts: Sequence[Source], methods: "Methods") -> "list[Diagnostic]":
    from orchestrator.bootstrap import SystemClock
    from orchestrator.definition import Revisions
    from orchestrator.journal.memory import MemoryJournal

    revisions = Revisions(MemoryJournal(), methods, SystemClock())
    return [one for _, found in await revisions.create_together(texts, validate_only=True) for one in found]


def described_by(path: Path, texts: Sequence[Source]) -> "OneSet":
    """Return the methods of one descriptor set, for every target that the definitions name."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    from orchestrator.definition.oneset import one_set

    data = path.read_bytes()
    try:
        is_empty = not FileDescriptorSet.FromString(data).file
    except DecodeError:
        is_empty = True
    if is_empty:
        how = "make one with `buf build -o FILE` or `protoc --include_imports --descriptor_set_out=FILE`"
        raise Failure(f"{path} is not a FileDescriptorSet; {how}", Exit.USAGE)
    return one_set(data, texts)


def coloured_finding(one: "Diagnostic") -> str:
    """Return a finding as a person reads it on a terminal."""
    severity = f"{one.severity}[{one.code.number}]"
    return one.render().replace(severity, click.style(severity, fg="red" if one.severity == "error" else "yellow"), 1)


def _values(one: "Diagnostic") -> dict[str, object]:
    return {
        "code": one.code.number,
        "severity": str(one.severity),
        "message": one.message,
        "fix": one.fix,
        "path": one.path,
        "filename": one.place.file,
        "line": one.place.line,
        "column": one.place.column,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
