"""Signals, repairs and cancels through the façade, on virtual time."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator.errors import InputInvalid, NotFound, Rejected
from orchestrator.ids import StepId
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import ConflictPolicy, Override, Resolve, StartRequest, Until
from orchestrator.saga import SagaStatus, StepStatus
from orchestrator.saga.commands import (
    Audit,
    ForceComplete,
    OverrideStepRequest,
    PauseSaga,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    TerminateSaga,
)
from orchestrator.saga.events import Report
from orchestrator.saga.plan import OnFailure, Outcome, Plan, StepKind
from orchestrator.saga.state import SagaState
from orchestrator.testing.shorthand import plan, retry, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import wait
from tests.kit.runtime import Process, run, until

WAITING = plan(wait("w"), step("a", "w", idempotent=True))
ASKING = plan(replace(step("a", policy=retry(1)), on_failure=OnFailure.ASK))
GO = Payload("Signal", b"now")
BY = Audit(by="ann", reason="looked at it")
A = StepId("a")


def well(_call: CallRequest) -> Report | None:
    return report()


def refused(_call: CallRequest) -> Report | None:
    return report("FAILED_PRECONDITION")


def request(definition: Plan = WAITING, name: str = "s", **more: object) -> StartRequest:
    return StartRequest(definition=definition.definition, input=Payload("Input", b"input"), saga_id=name, **more)  # type: ignore[arg-type]


# --- signals -------------------------------------------------------------------------------------------------------


def test_a_signal_is_durable_when_it_is_answered_and_moves_the_saga() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            await process.start()
            state = await process.orchestrator.signal("s", "go", GO, "r1")
            assert "r1" in state.signal_ids
            ended = await process.ended()
            assert ended.status is SagaStatus.COMPLETED
            assert ended.steps[StepId("w")].reply == GO

    run(story())


def test_the_same_signal_twice_is_one_also_when_the_saga_has_ended() -> None:
    async def story() -> None:
        process = Process(well, plan(wait("w"), wait("v", "w")))
        async with process.orchestrator.running():
            await process.start()
            first = await process.orchestrator.signal("s", "go", GO, "r1")
            assert (await process.orchestrator.signal("s", "go", GO, "r1")).version == first.version
            await process.orchestrator.signal("s", "go", JsonInput({"data": "later"}), "r2")
            ended = await process.ended()
            assert ended.steps[StepId("v")].reply == Payload("Signal", b"later")
            assert (await process.orchestrator.signal("s", "go", GO, "r2")).version == ended.version
            with pytest.raises(Rejected) as refusal:
                await process.orchestrator.signal("s", "go", GO, "r3")
            assert refusal.value.reason == "TERMINAL_STATE"

    run(story())


def test_a_signal_is_checked_against_its_type_and_its_name() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            await process.start()
            with pytest.raises(InputInvalid, match="payload"):
                await process.orchestrator.signal("s", "go", Payload("Other", b""), "r1")
            with pytest.raises(InputInvalid, match=r"payload\.data"):
                await process.orchestrator.signal("s", "go", JsonInput({"data": 7}), "r1")
            with pytest.raises(Rejected) as refusal:
                await process.orchestrator.signal("s", "stop", GO, "r1")
            assert refusal.value.reason == "SIGNAL_UNKNOWN"
            with pytest.raises(NotFound):
                await process.orchestrator.signal("x", "go", GO, "r1")
            version = (await process.orchestrator.get("s")).version
            assert (await process.orchestrator.signal("s", "go", GO, "r1", validate_only=True)).version == version
            assert (await process.orchestrator.get("s")).version == version

    run(story())


def test_a_signal_finds_a_saga_that_left_memory_and_whose_plan_was_put_aside() -> None:
    async def story() -> None:
        process = Process(well, replace(WAITING, forward_s=10_000.0))
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: process.orchestrator.stats().active_actors == 0)
            process.catalogue.put_aside()
            await process.orchestrator.signal("s", "go", GO, "r1")
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_start_with_a_signal_is_one_append() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            process.journal.gate.clear()
            starting = asyncio.ensure_future(process.orchestrator.signal_with_start(request(), "go", GO, "r1"))  # noqa: TID251
            await until(lambda: process.orchestrator.stats().active_actors == 1)
            process.journal.gate.set()
            started = await starting
            assert started.created
            assert "r1" in started.state.signal_ids
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_signal_with_start_goes_to_the_saga_that_exists_whatever_began_it() -> None:
    async def story() -> None:
        process = Process(well, plan(wait("w"), wait("v", "w")))
        async with process.orchestrator.running():
            await process.start(data=b"of another")
            ask = process.orchestrator.signal_with_start
            first = await ask(request(conflict=ConflictPolicy.FAIL), "go", GO, "r1")
            again = await ask(request(), "go", GO, "r1")
            assert not first.created
            assert again.state.version == first.state.version
            await ask(request(), "go", GO, "r2")
            assert (await process.ended()).status is SagaStatus.COMPLETED
            with pytest.raises(Rejected, match="COMPLETED"):
                await ask(request(), "go", GO, "r3")

    run(story())


def test_many_signals_with_start_at_once_make_one_saga_and_are_all_kept() -> None:
    async def story() -> None:
        waits = [wait(f"w{number}", *([f"w{number - 1}"] if number else [])) for number in range(9)]
        process = Process(well, plan(*waits))
        async with process.orchestrator.running():
            ask = process.orchestrator.signal_with_start
            started = await asyncio.gather(*(ask(request(), "go", GO, f"r{number}") for number in range(9)))
            assert sum(each.created for each in started) == 1
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_signal_with_start_that_names_no_saga_is_repeated_by_its_request_id() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            ask = process.orchestrator.signal_with_start
            first, again = await ask(request(name=""), "go", GO, "r1"), await ask(request(name=""), "go", GO, "r1")
            assert first.saga_id == again.saga_id
            assert (first.created, again.created) == (True, False)

    run(story())


def test_a_refused_signal_starts_nothing() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            with pytest.raises(Rejected):
                await process.orchestrator.signal_with_start(request(), "stop", GO, "r1")
            with pytest.raises(NotFound):
                await process.orchestrator.get("s")
            assert process.orchestrator.stats().active_actors == 0

    run(story())


# --- cancelling ----------------------------------------------------------------------------------------------------


def test_a_cancel_may_name_the_version_it_looked_at_and_may_only_be_tried() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            version = (await process.start()).state.version
            with pytest.raises(Rejected) as refusal:
                await process.orchestrator.cancel("s", "", if_version=version - 1)
            assert refusal.value.reason == "ETAG_MISMATCH"
            tried = await process.orchestrator.cancel("s", "", if_version=version, validate_only=True)
            assert (tried.version, tried.status) == (version, SagaStatus.RUNNING)
            with pytest.raises(Rejected):
                await process.orchestrator.cancel("s", "", if_version=version - 1, validate_only=True)
            assert (await process.orchestrator.get("s")).version == version
            assert (await process.orchestrator.cancel("s", "", if_version=version)).status is SagaStatus.COMPENSATED

    run(story())


# --- repairs -------------------------------------------------------------------------------------------------------


async def stuck(process: Process) -> SagaState:
    await process.start()
    state = await process.ended()
    assert state.steps[A].status is StepStatus.STUCK
    return state


def test_a_stuck_step_is_retried_and_the_saga_goes_on() -> None:
    async def story() -> None:
        process = Process(refused, ASKING)
        async with process.orchestrator.running():
            state = await stuck(process)
            tried = await process.orchestrator.repair("s", RetryStep(audit=BY, step=A), validate_only=True)
            assert tried.version == state.version
            process.hands.answer = well
            assert (await process.orchestrator.repair("s", RetryStep(audit=BY, step=A))).version > state.version
            assert (await process.ended()).status is SagaStatus.COMPLETED
            with pytest.raises(Rejected, match="COMPLETED"):
                await process.orchestrator.repair("s", RetryStep(audit=BY, step=A))

    run(story())


def test_what_a_person_gives_is_checked_against_the_methods_types() -> None:
    async def story() -> None:
        process = Process(refused, ASKING)
        async with process.orchestrator.running():
            version = (await stuck(process)).version
            repair = process.orchestrator.repair
            with pytest.raises(InputInvalid, match="request"):
                await repair("s", Override(audit=BY, step=A, request=Payload("Reply", b"")))
            with pytest.raises(InputInvalid, match="request"):
                await repair("s", OverrideStepRequest(audit=BY, step=A, request=Payload("Reply", b"")))
            with pytest.raises(InputInvalid, match=r"reply\.data"):
                await repair("s", Resolve(audit=BY, step=A, outcome=Outcome.APPLIED, reply=JsonInput({})))
            with pytest.raises(Rejected, match="no step"):
                await repair("s", Override(audit=BY, step=StepId("x"), request=JsonInput({"data": ""})))
            with pytest.raises(Rejected, match="no step"):
                await repair("s", Resolve(audit=BY, step=StepId("x"), outcome=Outcome.APPLIED, reply=JsonInput({})))
            assert (await process.orchestrator.get("s")).version == version
            process.hands.answer = well
            await repair("s", Override(audit=BY, step=A, request=JsonInput({"data": "other"})))
            assert (await process.ended()).status is SagaStatus.COMPLETED
            assert process.hands.begun[-1].request == Payload("Do", b"other")
            assert process.hands.begun[-1].key != process.hands.begun[0].key

    run(story())


def test_a_resolved_step_has_the_reply_that_the_person_gave() -> None:
    async def story() -> None:
        for given in (JsonInput({"data": "it did"}), Payload("Reply", b"it did")):
            process = Process(refused, ASKING)
            async with process.orchestrator.running():
                await stuck(process)
                command = Resolve(audit=BY, step=A, outcome=Outcome.APPLIED, reply=given)
                await process.orchestrator.repair("s", command)
                ended = await process.ended()
                assert ended.status is SagaStatus.COMPLETED
                assert ended.steps[A].reply == Payload("Reply", b"it did")

    run(story())


def test_a_wait_is_sent_no_request_and_its_reply_is_a_signals() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            await process.start()
            w, yes = StepId("w"), JsonInput({"data": "yes"})
            with pytest.raises(InputInvalid, match="it is no call"):
                await process.orchestrator.repair("s", Override(audit=BY, step=w, request=yes))
            wrong = Resolve(audit=BY, step=w, outcome=Outcome.APPLIED, reply=Payload("Reply", b""))
            with pytest.raises(InputInvalid, match="reply"):
                await process.orchestrator.repair("s", wrong)
            with pytest.raises(Rejected, match="only a step that is stuck"):
                await process.orchestrator.repair("s", Resolve(audit=BY, step=w, outcome=Outcome.APPLIED, reply=yes))

    run(story())


def test_a_paused_saga_leaves_memory_and_goes_on_when_it_is_resumed() -> None:
    async def story() -> None:
        process = Process(well, WAITING)
        async with process.orchestrator.running():
            await process.start()
            await process.orchestrator.repair("s", PauseSaga(audit=BY))
            await until(lambda: process.orchestrator.stats().active_actors == 0)
            await process.orchestrator.signal("s", "go", GO, "r1")
            assert not process.hands.begun
            await process.orchestrator.repair("s", ResumeSaga(audit=BY))
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_person_may_end_a_saga_as_it_is() -> None:
    async def story() -> None:
        process = Process(refused, ASKING)
        async with process.orchestrator.running():
            await stuck(process)
            await process.orchestrator.repair("s", ForceComplete(audit=BY))
            assert (await process.ended()).status is SagaStatus.COMPLETED
        process = Process(refused, ASKING)
        async with process.orchestrator.running():
            await stuck(process)
            ended = await process.orchestrator.repair("s", TerminateSaga(audit=BY))
            assert ended.status is SagaStatus.TERMINATED

    run(story())


def test_a_repair_overtakes_the_signals_that_wait() -> None:
    async def story() -> None:
        process = Process(lambda _call: None, plan(step("a"), wait("w")))
        async with process.orchestrator.running():
            name = (await process.start()).saga_id
            actor = process.orchestrator._directory._active[name]
            process.journal.gate.clear()
            asks = [asyncio.ensure_future(process.orchestrator.signal("s", "go", GO, f"r{n}")) for n in range(3)]  # noqa: TID251
            await until(lambda: actor.facts().mailbox == 2)
            last = asyncio.ensure_future(process.orchestrator.repair("s", TerminateSaga(audit=BY)))  # noqa: TID251
            await until(lambda: actor.facts().mailbox == 3)
            process.journal.gate.set()
            assert (await last).status is SagaStatus.TERMINATED
            answers = await asyncio.gather(*asks, return_exceptions=True)
            assert [isinstance(each, Rejected) for each in answers] == [False, True, True]

    run(story())


def test_the_last_line_of_a_pivot_is_kept_by_the_facade() -> None:
    async def story() -> None:
        pivot = replace(step("p", idempotent=True, no_undo=True), kind=StepKind.PIVOT)
        process = Process(well, plan(pivot, wait("w", "p")))
        async with process.orchestrator.running():
            state = (await process.start()).state
            while not state.is_past_pivot:
                state = await process.orchestrator.wait("s", Until.CHANGE, state.version, 10)
            for validate_only in (True, False):
                with pytest.raises(Rejected) as refusal:
                    await process.orchestrator.cancel("s", "", validate_only=validate_only)
                assert refusal.value.reason == "PAST_PIVOT"
            await process.orchestrator.signal("s", "go", GO)
            assert (await process.ended()).status is SagaStatus.COMPLETED

    run(story())


def test_a_resolution_in_the_machines_own_words_is_checked_as_well() -> None:
    async def story() -> None:
        process = Process(refused, ASKING)
        async with process.orchestrator.running():
            await stuck(process)
            command = ResolveStep(audit=BY, step=A, outcome=Outcome.APPLIED, reply=Payload("Signal", b""))
            with pytest.raises(InputInvalid, match="reply"):
                await process.orchestrator.repair("s", command)

    run(story())


def test_a_saga_that_a_person_ended_stops_what_it_has_open() -> None:
    async def story() -> None:
        process = Process(silent, plan(step("a"), step("b")))
        async with process.orchestrator.running():
            await process.start()
            await until(lambda: len(process.hands.open) == 2)
            opened = list(process.hands.open)
            await process.orchestrator.repair("s", TerminateSaga(audit=BY))
            assert all(call.was_aborted for call in opened)
            assert (await process.orchestrator.get("s")).status is SagaStatus.TERMINATED

    run(story())


def silent(_call: CallRequest) -> Report | None:
    return None
