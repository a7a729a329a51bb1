"""What comes from outside is one line of plain text in a span, as it is in the log."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from orchestrator.limits import SPAN_MESSAGE_CHARS_MAX
from orchestrator.saga.commands import CancelSaga
from orchestrator.saga.effects import SendCall
from orchestrator.saga.events import AttemptSettled, Event, Report, SagaStarted
from orchestrator.telemetry import names
from orchestrator.telemetry.logs import escaped
from orchestrator.telemetry.notes import sentence
from orchestrator.telemetry.spandata import SpanData
from orchestrator.tracecontext import kept_baggage
from tests.unit.telemetry.histories import Teller, notify_refused
from tests.unit.telemetry.test_spans import events_of, spans_of

HOSTILE = "no\0\r\n2026-01-01 ERROR forged\x1b[31m\x7f\x9b2J\u2028\u202eend"
SHOWN = r"no\x00\r\n2026-01-01 ERROR forged\x1b[31m\x7f\x9b2J\u2028\u202eend"


@pytest.mark.parametrize(
    "sign", ["\0", "\r\n", "\t", "\x1b]0;title\x07", "\x85", "\u2029", "\u2066", "\ufeff", "\ud800"]
)
def test_no_sign_that_a_screen_or_a_store_acts_on_is_left_in_a_sentence(sign: str) -> None:
    told = sentence(f"said {sign}")
    assert told == escaped(f"said {sign}")
    assert told.isprintable()
    assert told.encode()  # a lone surrogate would be no text at all


def test_plain_text_is_told_as_it_is() -> None:
    assert sentence("Grüße, 世界 …") == "Grüße, 世界 …"
    assert sentence("x" * SPAN_MESSAGE_CHARS_MAX) == "x" * SPAN_MESSAGE_CHARS_MAX


@pytest.mark.parametrize("text", ["x" * (SPAN_MESSAGE_CHARS_MAX + 1), "\0" * SPAN_MESSAGE_CHARS_MAX, "\0" * 1_000_000])
def test_a_sentence_is_cut_to_its_bound_as_it_is_shown(text: str) -> None:
    told = sentence(text)
    assert len(told) == SPAN_MESSAGE_CHARS_MAX
    assert told == escaped(text[:SPAN_MESSAGE_CHARS_MAX])[: SPAN_MESSAGE_CHARS_MAX - 1] + "…"


def texts_of(spans: Iterable[SpanData]) -> list[str]:
    """Every text of spans and of their events."""
    found: list[str] = []
    for span in spans:
        told = [span.attributes, *(event.attributes for event in span.events)]
        found += [span.name, span.trace_state, span.error or "", *(event.name for event in span.events)]
        found += [text for each in told for pair in each.items() for text in pair if isinstance(text, str)]
    return found


def test_what_callers_services_and_people_say_is_plain_in_every_span() -> None:
    def hostile(call: SendCall, at: float) -> Report:
        found = notify_refused(call, at)
        return found if found.code == "OK" else replace(found, message=HOSTILE, error_reason=HOSTILE)

    teller = Teller()
    appends = [teller.start()]
    appends += [append for append, _ in zip(teller.run(hostile), range(2), strict=False)]
    appends.append(teller.tell(CancelSaga(reason=HOSTILE)))
    appends += teller.run(hostile)
    baggage = kept_baggage("tenant=no%00%0D%0A2026-01-01%20ERROR%20forged%1B[31m", {"tenant"})

    def odd(event: Event) -> Event:
        return replace(event, baggage=baggage) if isinstance(event, SagaStarted) else event

    refused = Teller()
    spans = spans_of(map(odd, events_of(appends))) + spans_of(events_of(refused.run(hostile)))
    said = [event for event in events_of(refused.appends) if isinstance(event, AttemptSettled)]
    assert any(event.report.error_reason == event.report.message == HOSTILE for event in said), "nobody said it"
    texts = texts_of(spans)
    assert [text for text in texts if not text.isprintable()] == []
    assert SHOWN in texts
    tagged = [span.attributes.get(names.BAGGAGE.format(name="tenant")) for span in spans]
    assert SHOWN[: SHOWN.index(r"\x7f")] in tagged
    reasons = [span.attributes.get(names.SAGA_REASON) for span in spans if span.kind == "client"]
    assert SHOWN in reasons, "the service's own reason"
    assert SHOWN in [event.attributes.get(names.SAGA_REASON) for span in spans for event in span.events], "a cancel's"
