"""The engine's work for a saga, counted and not timed: the same number on every machine, however busy.

The usual saga runs on the real runtime, the real definition and a real SQLite file, with hands that answer in the next
turn of the loop, on virtual time. Counted are, for one saga at a time, for 64 at once, and for each step of a long one:

`python_calls`   calls of Python functions in the engine, or from it
`c_calls`        calls of functions written in C from the engine
`instructions`   bytecode that the engine's own functions execute: what neither of the two sees, such as a loop
`statements`     SQL statements, and of these `commits`
`blocks`         allocations that are still there after it has ended and been forgotten: a leak
`bytes_at_peak`  of 64 that run at once, the most that Python had allocated for each

Each is counted in a pass of its own, since counting is work as well. `python -m tests.benchmarks.counted` prints them.
What a count cannot see is how dear a call is: that is measured, with its uncertainty, in `floor.py`.
"""

import asyncio
import gc
import json
import selectors
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import apsw

import orchestrator
from orchestrator.definition import Revisions
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.journal.sqlite import writer as sqlite_writer
from orchestrator.limits import ENDED_KEPT_MAX
from orchestrator.ports.invoker import CallRequest, OnReport
from orchestrator.ports.methods import MethodFacts, TargetFacts
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator
from orchestrator.saga.events import Phase, Report
from orchestrator.telemetry import Metrics
from orchestrator.values import Payload
from tests.benchmarks import flows, stubs
from tests.benchmarks.flows import Flow
from tests.kit.runtime import JumpingLoop, JumpingSelector, ManualClock
from tests.unit.definition.world import FixedMethods, descriptor_set

WARM = 64
_ENGINE = str(Path(orchestrator.__file__).parent)
_REPLY_TYPES = {name: type(reply).DESCRIPTOR.full_name for name, reply in stubs.REPLIES.items()}

Counts = dict[str, float]


class Answering:
    """Hands that answer in the next turn of the loop, as the bench's services do."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._replies = {
            f"epro.v1.{name}": Payload(_REPLY_TYPES[name], reply.SerializeToString())
            for name, reply in stubs.REPLIES.items()
        }

    def begin(self, call: CallRequest, on_report: OnReport) -> "Answering":
        at = self._clock.now()
        report = Report(code="OK", phase=Phase.REPLIED, reply=self._replies[call.method], sent_at=at, ended_at=at)
        asyncio.get_running_loop().call_soon(on_report, report)
        return self

    def abort(self) -> None:
        """Nothing is open for longer than a turn."""

    def in_flight(self) -> dict[str, int]:
        return {}

    async def close(self, grace_s: float) -> None:
        """Nothing is open."""


class _Selector(JumpingSelector):
    """Time jumps where the loop would sleep, but for a thread it is waited: a file is opened and closed in one."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return selectors.SelectSelector.select(self, None) if timeout is None else super().select(timeout)


class _Loop(JumpingLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        asyncio.SelectorEventLoop.__init__(self, self._jumping)


@asynccontextmanager
async def engine(folder: Path, definition: str = flows.EPRO, text: str = flows.DEFINITION) -> AsyncGenerator[Flow]:
    """Give a saga, the usual one, on an engine whose commits are all made on the loop, however slow the disk."""
    setattr(sqlite_writer, "JOURNAL_COMMIT_LOOP_S_MAX", float("inf"))  # noqa: B010  # no commit in a thread
    clock = ManualClock()
    journal = SqliteJournal.open(folder / "saga.sqlite")
    declared = TargetFacts(name="epro", every=MethodFacts(idempotent=True, barrier=True))
    methods = FixedMethods({"epro": descriptor_set(*stubs_files())}, {"epro": declared})
    revisions = Revisions(journal, methods, clock)
    revision, findings = await revisions.create_revision(text, definition)
    assert revision is not None, [str(each) for each in findings]
    engine = Orchestrator(
        journal=journal,
        ownership=SoleOwnership(journal.epoch),
        plans=revisions,
        invoker=Answering(clock),
        clock=clock,
        observer=Metrics(),
        on_failed=print,
    )
    async with engine.running():
        yield flows.embedded(engine, failing=False, definition=definition)
    await journal.close()


def stubs_files() -> tuple[Any, ...]:
    """Return the descriptors of the bench's services."""
    return tuple(file.DESCRIPTOR for file in stubs.FILES)


async def _sagas(flow: Flow, count: int, at_once: int) -> None:
    for _ in range(count // at_once):
        await asyncio.gather(*(flow() for _ in range(at_once)))


# --- counters: each begins to count, and returns what ends it and tells ----------------------------------------------

Begin = Callable[[], Callable[[], Counts]]


def _calls() -> Callable[[], Counts]:
    found: Counter[str] = Counter()
    ours: dict[CodeType, bool] = {}

    def is_ours(frame: FrameType | None) -> bool:
        if frame is None:
            return False
        code = frame.f_code
        if code not in ours:
            ours[code] = code.co_filename.startswith(_ENGINE)
        return ours[code]

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found["python_calls"] += is_ours(frame) or is_ours(frame.f_back)
        elif event == "c_call":
            found["c_calls"] += is_ours(frame)

    def end() -> Counts:
        sys.setprofile(None)
        return dict(found)

    sys.setprofile(note)
    return end


def _instructions() -> Callable[[], Counts]:
    count = 0

    def within(_frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "opcode"
        return within

    def entered(frame: FrameType, _event: str, _: object) -> Any:
        if not frame.f_code.co_filename.startswith(_ENGINE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return within

    def end() -> Counts:
        sys.settrace(None)
        return {"instructions": count}

    sys.settrace(entered)
    return end


def _blocks() -> Callable[[], Counts]:
    gc.collect()
    before = sys.getallocatedblocks()

    def end() -> Counts:
        gc.collect()
        return {"blocks": sys.getallocatedblocks() - before}

    return end


def _bytes() -> Callable[[], Counts]:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    def end() -> Counts:
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        return {"bytes_at_peak": peak}

    return end


def _statements() -> Callable[[], Counts]:
    _said.clear()

    def end() -> Counts:
        found: Counts = {"statements": len(_said), "commits": _said.count("COMMIT")}
        _said.clear()
        return found

    return end


_said: list[str] = []
"""What was said to SQLite."""


def _listen(connection: apsw.Connection) -> None:
    connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: _said.append(event["sql"]))


# --- all of it -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is run, and counted."""

    sagas: int
    at_once: int = 1
    warm: int = WARM
    definition: str = flows.EPRO
    text: str = flows.DEFINITION
    parts: int = 1
    """What a count is divided by, beside the sagas."""


ALONE = Setting(sagas=20)
CROWD = Setting(sagas=64, at_once=64)
LEAVING = replace(CROWD, warm=ENDED_KEPT_MAX + 5 * WARM)
"""What is remembered of ended sagas has its full size by then."""
LONG_STEPS = 300


def _long(definition: str) -> Setting:
    text = flows.long_definition(definition, LONG_STEPS)
    return Setting(sagas=1, warm=1, definition=definition, text=text, parts=LONG_STEPS)


PASSES: dict[str, tuple[tuple[Begin, Setting], ...]] = {
    "alone": ((_calls, ALONE), (_instructions, ALONE), (_statements, ALONE)),
    "crowd": ((_calls, CROWD), (_instructions, CROWD), (_statements, CROWD), (_blocks, LEAVING), (_bytes, CROWD)),
    "step of a chain": ((_calls, _long(flows.CHAIN)), (_instructions, _long(flows.CHAIN))),
    "step beside others": ((_calls, _long(flows.WIDE)), (_instructions, _long(flows.WIDE))),
}
"""Of the two last a count is that of a step, of three hundred: what grows with the length of a saga shows there."""


def counts() -> dict[str, Counts]:
    """Return all counts; each pass is an engine of its own, on a file of its own."""
    return {name: dict(chain.from_iterable(_pass(*each).items() for each in of)) for name, of in PASSES.items()}


def _pass(begin: Begin, of: Setting) -> Counts:
    apsw.connection_hooks[:] = [_listen] if begin is _statements else []
    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(_counted(begin, of))


async def _counted(begin: Begin, of: Setting) -> Counts:
    with tempfile.TemporaryDirectory() as folder:
        async with engine(Path(folder), of.definition, of.text) as flow:
            await _sagas(flow, of.warm, of.at_once)
            gc.collect()
            gc.disable()
            end = begin()
            try:
                await _sagas(flow, of.sagas, of.at_once)
            finally:
                told = end()
                gc.enable()
    return {name: round(count / of.sagas / of.parts, 1) for name, count in told.items()}


if __name__ == "__main__":
    print(json.dumps(counts(), indent=1))
