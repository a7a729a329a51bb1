"""Commands about one saga, or about many: start, get, list, count, wait, cancel."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.given import ATTRIBUTE, DURATION, INPUT
from orchestrator.cli.output import duration, echo, instant, note, paint, plain, seconds_of, tame, word
from orchestrator.cli.session import Session, connected, pages
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
    _show(session, saga)


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
        (saga.saga_id, saga.definition, _status(saga), instant(saga.start_time), _took(saga), _why(saga))
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
@click.option("--wait", "waits", is_flag=True, help="Wait until everything is undone, and exit as `saga wait` does.")
@connected
def cancel(session: Session, saga_id: str, *, reason: str, waits: bool) -> int | None:
    """Cancel a saga: stop what is in flight, undo what was done."""
    from orchestrator.v1.saga_pb2 import SAGA_VIEW_STEPS
    from orchestrator.v1.saga_service_pb2 import CancelSagaRequest

    request = CancelSagaRequest(saga_id=saga_id, reason=reason, view=SAGA_VIEW_STEPS)
    response = session.sagas.CancelSaga(request, timeout=CLI_CALL_S)
    if waits:
        return _wait(session, saga_id, None)
    if not session.printer.is_table:
        session.printer.message(response)
    elif not session.printer.quiet:
        echo(f"{saga_id} is {_status(response.saga)}")
    return None


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
            stands = f"is {_status(saga)}" if saga else "was not seen"
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
            _show(session, saga)
            return _exit_of(saga)


def _value(value: str | float | bool) -> "Value":  # noqa: FBT001  (one of three kinds, not a switch)
    from google.protobuf.struct_pb2 import Value

    if isinstance(value, bool):
        return Value(bool_value=value)
    return Value(string_value=value) if isinstance(value, str) else Value(number_value=value)


def _is_restarting(failed: Exception) -> bool:
    import grpc

    code = getattr(failed, "code", lambda: None)()
    return code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


def _exit_of(saga: "Saga") -> Exit:
    match _status(saga):
        case "COMPLETED":
            return Exit.OK
        case "COMPENSATED":
            return Exit.COMPENSATED
        case "NEEDS_ATTENTION":
            return Exit.NEEDS_ATTENTION
        case _:
            return Exit.FAILED


def _show(session: Session, saga: "Saga") -> None:
    if not session.printer.is_table:
        session.printer.message(saga)
        return
    if session.printer.quiet:
        return
    took = _took(saga)
    session.printer.fields(
        [
            ("saga", saga.saga_id),
            ("status", _status(saga)),
            ("definition", f"{saga.definition} {click.style(saga.revision, dim=True)}"),
            ("started", instant(saga.start_time)),
            ("ended", instant(saga.end_time) + (f", after {took}" if took else "")),
            ("cause", _cause(saga)),
            ("attention", ", ".join(saga.attention)),
            (
                "attributes",
                tame(", ".join(f"{name}={plain(value)}" for name, value in sorted(saga.attributes.items()))),
            ),
            ("trace", saga.trace_id),
        ]
    )
    if saga.steps:
        echo("")
        session.printer.columns(("step", "status", "attempts", "code", "message"), [*map(_step_row, saga.steps)])


def _step_row(step: "object") -> tuple[str, str, str, str, str]:
    from orchestrator.v1.saga_pb2 import SagaStep, StepStatus

    assert isinstance(step, SagaStep)
    attempts = str(step.forward.attempts) if step.HasField("forward") else ""
    if step.HasField("undo"):
        attempts += f" + {step.undo.attempts} undo"
    text = " ".join(filter(None, (step.attention, step.message)))
    return step.step, word(StepStatus.Name(step.status), "STEP_STATUS_"), attempts, step.code, tame(text)


def _cause(saga: "Saga") -> str:
    if not saga.HasField("cause"):
        return ""
    where = f"{saga.cause.step}: " if saga.cause.step else ""
    # A reply that means no came with OK, which says nothing about why.
    answer = "refused:" if saga.cause.reason == "REFUSED" else saga.cause.code
    return where + tame(" ".join(filter(None, (answer, saga.cause.message or saga.cause.reason))))


def _status(saga: "Saga") -> str:
    from orchestrator.v1.saga_pb2 import SagaStatus

    return word(SagaStatus.Name(saga.status), "SAGA_STATUS_")


def _took(saga: "Saga") -> str:
    end = seconds_of(saga.end_time)
    return duration(end - seconds_of(saga.start_time)) if end else ""


def _why(saga: "Saga") -> str:
    return " ".join([*(paint(reason) for reason in saga.attention), tame(saga.cause.message)])
