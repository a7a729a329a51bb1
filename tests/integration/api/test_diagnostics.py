"""A process answers for itself over gRPC: figures, a dump, a profile, also when it is full or leaves."""

import asyncio
from collections.abc import Awaitable, Sequence

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

import orchestrator
from orchestrator.api import ApiBounds
from orchestrator.errors import Overloaded
from orchestrator.limits import DIAGNOSTICS_CALLS_MAX, DUMP_LIMIT_DEFAULT, FIGURE_PREFIXES_MAX, PROFILE_S_MAX
from orchestrator.ports.diagnostics import Dump, Figure, Profile
from orchestrator.v1 import diagnostics_service_pb2 as rpc
from orchestrator.v1 import saga_service_pb2 as sagas
from tests.integration.api.rig import Rig, running, status_of


class Told:
    """`Diagnostics` of what the test says; asked for a profile, it waits until it may answer."""

    name = "told"
    begun_at = 1_790_000_000.0

    def __init__(self) -> None:
        self.asked: list[tuple[float, ...]] = []
        self.figures_count = 1
        self.refused: Overloaded | None = None
        self.may_answer = asyncio.Event()
        self.is_full = asyncio.Event()

    def figures(self, prefixes: Sequence[str]) -> Sequence[Figure]:
        return [Figure(name="x" * 1_000, labels={}, value=1.0)] * self.figures_count

    async def dump(self, limit: int, *, objects: bool = False) -> Dump:
        self.asked.append((limit, objects))
        return Dump(
            at=self.begun_at + 90.5,
            actors=(),
            actors_total=0,
            calls=(),
            calls_total=0,
            calls_by_target={},
            timers_total=0,
            tasks=(),
            tasks_total=0,
            stalls=(),
            stalls_total=0,
            suspects=(),
            threads={},
        )

    async def profile(self, seconds: float, hz: float) -> Profile:
        self.asked.append((seconds, hz))
        if self.refused is not None:
            raise self.refused
        if len(self.asked) == DIAGNOSTICS_CALLS_MAX:
            self.is_full.set()
        await self.may_answer.wait()
        return Profile(seconds=seconds, hz=hz, samples=7, idle_samples=4, stacks={"a:b;c:d": 3})


async def refusal(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert status_of(caught.value) is not None
    return caught.value.code(), caught.value.details() or ""


async def start(rig: Rig, saga_id: str) -> None:
    await rig.sagas.StartSaga(sagas.StartSagaRequest(definition="job", saga_id=saga_id))


async def test_figures_are_those_of_the_page_that_begin_as_asked() -> None:
    async with running() as rig:
        everything = await rig.diagnostics.GetFigures(rpc.GetFiguresRequest())
        some = await rig.diagnostics.GetFigures(rpc.GetFiguresRequest(prefixes=["saga_loop", "saga_actors"]))
    assert everything.process_name == "alone"
    assert everything.as_of_time.seconds == 1_790_000_000
    names = {figure.name for figure in everything.figures}
    assert "saga_actors" in names
    assert {figure.name for figure in some.figures} == {
        name for name in names if name.startswith(("saga_loop", "saga_actors"))
    }
    assert 0 < len(some.figures) < len(everything.figures)


async def test_too_many_prefixes_are_refused() -> None:
    async with running() as rig:
        request = rpc.GetFiguresRequest(prefixes=["saga_"] * (FIGURE_PREFIXES_MAX + 1))
        code, text = await refusal(rig.diagnostics.GetFigures(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "prefixes" in text


async def test_an_answer_that_no_message_can_hold_says_how_to_ask_for_less() -> None:
    told = Told()
    told.figures_count = 5_000
    async with running(diagnostics=told) as rig:
        code, text = await refusal(rig.diagnostics.GetFigures(rpc.GetFiguresRequest()))
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert "prefixes" in text


async def test_a_dump_shows_the_saga_that_waits_and_the_call_it_waits_for() -> None:
    async with running(answer_at_once=False) as rig:
        await start(rig, "report-1")
        await rig.hands.began.wait()
        dump = await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest())
    (actor,) = dump.actors
    assert (actor.saga_id, actor.definition, actor.status, actor.doing) == ("report-1", "job", "RUNNING", "calls")
    assert (actor.call_count, actor.mailbox, dump.actor_count) == (1, 0, 1)
    assert actor.timer_count == dump.timer_count == 1
    assert actor.wake_time.seconds > actor.since_time.seconds >= actor.activate_time.seconds
    (call,) = dump.calls
    assert (call.saga_id, call.step, call.attempt, call.target) == ("report-1", "work", 1, "shop")
    assert (call.phase, call.operation) == ("sent", "forward")
    assert call.deadline.seconds > dump.as_of_time.seconds
    assert (dump.process_name, dump.version, dump.call_count) == ("alone", orchestrator.__version__, 1)
    assert any(each.name == "committer" for each in dump.tasks)
    assert dump.task_count >= len(dump.tasks)
    assert any(each.name == "MainThread" for each in dump.threads)
    assert dict(dump.target_call_counts) == {"shop": 1}
    assert not dump.suspects


async def test_a_dump_is_asked_with_the_limit_or_the_usual_one_and_refused_outside_its_bounds() -> None:
    told = Told()
    async with running(diagnostics=told) as rig:
        answer = await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest())
        await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest(limit=7, objects=True))
        for limit in (-1, 1_001):
            code, _ = await refusal(rig.diagnostics.DumpProcess(rpc.DumpProcessRequest(limit=limit)))
            assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told.asked == [(DUMP_LIMIT_DEFAULT, False), (7, True)]
    assert answer.uptime.ToMilliseconds() == 90_500


async def test_a_profile_is_asked_for_as_long_as_it_may_take() -> None:
    told = Told()
    told.may_answer.set()
    async with running(diagnostics=told) as rig:
        ask = rig.diagnostics.ProfileProcess
        answer = await ask(rpc.ProfileProcessRequest(duration=Duration(seconds=2), hz=50.0))
        await ask(rpc.ProfileProcessRequest())
        wrong = (
            rpc.ProfileProcessRequest(duration=Duration(seconds=int(PROFILE_S_MAX) + 1)),
            rpc.ProfileProcessRequest(duration=Duration()),
            rpc.ProfileProcessRequest(hz=-1.0),
            *(rpc.ProfileProcessRequest(hz=float(hz)) for hz in ("nan", "inf", "-inf", "1e-300", "1e-20", "0.99")),
            rpc.ProfileProcessRequest(hz=1_000.0),
        )
        for request in wrong:
            assert (await refusal(ask(request)))[0] is grpc.StatusCode.INVALID_ARGUMENT
        code, text = await refusal(ask(rpc.ProfileProcessRequest(duration=Duration(seconds=20)), timeout=10.0))
        assert (code, "the call has left" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        told.refused = Overloaded("PROFILE_RUNNING", "somebody else has it sampled", 3.0)
        code, _ = await refusal(ask(rpc.ProfileProcessRequest()))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert told.asked == [(2.0, 50.0), (10.0, 99.0), (10.0, 99.0)]
    assert (answer.sample_count, answer.idle_sample_count) == (7, 4)
    assert [(each.frames, each.count) for each in answer.stacks] == [("a:b;c:d", 3)]


async def test_a_server_whose_every_other_place_is_taken_is_looked_at_all_the_same() -> None:
    async with running(bounds=ApiBounds(calls=0, waits=0)) as rig:
        code, _ = await refusal(rig.sagas.GetSaga(sagas.GetSagaRequest(saga_id="none")))
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest())


async def test_diagnostic_calls_have_few_places_of_their_own() -> None:
    told = Told()
    async with running(diagnostics=told) as rig:
        profiles = [rig.diagnostics.ProfileProcess(rpc.ProfileProcessRequest()) for _ in range(DIAGNOSTICS_CALLS_MAX)]
        await told.is_full.wait()
        code, text = await refusal(rig.diagnostics.DumpProcess(rpc.DumpProcessRequest()))
        assert (code, "diagnostic calls" in text) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        figures = await rig.diagnostics.GetFigures(rpc.GetFiguresRequest())  # as `saga top` asks
        assert figures.process_name == told.name
        told.may_answer.set()
        for profile in profiles:
            await profile
        await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest())


async def test_of_many_who_ask_for_a_count_of_objects_one_gets_it_and_no_other_keeps_a_place() -> None:
    async with running() as rig:
        request = rpc.DumpProcessRequest(objects=True)
        asking = [rig.diagnostics.DumpProcess(request) for _ in range(DIAGNOSTICS_CALLS_MAX)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
        assert len(refused) == DIAGNOSTICS_CALLS_MAX - 1
        assert {answer.code() for answer in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert all("the objects " in (answer.details() or "") for answer in refused)
        await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest())


async def test_a_server_that_drains_is_looked_at_until_it_leaves() -> None:
    async with running() as rig:
        rig.api.refuse_new()
        code, _ = await refusal(rig.sagas.GetSaga(sagas.GetSagaRequest(saga_id="none")))
        assert code is grpc.StatusCode.UNAVAILABLE
        await rig.diagnostics.DumpProcess(rpc.DumpProcessRequest())
        assert rig.api.in_flight == 0
