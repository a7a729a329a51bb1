"""A call that is open says how far it has come: connecting, sent, aborting."""

import asyncio

import pytest

from orchestrator.invoker import TargetConfig
from orchestrator.ports.diagnostics import CallFacts
from tests.integration.invoker import peers
from tests.integration.invoker.calling import Caller, calling
from tests.integration.invoker.peers import Context, raw_peer, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process


def only(caller: Caller) -> CallFacts:
    (facts,) = caller.invoker.calls()
    return facts


async def test_a_call_that_waits_for_a_connection_is_connecting() -> None:
    async with raw_peer(peers.silent) as address, calling(address) as caller:
        request = caller.request(timeout_s=0.2)
        begun_at = caller.clock.now()
        _, reported = caller.begin(request)
        facts = only(caller)
        assert (facts.saga_id, facts.step, facts.operation, facts.attempt) == ("order-1", "buy", "forward", 1)
        assert (facts.target, facts.method, facts.phase) == ("shop", request.method, "connecting")
        assert facts.deadline_at == request.deadline_at
        assert begun_at <= facts.begun_at <= caller.clock.now()
        await reported
        assert list(caller.invoker.calls()) == []


async def test_a_call_that_the_service_has_is_sent_and_one_that_is_stopped_aborts_until_it_has_ended() -> None:
    arrived = asyncio.Event()

    async def hang(_request: bytes, _context: Context) -> bytes:
        arrived.set()
        await asyncio.get_running_loop().create_future()
        return b""

    async with serving({"Buy": hang}) as address, calling(address) as caller:
        opened, reported = caller.begin(caller.request())
        await arrived.wait()
        assert only(caller).phase == "sent"
        opened.abort()
        assert only(caller).phase == "aborting"
        assert (await reported).code == "CANCELLED"
        assert list(caller.invoker.calls()) == []


async def test_calls_that_end_while_others_are_looked_at_are_left_out() -> None:
    unknown = TargetConfig(name="shop", address=peers.dead_address())
    async with calling(unknown) as caller:
        pending = [caller.begin(caller.request())[1] for _ in range(3)]
        looking = caller.invoker.calls()
        assert next(looking).target == "shop"
        for report in pending:
            await report
        assert list(looking) == []
