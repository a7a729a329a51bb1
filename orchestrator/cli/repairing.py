"""Commands for what only a person may do, and what people did: attention, repair, audit."""

import functools
import getpass
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from orchestrator.cli.given import INPUT
from orchestrator.cli.output import echo, instant, note, tame, word
from orchestrator.cli.session import ExitCode, Session, connected, pages
from orchestrator.cli.showing import status_of
from orchestrator.limits import CLI_CALL_S

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from orchestrator.v1.operator_service_pb2 import AttentionSaga
    from orchestrator.v1.saga_pb2 import AuditEntry

# What of a verb's answer is a sentence for a person, by the audit's word.
_DID = {
    "RETRY": "{step} is tried again",
    "RESOLVE": "{step} is resolved as {outcome}",
    "SKIP": "{step} is passed over",
    "OVERRIDE_REQUEST": "{step} is sent another request",
    "FORCE_COMPLETE": "its completion is forced",
    "TERMINATE": "it is ended as it was",
    "PAUSE": "it is paused; nothing new begins until `saga repair resume`",
    "RESUME": "it goes on",
    "RERUN": "{step} and what follows it are undone and run again",
}


@click.command()
@click.option("--reason", default="", help="Only sagas with this reason, e.g. UNDO_REFUSED.")
@click.option("--definition", default="", help="Only sagas of this definition.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most this many.")
@connected
def attention(session: Session, *, reason: str, definition: str, limit: int) -> None:
    """List the sagas that need a person, each with every reason, the oldest first."""
    from orchestrator.v1.operator_service_pb2 import ListAttentionRequest

    def fetch(token: str) -> "tuple[Sequence[AttentionSaga], str]":
        request = ListAttentionRequest(reason=reason.upper(), definition=definition, page_token=token)
        response = session.operators.ListAttention(request, timeout=CLI_CALL_S)
        return response.sagas, response.next_page_token

    found: list[AttentionSaga] = list(pages(fetch, limit + 1))
    shown = found[:limit]
    if not session.printer.is_table:
        session.printer.messages([each.saga for each in shown])
        return
    if session.printer.quiet:
        for each in shown:
            echo(each.saga.saga_id)
        return
    rows = [row for each in shown for row in _attention_rows(each)]
    if not rows:
        note("no saga needs a person")
        return
    session.printer.columns(("saga", "definition", "changed", "reason", "step", "message"), rows)
    if len(found) > limit:
        note(f"the first {limit}; there are more: --limit")
    note("next: saga explain SAGA says what can be done")


def _attention_rows(each: "AttentionSaga") -> list[tuple[str, ...]]:
    saga = each.saga
    head = (saga.saga_id, saga.definition, instant(saga.update_time))
    entries = [(entry.reason, entry.step, tame(entry.message)) for entry in saga.attention_entries]
    return [(*head, *entry) for entry in entries or [(reason, "", "") for reason in saga.attention or [""]]]


@click.command()
@click.argument("saga_id", required=False, default="")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most this many.")
@connected
def audit(session: Session, saga_id: str, *, limit: int) -> None:
    """List what people did to SAGA_ID, or to all sagas: who, what, why and when, newest first."""
    from orchestrator.v1.operator_service_pb2 import ListAuditEntriesRequest

    def fetch(token: str) -> "tuple[Sequence[AuditEntry], str]":
        request = ListAuditEntriesRequest(saga_id=saga_id, page_token=token)
        response = session.operators.ListAuditEntries(request, timeout=CLI_CALL_S)
        return response.entries, response.next_page_token

    found: list[AuditEntry] = list(pages(fetch, limit + 1))
    entries = found[:limit]
    if not session.printer.is_table:
        session.printer.messages(entries)
        return
    rows = [
        (
            each.saga_id,
            instant(each.event_time),
            each.verb,
            " ".join(filter(None, (each.step, _outcome(each)))),
            tame(each.by),
            tame(each.reason),
        )
        for each in entries
    ]
    if rows or session.printer.quiet:
        session.printer.columns(("saga", "when", "what", "step", "who", "why"), rows)
    else:
        note("nobody did anything")
    if len(found) > limit and not session.printer.quiet:
        note(f"the newest {limit}; there are more: --limit")


def _outcome(entry: "AuditEntry") -> str:
    from orchestrator.v1.saga_pb2 import StepOutcome

    return word(StepOutcome.Name(entry.outcome), "STEP_OUTCOME_")


@click.group()
def repair() -> None:
    """Do what only a person may: where the rules cannot decide, somebody who knows does.

    Every verb is kept with its reason and the name of who asked: --by, SAGA_OPERATOR, or the name you are logged in
    under. `saga explain SAGA` lists what a saga would take now.
    """


def _verb(method: str) -> Callable[[Callable[..., "Message"]], Callable[..., ExitCode]]:
    """Give a verb's command what all verbs have; it returns the request, which is then sent and its answer told."""

    def decorate(command: Callable[..., Any]) -> Callable[..., ExitCode]:
        @click.option("--reason", required=True, help="Why: kept for ever, for those who read the audit.")
        @click.option(
            "--etag", default="", help="Refuse where the saga has changed since: `etag` of `saga get -o json`."
        )
        @click.option("--dry-run", is_flag=True, help="Change nothing; say whether it would be taken.")
        @click.option("--by", envvar="SAGA_OPERATOR", show_envvar=True, help="Who you are; your login where absent.")
        @connected
        @functools.wraps(command)
        def run(
            session: Session, *args: str, reason: str, etag: str, dry_run: bool, by: str | None, **own: object
        ) -> None:
            request = command(*args, **own)
            request.reason, request.etag, request.validate_only = reason, etag, dry_run
            metadata = (("x-operator", quote(by or _login(), safe=" @.,()-_+'")),)
            response = getattr(session.operators, method)(request, timeout=CLI_CALL_S, metadata=metadata)
            _tell(session, response, dry_run=dry_run)

        return run

    return decorate


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container without a name for its user
        return "unknown"


def _tell(session: Session, response: Any, *, dry_run: bool) -> None:  # noqa: ANN401  (nine messages of one shape)
    if not session.printer.is_table:
        session.printer.message(response)
        return
    if session.printer.quiet:
        return
    saga, entry = response.saga, response.audit_entry
    if not response.HasField("audit_entry"):
        echo(f"{saga.saga_id} is {status_of(saga)}: nothing to do")
        return
    did = _DID.get(entry.verb, entry.verb).format(step=entry.step, outcome=_outcome(entry))
    if dry_run:
        echo(f"{saga.saga_id} would take it: {did}. Nothing was changed.")
        return
    echo(f"{saga.saga_id} is {status_of(saga)}: {did}")


STEP = click.argument("step")
SAGA = click.argument("saga_id")


@repair.command()
@SAGA
@STEP
@click.option("--as-new", is_flag=True, help="Under a new key: the service takes it for another operation.")
@_verb("RetryStep")
def retry(saga_id: str, step: str, *, as_new: bool) -> "Message":
    """Try a step again now that is stuck, or that waits to be tried again."""
    from orchestrator.v1.operator_service_pb2 import RetryStepRequest

    return RetryStepRequest(saga_id=saga_id, step=step, as_new=as_new)


@repair.command()
@SAGA
@STEP
@click.argument("outcome", type=click.Choice(("applied", "not-applied")))
@click.option("--reply", type=INPUT, help="What the call would have replied: a JSON object, @FILE, or -.")
@_verb("ResolveStep")
def resolve(saga_id: str, step: str, outcome: str, *, reply: dict[str, object] | None) -> "Message":
    """Say what is true of a step: its call was applied, or was not. Of a stuck undo: it is undone (applied)."""
    from google.protobuf.json_format import ParseDict

    from orchestrator.v1.operator_service_pb2 import ResolveStepRequest
    from orchestrator.v1.saga_pb2 import STEP_OUTCOME_APPLIED, STEP_OUTCOME_NOT_APPLIED

    said = STEP_OUTCOME_APPLIED if outcome == "applied" else STEP_OUTCOME_NOT_APPLIED
    request = ResolveStepRequest(saga_id=saga_id, step=step, outcome=said)
    if reply is not None:
        ParseDict(reply, request.json)
        request.json.SetInParent()
    return request


@repair.command()
@SAGA
@STEP
@_verb("SkipStep")
def skip(saga_id: str, step: str) -> "Message":
    """Go on without a stuck step; where its undo is what is stuck, leave the effect as it is."""
    from orchestrator.v1.operator_service_pb2 import SkipStepRequest

    return SkipStepRequest(saga_id=saga_id, step=step)


@repair.command()
@SAGA
@STEP
@click.option("--request", "given", type=INPUT, required=True, help="What to send: a JSON object, @FILE, or -.")
@_verb("OverrideStepRequest")
def override(saga_id: str, step: str, *, given: dict[str, object]) -> "Message":
    """Send a stuck step another request, under a new key."""
    from google.protobuf.json_format import ParseDict

    from orchestrator.v1.operator_service_pb2 import OverrideStepRequestRequest

    request = OverrideStepRequestRequest(saga_id=saga_id, step=step)
    ParseDict(given, request.json)
    request.json.SetInParent()
    return request


@repair.command("force-complete")
@SAGA
@_verb("ForceComplete")
def force_complete(saga_id: str) -> "Message":
    """End a saga that goes forward as COMPLETED, with what is there."""
    from orchestrator.v1.operator_service_pb2 import ForceCompleteRequest

    return ForceCompleteRequest(saga_id=saga_id)


@repair.command()
@SAGA
@_verb("TerminateSaga")
def terminate(saga_id: str) -> "Message":
    """End a saga as it is; nothing more is done or undone. What is to be undone is cancelled instead."""
    from orchestrator.v1.operator_service_pb2 import TerminateSagaRequest

    return TerminateSagaRequest(saga_id=saga_id)


@repair.command()
@SAGA
@_verb("PauseSaga")
def pause(saga_id: str) -> "Message":
    """Begin nothing new until the saga is resumed; calls that are open come to their end."""
    from orchestrator.v1.operator_service_pb2 import PauseSagaRequest

    return PauseSagaRequest(saga_id=saga_id)


@repair.command()
@SAGA
@_verb("ResumeSaga")
def resume(saga_id: str) -> "Message":
    """Go on with a paused saga."""
    from orchestrator.v1.operator_service_pb2 import ResumeSagaRequest

    return ResumeSagaRequest(saga_id=saga_id)


@repair.command()
@SAGA
@STEP
@_verb("RerunFromStep")
def rerun(saga_id: str, step: str) -> "Message":
    """Undo a step and all that follows it, then run them again under new keys."""
    from orchestrator.v1.operator_service_pb2 import RerunFromStepRequest

    return RerunFromStepRequest(saga_id=saga_id, step=step)
