"""`saga debug profile`: where a live process spends its time, as a picture and a list."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from orchestrator.cli.exits import Failure
from orchestrator.cli.given import FiniteType
from orchestrator.cli.output import echo, note, tame
from orchestrator.cli.session import Session, connected
from orchestrator.limits import (
    CLI_CALL_S,
    PROFILE_HZ_DEFAULT,
    PROFILE_HZ_MAX,
    PROFILE_HZ_MIN,
    PROFILE_S_DEFAULT,
    PROFILE_S_MAX,
)

if TYPE_CHECKING:
    from orchestrator.ports.diagnostics import Profile
    from orchestrator.v1.diagnostics_service_pb2 import ProfileProcessResponse

HOTTEST = 10
"""Functions that are listed."""
_BLANK = "\r\033[K"
"""Begins a terminal's line anew."""
_ENDINGS = {"svg": ".svg", "folded": ".folded", "speedscope": ".speedscope.json"}
_NEXT = {
    "svg": "open it in a browser",
    "folded": "a line for each stack, as flame graph tools take it",
    "speedscope": "load it at a speedscope",
}


@click.command()
@click.argument(
    "seconds", type=FiniteType(0.0, PROFILE_S_MAX, min_open=True), default=PROFILE_S_DEFAULT, required=False
)
@click.option(
    "--hz",
    type=FiniteType(PROFILE_HZ_MIN, PROFILE_HZ_MAX),
    default=PROFILE_HZ_DEFAULT,
    show_default=True,
    help="Samples a second.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(tuple(_ENDINGS)),
    default="svg",
    show_default=True,
    help="A flame graph, or a file for other tools.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Where it goes; a new file in this folder where absent.",
)
@connected
def profile(session: Session, *, seconds: float, hz: float, kind: str, out: Path | None) -> None:
    """Sample where the event loop's thread is, for SECONDS, and draw a flame graph.

    The process goes on serving; it costs about a percent of a core. Only what the event loop's thread does is seen, not
    what the threads of a store or of gRPC do. A function's `self` is the share of the samples in which it was the
    innermost one, its `total` that in which it was on the stack, both of those in which the loop was busy.

    With -o json or yaml the stacks are printed, and a file is written only where --out names one.
    """
    is_wanted = session.printer.is_table or out is not None
    with _file(out, _ENDINGS[kind]) if is_wanted else nullcontext() as file:
        answer = _taken(session, seconds, hz)
        taken = _profile(answer)
        if not session.printer.is_table:
            session.printer.message(answer)
        if file is not None:
            file.write(_text(taken, kind, session.server))
    if file is None or not session.printer.is_table:
        return
    if session.printer.quiet:
        echo(str(file.path))
        return
    _show(session, taken)
    echo(f"{file.path}: {_NEXT[kind]}")


def _taken(session: Session, seconds: float, hz: float) -> "ProfileProcessResponse":
    """Have a profile taken, and say how long it takes yet."""
    import grpc
    from google.protobuf.duration_pb2 import Duration

    from orchestrator.v1.diagnostics_service_pb2 import ProfileProcessRequest

    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    request = ProfileProcessRequest(duration=duration, hz=hz)
    asked = session.diagnostics.ProfileProcess.future(request, timeout=seconds + CLI_CALL_S)
    tells = session.printer.is_table and not session.printer.quiet and sys.stderr.isatty()
    left = seconds
    try:
        while True:
            try:
                return asked.result(timeout=1.0)
            except grpc.FutureTimeoutError:
                left -= 1.0
                if tells:
                    told = f"sampling, {left:.0f} s to go" if left > 0.0 else "waiting for the answer"
                    click.echo(f"{_BLANK}{told}", err=True, nl=False)
    finally:
        asked.cancel()
        if tells:
            click.echo(_BLANK, err=True, nl=False)


def _profile(answer: "ProfileProcessResponse") -> "Profile":
    from orchestrator.ports.diagnostics import Profile

    return Profile(
        seconds=answer.duration.seconds + answer.duration.nanos / 1e9,
        hz=answer.hz,
        samples=answer.sample_count,
        idle_samples=answer.idle_sample_count,
        stacks={stack.frames: stack.count for stack in answer.stacks},
    )


def _text(taken: "Profile", kind: str, server: str) -> str:
    from orchestrator.diagnostics import flame

    match kind:
        case "folded":
            return flame.folded(taken)
        case "speedscope":
            return flame.speedscope(taken, f"saga at {server}")
        case _:
            return flame.svg(taken, f"saga at {server}: where the event loop's thread spends its time")


class _File:
    """Where a profile goes: open before anybody waits for what goes into it, and left as it was until then."""

    def __init__(self, path: Path, opened: TextIO, *, is_new: bool) -> None:
        self.path = path
        self.is_left_over = is_new
        """It was not there before, and nothing is in it."""
        self._opened = opened

    def write(self, text: str) -> None:
        """Write all of it, in the place of what was there."""
        try:
            if self._opened.seekable() and self._opened.tell():  # a device has no end to go back from
                self._opened.truncate(0)
            self._opened.write(text)
            self._opened.close()
        except OSError as failed:
            raise _unwritable(failed, self.path) from failed
        self.is_left_over = False

    def close(self) -> None:
        """Leave nothing behind that nobody asked for."""
        with suppress(OSError):  # what could not be written is told already, and still cannot be
            self._opened.close()
        if self.is_left_over:
            self.path.unlink(missing_ok=True)


@contextmanager
def _file(out: Path | None, ending: str) -> Iterator[_File]:
    """Open the file that was named, or the first one that is not there yet."""
    names = [out] if out is not None else (Path(f"saga-profile-{number}{ending}") for number in count(1))
    file = next(filter(None, map(partial(_opened, is_named=out is not None), names)))
    with closing(file):
        yield file


def _opened(path: Path, *, is_named: bool) -> _File | None:
    """Open a file for writing at its end; None where it is there already and was not named."""
    try:
        return _File(path, path.open("x", encoding="utf-8"), is_new=True)
    except FileExistsError:
        if not is_named:
            return None
    except OSError as failed:
        raise _unwritable(failed, path) from failed
    try:
        return _File(path, path.open("a", encoding="utf-8"), is_new=False)
    except OSError as failed:
        raise _unwritable(failed, path) from failed


def _unwritable(failed: OSError, path: Path) -> Failure:
    return Failure(f"cannot write the profile: {failed.strerror}: {path}; name another --out")


def _show(session: Session, taken: "Profile") -> None:
    from orchestrator.diagnostics import flame

    busy = taken.samples - taken.idle_samples
    echo(
        f"{taken.seconds:.1f} s at {taken.hz:g} Hz: {taken.samples:,} samples, the event loop busy in"
        f" {_percent(busy, taken.samples)} of them"
    )
    if not busy:
        note("nothing to show of a loop that had nothing to do: profile it while it is busy")
        return
    rows = [
        (_percent(each.self_count, busy).rjust(7), _percent(each.total_count, busy).rjust(7), tame(each.function))
        for each in flame.hottest(taken, HOTTEST)
    ]
    session.printer.columns(("self", "total", "function"), rows)


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
