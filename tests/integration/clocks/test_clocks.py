"""Clocks that are set, drift and sleep, under real orchestrators: nothing is early or twice, and everything wakes."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from orchestrator.bootstrap import Node, SystemClock, open_node
from orchestrator.config import Settings
from orchestrator.ids import SagaId
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.v1.saga_pb2 import SagaStatus
from orchestrator.v1.saga_service_pb2 import GetSagaRequest, StartSagaRequest, WaitSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.clocks.naps import (
    DAY_S,
    ENDS,
    HOUR_S,
    LATE_S,
    LONG,
    SHORT,
    SHORT_S,
    SLEWED,
    Machine,
    Told,
    is_asleep,
    judge,
    real_s,
    values,
)
from tests.integration.clocks.offsets import Offsets
from tests.integration.network.depot import Depot, depot
from tests.kit.figures import keep
from tests.kit.mesh import Program, channel

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

WAIT_S = 60.0
WELL_PAST_S = 1.02 * HOUR_S
"""What is due in an hour is due by then, though the clock may be slewed by one in a hundred."""
Y2038_AT = 2.0**31
STEPS = {"an hour on": HOUR_S, "an hour back": -HOUR_S, "a day on": DAY_S, "a day back": -DAY_S}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What happens to the clock."""

    name: str
    step_s: float = 0.0
    at: float | None = None
    drift: float = 0.0


CASES = [
    *(Case(name=name, step_s=step_s) for name, step_s in STEPS.items()),
    Case(name="2038 comes", at=Y2038_AT - SHORT_S / 2),
    Case(name="set to 2038", step_s=Y2038_AT - 1.8e9),
    Case(name="a leap second is repeated", step_s=-1.0),
    Case(name="a leap second is smeared over a day", drift=1 / DAY_S),
    Case(name="a leap second is left out over a day", drift=-1 / DAY_S),
]


async def start(node: Node, definitions: Iterable[str], life: str = "") -> dict[str, SagaId]:
    """Start a saga of each; return definition -> saga."""
    started = {definition: SagaId(f"{definition}{life}") for definition in definitions}
    for definition, saga in started.items():
        await node.orchestrator.start(StartRequest(definition=definition, input=JsonInput({}), saga_id=saga))
    return started


async def end_of(node: Node, saga: SagaId) -> str:
    return (await node.orchestrator.wait(saga, Until.TERMINAL, 0, WAIT_S)).status.value


async def early(node: Node, sagas: Iterable[SagaId]) -> list[str]:
    """Return what has ended, of sagas that are to be asleep."""
    return [saga for saga in sagas if (await node.orchestrator.wait(saga, Until.TERMINAL, 0, 0.0)).is_terminal]


async def asleep(node: Node, saga: SagaId) -> None:
    """Wait until it sleeps."""
    version = 0
    while not is_asleep(record.event for record in await node.orchestrator.events(saga, 0, 100)):
        version = (await node.orchestrator.wait(saga, Until.CHANGE, version, WAIT_S)).version


async def some_time_passes(node: Node, life: str) -> list[str]:
    """Let a nap pass, and see that it has its length in the time that truly passes."""
    began_s = real_s()
    nap = await start(node, ["short_nap"], life)
    await end_of(node, nap["short_nap"])
    return _amiss("short_nap", real_s() - began_s)


def _amiss(definition: str, took_s: float) -> list[str]:
    is_timed = definition != "tired"
    if is_timed and not SHORT_S / SLEWED <= took_s <= SHORT_S + LATE_S:
        return [f"{definition} took {took_s:.3f} s in truth, and was to take {SHORT_S:g} s"]
    return []


async def set_while_it_runs(case: Case, folder: Path, far: Depot) -> Told:
    """Set the clock under sagas that sleep, wait, call and try again; then suspend the machine for an hour."""
    machine = Machine(case.at, case.drift)
    configured = Settings.model_validate(values(folder, far))
    answers: dict[SagaId, str] = {}
    wrong: list[str] = []
    async with open_node(configured, environ={}, clock=SystemClock(machine.wall, machine.elapsed)) as node:
        prefix = f".{folder.name}"
        long = await start(node, LONG, prefix)
        began_s = real_s()
        short = await start(node, SHORT, prefix)
        machine.set_by(case.step_s)

        async def one(definition: str, saga: SagaId) -> None:
            answers[saga] = await end_of(node, saga)
            wrong.extend(_amiss(definition, real_s() - began_s))

        async with asyncio.TaskGroup() as group:
            for definition, saga in short.items():
                group.create_task(one(definition, saga))
        wrong += [f"{saga} ended though no hour had passed" for saga in await early(node, long.values())]
        machine.sleeps(WELL_PAST_S)
        woken_s = real_s()
        for saga in long.values():
            answers[saga] = await end_of(node, saga)
        if real_s() - woken_s > LATE_S:
            wrong.append(f"what was due in the suspension ended {real_s() - woken_s:.1f} s after it")
    told = await judge(folder, far, answers)
    told.wrong.extend(wrong)
    return told


async def set_between_two_lives(case: Case, folder: Path, far: Depot) -> Told:
    """Set the clock while nothing runs: the next process believes the wall clock."""
    machine = Machine()
    configured = Settings.model_validate(values(folder, far))
    answers: dict[SagaId, str] = {}
    wrong: list[str] = []
    prefix = f".{folder.name}"
    async with open_node(configured, environ={}, clock=SystemClock(machine.wall, machine.elapsed)) as node:
        long = await start(node, LONG, prefix)
        for saga in long.values():
            await asleep(node, saga)
    machine.set_by(case.step_s)
    async with open_node(configured, environ={}, clock=SystemClock(machine.wall, machine.elapsed)) as node:
        naps: list[SagaId] = []
        if case.step_s < 0:
            # late by as much as the clock was set back, and never early
            for life, sleep_s in (("-1", WELL_PAST_S), ("-2", -case.step_s)):
                wrong += await some_time_passes(node, prefix + life)
                naps.append(SagaId(f"short_nap{prefix}{life}"))
                wrong += [f"{saga} ended early" for saga in await early(node, long.values())]
                machine.sleeps(sleep_s)
        for saga in (*long.values(), *naps):
            answers[saga] = await end_of(node, saga)
    told = await judge(folder, far, answers)
    told.wrong.extend(wrong)
    return told


async def test_nothing_is_early_or_twice_and_everything_wakes_whatever_the_clock_does(tmp_path: Path) -> None:
    async with depot(keeps=False) as far, asyncio.TaskGroup() as group:
        running = {
            case.name: group.create_task(set_while_it_runs(case, tmp_path / f"case_{number}", far))
            for number, case in enumerate(CASES)
        }
        between = {
            f"{name}, over a restart": group.create_task(
                set_between_two_lives(Case(name=name, step_s=step_s), tmp_path / f"restart_{number}", far)
            )
            for number, (name, step_s) in enumerate(STEPS.items())
        }
    told = {name: task.result() for name, task in (running | between).items()}
    keep(
        "clocks",
        cases=len(told),
        sagas=sum(each.findings.sagas for each in told.values()),
        timers=sum(each.timers for each in told.values()),
        wrong=sum(len(each.wrong) for each in told.values()),
        violations=sum(each.findings.violation_count for each in told.values()),
    )
    assert {name: each.wrong for name, each in told.items() if each.wrong} == {}
    assert {name: each.findings.violations for name, each in told.items() if each.findings.violations} == {}


async def begin(connection: grpc.aio.Channel, definitions: Iterable[str], life: str) -> dict[str, SagaId]:
    started = {definition: SagaId(f"{definition}{life}") for definition in definitions}
    for definition, saga in started.items():
        request = StartSagaRequest(saga_id=saga, definition=definition)
        request.json.update({})
        await SagaServiceStub(connection).StartSaga(request, timeout=WAIT_S)
    return started


async def told_end(connection: grpc.aio.Channel, saga: SagaId) -> str:
    while True:
        reply = await SagaServiceStub(connection).WaitSaga(WaitSagaRequest(saga_id=saga), timeout=WAIT_S)
        if reply.reached:
            return SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")


async def told_early(connection: grpc.aio.Channel, sagas: Iterable[SagaId]) -> list[str]:
    found = [await SagaServiceStub(connection).GetSaga(GetSagaRequest(saga_id=saga), timeout=WAIT_S) for saga in sagas]
    ended = {SagaStatus.Value(f"SAGA_STATUS_{status}") for status in set(ENDS.values())}
    return [f"{reply.saga.saga_id} ended early" for reply in found if reply.saga.status in ended]


async def test_a_real_process_is_not_misled_by_its_clocks(tmp_path: Path, set_clock: Path) -> None:
    offsets = Offsets(tmp_path / "offsets", set_clock)
    server = Program(
        name="orchestrator",
        module="orchestrator",
        arguments=("serve", "--config", "saga.yaml"),
        folder=tmp_path,
        environ=offsets.environ,
    )
    answers: dict[SagaId, str] = {}
    wrong: list[str] = []
    async with depot(keeps=False) as far:
        (tmp_path / "saga.yaml").write_text(json.dumps(values(tmp_path, far)), encoding="utf-8")
        try:
            await server.start()
            async with channel(server.address) as connection:
                long = await begin(connection, LONG, "-1")
                for life, step_s in (("-back", -DAY_S), ("-on", 2 * DAY_S)):
                    began_s = real_s()
                    short = await begin(connection, SHORT, life)
                    offsets.move(wall_s=step_s)
                    for saga in short.values():
                        answers[saga] = await told_end(connection, saga)
                    wrong += _amiss("short_nap", real_s() - began_s)
                    wrong += await told_early(connection, long.values())
                offsets.move(asleep_s=WELL_PAST_S)
                for saga in long.values():
                    answers[saga] = await told_end(connection, saga)
                late = await begin(connection, LONG, "-2")
            server.signal()
            assert await server.ended(within_s=20) == 0
            offsets.move(wall_s=DAY_S)
            await server.start()
            async with channel(server.address) as connection:
                for saga in late.values():
                    answers[saga] = await told_end(connection, saga)
            server.signal()
            assert await server.ended(within_s=20) == 0
            assert "Traceback" not in server.log
        finally:
            await server.kill()
        told = await judge(tmp_path, far, answers)
    keep(
        "clocks_process",
        sagas=told.findings.sagas,
        timers=told.timers,
        wrong=len(wrong) + len(told.wrong),
        violations=told.findings.violation_count,
    )
    assert wrong + told.wrong == []
    assert told.findings.violations == []
