"""Commands that tell a saga's story from its events: watch, history, trace."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.given import COLUMNS, SEQUENCE
from orchestrator.cli.output import duration, echo, note, plain
from orchestrator.cli.session import Session, connected, pages
from orchestrator.limits import CLI_CALL_S, CLI_RECONNECT_S, CLI_RESUME_S_MAX

if TYPE_CHECKING:
    from orchestrator.cli.waterfall import Glyphs, Line
    from orchestrator.v1.saga_pb2 import SagaEvent

WIDTH_PIPED = 80
WIDTH_MAX = 160
WIDTH_MIN = 60


@click.command()
@click.argument("saga_id")
@click.option("--after", type=SEQUENCE, default=0, metavar="SEQUENCE", help="Only what came after this.")
@click.option("--payloads", is_flag=True, help="With -o json or yaml: requests and replies, too.")
@click.option("--items", is_flag=True, help="Every event of every item of a list, not how many are done.")
@connected
def watch(session: Session, saga_id: str, *, after: int, payloads: bool, items: bool) -> None:
    """Show a saga's events as they happen, until it has ended.

    No event is missed and none shown twice, not even while the server restarts. With -o json every event is one line.
    The items of a list are counted, in a line at each tenth of them.
    """
    from orchestrator.cli.lines import line_of, told

    events = _follow(session, saga_id, after, payloads=payloads)
    if not session.printer.is_table:
        for event in events:
            session.printer.values(plain(event), stream=True)
            sys.stdout.flush()
        return
    began_at = 0.0
    for line in map(line_of, events) if items else told(events, is_live=True):
        began_at = began_at or line.at
        echo(f"{line.last:>5}  {'+' + duration(line.at - began_at):>12}  {line.text}")
        sys.stdout.flush()


@click.command()
@click.argument("saga_id")
@click.option("--payloads", is_flag=True, help="With -o json or yaml: requests and replies, too.")
@click.option("--items", is_flag=True, help="Every event of every item of a list, not how many are done.")
@connected
def history(session: Session, saga_id: str, *, payloads: bool, items: bool) -> None:
    """Show all events of a saga: what happened, in order.

    The items of a list are counted in one line for as long as nothing else happens. With -o json or yaml every event
    is there.
    """
    from orchestrator.cli.lines import line_of, told

    events = _events(session, saga_id, payloads=payloads)
    if not session.printer.is_table:
        session.printer.messages(list(events))
        return
    lines = list(map(line_of, events) if items else told(events))
    began_at = lines[0].at if lines else 0.0
    rows = [(line.sequence, "+" + duration(line.at - began_at), line.kind, line.text) for line in lines]
    session.printer.columns(("seq", "at", "event", "what happened"), rows)


@click.command()
@click.argument("saga_id")
@click.option("--width", type=COLUMNS, help="Columns; the terminal's where absent, 80 in a pipe.")
@connected
def trace(session: Session, saga_id: str, *, width: int | None) -> None:
    """Draw a saga's waterfall: steps, attempts, outcomes and undo, with their durations."""
    from orchestrator.cli.story import fold
    from orchestrator.cli.waterfall import draw

    drawn = fold(saga_id, _events(session, saga_id, payloads=False))
    if not session.printer.is_table:
        session.printer.values(drawn.to_values())
        return
    for line in draw(drawn, width or width_here(), glyphs_here()):
        echo(coloured(line))


def width_here() -> int:
    """Return the columns to draw in."""
    if not sys.stdout.isatty():
        return WIDTH_PIPED
    return max(WIDTH_MIN, min(shutil.get_terminal_size((WIDTH_PIPED, 24)).columns, WIDTH_MAX))


def glyphs_here() -> "Glyphs":
    """Return blocks where standard output can write them, ASCII elsewhere."""
    from orchestrator.cli.waterfall import ASCII, UNICODE

    try:
        "█▒░·".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def coloured(line: "Line") -> str:
    """Return a line for `echo`, which drops the colours where nobody would see them."""
    return "".join(click.style(text, fg=colour) if colour else text for text, colour in line).rstrip()


def _events(session: Session, saga_id: str, *, payloads: bool) -> "Iterator[SagaEvent]":
    """Give all events page by page: of a list of many items they are too many to be held at once."""
    from orchestrator.v1.saga_pb2 import SAGA_VIEW_BASIC, SAGA_VIEW_FULL
    from orchestrator.v1.saga_service_pb2 import ListSagaEventsRequest

    def fetch(token: str) -> "tuple[Sequence[SagaEvent], str]":
        view = SAGA_VIEW_FULL if payloads else SAGA_VIEW_BASIC
        # pages with payloads are small, so that a page of large ones still fits into one message
        request = ListSagaEventsRequest(
            saga_id=saga_id, page_size=100 if payloads else 1_000, page_token=token, view=view
        )
        response = session.sagas.ListSagaEvents(request, timeout=CLI_CALL_S)
        return response.events, response.next_page_token

    return pages(fetch, 0)


def _follow(session: Session, saga_id: str, after: int, *, payloads: bool) -> "Iterator[SagaEvent]":
    """Give events as they come; take the stream up again where it broke off."""
    import grpc

    from orchestrator.v1.saga_pb2 import SAGA_VIEW_BASIC, SAGA_VIEW_FULL
    from orchestrator.v1.saga_service_pb2 import WatchSagaRequest

    last, is_known, away_since = after, False, 0.0
    while True:
        view = SAGA_VIEW_FULL if payloads else SAGA_VIEW_BASIC
        try:
            for message in session.sagas.WatchSaga(WatchSagaRequest(saga_id=saga_id, after_sequence=last, view=view)):
                is_known, away_since = True, 0.0
                if message.HasField("event"):
                    last = message.event.sequence
                    yield message.event
        except grpc.RpcError as broken:
            if not is_known or not _is_resumable(broken):
                raise
            now = time.monotonic()  # noqa: TID251  (how long a person has been waiting)
            if not away_since:
                away_since = now
                if not session.printer.quiet:
                    note(f"the stream broke off; resuming after {last} as soon as {session.server} answers")
            if now - away_since > CLI_RESUME_S_MAX:
                gone = f"{session.server} has been away for {duration(now - away_since)}"
                raise Failure(f"{gone}; resume with --after {last}", Exit.UNAVAILABLE) from broken
            time.sleep(CLI_RECONNECT_S)  # noqa: TID251  (a terminal program; no event loop to stop)
        else:
            return


def _is_resumable(broken: Exception) -> bool:
    import grpc

    code = getattr(broken, "code", lambda: None)()
    return code in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
