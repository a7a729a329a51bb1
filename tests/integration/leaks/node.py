"""A node with its API in a process of its own, which tells what it holds whenever a line comes in.

Its caches are small, so that each of them is full before measuring begins and turns over many times while it lasts: a
cache that forgot to forget would be found with thousands of sagas, not with millions. The loop's own threads, which
come up one by one as several pieces of work happen to be done at once, are all there from the start, so that one thread
more is one that was leaked. Nothing else differs from a node in use: the same loop, the same collector's pace, a
journal on disk.
"""

from orchestrator import limits

SMALL = {"PLANS_MAX": 6, "ENDED_KEPT_MAX": 8, "DERIVED_KEYS_KEPT_MAX": 64, "PARSED_PAYLOADS_BYTES_MAX": 65_536}
for _name, _bound in SMALL.items():  # before anybody takes them by name
    assert hasattr(limits, _name)
    setattr(limits, _name, _bound)

import asyncio  # noqa: E402
import contextlib  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
import threading  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Mapping  # noqa: E402
from concurrent.futures import ThreadPoolExecutor  # noqa: E402
from contextlib import AsyncExitStack  # noqa: E402
from pathlib import Path  # noqa: E402

import apsw  # noqa: E402
import uvloop  # noqa: E402

from orchestrator.api import ApiBounds, ApiServer  # noqa: E402
from orchestrator.bootstrap import Node, Store, SystemClock, calm_collector, open_node  # noqa: E402
from orchestrator.config import Settings  # noqa: E402
from orchestrator.journal.sqlite import SqliteJournal  # noqa: E402
from orchestrator.ports.journal import SearchQuery  # noqa: E402
from tests.integration.leaks.planted import PLANTS  # noqa: E402

SLOW_READER_S = 1.0
LOOP_THREADS = 4

HELD = (
    "Actor",
    "Mailbox",
    "Hands",
    "_Turn",
    "_Call",
    "ChildCall",
    "Watch",
    "Task",
    "Timeout",
    "TimerHandle",
    "Future",
    "Event",
    "coroutine",
    "async_generator",
    "UnaryUnaryCall",
    "_AioCall",
    "Channel",
    "AioChannel",
    "_ServicerContext",
    "RPCState",
    "Connection",
    "ThreadPoolExecutor",
)
"""What is alive only while something is under way, or as long as the process, by the name of its type."""

GRPC_BATCH = "CallbackWrapper"
"""What grpc.aio keeps of a batch of operations until its core reports their end."""


def open_files() -> Counter[str]:
    """File descriptors by what they are of."""
    found: Counter[str] = Counter()
    for entry in os.scandir("/proc/self/fd"):
        try:
            kind = os.readlink(entry.path)  # noqa: PTH115  (not a file)
        except FileNotFoundError:  # the one that lists them
            continue
        found[kind.partition(":")[0] if ":" in kind else Path(kind).name] += 1
    return found


class _Mallinfo2(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    )


def malloced_bytes() -> int:
    """Bytes that C code holds, those of SQLite's bounded page cache apart; 0 where the C library does not tell."""
    try:
        tell = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    tell.restype = _Mallinfo2
    told = tell()
    return int(told.uordblks + told.hblkhd - apsw.memory_used())


def resident_bytes() -> int:
    """RSS of this process, after the C library has given back what it can: what is left is held, or lies scattered."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def census(node: Node, api: ApiServer) -> Mapping[str, object]:
    """Count what is here now: exactly, and after a look of the collector."""
    gc.collect()
    types = Counter(type(one).__qualname__ for one in gc.get_objects())
    files = open_files()
    held = {name: types[name] for name in HELD}
    held["Future"] -= types[GRPC_BATCH]  # each has one
    held |= {f"fd {kind}": count for kind, count in files.items()}
    held |= {
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "calls open": sum(node.invoker.in_flight().values()),
        "calls and streams served": api.in_flight,
        "actors": node.orchestrator.stats().active_actors,
        "quarantined": node.orchestrator.stats().quarantined,
        "orphaned": node.orchestrator.stats().orphaned,
    }
    return {
        "held": held,
        "types": types,
        "grpc_batches": types[GRPC_BATCH],
        "system_threads": len(os.listdir("/proc/self/task")),  # noqa: PTH208  (not files)
        "blocks": sys.getallocatedblocks(),
        "malloced_bytes": malloced_bytes(),
        "rss_bytes": resident_bytes(),
    }


async def all_threads(loop: asyncio.AbstractEventLoop) -> None:
    """Have every thread that the loop may ever have for its work; `journal_threads` has the store's."""
    loop.set_default_executor(ThreadPoolExecutor(LOOP_THREADS))
    together = threading.Barrier(LOOP_THREADS)  # passed once each of them waits at it
    await asyncio.gather(*(loop.run_in_executor(None, together.wait) for _ in range(LOOP_THREADS)))


async def journal_threads(store: Store) -> None:
    """Have the journal's two threads: the writer's is used only where the disk is slow for a while."""
    assert isinstance(store, SqliteJournal)
    await store._writer.transact(lambda cursor: cursor.execute("SELECT 1").get, is_long=True)
    await store.search(SearchQuery(limit=1))


async def main(folder: Path, plants: list[str]) -> None:
    settings = Settings.model_validate(json.loads((folder / "settings.json").read_text()))
    loop = asyncio.get_running_loop()
    await all_threads(loop)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with AsyncExitStack() as stack:
        for plant in plants:
            stack.enter_context(PLANTS[plant][1]())
        node = await stack.enter_async_context(open_node(settings, environ={}))
        await journal_threads(node.store)
        bounds = ApiBounds(slow_reader_s=SLOW_READER_S)
        api = ApiServer(node.orchestrator, node.revisions, settings.api, clock=SystemClock(), bounds=bounds)
        print("listening", await api.start(), flush=True)
        while await lines.readline():
            print(json.dumps(census(node, api)), flush=True)
        await api.drain(0.0)


if __name__ == "__main__":
    calm_collector()  # as `saga serve` does
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2:]))
