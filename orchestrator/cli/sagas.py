"""Commands about one saga, or about many: start, signal, get, list, count, wait, cancel."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.given import ATTRIBUTE, DURATION, INPUT
from orchestrator.cli.output import duration, echo, instant, note
from orchestrator.cli.session import Session, connected, pages
from orchestrator.cli.showing import exit_of, show, show_undo_plan, status_of, took, why
from orchestrator.limits import CLI_CALL_S, CLI_POLL_S, CLI_RECONNECT_S

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Value

    from orchestrator.v1.saga_pb2 import Saga


@click.command()
@click.argument("definition")
@click.option("--id", "saga_id", default="", help="Your business key for it; the server's uid where absent.")
@click.option("--input", "given", type=INPUT, default="{}", help="JSON object, @FILE, or - for standard input.")
@click.option("-a", "--attribute", "attributes", type=ATTRIBUTE, multiple=True, help="Searchable fact; repeatable.")
@click.option("--revision", default="", help="A revision; the active one where absent.")
@click.option("--request-id", default="", help="A UUID: the same one is the same saga, for ever.")
@click.option("--deadline", type=DURATION, help="Budget for going forward, e.g. 30s; the definition's where absent.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the end, and exit as `saga wait` does.")
@click.option("--timeout", type=DURATION, help="With --wait: give up waiting after this time (exit code 124).")
@connected
def start(
    session: Session,
    definition: str,
    *,
    saga_id: str,
    given: dict[str, object],
    attributes: tuple[tuple[str, str | float | bool], ...],
    revision: str,
    request_id: str,
    deadline: float | None,
    waits: bool,
    timeout: float | None,
) -> int | None:
    """Start a saga of DEFINITION. It is durable when this returns; the same --id and input are the same saga."""
    from google.protobuf.json_format import ParseDict

    from orchestrator.v1.saga_service_pb2 import StartSagaRequest

    if timeout is not None and not waits:
        raise click.UsageError("--timeout goes with --wait; a saga's own budget is --deadline")
    request = StartSagaRequest(
        saga_id=saga_id,
        definition=definition,
        revision=revision,
        request_id=request_id,
        attributes={name: _value(value) for name, value in attributes},
    )
    ParseDict(given, request.json)
    if deadline is not None:
        request.deadline.FromNanoseconds(int(deadline * 1e9))
    response = session.sagas.StartSaga(request, timeout=CLI_CALL_S)
    if waits:
        return _wait(session, response.saga.saga_id, timeout)
    if not session.printer.is_table:
        session.printer.message(response)
    elif session.printer.quiet:
        echo(response.saga.saga_id)
    else:
        echo(f"{'started' if response.created else 'exists already:'} {response.saga.saga_id}")
        note(f"next: saga wait {response.saga.saga_id}, or saga trace {response.saga.saga_id}")
    return None


@click.command()
@click.argument("saga_id")
@click.option("--payloads", is_flag=True, help="With -o json or yaml: input, output, requests and replies, too.")
@connected
def get(session: Session, saga_id: str, *, payloads: bool) -> None:
    """Show a saga as it stands, with its steps."""
    from orchestrator.v1.saga_pb2 import SAGA_VIEW_FULL, SAGA_VIEW_STEPS
    from orchestrator.v1.saga_service_pb2 import GetSagaRequest

    view = SAGA_VIEW_FULL if payloads else SAGA_VIEW_STEPS
    saga = session.sagas.GetSaga(GetSagaRequest(saga_id=saga_id, view=view), timeout=CLI_CALL_S).saga
    show(session.printer, saga)


@click.command("list")
@click.option("--filter", "where", default="", help='E.g. `status = RUNNING AND attributes.patient = "P-7"`.')
@click.option("--order", default="", help="start_time, update_time or saga_id, with ` desc`; newest first by default.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most this many.")
@click.option("--all", "everything", is_flag=True, help="All of them, whatever --limit says.")
@connected
def list_(session: Session, *, where: str, order: str, limit: int, everything: bool) -> None:
    """List sagas, newest first."""
    from orchestrator.v1.saga_service_pb2 import ListSagasRequest

    def fetch(token: str) -> "tuple[Sequence[Saga], str]":
        size = 1_000 if everything else min(limit + 1, 1_000)
        request = ListSagasRequest(filter=where, order_by=order, page_size=size, page_token=token)
        response = session.sagas.ListSagas(request, timeout=CLI_CALL_S)
        return response.sagas, response.next_page_token

    found: list[Saga] = list(pages(fetch, 0 if everything else limit + 1))
    sagas = found if everything else found[:limit]
    if not session.printer.is_table:
        session.printer.messages(sagas)
        return
    rows = [
        (saga.saga_id, saga.definition, status_of(saga), instant(saga.start_time), took(saga), why(saga))
        for saga in sagas
    ]
    session.printer.columns(("saga", "definition", "status", "started", "took", "why"), rows)
    if not session.printer.quiet and len(found) > len(sagas):
        note(f"the first {limit}; there are more: --limit or --all")


@click.command()
@click.option("--filter", "where", default="", help="As for `saga list`.")
@click.option("--by", type=click.Choice(("status", "definition", "revision")), help="One number for each.")
@connected
def count(session: Session, *, where: str, by: str | None) -> None:
    """Count sagas."""
    from orchestrator.v1.saga_service_pb2 import CountSagasRequest

    response = session.sagas.CountSagas(CountSagasRequest(filter=where, group_by=by or ""), timeout=CLI_CALL_S)
    if not session.printer.is_table:
        session.printer.message(response)
    elif by is None or session.printer.quiet:
        echo(str(response.total))
    else:
        session.printer.columns((by, "sagas"), [(name, str(n)) for name, n in sorted(response.counts.items())])


@click.command()
@click.argument("saga_id")
@click.option("--timeout", type=DURATION, help="Give up after this time (exit code 124); for ever where absent.")
@connected
def wait(session: Session, saga_id: str, *, timeout: float | None) -> int:
    """Wait until a saga has ended, or needs a person.

    Exits 0 when it COMPLETED, 3 when COMPENSATED, 5 when it NEEDS_ATTENTION, 124 when the time is up. A server that
    restarts meanwhile is waited for, too.
    """
    return _wait(session, saga_id, timeout)


@click.command()
@click.argument("saga_id")
@click.option("--reason", default="", help="Why, for those who read its history.")
@click.option("--etag", default="", help="Refuse where the saga has changed since: the etag of `saga get -o json`.")
@click.option("--dry-run", is_flag=True, help="Change nothing; show what would be undone.")
@click.option("--wait", "waits", is_flag=True, help="Wait until everything is undone, and exit as `saga wait` does.")
@connected
def cancel(session: Session, saga_id: str, *, reason: str, etag: str, dry_run: bool, waits: bool) -> int | None:
    """Cancel a saga: stop what is in flight, undo what was done."""
    from orchestrator.v1.saga_pb2 import SAGA_VIEW_STEPS, SAGA_WAIT_KIND_PIVOT
    from orchestrator.v1.saga_service_pb2 import CancelSagaRequest

    if dry_run and waits:
        raise click.UsageError("--wait has nothing to wait for with --dry-run")
    request = CancelSagaRequest(saga_id=saga_id, reason=reason, view=SAGA_VIEW_STEPS, etag=etag, validate_only=dry_run)
    response = session.sagas.CancelSaga(request, timeout=CLI_CALL_S)
    if waits:
        return _wait(session, saga_id, None)
    if not session.printer.is_table:
        session.printer.message(response)
    elif dry_run:
        show_undo_plan(session.printer, response.undo_plan)
    elif not session.printer.quiet:
        waiting = [wait.message for wait in response.saga.waiting_for if wait.kind == SAGA_WAIT_KIND_PIVOT]
        echo(": ".join([f"{saga_id} is {status_of(response.saga)}", *waiting]))
    return None


@click.command()
@click.argument("saga_id")
@click.argument("name")
@click.option("--payload", type=INPUT, default="{}", help="JSON object, @FILE, or - for standard input.")
@click.option("--request-id", default="", help="A UUID: the same one is the same signal, for ever.")
@click.option("--start", "definition", default="", help="Start a saga of this definition first, where there is none.")
@click.option("--input", "given", type=INPUT, help="With --start: its input.")
@connected
def signal(
    session: Session,
    saga_id: str,
    name: str,
    *,
    payload: dict[str, object],
    request_id: str,
    definition: str,
    given: dict[str, object] | None,
) -> None:
    """Hand SAGA_ID the signal NAME, for the step that waits for it or will wait for it. It is durable on return."""
    import uuid

    from google.protobuf.json_format import ParseDict

    from orchestrator.v1.saga_service_pb2 import SignalSagaRequest, SignalWithStartRequest, StartSagaRequest

    if given is not None and not definition:
        raise click.UsageError("--input goes with --start; what comes with the signal is --payload")
    # One for each line typed; who must be able to repeat one gives --request-id.
    once = request_id or str(uuid.uuid4())  # noqa: TID251  (a person's own)
    sent = SignalSagaRequest(signal=name, request_id=once)
    ParseDict(payload, sent.json)
    if definition:
        asked = SignalWithStartRequest(start=StartSagaRequest(saga_id=saga_id, definition=definition), signal=sent)
        ParseDict(given or {}, asked.start.json)
        response = session.sagas.SignalWithStart(asked, timeout=CLI_CALL_S)
        told = f"{'started' if response.created else 'exists already:'} {saga_id}, and it has signal {name}"
        if not session.printer.is_table:
            session.printer.message(response)
            return
    else:
        sent.saga_id = saga_id
        answer = session.sagas.SignalSaga(sent, timeout=CLI_CALL_S)
        told = f"{saga_id} has signal {name}; it is {status_of(answer.saga)}"
        if not session.printer.is_table:
            session.printer.message(answer)
            return
    if not session.printer.quiet:
        echo(told)


def _wait(session: Session, saga_id: str, timeout_s: float | None) -> int:
    """Poll until the saga has ended; the exit code of its end."""
    import grpc

    from orchestrator.v1.saga_pb2 import SAGA_VIEW_STEPS, Saga
    from orchestrator.v1.saga_service_pb2 import WaitSagaRequest

    until_at = None if timeout_s is None else time.monotonic() + timeout_s  # noqa: TID251  (a person's patience)
    saga: Saga | None = None
    is_told = False
    while True:
        left_s = CLI_POLL_S if until_at is None else until_at - time.monotonic()  # noqa: TID251  (the same)
        if left_s <= 0:
            stands = f"is {status_of(saga)}" if saga else "was not seen"
            raise Failure(f"{saga_id} {stands} after {duration(timeout_s or 0)}; it goes on without you", Exit.TIMEOUT)
        request = WaitSagaRequest(saga_id=saga_id, view=SAGA_VIEW_STEPS)
        request.timeout.FromNanoseconds(int(min(left_s, CLI_POLL_S) * 1e9))
        try:
            response = session.sagas.WaitSaga(request, timeout=min(left_s, CLI_POLL_S) + 5)
        except grpc.RpcError as failed:
            if saga is None or not _is_restarting(failed):
                raise
            if not is_told and not session.printer.quiet:
                note(f"{session.server} is away; waiting for it to come back (Ctrl-C to stop)")
            is_told = True
            time.sleep(CLI_RECONNECT_S)  # noqa: TID251  (a terminal program; no event loop to stop)
            continue
        saga, is_told = response.saga, False
        if response.reached:
            show(session.printer, saga)
            return exit_of(saga)


def _value(value: str | float | bool) -> "Value":  # noqa: FBT001  (one of three kinds, not a switch)
    from google.protobuf.struct_pb2 import Value

    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def _is_restarting(failed: Exception) -> bool:
    import grpc

    code = getattr(failed, "code", lambda: None)()
    return code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
