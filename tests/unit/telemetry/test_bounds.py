"""What is kept and told of one saga is bounded, and what is left out is counted."""

import pytest

from orchestrator.limits import SPAN_ATTEMPTS_MAX, SPAN_EVENTS_MAX, SPAN_ITEMS_MAX
from orchestrator.saga.events import SagaStarted
from orchestrator.saga.plan import Facts, Poll
from orchestrator.telemetry import names
from orchestrator.telemetry.project import project
from orchestrator.telemetry.spandata import SpanLink
from orchestrator.telemetry.views import SagaView, shape_of, view_of
from tests.unit.telemetry.histories import CALLER
from tests.unit.telemetry.shapes import Guide, guide, items, no, plan_of, replied, run_plain, step
from tests.unit.telemetry.test_spans import by_name
from tests.unit.telemetry.trees import assert_one_tree, of, told

MANY = SPAN_ITEMS_MAX + 25


@pytest.fixture(scope="module")
def many() -> Guide:
    plan = plan_of("many", step("reserve", for_each=items(MANY, parallel=100)), step("last", "reserve"))
    teller = guide(plan)
    while not any(call.step == "last" for call in teller.calls()):
        teller.report(teller.calls()[0], replied())
    teller.reply("last", no())
    return run_plain(teller)


def test_items_past_the_bound_are_counted_and_not_told(many: Guide) -> None:
    spans = told(many)
    reserve, root = of(spans, "reserve"), by_name(spans)["saga many"]
    assert len([span for span in spans if span.name == "item reserve"]) == SPAN_ITEMS_MAX
    assert reserve.attributes[names.SAGA_ITEMS_APPLIED] == MANY
    assert reserve.attributes[names.SAGA_SPANS_UNTOLD] == 2 * 25, "an item and its attempt"
    assert by_name(spans)["saga.compensation"].attributes[names.SAGA_SPANS_UNTOLD] == 2 * 25
    assert root.attributes[names.SAGA_SPANS_UNTOLD] == 4 * 25
    assert many.injected == {(span.trace_id, span.span_id) for span in spans if span.kind == "client"}, (
        "what has no span is not sampled, so that no span of a service misses its parent"
    )
    assert_one_tree(many, spans)


def test_what_is_kept_of_a_saga_with_many_items_is_bounded(many: Guide) -> None:
    view: SagaView | None = None
    most = 0
    for record in many.records:
        event = record.event
        view = view_of(event, shape_of(many.plan)) if isinstance(event, SagaStarted) else view
        assert view is not None
        view, closed = project(view, event, record.version)
        assert len(closed) <= 3
        most = max(most, len(view.under_way) + len(view.calls) + len(view.last) + len(view.notes.events))
    assert most <= SPAN_ITEMS_MAX + 2 * 100 + SPAN_EVENTS_MAX + 3


def test_attempts_past_the_bound_are_counted_and_an_undo_links_to_the_step_instead() -> None:
    def enough(facts: Facts) -> bool:
        return facts.own_reply is not None and facts.own_reply.data == b"yes"

    poll = Poll(until=enough, every_s=0.1, at_most_s=1_000)
    teller = guide(plan_of("polled", step("one", poll=poll), step("two", "one")))
    for _ in range(SPAN_ATTEMPTS_MAX + 4):
        teller.reply("one", replied(b"later"))
        teller.wait()
    teller.reply("one", replied())
    teller.reply("two", no())
    spans = told(run_plain(teller))
    one = of(spans, "one")
    assert one.attributes[names.SAGA_SPANS_UNTOLD] == 5
    assert one.events == (), "an answer that says not yet is no failure"
    assert of(spans, "one", "compensate").links == (SpanLink(CALLER.trace_id, one.span_id),)
    assert_one_tree(teller, spans)
