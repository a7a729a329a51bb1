"""What is told as an event within a span rather than as a span: instants that somebody decided something."""

from typing import assert_never

from orchestrator.limits import SPAN_MESSAGE_CHARS_MAX
from orchestrator.saga import events as ev
from orchestrator.telemetry import names
from orchestrator.telemetry.logs import escaped
from orchestrator.telemetry.spandata import AttributeValue, SpanEvent

Note = (
    ev.RetryScheduled
    | ev.StepSkipped
    | ev.StepStuck
    | ev.StepReopened
    | ev.StepLeft
    | ev.StepsReset
    | ev.ElseBegan
    | ev.SignalReceived
    | ev.CancelRequested
    | ev.AttentionRaised
    | ev.AttentionCleared
    | ev.OperatorActed
)


def note_of(event: Note) -> SpanEvent:
    """Return an event as a span tells it."""
    match event:
        case ev.SignalReceived() | ev.CancelRequested() | ev.OperatorActed():
            name, facts = _by_somebody(event)
        case ev.AttentionRaised():
            name = names.ATTENTION_EVENT
            facts = {names.SAGA_REASON: event.reason.value, names.SAGA_MESSAGE: sentence(event.message)}
            if event.step is not None:
                facts[names.SAGA_STEP] = event.step
        case ev.AttentionCleared():
            name, facts = names.CLEARED_EVENT, {}
        case _:
            name, facts = _of_step(event)
    return SpanEvent(name=name, at_ns=ns(event.at), attributes=facts)


def _by_somebody(
    event: ev.SignalReceived | ev.CancelRequested | ev.OperatorActed,
) -> tuple[str, dict[str, AttributeValue]]:
    match event:
        case ev.SignalReceived():
            return names.SIGNAL_EVENT, {names.SAGA_SIGNAL: event.signal}
        case ev.CancelRequested():
            return names.CANCEL_EVENT, {names.SAGA_REASON: sentence(event.reason)}
        case ev.OperatorActed():
            facts: dict[str, AttributeValue] = {
                names.SAGA_VERB: event.verb.value,
                names.SAGA_BY: sentence(event.by),
                names.SAGA_REASON: sentence(event.reason),
            }
            if event.step is not None:
                facts[names.SAGA_STEP] = event.step
            if event.operation is not None:
                facts[names.SAGA_OPERATION] = event.operation.value
            if event.outcome is not None:
                facts[names.SAGA_OUTCOME] = event.outcome.value
            return names.OPERATOR_EVENT, facts
        case _:
            assert_never(event)


def _of_step(
    event: ev.RetryScheduled
    | ev.StepSkipped
    | ev.StepStuck
    | ev.StepReopened
    | ev.StepLeft
    | ev.StepsReset
    | ev.ElseBegan,
) -> tuple[str, dict[str, AttributeValue]]:
    step: dict[str, AttributeValue] = {names.SAGA_STEP: event.step}
    match event:
        case ev.RetryScheduled():
            return names.RETRY_EVENT, {
                names.SAGA_OPERATION: event.operation.value,
                names.SAGA_REASON: sentence(event.reason),
                names.SAGA_DELAY_S: round(event.due_at - event.at, 6),
                **({names.SAGA_PARKED: True} if event.parked else {}),
            }
        case ev.StepSkipped():
            return names.SKIPPED_EVENT, {**step, names.SAGA_REASON: event.reason.value}
        case ev.StepStuck():
            return names.STUCK_EVENT, {
                **step,
                names.SAGA_OPERATION: event.operation.value,
                names.SAGA_REASON: event.reason.value,
                names.SAGA_MESSAGE: sentence(event.message),
            }
        case ev.StepReopened():
            return names.REOPENED_EVENT, {
                **step,
                names.SAGA_OPERATION: event.operation.value,
                names.SAGA_AS_NEW: event.as_new,
            }
        case ev.StepLeft():
            return names.LEFT_EVENT, step
        case ev.StepsReset():
            return names.RESET_EVENT, {**step, names.SAGA_STEPS_COUNT: len(event.steps)}
        case ev.ElseBegan():
            return names.ELSE_EVENT, step
        case _:
            assert_never(event)


def sentence(text: str) -> str:
    """Return a text that came from outside: on one line, without control characters, cut to what a span says.

    Not every backend takes every character, and some show a text as it is.
    """
    shown = escaped(text[: SPAN_MESSAGE_CHARS_MAX + 1])
    return shown if len(shown) <= SPAN_MESSAGE_CHARS_MAX else shown[: SPAN_MESSAGE_CHARS_MAX - 1] + "…"


def ns(at: float) -> int:
    """Return Unix nanoseconds of Unix seconds."""
    return round(at * 1e9)
