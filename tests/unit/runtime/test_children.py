"""Child sagas over the real actors, on virtual time (R21)."""

from dataclasses import replace

import pytest

from orchestrator.ids import SagaId, StepId, attempt_span_id
from orchestrator.runtime import StartRequest, Until, directory
from orchestrator.runtime.children import child_name
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.commands import Audit, RerunFromStep, TerminateSaga
from orchestrator.saga.events import AttentionReason, CompensationBegan
from orchestrator.saga.plan import Operation, Plan, StepKind
from orchestrator.testing.shorthand import fails, plan, step
from orchestrator.values import Payload, TraceContext
from tests.kit.machine import report
from tests.kit.parts import child, each, named, wait
from tests.kit.runtime import Process, run, until
from tests.unit.runtime.families import CHILD, NO, PARENT, C, answering, attempts, began, statuses

# --- forward -------------------------------------------------------------------------------------------------------


def test_a_child_is_a_saga_of_its_own_whose_output_is_the_steps_reply() -> None:
    async def story() -> None:
        process = Process(answering(x=report(data=b"made")), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert ended.steps[C].reply == Payload("Reply", b"made")
            made = await process.orchestrator.get("s.c")
            assert made.status is SagaStatus.COMPLETED
            assert made.request_id == ended.steps[C].forward.key  # type: ignore[union-attr]
            assert made.parent is not None
            assert (made.parent.saga_id, made.parent.uid, made.parent.step) == ("s", ended.uid, "c")
            assert made.parent.trace_id == ended.trace.trace_id != made.trace.trace_id
            assert made.forward_deadline_at <= ended.forward_deadline_at
            # The governor, the channels and their like know nothing of it.
            assert {call.target for call in process.hands.begun} == {"service"}

    run(story())


def test_a_child_without_an_output_answers_with_nothing() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT, replace(CHILD, output=None))
        async with process.orchestrator.running():
            await process.start()
            assert (await process.ended()).steps[C].reply == Payload("google.protobuf.Empty", b"")

    run(story())


def test_a_child_that_was_undone_fails_its_step_and_is_not_asked_again() -> None:
    async def story() -> None:
        process = Process(answering(x=NO), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPENSATED
            assert ended.steps[C].status is StepStatus.NOT_APPLIED
            assert attempts(ended) == 1
            assert ended.cause is not None
            assert "child saga s.c: it said FAILED_PRECONDITION" in ended.cause.message
            assert ended.steps[StepId("a")].status is StepStatus.UNDONE

    run(story())


def test_a_child_that_a_person_ended_is_for_a_person() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await began(process, "s.c")
            await process.orchestrator.repair("s.c", TerminateSaga(audit=Audit(by="ann", reason="enough")))
            state = await process.ended()
            assert state.status is SagaStatus.NEEDS_ATTENTION
            assert state.attention == (AttentionReason.DATA_LOSS,)

    run(story())


def test_every_item_has_a_child_of_its_own() -> None:
    async def story() -> None:
        process = Process(answering(), plan(each(child("c"), 5, parallel=2)), CHILD)
        async with process.orchestrator.running():
            await process.start()
            assert (await process.ended()).status is SagaStatus.COMPLETED
            assert await statuses(process, *(f"s.c.{number}" for number in range(5))) == ["COMPLETED"] * 5

    run(story())


def test_a_child_has_a_name_that_nobody_else_took() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start("s.c")
            await process.ended("s.c")
            await process.start()
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            key = ended.steps[C].forward.key  # type: ignore[union-attr]
            assert (await process.orchestrator.get(key)).parent is not None

    run(story())


def test_a_saga_just_like_it_under_its_name_is_not_taken_for_the_child() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            like_it = StartRequest(definition="child", input=Payload("Input", b""), saga_id="s.c")
            await process.orchestrator.start(like_it)
            await process.start()
            await until(lambda: len([each for each in process.hands.open if each.request.step == "x"]) == 2)
            process.hands.answer = answering()
            for each in list(process.hands.open):
                each.settle(report())
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            made = await process.orchestrator.get(ended.steps[C].forward.key)  # type: ignore[union-attr]
            assert made.parent is not None
            assert (await process.orchestrator.get("s.c")).parent is None

    run(story())


def test_a_child_that_is_run_again_is_another_child() -> None:
    async def story() -> None:
        process = Process(answering(b=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: [each.request.step for each in process.hands.open] == ["b"])
            process.hands.answer = answering()
            await process.orchestrator.repair("s", RerunFromStep(audit=Audit(by="ann", reason="again"), step=C))
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            again = ended.steps[C].forward.key  # type: ignore[union-attr]
            assert await statuses(process, "s.c", again) == ["COMPENSATED", "COMPLETED"]

    run(story())


def test_a_name_that_would_be_too_long_is_not_given() -> None:
    assert child_name(SagaId("s"), StepId("c[3]")) == "s.c.3"
    assert child_name(SagaId("s" * 128), C) is None


def test_a_child_of_a_definition_that_is_gone_waits_for_it_at_no_cost() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: len(process.hands.begun) == 1)
            state = await process.orchestrator.wait("s", Until.CHANGE, 6, 10)
            assert state.steps[C].status is StepStatus.PARKED
            process.catalogue._plans["child"] = CHILD
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_parents_deadline_is_its_childs() -> None:
    async def story() -> None:
        patient = named("child", plan(wait("w"), forward_s=10_000.0))
        process = Process(answering(), replace(PARENT, forward_s=20.0), patient)
        async with process.orchestrator.running():
            await process.start()
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPENSATED
            assert ended.ended_at is not None
            assert ended.ended_at - ended.started_at < 25.0
            made = await process.orchestrator.get("s.c")
            assert made.status is SagaStatus.COMPENSATED
            assert made.forward_deadline_at == ended.forward_deadline_at

    run(story())


def test_a_childs_own_deadline_is_not_made_longer() -> None:
    async def story() -> None:
        hasty = named("child", plan(wait("w"), forward_s=7.0))
        process = Process(answering(), PARENT, hasty)
        async with process.orchestrator.running():
            await process.start()
            assert (await process.ended()).status is SagaStatus.COMPENSATED
            made = await process.orchestrator.get("s.c")
            assert made.forward_deadline_at == made.started_at + 7.0

    run(story())


# --- cancelling ----------------------------------------------------------------------------------------------------


def generations(leaf: Plan) -> list[Plan]:
    """A parent, its child and its grandchild; the last one is given."""
    middle = named("child", plan(child("c", of="leaf")))
    return [plan(child("c")), middle, named("leaf", leaf)]


def test_a_cancel_reaches_every_generation_and_waits_for_their_true_end() -> None:
    async def story() -> None:
        process = Process(answering(x=None), *generations(plan(step("y", idempotent=True), step("x", "y"))))
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: any(call.request.step == "x" for call in process.hands.open))
            before = process.clock.now()
            await process.orchestrator.cancel("s", "enough")
            (hung,) = process.hands.open
            await until(lambda: hung.was_aborted)
            assert process.clock.now() - before < 0.1
            assert (await process.ended()).status is SagaStatus.COMPENSATED
            assert await statuses(process, "s.c", "s.c.c") == ["COMPENSATED"] * 2
            assert (await process.orchestrator.get("s.c.c")).steps[StepId("y")].status is StepStatus.UNDONE

    run(story())


def test_a_child_past_its_pivot_completes_and_is_then_not_undone() -> None:
    async def story() -> None:
        pivot = replace(step("p", idempotent=True, no_undo=True), kind=StepKind.PIVOT)
        process = Process(answering(), plan(child("c")), named("child", plan(pivot, wait("w", "p"))))
        async with process.orchestrator.running():
            await process.start()
            made = await began(process, "s.c")
            while not made.is_past_pivot:
                made = await process.orchestrator.wait("s.c", Until.CHANGE, made.version, 10)
            await process.orchestrator.cancel("s", "enough")
            assert await statuses(process, "s", "s.c") == ["COMPENSATING", "RUNNING"]
            await process.orchestrator.signal("s.c", "go", Payload("Signal", b""))
            state = await process.ended()
            assert (state.status, state.attention) == (SagaStatus.NEEDS_ATTENTION, (AttentionReason.UNDO_REFUSED,))
            assert "is past its pivot" in state.steps[C].message

    run(story())


def test_a_call_stopped_before_its_child_was_started_starts_none() -> None:
    async def story() -> None:
        # The step beside it fails in the very turn in which the child is called.
        never = step("bad", request=fails)
        process = Process(answering(), plan(child("c"), never), CHILD)
        async with process.orchestrator.running():
            await process.start()
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPENSATED
            assert ended.steps[C].status is StepStatus.NOT_APPLIED
            assert "s.c" not in process.journal._contents.rows

    run(story())


# --- undoing -------------------------------------------------------------------------------------------------------


def test_a_completed_child_is_undone_by_its_own_undo_log() -> None:
    async def story() -> None:
        two = named("child", plan(step("x", idempotent=True), step("y", "x", idempotent=True)))
        process = Process(answering(b=NO), PARENT, two)
        async with process.orchestrator.running():
            await process.start()
            assert (await process.ended()).status is SagaStatus.COMPENSATED
            made = await process.orchestrator.get("s.c")
            assert made.status is SagaStatus.COMPENSATED
            assert made.cause is not None
            assert made.cause.kind.value == "PARENT"
            undone = [call.step for call in process.hands.begun if call.operation is Operation.COMPENSATE]
            assert undone == ["y", "x", "a"]

    run(story())


def test_a_child_that_is_undone_knows_the_attempt_of_its_parent_that_undoes_it() -> None:
    async def story() -> None:
        process = Process(answering(b=NO), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start(trace=TraceContext(trace_id=7, span_id=9, sampled=True))
            parent = await process.ended()
            records = await process.orchestrator.events("s.c", 0, 100)
            (turned,) = [each.event for each in records if isinstance(each.event, CompensationBegan)]
            assert turned.trace is not None
            assert turned.trace.span_id == attempt_span_id(parent.uid, C, "compensate", 1)
            assert turned.trace.trace_id == parent.trace.trace_id

    run(story())


def test_an_undo_of_a_child_that_hangs_is_waited_for() -> None:
    async def story() -> None:
        process = Process(answering(b=NO, x_undo=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: any(call.request.operation is Operation.COMPENSATE for call in process.hands.open))
            assert await statuses(process, "s", "s.c") == ["COMPENSATING", "COMPENSATING"]
            process.hands.open[0].settle(report())
            assert (await process.ended()).status is SagaStatus.COMPENSATED

    run(story())


def test_a_child_that_is_undone_while_it_is_in_nobodys_memory_is_no_longer_shown_as_completed() -> None:
    async def story() -> None:
        held = report("UNAVAILABLE", retry_after_s=60.0)
        process = Process(answering(b=NO, x_undo=held), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await process.orchestrator.wait("s", Until.TERMINAL, 0, 1.0)
            await until(lambda: process.orchestrator._directory.active(SagaId("s.c")) is None)
            assert await statuses(process, "s.c") == ["COMPENSATING"]

    run(story())


def test_a_child_for_which_there_is_no_room_waits_at_no_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        process = Process(answering(busy=None), PARENT, CHILD, named("other", plan(step("busy"))))
        async with process.orchestrator.running():
            other = StartRequest(definition="other", input=Payload("Input", b""), saga_id="o")
            await process.orchestrator.start(other)
            monkeypatch.setattr(directory, "ACTORS_MAX", 2)
            await process.start()
            state = await process.orchestrator.wait("s", Until.CHANGE, 6, 10)
            assert state.steps[C].status is StepStatus.PARKED
            process.hands.open[0].settle(report())
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            forward = ended.steps[C].forward
            assert forward is not None
            assert forward.spent == 1
            assert forward.attempts > 1

    run(story())
