"""T5: what goes with calls, through the real runtime, and the spans told of them afterwards, in every part."""

from uuid import UUID

from orchestrator import ids
from orchestrator.ids import StepId
from orchestrator.limits import SPAN_MESSAGE_CHARS_MAX, TRACE_PART_S_MAX
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime import Until
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation
from orchestrator.telemetry import names
from orchestrator.telemetry.reader import Reader
from orchestrator.telemetry.spandata import SpanData, SpanLink
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.parts import child, named, sleep
from tests.kit.runtime import Process, run, until
from tests.unit.telemetry.histories import CALLER
from tests.unit.telemetry.shapes import Guide, run_plain
from tests.unit.telemetry.test_rollover import LONG, days
from tests.unit.telemetry.trees import told

LONG_S = 100 * TRACE_PART_S_MAX
DAYS = plan(
    step("before"),
    sleep("night", "before", for_s=30 * 3_600.0),
    child("family", "night", timeout_s=LONG_S),
    step("after", "family", idempotent=True),
    sleep("weekend", "after", for_s=2 * TRACE_PART_S_MAX),
    step("last", "weekend"),
    forward_s=LONG_S,
)
OVERNIGHT = plan(step("x"), sleep("pause", "x", for_s=2 * TRACE_PART_S_MAX), step("y", "pause"), forward_s=LONG_S)
CHILD = named("child", OVERNIGHT)
NO = report("FAILED_PRECONDITION")


def at_last(call: CallRequest) -> Report:
    """The last step is refused, so that everything is undone; the step after the night has to be called twice."""
    if call.step == "last" and call.operation is Operation.FORWARD:
        return NO
    return report("UNAVAILABLE") if (call.step, call.attempt) == ("after", 1) else report()


async def told_by(process: Process) -> list[SpanData]:
    """Everything that is recorded, as the reader tells it."""
    reader, after, found = Reader(process.journal, process.catalogue), {0: 0}, list[SpanData]()
    while (page := await reader.page(after, 7))[0]:
        after = {**after, **page[0]}
        found += [span for entry in page[1] for span in entry.spans]
    return found


async def played() -> tuple[list[CallRequest], list[SpanData], UUID]:
    """Play a saga of many days to its end: whenever it sleeps its process is killed, and the next comes days later."""
    process = Process(at_last, DAYS, CHILD)
    async with process.orchestrator.running():
        uid = (await process.start(trace=CALLER)).state.uid
        await asleep(process, "s", "night")
        process._die()
    begun = process.hands.begun
    for name, step_id in (("s.family", "pause"), ("s", "weekend")):
        process = await days_later(process)
        async with process.orchestrator.running():
            await asleep(process, name, step_id)
            process._die()
        begun = begun + process.hands.begun
    process = await days_later(process)
    async with process.orchestrator.running():
        assert (await process.ended()).status is SagaStatus.COMPENSATED
    return begun + process.hands.begun, await told_by(process), uid


async def days_later(process: Process) -> Process:
    process.clock.step_s += 3 * TRACE_PART_S_MAX
    return process.heir()


async def asleep(process: Process, name: str, step_id: str) -> None:
    """Wait until a saga lets time pass."""
    await until(lambda: [call for call in process.hands.begun if call.saga_id == name] or name == "s")
    while (state := await process.orchestrator.get(name)).steps[StepId(step_id)].status is not StepStatus.WAITING:
        await process.orchestrator.wait(name, Until.CHANGE, state.version, 60.0)


def test_a_service_was_told_the_span_that_is_told_of_its_call_in_every_part() -> None:
    calls, spans, uid = run(played())
    asked = {(str(call.saga_id), str(call.step), call.operation.value, call.attempt): call.trace for call in calls}
    attempts = [span for span in spans if names.RPC_METHOD in span.attributes]
    assert len(attempts) == len(calls) == len(asked)
    for span in attempts:
        about = span.attributes
        key = [about[name] for name in (names.SAGA_ID, names.SAGA_STEP, names.SAGA_OPERATION, names.SAGA_ATTEMPT)]
        trace = asked[tuple(key)]  # type: ignore[index]  # as they were put there
        assert (trace.trace_id, trace.span_id) == (span.trace_id, span.span_id)
        assert trace.sampled
    third, last = ids.part_trace_id(uid, 3), ids.part_trace_id(uid, 4)
    assert asked["s", "before", "forward", 1].trace_id == CALLER.trace_id
    assert asked["s", "after", "forward", 1].trace_id == asked["s", "after", "forward", 2].trace_id == third
    assert asked["s", "last", "forward", 1].trace_id == asked["s", "before", "compensate", 1].trace_id == last
    assert {trace.state for key, trace in asked.items() if key[0] == "s"} == {CALLER.state}


def test_a_child_of_a_long_saga_links_to_the_part_that_it_was_begun_in_and_rolls_over_by_itself() -> None:
    _, spans, uid = run(played())
    began = next(span for span in spans if span.name == "child child")
    assert began.trace_id == ids.part_trace_id(uid, 2)
    roots = [span for span in spans if span.name == "saga child"]
    first, *later = sorted(roots, key=lambda span: span.start_ns)
    assert SpanLink(began.trace_id, began.span_id) in first.links
    assert [root.attributes[names.SAGA_PART] for root in (first, *later)] == list(range(1, len(roots) + 1))
    assert len({root.trace_id for root in roots}) == len(roots) > 1


def test_what_is_kept_of_the_callers_baggage_is_on_the_span_and_the_start_of_every_part() -> None:
    teller = Guide(number=1, trace=CALLER, plan=LONG, baggage="tenant=acme%20ltd;via=web,plan=" + "x" * 500)
    teller.start()
    spans = told(run_plain(days(teller, "one")))
    for span in spans:
        said = {name: value for name, value in span.attributes.items() if name.startswith("baggage.")}
        if span.name in {"saga long", "saga.start"}:
            assert said["baggage.tenant"] == "acme ltd"
            assert len(str(said["baggage.plan"])) == SPAN_MESSAGE_CHARS_MAX
        else:
            assert said == {}
