"""Processes of the bench: those that only listen, those that are asked for a round at a time, and what each costs."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Meter = Mapping[str, Callable[[], float]]
"""Readings that only grow, by name; what is between two of them is what happened in between."""
LEAVE_S_MAX = 15.0
_TICKS_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int, *, with_ended: bool = False) -> float:
    """Return the processor time of a process so far; `with_ended` adds that of its children that are gone."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / _TICKS_S


def family_cpu_s(pid: int) -> float:
    """Return the processor time of a process and its children, living and gone."""
    living = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    total = cpu_s(pid, with_ended=True)
    for child in living:
        try:
            total += cpu_s(int(child))
        except FileNotFoundError:  # it has ended since, and is counted next time
            continue
    return total


def rss_mib(pid: int) -> float:
    """Return the resident size of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_rss_mib(pid: int) -> float:
    """Return the largest resident size that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10


def read(meter: Meter) -> dict[str, float]:
    """Return all readings."""
    return {name: reading() for name, reading in meter.items()}


def passed(before: Mapping[str, float], after: Mapping[str, float], sagas: int) -> dict[str, float]:
    """Return what happened between two readings, per saga."""
    return {name: (after[name] - before[name]) / sagas for name in before}


@dataclass(frozen=True, slots=True)
class Listening:
    """A program that listens."""

    address: str
    pid: int


@contextmanager
def program(module: str, *arguments: str) -> Generator[Listening]:
    """Run a module that prints `listening HOST:PORT` while the block runs."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"{module} ended before it listened, with exit code {process.wait()}"
        yield Listening(said.split()[-1], process.pid)
    finally:
        end(process)


def end(process: "subprocess.Popen[str]") -> None:
    """Ask a process to leave, and make it."""
    process.terminate()
    process.send_signal(signal.SIGCONT)  # who was stopped would not hear
    try:
        process.wait(LEAVE_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class Worker:
    """A process that reads one JSON object a line and answers each with one: rounds, in a process of their own."""

    def __init__(self, module: str, *arguments: str) -> None:
        """Start it, and wait until it says that it is ready."""
        command = [sys.executable, "-m", module, *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    async def ask(self, wanted: Mapping[str, object]) -> Any:
        """Let it do a round; this process is idle meanwhile."""
        self.tell(wanted)
        return await self.told()

    def tell(self, wanted: Mapping[str, object]) -> None:
        """Say something, and do not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()

    async def told(self) -> Any:
        """Wait for its next answer."""
        return json.loads(await asyncio.to_thread(self._answer))

    def close(self) -> None:
        """End it."""
        end(self._process)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said, f"{self._process.args!r} ended without an answer, with exit code {self._process.wait()}"
        return said
