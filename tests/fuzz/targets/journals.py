"""Whole SQLite files, as `saga verify --journal` opens them: bytes to be laid over a sound file, at places of it.

The input is JSON: either `[offset, base64]` pairs that overwrite bytes of the file, or SQL statements as texts.
"""

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

import apsw

from orchestrator import bootstrap
from orchestrator.errors import OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.journal.codec import checksum
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import Append
from orchestrator.verify import verify
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, scalar
from tests.fuzz.targets import streams
from tests.fuzz.targets.records import TYPES
from tests.fuzz.targets.worlds import World, world

COLUMNS: Final = {
    "sagas": ("saga_id", "uid", "request_id", "definition", "revision", "status", "version", "epoch", "attributes",
              "started_at", "updated_at", "ended_at", "wake_at", "rest", "attention", "failure"),
    "records": ("saga", "version", "epoch", "at", "type", "checksum", "body", "position"),
    "revisions": ("definition", "revision", "source", "descriptors", "created_at"),
    "active_revisions": ("definition", "revision"),
    "schema_version": ("version", "name", "checksum"),
}  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give a sound file with a saga of each example."""
    there = world()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sound, path = folder / "sound.sqlite", folder / "saga.sqlite"
        asyncio.run(_write(there, sound))
        size = sound.stat().st_size

        def run(data: bytes) -> str:
            for each in folder.glob("saga.sqlite*"):
                each.unlink()
            shutil.copy(sound, path)
            try:
                _damage(path, json.loads(data))
            except (ValueError, TypeError, RecursionError, UnicodeError):
                return "nothing"
            return asyncio.run(_verified(path))

        seeds = [json.dumps(each).encode() for each in ([[0, ""]], ["DELETE FROM records WHERE version = 2"])]
        yield Target(run=run, mutate=lambda luck, seeds: mutated(luck, seeds, size), seeds=seeds, input_s_max=0.5)


async def _verified(path: Path) -> str:
    try:
        async with bootstrap.open_records(path) as (store, revisions):
            findings = await verify(store, revisions)
    except OrchestratorError as refused:
        clear(refused.message, "saga.sqlite", "journal")
        return "refused"
    for violation in findings.violations:
        clear(str(violation))
    return "violations" if findings.violations else "sound"


def _damage(path: Path, what: Any) -> None:
    if isinstance(what, list) and all(isinstance(each, str) for each in what):
        connection = apsw.Connection(str(path))
        for statement in what:
            with suppress(apsw.Error):
                connection.execute(statement)
        connection.close()
        return
    data = bytearray(path.read_bytes())
    for offset, text in what:
        piece = base64.b64decode(text)
        data[offset : offset + len(piece)] = piece
    path.write_bytes(data)


async def _write(there: World, path: Path) -> None:
    journal = SqliteJournal.open(path)
    kept = {"approval", "book_car"}  # of two examples: each that is read is compiled, which takes the time here
    for revision in [each for each in there.catalogue.kept if each.definition in kept]:
        await journal.put(revision)
    for number, seed in enumerate(streams.every_saga(there)):
        definition, lines = streams.parsed(seed)
        if definition not in kept:
            continue
        saga_id, epoch = SagaId(f"{definition}-{number}"), journal.epoch
        records = [replace(streams.record_of(line), epoch=epoch) for line in lines]
        row = replace(streams.row_for(saga_id, there.plans[definition], len(records)), epoch=epoch, uid=f"uid-{number}")
        append = Append(saga_id=saga_id, expected_version=0, epoch=epoch, records=tuple(records), row=row)
        assert list(await journal.append([append])) == [None]
    await journal.close()


def mutated(luck: Random, seeds: Sequence[bytes], size: int) -> bytes:
    """Damage bytes of pages, or change what the tables hold."""
    if luck.random() < 0.5:
        pieces = []
        for _ in range(luck.randrange(1, 5)):
            offset = luck.choice((luck.randrange(100), luck.randrange(size), luck.randrange(size)))
            pieces.append([offset, base64.b64encode(luck.randbytes(luck.choice((1, 1, 2, 8, 64)))).decode()])
        return json.dumps(pieces).encode()
    return json.dumps([_statement(luck) for _ in range(luck.randrange(1, 3))]).encode()


def _statement(luck: Random) -> str:
    table = luck.choice(list(COLUMNS))
    column, row = luck.choice(COLUMNS[table]), luck.randrange(1, 30)
    match luck.randrange(6):
        case 0:
            return f"DELETE FROM {table} WHERE rowid % {luck.randrange(2, 50)} = 0"
        case 1:
            return f"DROP TABLE {table}"
        case 2:
            word, at = luck.choice(TYPES), luck.randrange(1, 200)
            empty = f"type = '{word}', checksum = {checksum(word, b'')}, body = x''"
            return f"UPDATE records SET {empty} WHERE position = {at}"
        case 3:
            last = f"SELECT {column} FROM {table} ORDER BY rowid DESC LIMIT 1"
            return f"UPDATE {table} SET {column} = ({last}) WHERE rowid = {row}"
        case _:
            return f"UPDATE {table} SET {column} = {_literal(luck)} WHERE rowid = {row}"


def _literal(luck: Random) -> str:
    value = luck.choice((scalar(luck), luck.choice(TEXTS)))
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    return luck.choice(("", "CAST(x'6fff' AS TEXT) || ")) + "'" + str(value).replace("'", "''").replace("\0", "") + "'"
