"""A saga as a person reads it: its fields, what it waits for, its steps, and the command to type next."""

import shlex
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit
from orchestrator.cli.output import Printer, duration, echo, instant, note, paint, plain, seconds_of, tame, word

if TYPE_CHECKING:
    from orchestrator.v1.saga_pb2 import Explanation, Saga, SagaStep, SagaWait, UndoPlan

# Lines about waits, children or signals beside the steps; the rest is for -o json.
LINES = 8


def exit_of(saga: "Saga") -> Exit:
    """Return the exit code of a saga's end."""
    match status_of(saga):
        case "COMPLETED":
            return Exit.OK
        case "COMPENSATED":
            return Exit.COMPENSATED
        case "NEEDS_ATTENTION":
            return Exit.NEEDS_ATTENTION
        case "TERMINATED":
            return Exit.TERMINATED
        case _:
            return Exit.FAILED


def show(printer: Printer, saga: "Saga") -> None:
    """Print a saga: all of it for a program; for a person what they would ask about first."""
    if not printer.is_table:
        printer.message(saga)
        return
    if printer.quiet:
        return
    took_ = took(saga)
    printer.fields(
        [
            ("saga", saga.saga_id),
            ("status", status_of(saga) + (" (paused)" if saga.paused else "")),
            ("definition", f"{saga.definition} {click.style(saga.revision, dim=True)}"),
            ("parent", f"{saga.parent.saga_id}, step {saga.parent.step}" if saga.HasField("parent") else ""),
            ("started", instant(saga.start_time)),
            ("ended", instant(saga.end_time) + (f", after {took_}" if took_ else "")),
            ("cause", _cause(saga)),
            *_lines("attention", [_entry(entry.reason, entry.step, entry.message) for entry in saga.attention_entries]),
            *_lines("waits for", [wait.message for wait in saga.waiting_for if not _is_plain(wait)]),
            *_lines("undoing", [f"{part.step}: {', '.join(part.steps)}" for part in saga.rollbacks]),
            *_lines("signals", [f"{one.signal}, not taken yet" for one in saga.pending_signals]),
            *_lines("children", [f"{child.step}: {child.saga_id}" for child in saga.children]),
            (
                "attributes",
                tame(", ".join(f"{name}={plain(value)}" for name, value in sorted(saga.attributes.items()))),
            ),
            ("trace", saga.trace_id),
        ]
    )
    if saga.steps:
        echo("")
        printer.columns(("step", "status", "attempts", "code", "message"), [*map(_step_row, saga.steps)])
    if status_of(saga) == "NEEDS_ATTENTION":
        note(f"next: saga explain {shlex.quote(saga.saga_id)}")


def _lines(name: str, texts: list[str]) -> list[tuple[str, str]]:
    shown = [tame(text) for text in texts[:LINES]]
    if len(texts) > LINES:
        shown.append(f"and {len(texts) - LINES} more")
    return [(name if not at else " ", text) for at, text in enumerate(shown)]


def _is_plain(wait: "SagaWait") -> bool:
    """Return whether the table of steps says it already: a call that is open, or a step that needs a person."""
    from orchestrator.v1.saga_pb2 import SAGA_WAIT_KIND_CALL, SAGA_WAIT_KIND_PERSON

    return wait.kind in {SAGA_WAIT_KIND_CALL, SAGA_WAIT_KIND_PERSON}


def _entry(reason: str, step: str, message: str) -> str:
    return " ".join(filter(None, (reason, f"{step}:" if step else "", message)))


def _step_row(step: "SagaStep") -> tuple[str, str, str, str, str]:
    from orchestrator.v1.saga_pb2 import StepStatus

    attempts = str(step.forward.attempts) if step.HasField("forward") else ""
    for name in ("awaiting", "probe", "undo"):
        if step.HasField(name):
            operation = getattr(step, name)
            attempts += f" + {operation.attempts} {'look' if name == 'awaiting' else name}"
    text = " ".join(filter(None, (step.attention, step.message, _items(step), _waiting(step))))
    return step.step, word(StepStatus.Name(step.status), "STEP_STATUS_"), attempts, step.code, tame(text)


def _items(step: "SagaStep") -> str:
    if not step.HasField("items"):
        return ""
    counts = [
        (step.items.applied, "applied"),
        (step.items.failed, "failed"),
        (step.items.under_way, "under way"),
        (step.items.undoing, "being undone"),
        (step.items.stuck, "stuck"),
    ]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{step.items.began} of {step.items.count} items begun" + (f": {told}" if told else "")


def _waiting(step: "SagaStep") -> str:
    from orchestrator.v1.saga_pb2 import STEP_STATUS_WAITING

    parts = [f"saga {step.child_saga_id}"] if step.child_saga_id else []
    if step.status == STEP_STATUS_WAITING:
        parts += [f"for signal {step.signal}"] if step.signal else []
        parts += [f"until {instant(step.due_time)}"] if step.HasField("due_time") else []
    parts += ["in its alternative"] if step.in_else else []
    return ", ".join(parts)


def _cause(saga: "Saga") -> str:
    if not saga.HasField("cause"):
        return ""
    where = f"{saga.cause.step}: " if saga.cause.step else ""
    # A reply that means no came with OK, which says nothing about why.
    answer = "refused:" if saga.cause.reason == "REFUSED" else saga.cause.code
    return where + tame(" ".join(filter(None, (answer, saga.cause.message or saga.cause.reason))))


def status_of(saga: "Saga | Explanation") -> str:
    """Return the status word."""
    from orchestrator.v1.saga_pb2 import SagaStatus

    return word(SagaStatus.Name(saga.status), "SAGA_STATUS_")


def took(saga: "Saga") -> str:
    """Return how long an ended saga took; empty while it goes on."""
    end = seconds_of(saga.end_time)
    return duration(end - seconds_of(saga.start_time)) if end else ""


def why(saga: "Saga") -> str:
    """Return why a saga needs attention or went backward, in a line of a list."""
    return " ".join([*(paint(reason) for reason in saga.attention), tame(saga.cause.message)])


def show_undo_plan(printer: Printer, plan: "UndoPlan") -> None:
    """Print what undoing a saga would call, in order, and what would stay."""
    from orchestrator.v1.saga_pb2 import StayingReason, StepOutcome

    rows = [
        (
            str(call.wave),
            call.step,
            word(StepOutcome.Name(call.outcome), "STEP_OUTCOME_"),
            f"{call.target} {call.method}",
            "; ".join(
                filter(
                    None,
                    (
                        f"under way, attempt {call.attempts}" if call.attempts else "",
                        f"not before {instant(call.not_before)}" if call.HasField("not_before") else "",
                        "asked first whether it took place" if call.probed_first else "",
                    ),
                )
            ),
        )
        for call in plan.calls
    ]
    if rows:
        printer.columns(("wave", "step", "was", "call", "when"), rows)
    else:
        echo(f"{plan.saga_id}: nothing would be called")
    if plan.omitted:
        echo(f"and {plan.omitted} more")
    if printer.quiet:
        return
    if plan.stays:
        echo("")
        stays = [
            (each.step, word(StayingReason.Name(each.reason), "STAYING_REASON_"), tame(each.message))
            for each in plan.stays
        ]
        printer.columns(("stays", "why", "message"), stays)
    for condition in plan.conditions:
        note(f"note: {tame(condition)}")
