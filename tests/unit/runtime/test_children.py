"""Child sagas over the real actors, on virtual time (R21)."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.ids import SagaId, StepId
from orchestrator.limits import PASSIVATION_WAIT_S_MIN
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Rest
from orchestrator.runtime import Until
from orchestrator.runtime.children import child_name
from orchestrator.saga import SagaState, SagaStatus, StepStatus
from orchestrator.saga.commands import Audit, TerminateSaga
from orchestrator.saga.events import AttemptOpened, AttentionReason, Report, SagaStarted
from orchestrator.saga.plan import Facts, Operation, Plan, StepKind
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import child, each, named, sleep, wait
from tests.kit.plans import fails, output_of, plan, step
from tests.kit.runtime import Process, run, until

C = StepId("c")
CHILD = named("child", plan(step("x", idempotent=True), output=output_of("x")))
PARENT = plan(step("a", idempotent=True), child("c", "a"), step("b", "c", idempotent=True))
NO = report("FAILED_PRECONDITION")


def answering(**said: Report | None) -> Callable[[CallRequest], Report | None]:
    """A service that answers some steps in its own way; `x_undo` is the undo of x."""

    def answer(call: CallRequest) -> Report | None:
        name = call.step.partition("[")[0] + ("_undo" if call.operation is Operation.COMPENSATE else "")
        return said.get(name, report())

    return answer


async def statuses(process: Process, *names: str) -> list[str]:
    return [(await process.orchestrator.get(name)).status.value for name in names]


async def began(process: Process, name: str) -> SagaState:
    """Return a saga once it has begun."""
    await until(lambda: process.orchestrator._directory.active(SagaId(name)) is not None)
    return await process.orchestrator.wait(name, Until.CHANGE, 0, 10)


def attempts(state: SagaState) -> int:
    """Return how often the child was asked for."""
    forward = state.steps[C].forward
    return 0 if forward is None else forward.attempts


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


# --- memory and crashes --------------------------------------------------------------------------------------------


def test_a_parent_that_waits_for_children_alone_leaves_memory_and_is_woken_by_their_end() -> None:
    async def story() -> None:
        slow = named("child", plan(sleep("z", for_s=300.0), forward_s=1_000.0))
        process = Process(answering(), replace(PARENT, forward_s=1_000.0), slow)
        async with process.orchestrator.running():
            await process.start()
            parent = process.orchestrator._directory.active(SagaId("s"))
            assert parent is not None
            await until(lambda: parent.has_children and process.orchestrator.stats().active_actors == 1)
            began_at = process.clock.now()
            assert process.journal._contents.rows[SagaId("s")].rest is Rest.CHILDREN
            while process.orchestrator.stats().active_actors:
                await process.orchestrator.wait("s", Until.TERMINAL, 0, 0.5)
            assert process.clock.now() - began_at == pytest.approx(PASSIVATION_WAIT_S_MIN, abs=1.0)
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            # Nothing was lost, so nothing is recorded as lost.
            assert attempts(ended) == 1
            assert process.orchestrator.stats().orphaned == 0

    run(story())


def test_a_cancel_finds_the_child_of_a_parent_that_left_memory() -> None:
    async def story() -> None:
        slow = named("child", plan(sleep("z", for_s=300.0), forward_s=1_000.0))
        process = Process(answering(), replace(PARENT, forward_s=1_000.0), slow)
        async with process.orchestrator.running():
            await process.start()
            while process.orchestrator.stats().active_actors or len(process.journal.groups) < 3:
                await process.orchestrator.wait("s", Until.TERMINAL, 0, 0.5)
            await process.orchestrator.cancel("s", "enough")
            assert (await process.ended()).status is SagaStatus.COMPENSATED
            assert await statuses(process, "s.c") == ["COMPENSATED"]

    run(story())


def test_a_stopping_process_cancels_no_child_and_its_heir_finds_the_same_one() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await began(process, "s.c")
        heir = process.heir()
        heir.hands.answer = answering()
        async with heir.orchestrator.running():
            ended = await heir.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert attempts(ended) == 2
            assert set(heir.journal._contents.rows) == {"s", "s.c"}
            records = await heir.journal.read(SagaId("s"))
            opened = [r.event for r in records if isinstance(r.event, AttemptOpened) and r.event.step == C]
            assert len({event.key for event in opened}) == 1

    run(story())


def test_a_child_that_ended_unseen_is_seen_by_the_heir() -> None:
    async def story() -> None:
        process = Process(answering(x=None), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await began(process, "s.c")
            # The parent's actor is gone, and so is whoever would wake it.
            process.orchestrator._children.ended = lambda state: None  # type: ignore[method-assign]  # noqa: ARG005
            process.hands.open[0].settle(report())
            await process.ended("s.c")
            assert await statuses(process, "s", "s.c") == ["RUNNING", "COMPLETED"]
        heir = process.heir()
        async with heir.orchestrator.running():
            assert (await heir.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_the_parents_place_is_in_the_childs_first_record() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start()
            await process.ended()
            first = (await process.journal.read(SagaId("s.c")))[0].event
            assert isinstance(first, SagaStarted)
            assert first.parent is not None
            assert first.parent.step == C

    run(story())


def test_a_parent_is_not_let_go_while_its_child_is_being_started() -> None:
    async def story() -> None:
        process = Process(answering(), plan(child("c"), forward_s=1_000.0), CHILD)
        async with process.orchestrator.running():
            await process.start()
            process.journal.gate.clear()
            parent = process.orchestrator._directory.active(SagaId("s"))
            assert parent is not None
            await process.orchestrator.wait("s", Until.TERMINAL, 0, 4 * PASSIVATION_WAIT_S_MIN)
            assert not parent.is_idle
            assert process.orchestrator._directory.active(SagaId("s")) is parent
            process.journal.gate.set()
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_child_that_is_set_aside_puts_its_parent_before_a_person() -> None:
    async def story() -> None:
        def bug(_facts: Facts) -> Payload:
            raise ZeroDivisionError("a bug in a rendered expression")

        broken = named("child", plan(step("x", idempotent=True), step("y", "x", request=bug)))
        process = Process(answering(), PARENT, broken)
        async with process.orchestrator.running():
            await process.start()
            state = await process.ended()
            assert (state.status, state.attention) == (SagaStatus.NEEDS_ATTENTION, (AttentionReason.DATA_LOSS,))
            assert process.orchestrator.stats().quarantined == 1

    run(story())


def test_a_child_that_is_set_aside_wakes_a_parent_that_left_memory() -> None:
    async def story() -> None:
        def bug(_facts: Facts) -> Payload:
            raise ZeroDivisionError("a bug in a rendered expression")

        broken = named("child", plan(sleep("z", for_s=60.0), step("y", "z", request=bug), forward_s=1_000.0))
        process = Process(answering(), replace(PARENT, forward_s=1_000.0), broken)
        async with process.orchestrator.running():
            await process.start()
            state = await process.ended()
            assert (state.status, state.attention) == (SagaStatus.NEEDS_ATTENTION, (AttentionReason.DATA_LOSS,))

    run(story())
