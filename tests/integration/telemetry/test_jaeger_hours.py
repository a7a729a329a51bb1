"""The trace of a saga of many hours, as a real Jaeger has stored it: the hours pass in a moment, all else is real."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orchestrator import ids
from orchestrator.bootstrap import Node, SystemClock, open_node
from orchestrator.bootstrap.clock import elapsed, wall_clock
from orchestrator.config import Settings
from orchestrator.ids import StepId
from orchestrator.limits import TRACE_PART_S_MAX
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga.state import StepStatus
from orchestrator.tracecontext import parse
from tests.integration.telemetry.clinic import Carrier, Clinic, definitions, report, telling
from tests.kit import jaeger
from tests.kit.jaeger import Jaeger, Reference, Span, Trace
from tests.kit.mesh import Mesh
from tests.kit.trees import assert_sound, attempts, only, paths, root_of

pytestmark = pytest.mark.timeout(300 + jaeger.BUILD_S_MAX)

HOUR_S = 3_600.0
LATE_S = 30.0
"""What really passes beside the hours."""


class HurriedLoop(asyncio.SelectorEventLoop):
    """A real event loop on which time can be passed: whatever was to happen meanwhile is due at once."""

    passed_s = 0.0

    def time(self) -> float:
        return super().time() + self.passed_s


class HurriedClock:
    """A machine's clock in step with its loop."""

    def __init__(self, loop: HurriedLoop) -> None:
        real = SystemClock(lambda: wall_clock() + loop.passed_s, lambda: elapsed() + loop.passed_s)
        self.now, self.off_s, self.entropy, self.new_uid = real.now, real.off_s, real.entropy, real.new_uid
        self.monotonic = loop.time


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurried:
    """An orchestrator in this process, over services that are real and tell nobody: they know nothing of the hours."""

    node: Node
    mesh: Mesh
    clinic: Clinic
    loop: HurriedLoop

    async def start(self, name: str, carrier: Carrier) -> UUID:
        trace = parse(carrier.headers["traceparent"])
        request = StartRequest(definition="follow_up", saga_id=name, input=JsonInput(report(name)), trace=trace)
        return (await self.node.orchestrator.start(request)).state.uid

    async def signal(self, name: str, carrier: Carrier) -> None:
        trace = parse(carrier.headers["traceparent"])
        await self.node.orchestrator.signal(name, "called", JsonInput({}), trace=trace)

    async def waits_at(self, name: str, step: str) -> None:
        """Wait until a saga only lets time pass."""
        state = await self.node.orchestrator.get(name)
        while state.steps[StepId(step)].status is not StepStatus.WAITING:
            assert not state.is_terminal, state.cause
            state = await self.node.orchestrator.wait(name, Until.CHANGE, state.version, 20.0)

    def pass_time(self, seconds: float) -> None:
        self.loop.passed_s += seconds

    async def end(self, name: str) -> str:
        state = await self.node.orchestrator.wait(name, Until.TERMINAL, 0, 20.0)
        return state.status.value

    async def trace(self, trace_id: str) -> Trace:
        return await self.clinic.jaeger.trace(trace_id, _is_over)


def _is_over(trace: Trace) -> bool:
    return any({"saga.status", "saga.continued"} & span.tags.keys() for span in trace)


@asynccontextmanager
async def hurried(folder: Path, running: Jaeger) -> AsyncGenerator[Hurried]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, HurriedLoop)
    async with Mesh(folder, {"OTEL_SDK_DISABLED": "true"}) as mesh:
        async with asyncio.TaskGroup() as starting:
            for service in mesh.services.values():
                starting.create_task(service.start())
        settings = Settings.model_validate(
            {
                "store": f"sqlite:{mesh.journal}",
                "definitions": definitions(folder),
                "targets": {name: {"address": each.address, **_KEPT} for name, each in mesh.services.items()},
            }
        )
        clinic = Clinic(running, "")
        async with open_node(settings, clock=HurriedClock(loop)) as node:
            yield Hurried(node=node, mesh=mesh, clinic=clinic, loop=loop)
        clinic.close()


_KEPT = {"idempotent": True, "barrier": True}


Story = Callable[[Hurried], Coroutine[Any, Any, None]]


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Story], None]:
    """Return what plays a story on a loop of its own, on which time can be passed."""

    async def whole(story: Story) -> None:
        async with jaeger.running() as running:
            for name, value in telling(running).items():
                monkeypatch.setenv(name, value)  # the exporter looks there itself
            async with hurried(tmp_path, running) as world:
                await story(world)

    def play(story: Story) -> None:
        with asyncio.Runner(loop_factory=HurriedLoop) as runner:
            runner.run(whole(story))

    return play


def test_a_saga_of_six_hours_is_one_tree_whose_bars_are_as_long_as_it_waited(played: Callable[[Story], None]) -> None:
    async def story(world: Hurried) -> None:
        with world.clinic.traced("take in a form") as carrier:
            await world.start("patient", carrier)
        await world.waits_at("patient", "called")
        begun = await world.clinic.jaeger.trace(carrier.trace_id, lambda trace: len(trace) > 1)
        assert {"saga.start", "take in a form"} <= {span.name for span in begun}, "it is found while it waits (T4)"
        world.pass_time(5 * HOUR_S)
        with world.clinic.traced("call the patient") as nurse:
            await world.signal("patient", nurse)
        await world.waits_at("patient", "pause")
        world.pass_time(HOUR_S)
        assert await world.end("patient") == "COMPLETED"
        trace = await world.trace(carrier.trace_id)
        assert_sound(trace)
        lasted_s = {name: _lasted_s(trace, name) for name in ("saga follow_up", "step called", "step pause")}
        assert lasted_s == pytest.approx(
            {"saga follow_up": 6 * HOUR_S, "step called": 5 * HOUR_S, "step pause": HOUR_S}, abs=LATE_S
        )
        assert only(paths(trace)["saga follow_up > step called"]).links == (nurse.reference,)
        assert _lasted_s(trace, "epro.v1.Notifier/SendAlert") < LATE_S, "a call is as long as it was"
        assert root_of(trace).tags["saga.status"] == "COMPLETED"

    played(story)


def test_a_saga_of_more_than_a_day_goes_on_in_a_second_trace_and_each_leads_to_the_other(
    played: Callable[[Story], None],
) -> None:
    async def story(world: Hurried) -> None:
        await world.mesh.set_fault("notifier", method="SendAlert", refuse={})
        with world.clinic.traced("take in a form") as carrier:
            uid = await world.start("patient", carrier)
        await world.waits_at("patient", "called")
        world.pass_time(TRACE_PART_S_MAX + HOUR_S)
        with world.clinic.traced("call the patient") as nurse:
            await world.signal("patient", nurse)
        await world.waits_at("patient", "pause")
        world.pass_time(HOUR_S)
        assert await world.end("patient") == "COMPENSATED"
        first = await world.trace(carrier.trace_id)
        second = await world.trace(f"{ids.part_trace_id(uid, 2):032x}")
        assert_sound(first)
        assert_sound(second, before=first)
        begun, ended = root_of(first), root_of(second)
        assert begun.links == (_place(ended),)
        assert ended.links == (_place(begun),)
        assert (begun.tags["saga.continued"], ended.tags["saga.part"]) == (True, 2)
        assert ended.tags["saga.status"] == "COMPENSATED"
        assert {path.partition(" > ")[2] for path in paths(second)} >= {"saga.start", "step pause", "step notify"}
        undo = only([span for span in second if span.name == "undo archive"])
        assert undo.links == (_place(only(attempts(first, "archive"))),), "what it undoes is in the first part"
        assert only(paths(first)["saga follow_up > step called"]).links == (nurse.reference,)

    played(story)


def _place(span: Span) -> Reference:
    return Reference(trace_id=span.trace_id, span_id=span.span_id)


def _lasted_s(trace: Trace, name: str) -> float:
    span = only([span for span in trace if span.name == name])
    return (span.end_us - span.begin_us) / 1e6
