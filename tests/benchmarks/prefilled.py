"""Stores as they are after years, made once for each form that they may have, and what they do to a saga.

Filling takes a minute or more, so the files are kept in `build/filled`, and every run has copies that go with it. Their
names tell what is in them and by which code: where the schema, the records or the filling change, they are made anew.
"""

import asyncio
import hashlib
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orchestrator.journal
from orchestrator.v1 import journal_pb2
from tests.benchmarks import flows
from tests.benchmarks.beside import Beside
from tests.benchmarks.filling import fill
from tests.benchmarks.kept import IS_SMOKE, ROUNDS
from tests.benchmarks.rounds import Side, compared, in_turns
from tests.benchmarks.stage import stage

FOLDER = Path("build/filled")
_WORK = "work-"
MANY = (10_000, 1_000) if IS_SMOKE else (1_000_000, 100_000)
"""Finished sagas, and sleeping ones."""
SOME = (2_000, 0) if IS_SMOKE else (100_000, 0)
"""For retention: more than it can forget meanwhile."""
EMPTY, FILLED = "empty", "filled"
KEEPING, FORGETTING = "keeping", "forgetting"


async def prepare() -> None:
    """Have copies of the filled stores ready: this belongs to no case's time."""
    await fresh(*MANY)
    for which in (KEEPING, FORGETTING):
        await fresh(*SOME, which)


async def kept(finished: int, sleeping: int) -> Path:
    """Return the file with so many sagas, which is made where there is none."""
    name = f"{finished}-{sleeping}-{_form()}"
    file = FOLDER / f"{name}.sqlite"
    if not file.exists():
        began = time.perf_counter()
        with _new(f"{finished}-{sleeping}-") as half:
            await fill(half, finished=finished, sleeping=sleeping)
            half.rename(file)
        took_s, size = time.perf_counter() - began, _bytes(file)
        print(f"{file}: {finished:,} finished and {sleeping:,} asleep, {size / 1e6:,.0f} MB, made in {took_s:.0f} s")
    return file


@contextmanager
def _new(prefix: str) -> Generator[Path]:
    """Give a name for a file that is not whole yet; what is of an older form goes before, what lies beside it after."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob(f"{prefix}*"):
        old.unlink()
    half = FOLDER / f"{prefix}half"
    try:
        yield half
    finally:
        for beside in FOLDER.glob(f"{half.name}*"):
            beside.unlink()


def _form() -> str:
    """Return a digest of what decides how such a file looks: tables, records, the definition, the filling."""
    migrations = Path(orchestrator.journal.__file__).parent / "sqlite/migrations"
    told = hashlib.sha256(flows.DEFINITION.encode() + journal_pb2.DESCRIPTOR.serialized_pb)
    for source in (*sorted(migrations.glob("*.sql")), Path(__file__).with_name("filling.py")):
        told.update(source.read_bytes())
    return told.hexdigest()[:12]


async def fresh(finished: int, sleeping: int, which: str = "") -> None:
    """Make a new copy that may be written to, all of it on the disk, so that nobody's sync has to write it."""
    source, file = await kept(finished, sleeping), work(finished, sleeping, which)
    clear(file.name)
    await asyncio.to_thread(subprocess.check_call, ["cp", "--reflink=auto", str(source), str(file)])
    await asyncio.to_thread(subprocess.check_call, ["sync", str(file)])


def work(finished: int, sleeping: int, which: str = "") -> Path:
    """Return where such a copy is."""
    return (FOLDER / f"{_WORK}{finished}-{sleeping}{which}.sqlite").absolute()


def clear(name: str = _WORK) -> None:
    """Remove a copy and what lies beside it, or all copies."""
    for file in FOLDER.glob(f"{name}*"):
        file.unlink()


async def full() -> dict[str, Any]:
    """Measure a process on a store that is full beside one on a store that is empty."""
    usual = Beside(concurrency=64)
    with stage() as on:
        file = work(*MANY)
        size = _bytes(file)
        beside = file.with_name(f"{_WORK}{EMPTY}.sqlite")  # on the same disk
        clear(beside.name)
        workers = {EMPTY: on.embedded(f"sqlite:{beside}"), FILLED: on.embedded(f"sqlite:{file}")}
        sides = [
            Side(name=name, worker=worker, sagas=usual.sagas, wanted=usual.wanted, meter=on.meter())
            for name, worker in workers.items()
        ]
        return {
            "concurrency": usual.concurrency,
            "sides": compared(await in_turns(sides, ROUNDS), EMPTY),
            "finished": MANY[0],
            "sleeping": MANY[1],
            "bytes": size,
        }


async def retention() -> dict[str, Any]:
    """Measure a process that forgets what ended long ago beside one that keeps it, on two copies of one store.

    Who does not have its turn is stopped: forgetting goes on all the time, and is to cost its own process only.
    """
    usual = Beside(concurrency=64)
    with stage() as on:
        files = {name: work(*SOME, name) for name in (KEEPING, FORGETTING)}
        settings: dict[str, dict[str, Any]] = {KEEPING: {}, FORGETTING: {"retention": {"default_s": 60}}}
        sides = [
            Side(
                name=name,
                worker=on.embedded(f"sqlite:{file}", **settings[name]),
                sagas=usual.sagas,
                wanted=usual.wanted,
                meter=on.meter(),
                stands_still=True,
            )
            for name, file in files.items()
        ]
        turns = await in_turns(sides, ROUNDS)
        return {
            "concurrency": usual.concurrency,
            "sides": compared(turns, KEEPING),
            "kept": SOME[0],
            "forgotten_s": _forgotten_s(
                [turn.run.counts["forgotten"] * turn.run.sagas_s for turn in turns[FORGETTING]]
            ),
            "wal_bytes": {name: _wal_bytes(file) for name, file in files.items()},
        }


def _forgotten_s(rates: Sequence[float]) -> float:
    return sorted(rates)[len(rates) // 2]


def _wal_bytes(file: Path) -> int:
    """Return the size of the log beside a file, which never shrinks while the file is open."""
    return _bytes(file.with_name(f"{file.name}-wal"))


def _bytes(file: Path) -> int:
    return file.stat().st_size
