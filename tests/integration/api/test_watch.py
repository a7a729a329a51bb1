"""WatchSaga: every event once, in order, from any point, whatever ends the stream."""

import asyncio
from dataclasses import replace
from typing import Any, TypeAlias

import grpc
import grpc.aio
import pytest
from google.protobuf import duration_pb2, json_format, struct_pb2
from google.rpc import error_details_pb2

from orchestrator.api import ApiBounds
from orchestrator.journal import MemoryJournal
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.rig import Rig, running, status_of

Stream: TypeAlias = "grpc.aio.UnaryStreamCall[rpc.WatchSagaRequest, rpc.WatchSagaResponse]"


async def started(rig: Rig, saga_id: str = "a-1", size: int = 0) -> None:
    payload = json_format.ParseDict({"text": "x" * size}, struct_pb2.Struct())
    await rig.sagas.StartSaga(rpc.StartSagaRequest(saga_id=saga_id, definition="job", json=payload))


def watch(rig: Rig, after: int = 0, **more: Any) -> Stream:
    return rig.sagas.WatchSaga(rpc.WatchSagaRequest(saga_id="a-1", after_sequence=after, **more))


async def events(stream: Stream) -> list[pb.SagaEvent]:
    return [message.event async for message in stream if message.HasField("event")]


async def ended(stream: Stream) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """Read to the error; the code, the reason and its facts."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await events(stream)
    status = status_of(caught.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return caught.value.code(), info.reason, dict(info.metadata)


async def test_a_watch_tells_the_whole_story_and_ends_with_the_saga() -> None:
    async with running(answer_at_once=False) as rig:
        await started(rig)
        stream = watch(rig)
        first = await anext(aiter(stream))
        assert first.event.type == "SagaStarted"
        rig.hands.settle()
        rest = await events(stream)
        assert [event.sequence for event in rest] == list(range(2, len(rest) + 2))
        assert rest[-1].type == "SagaCompleted"
        history = await rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="a-1"))
        assert [first.event, *rest] == list(history.events)
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_watch_resumes_after_any_event() -> None:
    async with running() as rig:
        await started(rig)
        whole = await events(watch(rig))
        for event in whole:
            assert await events(watch(rig, after=event.sequence)) == whole[event.sequence :]


async def test_a_watch_from_the_future_is_refused() -> None:
    async with running() as rig:
        await started(rig)
        last = (await events(watch(rig)))[-1].sequence
        code, reason, _ = await ended(watch(rig, after=last + 1))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")
        code, reason, _ = await ended(watch(rig, after=-1))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")


async def test_a_silent_watch_beats_and_says_where_to_resume() -> None:
    async with running(answer_at_once=False) as rig:
        await started(rig)
        stream = watch(rig, heartbeat_interval=duration_pb2.Duration(seconds=1))
        last = 0
        async for message in stream:
            if message.HasField("heartbeat"):
                assert message.heartbeat.sequence == last
                break
            last = message.event.sequence
        assert last > 0
        too_quick = watch(rig, heartbeat_interval=duration_pb2.Duration(nanos=1))
        assert (await ended(too_quick))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_drain_ends_a_watch_with_its_resume_token() -> None:
    async with running(answer_at_once=False) as rig:
        await started(rig)
        stream = watch(rig)
        seen = (await anext(aiter(stream))).event.sequence
        while seen < (await rig.orchestrator.get("a-1")).version:
            seen = (await anext(aiter(stream))).event.sequence
        rig.api.refuse_new()
        code, reason, facts = await ended(stream)
        assert (code, reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert facts["after_sequence"] == str(seen)


async def test_a_drain_of_the_runtime_ends_a_watch_too() -> None:
    async with running(answer_at_once=False) as rig:
        await started(rig)
        stream = watch(rig)
        await anext(aiter(stream))
        _, found = await asyncio.gather(rig.orchestrator.drain(0.0), ended(stream))
        assert found[:2] == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert int(found[2]["after_sequence"]) == (await rig.orchestrator.get("a-1")).version


async def test_a_reader_that_takes_nothing_is_cut_off_and_misses_nothing_by_resuming() -> None:
    async with running(bounds=ApiBounds(slow_reader_s=2.0), answer_at_once=False) as rig:
        await started(rig, size=1_500_000)
        rig.hands.settle()
        waited = await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"))
        # A client that reads ahead no more than it must, as a phone or a proxy would.
        narrow = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}", options=narrow) as channel:
            seen = await until_cut_off(rig, replace(rig, channel=channel))
        assert 0 < len(seen) < waited.saga.sequence
        rest = await events(watch(rig, after=seen[-1].sequence, view=pb.SAGA_VIEW_FULL))
        assert [event.sequence for event in [*seen, *rest]] == list(range(1, waited.saga.sequence + 1))


async def until_cut_off(rig: Rig, narrow: Rig) -> list[pb.SagaEvent]:
    """Read one event, then nothing until the server has given the reader up, then what was on its way."""
    slow = watch(narrow, view=pb.SAGA_VIEW_FULL)
    seen = [(await anext(aiter(slow))).event]
    while rig.api.in_flight:
        await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1"))
    try:
        async for message in slow:
            seen.append(message.event)  # noqa: PERF401  # what came before the error counts
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017  # so does what it says
        return seen
    raise AssertionError("the reader was not cut off")


async def test_a_reader_that_takes_not_even_the_first_message_is_told_why_its_stream_ended() -> None:
    async with running(bounds=ApiBounds(slow_reader_s=0.1)) as rig:
        await started(rig, size=1_500_000)
        narrow = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{rig.port}", options=narrow) as channel:
            stream = watch(replace(rig, channel=channel), view=pb.SAGA_VIEW_FULL)
            await stream.wait_for_connection()
            while rig.api.in_flight:
                await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1"))
            assert (await ended(stream))[:2] == (grpc.StatusCode.RESOURCE_EXHAUSTED, "READER_TOO_SLOW")


async def test_a_reader_that_leaves_is_forgotten() -> None:
    async with running(answer_at_once=False) as rig:
        await started(rig)
        stream = watch(rig)
        await anext(aiter(stream))
        assert rig.api.in_flight == 1
        stream.cancel()
        while rig.api.in_flight:
            await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1"))
        assert rig.orchestrator._watchers._count == 0


async def test_a_watch_goes_on_over_a_restart_of_the_server() -> None:
    journal = MemoryJournal()
    async with running(journal=journal, answer_at_once=False) as rig:
        await started(rig)
        stream = watch(rig)
        seen = [(await anext(aiter(stream))).event]
        rig.api.refuse_new()
        assert (await ended(stream))[1] == "DRAINING"
    async with running(journal=journal.reopen()) as rig:
        seen += await events(watch(rig, after=seen[-1].sequence))
        history = await rig.sagas.ListSagaEvents(rpc.ListSagaEventsRequest(saga_id="a-1"))
        assert seen == list(history.events)
        assert seen[-1].type == "SagaCompleted"
        assert seen[-1].epoch > seen[0].epoch


async def test_ten_watchers_see_the_same() -> None:
    async with running(answer_at_once=False) as rig:
        await started(rig)
        streams = [watch(rig) for _ in range(10)]
        firsts = [(await anext(aiter(stream))).event for stream in streams]
        rig.hands.settle()
        stories = [[first, *await events(stream)] for first, stream in zip(firsts, streams, strict=True)]
        assert all(story == stories[0] for story in stories)
