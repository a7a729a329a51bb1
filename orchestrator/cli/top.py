"""`saga top`: live processes at a glance, again and again."""

import dataclasses
import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import click

from orchestrator.cli.given import FiniteType
from orchestrator.cli.output import Printer, note, seconds_of
from orchestrator.cli.session import SERVER_DEFAULT, channel_options, explain, formatted, refusal
from orchestrator.limits import (
    TOP_ASKING_MAX,
    TOP_CALL_S,
    TOP_COUNT_S,
    TOP_INTERVAL_S_DEFAULT,
    TOP_INTERVAL_S_MAX,
    TOP_INTERVAL_S_MIN,
    TOP_RECONNECT_S_MAX,
    TOP_SERVERS_MAX,
)

if TYPE_CHECKING:
    import grpc
    from rich.text import Text

    from orchestrator.cli.overview import Asking, Page, Process
    from orchestrator.cli.tallies import Look
    from orchestrator.v1.diagnostics_service_pb2 import GetFiguresResponse
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub

_LIVE = "status = RUNNING OR status = COMPENSATING OR status = NEEDS_ATTENTION"


@click.command()
@click.option(
    "--server",
    "servers",
    multiple=True,
    envvar="ORCHESTRATOR_SERVER",
    default=[SERVER_DEFAULT],
    show_default=True,
    show_envvar=True,
    metavar="HOST:PORT",
    help="Where an orchestrator listens; given several times, all are shown and added up.",
)
@click.option(
    "--interval",
    type=FiniteType(TOP_INTERVAL_S_MIN, TOP_INTERVAL_S_MAX),
    default=TOP_INTERVAL_S_DEFAULT,
    show_default=True,
    metavar="S",
    help="Seconds from one look to the next; rates are of that time.",
)
@click.option("--once", is_flag=True, help="Print one page after one interval, and leave.")
@formatted
def top(printer: Printer, *, servers: Sequence[str], interval: float, once: bool) -> None:
    """Watch live processes: sagas and calls a second, how long they take, the journal, and who needs a person.

    Rates are of the last interval, counted from the figures of `/metrics`. A process that goes away is shown as away
    until it is back. With q it ends, as with Ctrl-C or SIGTERM. In a pipe, on a terminal that cannot be drawn on
    (TERM=dumb), and with -o json or yaml, it is as with --once.
    """
    if len(servers) > TOP_SERVERS_MAX:
        raise click.UsageError(f"{len(servers)} servers, and at most {TOP_SERVERS_MAX} fit a page")
    with ExitStack() as stack:
        watching = Watching([stack.enter_context(_connected(each)) for each in dict.fromkeys(servers)])
        watching.look()
        watching.refuse_nobody()
        if once or not printer.is_table or not _can_draw():
            _pause(interval)
            watching.look()
            watching.refuse_nobody()
            _print(printer, watching.page())
        else:
            _live(watching, interval)


class Watched:
    """One process: how to ask it, and what it said last."""

    def __init__(self, server: str, channel: "grpc.Channel") -> None:
        """Begin with nothing known."""
        from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceStub

        self.server = server
        self.channel = channel
        self.figures = DiagnosticsServiceStub(channel).GetFigures
        self.before: Look | None = None
        self.now: Look | None = None
        self.failed: grpc.RpcError | None = None
        """Why it did not answer the last time."""
        self.away_since_at = 0.0
        self.refused: tuple[str, str] | None = None
        """The status and the words with which it refused the last time; None where nobody was heard."""

    def answered(self, look: "Look") -> None:
        """Take its answer."""
        self.before, self.now = self.now, look
        self.failed = None

    def was_silent(self, failed: "grpc.RpcError", at: float) -> None:
        """Note that it did not answer, or refused; what it did meanwhile is counted when it is back."""
        refused = refusal(failed)
        if self.failed is None or (refused or ("",))[0] != (self.refused or ("",))[0]:
            self.away_since_at = at
        self.failed, self.refused = failed, refused


class Watching:
    """All processes, looked at together."""

    def __init__(self, watched: Sequence[Watched]) -> None:
        """Begin with nothing known."""
        self._watched = watched
        self._live: dict[str, dict[str, int]] = {}
        """Sagas that have not ended, by status and by definition, as they were when they were last counted."""
        self._counted_at = 0.0
        self._asking: Sequence[Asking] = ()

    def look(self) -> None:
        """Ask every process for its figures, and one of them for what is in the store."""
        import grpc

        from orchestrator.bootstrap.clock import wall_clock
        from orchestrator.cli.overview import PREFIXES
        from orchestrator.v1.diagnostics_service_pb2 import GetFiguresRequest

        request = GetFiguresRequest(prefixes=PREFIXES)
        asked = [(each, each.figures.future(request, timeout=TOP_CALL_S)) for each in self._watched]
        for each, answer in asked:
            try:
                each.answered(_look(each.server, answer.result()))
            except grpc.RpcError as failed:
                each.was_silent(failed, wall_clock())
        here = next((each for each in self._watched if each.failed is None), None)
        if here is not None and here.now is not None:
            try:
                self._ask_store(here.channel, here.now.at)
            except grpc.RpcError:
                return  # it went away just now; what was known is shown until the next look

    def _ask_store(self, channel: "grpc.Channel", now: float) -> None:
        from orchestrator.v1.saga_service_pb2 import CountSagasRequest
        from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub

        sagas = SagaServiceStub(channel)
        self._asking = _asking(sagas)
        if not 0.0 <= now - self._counted_at < TOP_COUNT_S:
            by = {
                group: sagas.CountSagas(CountSagasRequest(filter=_LIVE, group_by=group), timeout=TOP_CALL_S)
                for group in ("status", "definition")
            }
            self._live, self._counted_at = {group: dict(found.counts) for group, found in by.items()}, now

    def refuse_nobody(self) -> None:
        """Raise what went wrong where no process answers."""
        failures = [(each.server, each.failed) for each in self._watched]
        if all(failed is not None for _, failed in failures):
            server, failed = failures[0]
            assert failed is not None
            raise explain(failed, server) from failed

    def page(self) -> "Page":
        """Return what is known, as one page."""
        from orchestrator.cli.overview import gone, page
        from orchestrator.cli.tallies import Interval, Tally

        here: dict[tuple[str, float], Interval] = {}
        away: list[Process] = []
        for each in self._watched:
            if each.failed is not None:
                away.append(gone(each.now, each.server, each.away_since_at, *(each.refused or ())))
            elif each.now is not None:  # two addresses of one process are one process
                here.setdefault(each.now.identity, Interval(before=each.before, now=each.now))
        tally = Tally(list(here.values()))
        return page(tally, away=away, live=self._live, asking=self._asking)


@contextmanager
def _connected(server: str) -> "Iterator[Watched]":
    import grpc

    reconnect_ms = int(TOP_RECONNECT_S_MAX * 1e3)
    options = [
        *channel_options(server),
        ("grpc.initial_reconnect_backoff_ms", reconnect_ms // 4),
        ("grpc.max_reconnect_backoff_ms", reconnect_ms),
    ]
    with grpc.insecure_channel(server, options=options) as channel:
        yield Watched(server, channel)


def _look(server: str, answer: "GetFiguresResponse") -> "Look":
    from orchestrator.cli.tallies import look_of

    figures = ((each.name, each.labels, each.value) for each in answer.figures)
    return look_of(server, answer.process_name, seconds_of(answer.as_of_time), figures)


def _asking(sagas: "SagaServiceStub") -> "list[Asking]":
    from orchestrator.cli.overview import Asking
    from orchestrator.v1.saga_service_pb2 import ListSagasRequest

    wanted = "status = NEEDS_ATTENTION"
    request = ListSagasRequest(filter=wanted, order_by="update_time desc", page_size=TOP_ASKING_MAX)
    return [
        Asking(
            saga_id=each.saga_id,
            definition=each.definition,
            since_at=seconds_of(each.update_time),
            why=" ".join(filter(None, (*each.attention, each.cause.message))),
        )
        for each in sagas.ListSagas(request, timeout=TOP_CALL_S).sagas
    ]


def _can_draw() -> bool:
    """Return whether standard output is a terminal on which a page can be drawn anew; say so where it cannot."""
    from rich.console import Console

    if not sys.stdout.isatty():
        return False
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return True
    note("this terminal cannot be drawn on (TERM=dumb, or what else says so): one page, as with --once")
    return False


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _print(printer: Printer, page: "Page") -> None:
    if not printer.is_table:
        printer.values(dataclasses.asdict(page))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(_text(page, console.width, None))


def _live(watching: Watching, interval_s: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    live = Live(console=console, screen=True, auto_refresh=False)
    with _told_to_leave(), _keys() as keys:
        try:
            live.start()
            while True:
                live.update(_text(watching.page(), console.width, console.height, keys.leave), refresh=True)
                if keys.quits_within(interval_s):
                    return
                watching.look()
        finally:
            live.stop()


@contextmanager
def _told_to_leave() -> Iterator[None]:
    """Have SIGTERM and a closed terminal end the block as Ctrl-C does, which is how one leaves: all is put right."""

    def leave(_: int, __: object) -> None:
        for each in before:  # once is enough: nothing may break into what puts the terminal right
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = [each for each in wanted if signal.getsignal(each) is signal.SIG_DFL]  # who ignores one (nohup) goes on
    for each in before:
        signal.signal(each, leave)
    try:
        yield
    except KeyboardInterrupt:
        pass
    except OSError as failed:
        if failed.errno != errno.EIO:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the terminal is gone; what is left to say too
    finally:
        for each in before:
            signal.signal(each, signal.SIG_DFL)


def _text(page: "Page", width: int, height: int | None, leave: str = "") -> "Text":
    from rich.text import Text

    from orchestrator.cli.topscreen import screen

    lines = screen(page, width, height, leave=leave)
    return Text("\n", no_wrap=True, overflow="crop").join(Text.assemble(*line) for line in lines)


_TYPED_BYTES = 1_024
"""Of what was typed between two looks: enough for whoever leans on a key."""


class _Keys:
    """What is typed meanwhile, one key at a time where that can be had."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self.leave = "q quits" if is_terminal else "Ctrl-C quits"

    def quits_within(self, seconds: float) -> bool:
        """Wait so long; return at once, and true, where somebody wants to leave."""
        if not self._is_terminal:
            _pause(seconds)
            return False
        import select

        readable, _, _ = select.select([sys.stdin], [], [], seconds)
        if not readable:
            return False
        typed = os.read(sys.stdin.fileno(), _TYPED_BYTES)
        return not typed or b"q" in typed.lower()


@contextmanager
def _keys() -> Iterator[_Keys]:
    """Have keys one by one and unseen while the block runs, where standard input is a terminal that can do so."""
    try:
        import termios
        import tty
    except ImportError:
        yield _Keys(is_terminal=False)
        return
    try:
        before = termios.tcgetattr(sys.stdin)
    except (OSError, ValueError, TypeError, termios.error):  # a file, a pipe, closed, or nothing at all
        yield _Keys(is_terminal=False)
        return
    try:
        tty.setcbreak(sys.stdin)
        yield _Keys(is_terminal=True)
    finally:
        with suppress(termios.error):  # it is gone
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
