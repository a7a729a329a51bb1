"""The verdict on one input: did it crash, hang, eat memory, or end without a clear word.

Time is the process's own CPU time: on a busy machine a wall clock accuses the innocent. What is over a bound once is
measured three times more, and the least counts: a collection of garbage or an import is nobody's input's fault.
"""

import contextlib
import os
import re
import resource
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final, NoReturn

INPUT_S_MAX: Final = 0.1
INPUT_BYTES_MAX: Final = 64 * 1024 * 1024
"""Memory that one input may take, and that a batch of them may leave behind."""
STUCK_S: Final = 10.0
"""CPU time after which an input is broken off: it would not end."""
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_ADDRESS: Final = re.compile(r"0x[0-9a-f]+|\d+")
_BANNED: Final = ("Traceback (most recent", " object at 0x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that takes bytes from strangers."""

    run: Callable[[bytes], str]
    """Feed it one input; returns in a word how it ended. Whatever it raises is a finding."""
    mutate: Callable[[Random, Sequence[bytes]], bytes]
    """Make an input out of seeds."""
    seeds: Sequence[bytes] = ()
    """Beside the corpus."""
    input_bytes_max: int = 8 * 1024
    """Inputs are cut to this: what a reader may take is linear in it, and the bound of time is for the input, not for
    its size."""
    input_s_max: float = INPUT_S_MAX
    refresh: Callable[[], None] = lambda: None
    """Called between batches: begin anew with whatever grows by being used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that ended as none may."""

    kind: str
    """`crash`, `hang`, `memory` or `unclear`."""
    where: str
    """What tells one defect from another: the kind, the error, the last place of ours."""
    told: str


class Unclear(AssertionError):
    """An error that does not say what is wrong, or says more than its reader should see."""


class _Stuck(BaseException):
    """No `except Exception` on the way may catch it."""


def clear(message: str, *names: str) -> None:
    """Raise `Unclear` unless a message is a sentence for a person that names one of the places."""
    if len(message.strip()) < 8 or any(word in message for word in _BANNED):
        raise Unclear(f"not a clear message: {message[:500]!r}")
    if names and not any(name in message for name in names):
        raise Unclear(f"names none of {names}: {message[:500]!r}")


@dataclass(slots=True)
class Judge:
    """Runs inputs of one target."""

    target: Target
    stuck_s: float = STUCK_S
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        """Break off what does not end."""
        signal.signal(signal.SIGPROF, _break_off)

    def judge(self, data: bytes) -> tuple[str, Finding | None]:
        """Return how an input ended, and what is wrong with that."""
        word, took_s, grown, finding = self._once(data)
        if finding is None and took_s > self.target.input_s_max:
            took_s = min(took_s, *(self._once(data)[1] for _ in range(3)))
            if took_s > self.target.input_s_max:
                told = f"{took_s * 1e3:.0f} ms of CPU at the least of four times, {len(data)} bytes"
                finding = Finding(kind="hang", where="hang", told=told)
        if finding is None and grown > INPUT_BYTES_MAX:
            forget_peak()
            grown = self._once(data)[2]
            if grown > INPUT_BYTES_MAX:
                finding = Finding(kind="memory", where="memory", told=f"{grown >> 20} MiB for {len(data)} bytes")
        self.slowest_s = max(self.slowest_s, took_s)
        return word, finding

    def _once(self, data: bytes) -> tuple[str, float, int, Finding | None]:
        peak = peak_bytes()
        signal.setitimer(signal.ITIMER_PROF, self.stuck_s)
        begin = time.process_time()
        word, finding = "broken", None
        try:
            word = self.target.run(data)
        except _Stuck as stuck:
            finding = Finding(kind="hang", where="stuck", told=f"over {self.stuck_s:g} s of CPU\n{_told(stuck)}")
        except Unclear as unclear:
            where = f"unclear {_ADDRESS.sub('#', str(unclear))[:60]}"
            finding = Finding(kind="unclear", where=where, told=str(unclear))
        except (Exception, SystemExit) as error:  # noqa: BLE001  (whatever it is: that is what is looked for)
            finding = Finding(kind="crash", where=_place(error), told=_told(error))
        finally:
            took_s = time.process_time() - begin
            signal.setitimer(signal.ITIMER_PROF, 0)
        return word, took_s, peak_bytes() - peak, finding


def peak_bytes() -> int:
    """Return the most memory this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident_bytes() -> int:
    """Return the memory this process has resident now."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def forget_peak() -> None:
    """Let the peak be what is resident now, where the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _break_off(*_: object) -> NoReturn:
    raise _Stuck


def _place(error: BaseException) -> str:
    """Return the error's type and the innermost line of the product that it came through."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/orchestrator/" in frame.filename] or frames[-1:]
    last = ours[-1] if ours else None
    return f"{type(error).__name__} at {last and f'{Path(last.filename).name}:{last.lineno}'}"


def _told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-12))
