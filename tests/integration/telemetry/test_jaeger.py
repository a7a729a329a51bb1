"""A saga's trace as a real Jaeger has stored it and gives it back, whatever became of the saga."""

from collections.abc import AsyncIterator
from itertools import pairwise
from uuid import UUID

import pytest
import pytest_asyncio

from orchestrator import ids
from orchestrator.ids import StepId
from tests.integration.telemetry.clinic import CLOSED_SITE, FAR_SITE, Open, opened, report
from tests.kit import jaeger
from tests.kit.jaeger import Reference, Trace
from tests.kit.sound import ORCHESTRATOR
from tests.kit.trees import (
    assert_sound,
    attempts,
    distinct,
    has_ended,
    has_ended_after_a_crash,
    only,
    paths,
    root_of,
    services_in_order,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300 + jaeger.BUILD_S_MAX)]

FORWARD = {
    "saga epro_intake > saga.start",
    "saga epro_intake > step validate > epro.v1.Validator/Validate > epro.v1.Validator/Validate",
    "saga epro_intake > step score > epro.v1.Scoring/Score > epro.v1.Scoring/Score",
    "saga epro_intake > step archive > epro.v1.Archive/Store > epro.v1.Archive/Store",
    "saga epro_intake > step adverse_event > epro.v1.Safety/OpenAdverseEvent > epro.v1.Safety/OpenAdverseEvent",
}
ALERT = "saga epro_intake > step notify > epro.v1.Notifier/SendAlert > epro.v1.Notifier/SendAlert"
UNDO = "saga epro_intake > saga.compensation > undo archive > epro.v1.Archive/Withdraw > epro.v1.Archive/Withdraw"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Open]:
    async with jaeger.running() as running, opened(tmp_path_factory.mktemp("clinic"), running) as world:
        yield world


def leaves(trace: Trace) -> set[str]:
    found = paths(trace)
    return {path for path in found if not any(other.startswith(f"{path} > ") for other in found)}


async def test_a_saga_that_completes_is_one_tree_with_its_callers_and_its_services_spans(world: Open) -> None:
    status, trace = await world.clinic.run("happy", report("happy"))
    assert status == "COMPLETED"
    assert_sound(trace)
    assert leaves(trace) == {*FORWARD, ALERT}
    assert root_of(trace).tags["saga.status"] == "COMPLETED"
    assert not any(span.is_error for span in trace)
    assert only([span for span in trace if not span.parents]).name == "take in a form", "the caller's own is above all"
    first, *middle, alarm, last = services_in_order(trace)
    assert (first, set(middle), alarm, last) == ("validator", {"scoring", "archive"}, "safety", "notifier")
    steps = [only(paths(trace)[f"saga epro_intake > step {step}"]) for step in ("score", "adverse_event", "notify")]
    assert all(earlier.end_us <= later.begin_us for earlier, later in pairwise(steps)), "a step begins after its needs"


async def test_a_saga_that_fails_shows_what_failed_and_links_what_was_undone(world: Open) -> None:
    status, trace = await world.clinic.run("refused", report("refused", CLOSED_SITE))
    assert status == "COMPENSATED"
    assert_sound(trace)
    assert leaves(trace) == {*FORWARD, UNDO}
    marked = {span.name for span in trace if span.is_error}
    assert marked == {"saga epro_intake", "step adverse_event", "epro.v1.Safety/OpenAdverseEvent"}
    refusal = only(attempts(trace, "adverse_event"))
    assert refusal.tags["error.type"] == refusal.tags["rpc.response.status_code"] == "FAILED_PRECONDITION"
    assert refusal.tags["saga.reason"] == "SITE_CLOSED"
    step = only(paths(trace)["saga epro_intake > step adverse_event"])
    assert step.tags["error.type"] == "FAILED_PRECONDITION", "which says what was wrong, as REPLIED would not"
    assert "site DE-03 is closed" in str(root_of(trace).tags["otel.status_description"])
    root, compensation = root_of(trace), only([span for span in trace if span.name == "saga.compensation"])
    for span in (root, compensation):
        assert (span.tags["saga.cause.step"], span.tags["saga.undone_count"]) == ("adverse_event", 1)
    assert compensation.begin_us >= refusal.end_us, "nothing is undone before it failed"
    assert services_in_order(trace)[-2:] == ["safety", "archive"], "the way back comes after the way forward"


async def test_a_saga_that_is_cancelled_says_so_and_is_undone(world: Open) -> None:
    await world.set_fault("scoring", "withdrawn", method="Score", hang={})
    with world.clinic.traced("take in a form") as carrier:
        await world.clinic.start("withdrawn", report("withdrawn"), carrier)
        await world.mesh.calls_in_flight("scoring", "Score")
        await world.clinic.jaeger.trace(carrier.trace_id, lambda trace: bool(attempts(trace, "archive")))
        with world.clinic.traced("withdraw a form") as other:
            await world.clinic.cancel("withdrawn", other)
        assert await world.clinic.end("withdrawn") == "COMPENSATED"
    trace = await world.clinic.trace(carrier)
    assert_sound(trace)
    assert UNDO in leaves(trace)
    root = root_of(trace)
    assert only(root.named("saga.cancel")).tags["saga.reason"] == "the patient has withdrawn"
    assert root.tags["saga.cause"] == "CANCELLED"
    assert root.links == (other.reference,)
    sender = only(await world.clinic.jaeger.trace(other.trace_id))
    assert (sender.name, sender.span_id) == ("withdraw a form", other.span_id), "the link leads to who cancelled it"
    assert only(attempts(trace, "score")).tags["rpc.response.status_code"] == "CANCELLED"
    stopped = only(paths(trace)["saga epro_intake > step score"])
    assert stopped.tags["saga.reason"] == "STOPPED"
    assert not stopped.is_error, "it was stopped, and has not failed"


async def test_an_undo_that_a_person_has_tried_again_links_the_saga_to_the_person(world: Open) -> None:
    sealed = {"code": 9, "message": "the archive is sealed"}
    await world.set_fault("archive", "sealed", method="Withdraw", status=sealed, firstCalls=1)
    with world.clinic.traced("take in a form") as carrier:
        await world.clinic.start("sealed", report("sealed", CLOSED_SITE), carrier)
        assert await world.clinic.end("sealed") == "NEEDS_ATTENTION"
        with world.clinic.traced("open the archive") as person:
            await world.clinic.retry("sealed", "archive", person)
        assert await world.clinic.end("sealed") == "COMPENSATED"
    trace = await world.clinic.trace(carrier)
    assert_sound(trace)
    root = root_of(trace)
    assert root.links == (person.reference,)
    assert only(root.named("saga.operator")).tags["saga.operator.verb"] == "RETRY"
    assert only(await world.clinic.jaeger.trace(person.trace_id)).span_id == person.span_id
    undo = only(paths(trace)["saga epro_intake > saga.compensation > undo archive"])
    assert undo.named("saga.step.reopened")
    assert [span.is_error for span in attempts(trace, "archive", "compensate")] == [True, False]
    assert "saga.nothing_to_undo" not in undo.tags


async def test_a_call_that_is_tried_again_is_a_span_for_each_attempt_and_an_event_for_each_pause(world: Open) -> None:
    busy = {"code": 14, "message": "the archive is busy"}
    await world.set_fault("archive", "insisted", method="Store", status=busy, firstCalls=2)
    status, trace = await world.clinic.run("insisted", report("insisted"))
    assert status == "COMPLETED"
    assert_sound(trace)
    tried = attempts(trace, "archive")
    assert [span.tags["saga.attempt"] for span in tried] == [1, 2, 3]
    assert [span.is_error for span in tried] == [True, True, False]
    assert all(earlier.end_us <= later.begin_us for earlier, later in pairwise(tried))
    step = only(paths(trace)["saga epro_intake > step archive"])
    pauses = step.named("saga.retry")
    assert len(pauses) == 2
    assert not step.is_error, "it came to a good end"
    for pause, failed, again in zip(pauses, tried, tried[1:], strict=False):
        assert failed.end_us <= pause.at_us <= again.begin_us
    assert len(paths(trace)["saga epro_intake > step archive > epro.v1.Archive/Store > epro.v1.Archive/Store"]) == 3


async def test_a_saga_whose_orchestrator_was_killed_is_one_tree_and_its_lost_call_is_in_it(world: Open) -> None:
    await world.set_fault("archive", "cut", method="Store", dropReply={"neverAnswer": True}, firstCalls=1)
    await world.set_fault("scoring", "cut", method="Score", hang={}, firstCalls=1)  # so the refusal comes later
    with world.clinic.traced("take in a form") as carrier:
        uid = UUID((await world.clinic.start("cut", report("cut", CLOSED_SITE), carrier)).uid)
        await world.mesh.calls_in_flight("archive", "Store")
        await world.mesh.calls_in_flight("scoring", "Score")
        running = await world.clinic.jaeger.trace(carrier.trace_id, _has_begun)
        assert _has_begun(running), "it is found while it runs (T4)"
        await world.killed()
        assert await world.clinic.end("cut") == "COMPENSATED"
    trace = await world.clinic.trace(carrier, has_ended_after_a_crash)
    assert_sound(trace, is_retold=True)
    assert UNDO in leaves(trace)
    lost, *_ = attempts(trace, "archive")
    assert lost.tags["saga.call.lost"] is True
    assert lost.span_id == f"{ids.attempt_span_id(uid, StepId('archive'), 'forward', 1):016x}", (
        "anybody can compute it (T1)"
    )
    assert lost.is_error
    served = [span for span in distinct(trace) if span.parents == (_reference(trace, lost.span_id),)]
    assert only(served).service == "archive", "what the service told of a call hangs on the span that a successor told"


async def test_a_signal_is_an_event_and_a_link_to_the_senders_own_trace(world: Open) -> None:
    with world.clinic.traced("take in a form") as carrier:
        await world.clinic.start("called", report("called"), carrier, "follow_up")
        await world.clinic.jaeger.trace(carrier.trace_id, lambda trace: bool(attempts(trace, "archive")))
        with world.clinic.traced("call the patient") as nurse:
            await world.clinic.signal("called", "called", nurse)
        assert await world.clinic.end("called") == "COMPLETED"
    trace = await world.clinic.trace(carrier)
    assert_sound(trace)
    waited = only(paths(trace)["saga follow_up > step called"])
    assert waited.links == (nurse.reference,)
    assert only(waited.named("saga.signal")).tags["saga.signal.name"] == "called"
    sender = only(await world.clinic.jaeger.trace(nurse.trace_id))
    assert (sender.name, sender.span_id) == ("call the patient", nurse.span_id), "the link leads somewhere"


async def test_a_child_is_a_trace_of_its_own_linked_to_the_attempt_that_started_it(world: Open) -> None:
    with world.clinic.traced("visit a patient") as carrier:
        await world.clinic.start("far", report("far", FAR_SITE), carrier, "visit")
        assert await world.clinic.end("far") == "COMPENSATED"
    trace = await world.clinic.trace(carrier)
    assert_sound(trace)
    begun = only(attempts(trace, "intake"))
    assert begun.name == "child epro_intake"
    # How a reader finds it: the child says whose it is.
    found = await world.clinic.jaeger.search(
        ORCHESTRATOR, {"saga.parent.id": "far"}, lambda traces: any(_is_undone(each) for each in traces)
    )
    child = only(found)
    assert_sound(child)
    root = root_of(child)
    assert not root.parents, "it is not re-parented across traces (T7)"
    assert root.links == (_reference(trace, begun.span_id),)
    undone = only(attempts(trace, "intake", "compensate"))
    compensation = only([span for span in child if span.name == "saga.compensation"])
    assert compensation.links == (_reference(trace, undone.span_id),)
    assert root.tags["saga.status"] == "COMPLETED", "it had completed before its parent undid it"
    assert UNDO in leaves(child)


async def test_a_saga_is_found_by_its_id_in_the_search(world: Open) -> None:
    _, trace = await world.clinic.run("sought", report("sought"))
    found = only(await world.clinic.jaeger.search(ORCHESTRATOR, {"saga.id": "sought"}))
    assert {span.span_id for span in found} == {span.span_id for span in trace}


def _has_begun(trace: Trace) -> bool:
    return any(span.name == "saga.start" for span in trace)


def _is_undone(trace: Trace) -> bool:
    return has_ended(trace) and any(span.name == "saga.compensation" for span in trace)


def _reference(trace: Trace, span_id: str) -> Reference:
    return Reference(trace_id=trace[0].trace_id, span_id=span_id)
