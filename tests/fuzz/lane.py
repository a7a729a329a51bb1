"""Running a target: first what is kept, then what is made of it, each input judged; what fails is written to a file.

A target runs in a process of its own, because what is looked for includes what kills a process. The input under way
stands in a file that is mapped into memory, so that it outlives any death.
"""

import contextlib
import faulthandler
import gc
import hashlib
import importlib
import json
import mmap
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final

from tests.fuzz.judging import INPUT_BYTES_MAX, Finding, Judge, Target, resident_bytes

CORPUS: Final = Path(__file__).parent / "corpus"
FOUND: Final = Path("build/fuzz").resolve()
BATCH: Final = 1_000
FINDINGS_MAX: Final = 50
"""Of one target; who finds more has enough to mend."""
SILENT_S_MAX: Final = 120.0
"""Wall time without an end of an input after which the process is given up: it waits for something."""
_SHRINK_S: Final = 5.0

SHARES: Final = {
    "records": 340,
    "rows": 180,
    "queries": 200,
    "expressions": 120,
    "ledgers": 60,
    "api": 30,
    "settings": 20,
    "scripts": 14,
    "streams": 12,
    "arguments": 12,
    "definitions": 10,
    "journals": 2,
}
"""Target -> how many of a thousand inputs are for it: what is cheap carries the count."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What a run of one target gave."""

    target: str
    inputs: int = 0
    words: Counter[str] = field(default_factory=Counter)
    """How inputs ended."""
    findings: dict[str, str] = field(default_factory=dict)
    """What tells a defect -> the file of an input that shows it."""
    slowest_s: float = 0.0
    grown_bytes: int = 0
    """Resident memory at the end beside that after the first batch."""
    seconds: float = 0.0

    def line(self) -> str:
        """Return it as a line of JSON."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps(told)


def opened(name: str) -> AbstractContextManager[Target]:
    """Return a target, ready to be fed inside its context."""
    module = importlib.import_module(f"tests.fuzz.targets.{name}")
    context: AbstractContextManager[Target] = module.opened()
    return context


def kept(name: str) -> list[Path]:
    """Return the corpus of a target: seeds, and every input that ever showed a defect."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())


def run(name: str, inputs: int, seed: int) -> Found:
    """Feed a target; the same seed and corpus give the same inputs."""
    found = Found(target=name)
    begin = time.perf_counter()
    with opened(name) as target, _noted(name) as note:
        judge = Judge(target)
        base = 0
        asleep_at = 0.0
        for number, data in enumerate(_inputs(name, target, seed)):
            if number >= inputs or len(found.findings) >= FINDINGS_MAX:
                break
            if time.perf_counter() > asleep_at:
                faulthandler.dump_traceback_later(SILENT_S_MAX, exit=True)
                asleep_at = time.perf_counter() + SILENT_S_MAX / 10
            note(data)
            word, finding = judge.judge(data)
            found.inputs += 1
            found.words[word] += 1
            if finding is not None and finding.where not in found.findings:
                found.findings[finding.where] = _keep(name, judge, data, finding)
            if number % BATCH == BATCH - 1:
                target.refresh()
                base = base or _settled_bytes()
        faulthandler.cancel_dump_traceback_later()
        target.refresh()
        found.grown_bytes = max(0, _settled_bytes() - base) if base else 0
        if found.grown_bytes > INPUT_BYTES_MAX * max(1, found.inputs // 100_000):
            found.findings["leak"] = f"{found.grown_bytes >> 20} MiB stay of {found.inputs} inputs"
        found.slowest_s = judge.slowest_s
    found.seconds = time.perf_counter() - begin
    return found


def replay(name: str, path: Path) -> Finding | None:
    """Feed a target one file, and return what is wrong with how it ended."""
    with opened(name) as target:
        word, finding = Judge(target).judge(path.read_bytes())
    print(finding.told if finding is not None else f"{path}: {word}, as it should be")
    return finding


def _inputs(name: str, target: Target, seed: int) -> Iterator[bytes]:
    first = [*(path.read_bytes() for path in kept(name)), *target.seeds]
    yield from first
    luck = Random(f"{seed} {name}")
    while True:
        yield target.mutate(luck, first)[: target.input_bytes_max]


def _settled_bytes() -> int:
    gc.collect()
    return resident_bytes()


def _keep(name: str, judge: Judge, data: bytes, finding: Finding) -> str:
    """Write an input that shows a defect, as small as it can be made in a few seconds; tell how to see it again."""
    if finding.kind in {"crash", "unclear"}:
        data = _shrunk(judge, data, finding)
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:10]}"
    path.write_bytes(data)
    print(f"--- {name}: {finding.kind}: {finding.where}\n{finding.told}", file=sys.stderr)
    print(f"--- {data[:300]!r}\n--- again: python -m tests.fuzz --replay {path}\n", file=sys.stderr, flush=True)
    return str(path)


def _shrunk(judge: Judge, data: bytes, finding: Finding) -> bytes:
    """Leave out what can be left out with the defect still there, in ever smaller pieces."""
    ends_at = time.perf_counter() + _SHRINK_S
    size = len(data) // 2
    while size:
        at = 0
        while at < len(data) and time.perf_counter() < ends_at:
            shorter = data[:at] + data[at + size :]
            if (again := judge.judge(shorter)[1]) is not None and again.where == finding.where:
                data = shorter
            else:
                at += size
        size //= 2
    return data


@contextlib.contextmanager
def _noted(name: str) -> "Iterator[Note]":
    FOUND.mkdir(parents=True, exist_ok=True)
    with last_input(name).open("w+b") as file:
        file.truncate(Note.BYTES)
        with mmap.mmap(file.fileno(), Note.BYTES) as memory:
            yield Note(memory)


def last_input(name: str) -> Path:
    """Return the file that holds the input under way, its length in the first four bytes."""
    return FOUND / f"{name}.last"


class Note:
    """Holds the input under way where a dead process leaves it."""

    BYTES: Final = 1 << 20

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    def __call__(self, data: bytes) -> None:
        self._memory[:4] = len(data).to_bytes(4, "big")
        self._memory[4 : 4 + len(data)] = data


def noted_input(name: str) -> bytes:
    """Return the input that a dead process left."""
    path = last_input(name)
    data = path.read_bytes() if path.exists() else bytes(4)  # it may have died before its first
    return data[4 : 4 + int.from_bytes(data[:4], "big")]
