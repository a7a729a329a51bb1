"""Commands that change nothing and say why: explain, undo-plan."""

import shlex
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import echo, instant, paint, tame, word
from orchestrator.cli.session import Session, connected
from orchestrator.cli.showing import show_undo_plan, status_of
from orchestrator.limits import CLI_CALL_S

if TYPE_CHECKING:
    from orchestrator.v1.saga_pb2 import Explanation, PossibleVerb, SagaWait

_REASON = "--reason '…'"
_VERBS = {
    "RETRY": "saga repair retry {saga} {step} " + _REASON,
    "RESOLVE": "saga repair resolve {saga} {step} {outcome} " + _REASON,
    "SKIP": "saga repair skip {saga} {step} " + _REASON,
    "OVERRIDE_REQUEST": "saga repair override {saga} {step} --request '{{…}}' " + _REASON,
    "FORCE_COMPLETE": "saga repair force-complete {saga} " + _REASON,
    "TERMINATE": "saga repair terminate {saga} " + _REASON,
    "RESUME": "saga repair resume {saga} " + _REASON,
    "CANCEL": "saga cancel {saga}",
}


@click.command()
@click.argument("saga_id")
@connected
def explain(session: Session, saga_id: str) -> None:
    """Say why a saga is not further than it is, when it moves next by itself, and what to type to help it."""
    from orchestrator.v1.saga_service_pb2 import ExplainSagaRequest

    request = ExplainSagaRequest(saga_id=saga_id)
    told = session.sagas.ExplainSaga(request, timeout=CLI_CALL_S).explanation
    if not session.printer.is_table:
        session.printer.message(told)
        return
    echo(f"{told.saga_id} is {paint(status_of(told))}: {tame(told.summary)}")
    if session.printer.quiet:
        return
    if len(told.waits) > 1:
        _listed("It waits for:", [wait.message for wait in told.waits])
    if told.HasField("next_wake_time"):
        echo(f"It wakes by itself at {instant(told.next_wake_time)} at the latest.")
    if told.remarks:
        _listed("Also:", list(told.remarks))
    commands = _commands(told)
    if commands:
        echo("What you can do:")
        width = max(len(command) for command, _ in commands)
        for command, message in commands:
            echo(f"  {command.ljust(width)}  {click.style('# ' + tame(message), dim=True)}")


def _listed(title: str, lines: list[str]) -> None:
    echo(title)
    for line in lines:
        echo(f"  - {tame(line)}")


def _commands(told: "Explanation") -> list[tuple[str, str]]:
    saga = shlex.quote(told.saga_id)
    found = [_signal(saga, wait) for wait in told.waits if wait.signal]
    return found + [(_command(saga, each), each.message) for each in told.possible]


def _signal(saga: str, wait: "SagaWait") -> tuple[str, str]:
    return f"saga signal {saga} {shlex.quote(wait.signal)} --payload '{{…}}'", f"what step {wait.step} waits for"


def _command(saga: str, possible: "PossibleVerb") -> str:
    from orchestrator.v1.saga_pb2 import StepOutcome

    outcome = word(StepOutcome.Name(possible.outcome), "STEP_OUTCOME_").lower().replace("_", "-")
    pattern = _VERBS.get(possible.verb, f"# {possible.verb}: this program does not know it; use a newer one")
    return pattern.format(saga=saga, step=shlex.quote(possible.step), outcome=outcome)


@click.command("undo-plan")
@click.argument("saga_id")
@click.option("--payloads", is_flag=True, help="With -o json or yaml: every call's request, too.")
@connected
def undo_plan(session: Session, saga_id: str, *, payloads: bool) -> None:
    """Show what undoing a saga now would call, in order, and what would stay. Nothing is changed.

    The calls of one wave are made at the same time. What is UNKNOWN may not have been applied: it is undone to be sure.
    """
    from orchestrator.v1.saga_pb2 import SAGA_VIEW_BASIC, SAGA_VIEW_FULL
    from orchestrator.v1.saga_service_pb2 import PreviewCompensationRequest

    request = PreviewCompensationRequest(saga_id=saga_id, view=SAGA_VIEW_FULL if payloads else SAGA_VIEW_BASIC)
    plan = session.sagas.PreviewCompensation(request, timeout=CLI_CALL_S).undo_plan
    if not session.printer.is_table:
        session.printer.message(plan)
    else:
        show_undo_plan(session.printer, plan)
