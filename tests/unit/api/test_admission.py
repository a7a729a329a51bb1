"""Who is let in, and how waiting ends."""

import asyncio

import pytest

from orchestrator.api.admission import Admission, Room
from orchestrator.api.server import SAGA_SERVICE
from orchestrator.api.servicers import room_of
from orchestrator.errors import Draining, Overloaded
from orchestrator.v1 import saga_service_pb2 as rpc


def admission() -> Admission:
    return Admission(calls_max=1, waits_max=2)


def test_each_room_has_its_own_bound() -> None:
    door = admission()
    with door.admit(Room.CALL):
        with pytest.raises(Overloaded, match="1 calls in flight"), door.admit(Room.CALL):
            pass
        with door.admit(Room.WAIT), door.admit(Room.WAIT):
            assert door.in_flight == 3
            with pytest.raises(Overloaded, match="2 waits in flight"), door.admit(Room.WAIT):
                pass
            with door.admit(Room.FREE), door.admit(Room.FREE), door.admit(Room.STANDARD):
                assert door.in_flight == 3
    with door.admit(Room.CALL):
        pass


def test_a_call_that_fails_leaves_its_place() -> None:
    door = admission()
    with pytest.raises(ZeroDivisionError), door.admit(Room.CALL):
        raise ZeroDivisionError
    assert door.in_flight == 0


async def test_a_closed_door_lets_nobody_in_but_health_checks_and_whoever_looks_why_it_does_not_leave() -> None:
    door = admission()
    door.close()
    for room in (Room.CALL, Room.WAIT, Room.STANDARD):
        with pytest.raises(Draining), door.admit(room):
            pass
    with door.admit(Room.FREE), door.admit(Room.DIAGNOSTICS), door.admit(Room.FIGURES):
        assert door.in_flight == 0
        assert await door.idle(0.0)


async def test_closing_ends_every_wait_and_a_later_one_at_once() -> None:
    door = admission()
    inside = asyncio.Event()

    async def wait() -> str:
        try:
            async with door.patience(3_600.0):
                inside.set()
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "ended"
        return "never"

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(wait())
        await inside.wait()
        door.close()
    assert waiting.result() == "ended"
    async with asyncio.timeout(5):
        assert await wait() == "ended"


async def test_closing_does_not_touch_a_wait_that_is_over() -> None:
    door = admission()
    async with door.patience(3_600.0):
        pass
    door.close()
    assert door.is_closed


async def test_idle_is_when_calls_and_waits_are_over() -> None:
    door = admission()
    assert await door.idle(0.0)
    with door.admit(Room.STANDARD):
        assert await door.idle(0.0)
        with door.admit(Room.CALL):
            assert not await door.idle(0.01)

    async with asyncio.TaskGroup() as tasks:
        with door.admit(Room.CALL):
            waiting = tasks.create_task(door.idle(60.0))
    assert waiting.result()


def test_a_start_that_waits_for_the_end_takes_a_waits_place_with_or_without_a_signal() -> None:
    waits = rpc.StartSagaRequest(wait=rpc.START_WAIT_TERMINAL)
    for method, patient, brief in (
        ("StartSaga", waits, rpc.StartSagaRequest()),
        ("SignalWithStart", rpc.SignalWithStartRequest(start=waits), rpc.SignalWithStartRequest()),
    ):
        assert room_of(f"/{SAGA_SERVICE}/{method}", patient) is Room.WAIT
        assert room_of(f"/{SAGA_SERVICE}/{method}", brief) is Room.CALL


async def test_a_refusal_waits_while_it_is_held() -> None:
    door = admission()
    await door.told()
    door.hold()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.0):
            await door.told()
    door.let_go()
    await door.told()


async def test_a_lull_is_when_nobody_was_refused_for_a_while_and_there_is_one_where_nobody_was_at_all() -> None:
    door = admission()
    door.close()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await door.lull(quiet_s=60.0, within_s=60.0)
    assert loop.time() - began < 60.0
    for quiet_s in (0.001, 60.0):  # the second time it is the bound
        with pytest.raises(Draining), door.admit(Room.CALL):
            pass
        began = loop.time()
        await door.lull(quiet_s, within_s=0.01)
        assert loop.time() - began >= min(quiet_s, 0.01)


async def test_what_a_call_carries_makes_room_for_the_next_while_it_waits_and_is_counted_once() -> None:
    door = Admission(calls_max=1, waits_max=1, large_bytes_max=10)
    with door.carry(8):
        with pytest.raises(Overloaded, match="8 bytes of large requests"), door.carry(8):
            pass
        async with door.patience(60.0), door.patience(60.0):
            with door.carry(8), pytest.raises(Overloaded, match="8 bytes of large requests"), door.carry(8):
                pass
    with door.carry(10), pytest.raises(Overloaded, match="10 bytes of large requests"), door.carry(1):
        pass
