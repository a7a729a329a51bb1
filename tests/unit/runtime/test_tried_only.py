"""Who asks only what would happen (`validate_only`) changes nothing, whatever is under way meanwhile."""

import asyncio
from collections.abc import Sequence

from orchestrator.ids import StepId
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga import SagaStatus
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Facts
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import item_request, wait
from tests.kit.runtime import Process, run, until


def well(_call: CallRequest) -> Report | None:
    return report()


def test_a_signal_that_is_tried_while_another_is_on_its_way_to_the_store_changes_nothing_that_is_sent() -> None:
    def words(facts: Facts) -> Sequence[object]:
        reply = facts.reply_of(StepId("w"))
        assert reply is not None
        return reply.data.decode().split(",")

    async def story() -> None:
        process = Process(well, plan(wait("w"), step("e", "w", for_each=words, request=item_request)))
        async with process.orchestrator.running():
            await process.start()
            process.journal.gate.clear()
            real = process.orchestrator.signal("s", "go", Payload("Signal", b"a,b,c,d"), "r1")
            signalled = asyncio.create_task(real)  # noqa: TID251  # awaited below
            await until(lambda: process.orchestrator.stats().active_actors)
            await process.orchestrator.signal("s", "go", Payload("Signal", b"x,y,z,?"), "r2", validate_only=True)
            process.journal.gate.set()
            await signalled
            assert (await process.ended()).status is SagaStatus.COMPLETED
        assert [call.request.data for call in process.hands.begun] == [b"s/0=a", b"s/1=b", b"s/2=c", b"s/3=d"]

    run(story())
