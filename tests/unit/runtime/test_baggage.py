"""What an operator names of a caller's baggage goes with the saga: to every service, to children, over restarts."""

from orchestrator.saga import SagaStatus
from orchestrator.saga.events import SagaStarted
from tests.kit.runtime import Process, run
from tests.unit.runtime.families import CHILD, NO, PARENT, answering

SENT = "tenant=acme;via=web, user=ada"


def test_what_is_named_goes_to_every_call_and_every_child_and_nothing_else_anywhere() -> None:
    async def story() -> None:
        process = Process(answering(b=NO), PARENT, CHILD, baggage=("tenant",))
        async with process.orchestrator.running():
            await process.start(baggage=SENT)
            assert (await process.ended()).status is SagaStatus.COMPENSATED
            child = await process.orchestrator.get("s.c")
            assert child.baggage == "tenant=acme;via=web"
            asked = {(call.saga_id, call.step, call.operation.value) for call in process.hands.begun}
            assert ("s.c", "x", "compensate") in asked, "undos, and a child's, are calls as well"
            assert {call.baggage for call in process.hands.begun} == {"tenant=acme;via=web"}

    run(story())


def test_it_is_recorded_and_sent_on_by_whoever_goes_on() -> None:
    async def story() -> None:
        process = Process(answering(a=None), PARENT, CHILD, baggage=("tenant",))
        async with process.orchestrator.running():
            await process.start(baggage=SENT)
            started = (await process.journal.read("s"))[0].event  # type: ignore[arg-type]  # a name, as it is
            assert isinstance(started, SagaStarted)
            assert started.baggage == "tenant=acme;via=web"
            process._die()
        heir = process.heir()  # whose own configuration names nothing any more
        heir.hands.answer = answering()
        async with heir.orchestrator.running():
            await heir.ended()
            assert {call.baggage for call in heir.hands.begun if call.saga_id == "s"} == {"tenant=acme;via=web"}

    run(story())


def test_unless_something_is_named_nothing_is_kept() -> None:
    async def story() -> None:
        process = Process(answering(), PARENT, CHILD)
        async with process.orchestrator.running():
            await process.start(baggage=SENT)
            assert (await process.ended()).baggage == ""
            assert {call.baggage for call in process.hands.begun} == {""}

    run(story())
