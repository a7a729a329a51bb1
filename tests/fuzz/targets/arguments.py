"""Command lines: a JSON list of arguments. What needs no server is run; of other commands the line is read."""

import asyncio
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.main import COMMANDS, saga
from orchestrator.cli.main import run as saga_run
from orchestrator.journal.sqlite import SqliteJournal
from tests.fuzz.judging import Target, Unclear, clear
from tests.fuzz.mutating import NUMBERS, TEXTS
from tests.unit.cli.test_check import GOOD

RUN: Final = frozenset({"check", "simulate", "verify", "config"})
"""What needs no server and ends at once."""
SEEDS: Final[tuple[list[str], ...]] = (
    [], ["--help"], ["--version"], ["strt"],
    ["check", "good.yaml", "--descriptors", "image.binpb"], ["check", "-", "--config", "saga.yaml"], ["check", "-"],
    ["simulate", "good.yaml", "--descriptors", "image.binpb", "--input", '{"report_id": "r"}', "--replies",
    "replies.yaml"],
    ["simulate", "good.yaml", "--descriptors", "image.binpb", "--cancel-at", "150ms", "--latency", "1s", "--width",
    "80"],
    ["explore", "good.yaml", "--descriptors", "image.binpb", "--faults", "1", "--within", "1s", "-o", "json"],
    ["verify", "--journal", "saga.sqlite", "--ledger", "data", "-o", "json"], ["verify", "--journal", "not.sqlite",
    "-q"],
    ["config", "show", "--config", "saga.yaml", "--set", "api.port=7", "-o", "yaml"], ["config", "schema"],
    ["start", "order", "--input", "@input.json", "--id", "o-1", "--attribute", "site=DE", "--wait", "--timeout", "30s"],
    ["get", "o-1", "--view", "full", "-o", "json"], ["list", "--filter", "status = RUNNING", "--limit", "10",
    "--order", "saga_id"],
    ["count", "--by", "status"], ["wait", "o-1", "--timeout", "1m"], ["watch", "o-1"], ["history", "o-1", "--limit",
    "3"],
    ["trace", "o-1", "--width", "100"], ["signal", "o-1", "decision", "--payload", '{"approved": true}',
    "--request-id", "x"],
    ["cancel", "o-1", "--reason", "no", "--dry-run"], ["explain", "o-1"], ["undo-plan", "o-1"], ["attention"],
    ["repair", "retry", "o-1", "reserve", "--reason", "mended"], ["repair", "resolve", "o-1", "reserve", "--applied"],
    ["repair", "override", "o-1", "reserve", "--request", "{}"], ["audit", "--limit", "2"],
    ["definitions", "create", "good.yaml", "--activate"], ["definitions", "list"], ["definitions", "get", "order",
    "--revision", "r1"],
    ["verify-participant", "--target", "127.0.0.1:1", "--method", "a.B/C"], ["serve", "--port", "0", "--store",
    "memory:"],
    ["demo", "--reports", "10", "--seed", "7"],
)  # fmt: skip
WORDS: Final = (
    "-o", "json", "yaml", "table", "-q", "-h", "--server", "127.0.0.1:1", "--config", "--set", "--", "-", "@",
    "@input.json",
    "@missing", "@.", "good.yaml", "bad.yaml", "image.binpb", "saga.yaml", "saga.sqlite", "not.sqlite", "empty.sqlite",
    "data", "missing", ".",
    "{}", "[]", '{"a": 1e999}', "{" * 3_000, '{"a":' * 3_000, "1s", "0ms", "99999999999d", "1e9", "=", "a=", "=1",
    "a=[1]",
    'a="\\ud800"', "\udcff", "\udcff=\udcff", "\x1b[31m", *(str(number) for number in NUMBERS), *TEXTS,
)  # fmt: skip
CONFIG: Final = "targets: {validator: {address: '127.0.0.1:1', descriptors: {set: image.binpb}}}\n"


@contextmanager
def opened() -> Iterator[Target]:
    """Give a folder with the files the lines name, and streams that encode as a terminal's do."""
    before, given = Path.cwd(), sys.stdin
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        _files()
        try:
            yield Target(
                run=_run, mutate=mutated, seeds=[json.dumps(seed).encode() for seed in SEEDS], input_bytes_max=16 * 1024
            )
        finally:
            os.chdir(before)
            sys.stdin = given


def _files() -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from services.epro.v1 import archive_service_pb2, validator_service_pb2
    from tests.unit.cli.test_check import with_imports

    found = FileDescriptorSet()
    for file in dict.fromkeys(with_imports(validator_service_pb2.DESCRIPTOR, archive_service_pb2.DESCRIPTOR)):
        file.CopyToProto(found.file.add())
    Path("image.binpb").write_bytes(found.SerializeToString())
    Path("good.yaml").write_text(GOOD)
    Path("bad.yaml").write_bytes(b"saga: \xff\n")
    Path("saga.yaml").write_text(CONFIG)
    Path("replies.yaml").write_text("steps: {archive: {error: ABORTED}}")
    Path("input.json").write_text('{"report_id": "r"}')
    asyncio.run(SqliteJournal.open("saga.sqlite").close())
    Path("empty.sqlite").touch()
    Path("not.sqlite").write_bytes(b"no database" * 100)
    Path("data").mkdir()
    Path("data/archive.ledger.jsonl").write_text("{}\n")


def _run(data: bytes) -> str:
    try:
        arguments = json.loads(data)
    except (ValueError, RecursionError):
        return "nothing"
    if not isinstance(arguments, list) or not all(isinstance(each, str) and _possible(each) for each in arguments):
        return "nothing"
    command = _command(arguments)
    if command is not None and command not in RUN:
        return "read"
    code, told = _ended(arguments)
    if code not in {Exit.OK, Exit.COMPENSATED, Exit.NEEDS_ATTENTION} and not (
        code == Exit.FAILED and command in {"check", "verify"}
    ):
        if code not in set(Exit):
            raise Unclear(f"exit code {code} is none of ours")
        clear(told)
    return f"exit {int(code)}"


def _given(arguments: Sequence[str]) -> io.TextIOWrapper:
    """Return what stands in the standard input: mostly an object, for some lines no text."""
    told = b"\xff" if len(arguments) % 3 == 2 else b'{"report_id": "r"}'
    return io.TextIOWrapper(io.BytesIO(told), "utf-8", "strict")


def _possible(argument: str) -> bool:
    """Return whether a system hands such an argument to a program: bytes without a zero."""
    try:
        return "\0" not in argument and len(argument.encode("utf-8", "surrogateescape")) < 100_000
    except UnicodeEncodeError:
        return False


def _command(arguments: Sequence[str]) -> str | None:
    """Read a line as the program does; return its command, None where the line alone already ends it."""
    sys.stdin = _given(arguments)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            return _read(arguments)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            return None


def _read(arguments: Sequence[str]) -> str | None:
    context = saga.make_context("saga", list(arguments))
    command: click.Command = saga
    first = None
    while isinstance(command, click.Group):
        left = [*context._protected_args, *context.args]
        if not left:  # `saga --`: the program itself says what is missing
            return None
        name, found, rest = command.resolve_command(context, left)
        if found is None:
            return None
        first, command = first or name, found
        context = found.make_context(name, rest, parent=context)
    return first


def _ended(arguments: Sequence[str]) -> tuple[int, str]:
    """Run the program; its streams are as strict as a terminal's."""
    raw = io.BytesIO(), io.BytesIO()
    out, err = io.TextIOWrapper(raw[0], "utf-8", "strict"), io.TextIOWrapper(raw[1], "utf-8", "backslashreplace")
    sys.stdin = _given(arguments)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = saga_run(arguments)
    out.flush()
    err.flush()
    return code, (raw[0].getvalue() + raw[1].getvalue()).decode()


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Lose, double, move and change arguments, or put in words that mean something somewhere."""
    try:
        arguments, others = (list(json.loads(luck.choice(seeds))) for _ in range(2))
    except ValueError:
        return luck.choice(seeds)
    for _ in range(1 + int(luck.expovariate(0.8))):
        at = luck.randrange(len(arguments) + 1)
        match luck.randrange(6):
            case 0:
                del arguments[at : at + 1]
            case 1 if others:
                arguments.insert(at, luck.choice(others))
            case 2 if at < len(arguments):
                arguments[at] = luck.choice(WORDS)
            case 3 if at < len(arguments):
                arguments[at] += luck.choice(WORDS)
            case 4 if at < len(arguments):
                arguments[at] = arguments[at][: luck.randrange(len(arguments[at]) + 1)]
            case _:
                arguments.insert(
                    at, luck.choice((*WORDS, *COMMANDS, "--help", "--input", "--filter", "--attribute", "--timeout"))
                )
    return json.dumps(arguments).encode()
