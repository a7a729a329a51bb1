"""What happens around every method: ids, bounds, bugs, cancellation, drain, and the port itself."""

import asyncio
import logging
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import json_format, struct_pb2
from google.rpc import error_details_pb2

from orchestrator import errors, limits
from orchestrator.api import ApiBounds, ApiServer
from orchestrator.runtime import Orchestrator
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.api.rig import PATIENCE_S, Listen, Rig, Shelf, Ticks, running, status_of

METHOD = "/orchestrator.v1.SagaService/GetSaga"


class Broken:
    """Between the server and the runtime: `get` does what the test says."""

    def __init__(self, real: Orchestrator, error: BaseException) -> None:
        self._real = real
        self._error = error

    async def get(self, name: str) -> None:
        raise self._error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def breaking(error: BaseException) -> Any:
    return lambda real: Broken(real, error)


def get(saga_id: str = "a-1") -> rpc.GetSagaRequest:
    return rpc.GetSagaRequest(saga_id=saga_id)


async def failed(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def reason(error: grpc.aio.AioRpcError) -> str:
    status = status_of(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return str(info.reason)


def trailing(metadata: Any, key: str) -> list[str]:
    return [value for name, value in metadata or () if name == key]


async def test_a_callers_request_id_comes_back_with_every_answer() -> None:
    async with running() as rig:
        call = rig.sagas.ListSagas(rpc.ListSagasRequest(), metadata=(("x-request-id", "mine-7"),))
        await call
        assert trailing(await call.trailing_metadata(), "x-request-id") == ["mine-7"]
        error = await failed(rig.sagas.GetSaga(get(), metadata=(("x-request-id", "mine-8"),)))
        assert trailing(error.trailing_metadata(), "x-request-id") == ["mine-8"]


@pytest.mark.parametrize("length", [limits.API_REQUEST_ID_CHARS_MAX, limits.API_REQUEST_ID_CHARS_MAX + 1])
async def test_a_request_id_has_a_bound(length: int) -> None:
    async with running() as rig:
        call = rig.sagas.ListSagas(rpc.ListSagasRequest(), metadata=(("x-request-id", "x" * length),))
        await call
        echoed = trailing(await call.trailing_metadata(), "x-request-id")
        assert bool(echoed) == (length == limits.API_REQUEST_ID_CHARS_MAX)


async def test_a_bug_is_a_number_for_the_caller_and_a_line_for_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with running(wrap=breaking(ZeroDivisionError("secret inside"))) as rig:
        with caplog.at_level(logging.ERROR):
            error = await failed(rig.sagas.GetSaga(get(), metadata=(("x-request-id", "mine-9"),)))
        assert error.code() is grpc.StatusCode.INTERNAL
        assert "mine-9" in str(error.details())
        assert "secret" not in str(error)
        (line,) = [record for record in caplog.records if record.name.startswith("orchestrator.api")]
        assert "mine-9" in line.getMessage()
        assert METHOD in line.getMessage()
        assert line.exc_info


async def test_an_error_private_to_the_runtime_is_a_bug() -> None:
    async with running(wrap=breaking(errors.Fenced("epoch 4 owns the stream"))) as rig:
        error = await failed(rig.sagas.GetSaga(get()))
        assert (error.code(), reason(error)) == (grpc.StatusCode.INTERNAL, "INTERNAL")
        assert "epoch" not in str(error)


async def test_a_method_that_is_cancelled_inside_does_not_leave_its_caller_waiting() -> None:
    async with running(wrap=breaking(asyncio.CancelledError())) as rig:
        error = await failed(rig.sagas.GetSaga(get(), timeout=10))
        assert (error.code(), reason(error)) == (grpc.StatusCode.CANCELLED, "CANCELLED")


async def waiting(rig: Rig, count: int) -> "list[asyncio.Task[rpc.WaitSagaResponse]]":
    """So many long polls that are in flight."""
    await rig.sagas.StartSaga(rpc.StartSagaRequest(saga_id="a-1", definition="job"))
    before = rig.api.in_flight
    polls = [asyncio.ensure_future(_wait(rig)) for _ in range(count)]  # noqa: TID251  # every test awaits them
    while rig.api.in_flight < before + count:
        await rig.sagas.GetSaga(get())
    return polls


async def _wait(rig: Rig) -> rpc.WaitSagaResponse:
    return await rig.sagas.WaitSaga(rpc.WaitSagaRequest(saga_id="a-1"))


async def test_waits_over_the_bound_are_turned_away_with_a_hint_and_calls_are_not() -> None:
    async with running(bounds=ApiBounds(waits=2), answer_at_once=False) as rig:
        polls = await waiting(rig, 2)
        error = await failed(_wait(rig))
        assert (error.code(), reason(error)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
        status = status_of(error)
        assert status is not None
        hint = error_details_pb2.RetryInfo()
        assert any(detail.Unpack(hint) for detail in status.details)
        assert hint.retry_delay.ToNanoseconds() == int(limits.API_RETRY_AFTER_S * 1e9)
        again = await failed(rig.sagas.StartSaga(rpc.StartSagaRequest(definition="job", wait=rpc.START_WAIT_TERMINAL)))
        assert reason(again) == "QUEUE_FULL"
        await rig.sagas.StartSaga(rpc.StartSagaRequest(definition="job"))
        rig.hands.settle()
        assert all(answer.reached for answer in await asyncio.gather(*polls))
        assert (await _wait(rig)).reached


async def test_calls_over_the_bound_are_turned_away_at_once() -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Broken):
        async def get(self, name: str) -> None:
            began.set()
            await go_on.wait()
            raise errors.NotFound("saga", name)

    async with running(bounds=ApiBounds(calls=1), wrap=lambda real: Slow(real, Exception())) as rig:  # type: ignore[arg-type, return-value]  # plays it
        first = asyncio.ensure_future(failed(rig.sagas.GetSaga(get())))  # noqa: TID251  # awaited below
        await began.wait()
        assert reason(await failed(rig.sagas.GetSaga(get()))) == "QUEUE_FULL"
        go_on.set()
        assert reason(await first) == "SAGA_NOT_FOUND"


class Stuck:
    """Between the server and the runtime: what is to be recorded is not answered."""

    def __init__(self, real: Orchestrator) -> None:
        self._real = real

    async def cancel(self, name: str, *_: object, **__: object) -> None:
        await asyncio.Event().wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def stuck(real: Orchestrator) -> Any:
    return Stuck(real)


@pytest.mark.usefixtures("early")
async def test_a_command_without_an_answer_is_answered_before_its_callers_deadline_with_what_is_known() -> None:
    async with running(wrap=stuck) as rig:
        error = await failed(rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1"), timeout=PATIENCE_S))
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE")
        assert "not known whether" in str(error.details())
        assert "ask again with the same request id" in str(error.details())


async def test_a_command_without_an_answer_is_answered_at_the_end_of_the_drain() -> None:
    async with running(wrap=stuck) as rig:
        call = failed(rig.sagas.CancelSaga(rpc.CancelSagaRequest(saga_id="a-1")))
        asked = asyncio.ensure_future(call)  # noqa: TID251  # awaited below
        while rig.api.in_flight < 1:  # noqa: ASYNC110  # the server does not tell
            await asyncio.sleep(0.001)  # poll: it reaches the server
        await rig.api.drain(0.0)
        error = await asked
        assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE")


async def test_streams_on_one_connection_have_a_bound() -> None:
    async with running(bounds=ApiBounds(streams_per_connection=2), answer_at_once=False) as rig:
        polls = await waiting(rig, 1)
        polls += [asyncio.ensure_future(_wait(rig))]  # noqa: TID251  # awaited below
        while rig.api.in_flight < 2:
            await rig.orchestrator.get("a-1")
            await asyncio.sleep(0.001)  # poll: the second long poll reaches the server
        third = await failed(rig.sagas.GetSaga(get(), timeout=0.3))
        assert third.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{rig.port}", options=(("grpc.use_local_subchannel_pool", 1),)
        ) as other:
            shown = await SagaServiceStub(other).GetSaga(get())
            assert shown.saga.saga_id == "a-1"
        rig.hands.settle()
        await asyncio.gather(*polls)
        assert (await rig.sagas.GetSaga(get())).saga.saga_id == "a-1"


@pytest.mark.parametrize("over", [0, 1])
async def test_a_message_has_a_bound(over: int) -> None:
    request = rpc.StartSagaRequest(definition="nobody")
    request.json.fields["text"].string_value = "x" * limits.API_MESSAGE_BYTES_MAX
    excess = request.ByteSize() - limits.API_MESSAGE_BYTES_MAX - over
    request.json.fields["text"].string_value = "x" * (limits.API_MESSAGE_BYTES_MAX - excess)
    assert request.ByteSize() == limits.API_MESSAGE_BYTES_MAX + over
    async with running() as rig:
        error = await failed(rig.sagas.StartSaga(request))
        expected = grpc.StatusCode.RESOURCE_EXHAUSTED if over else grpc.StatusCode.NOT_FOUND
        assert error.code() is expected


async def test_a_compressed_message_is_refused_before_it_is_unpacked() -> None:
    request = rpc.ListSagasRequest(filter="status = RUNNING".ljust(3_000))
    async with running() as rig:
        error = await failed(rig.sagas.ListSagas(request, compression=grpc.Compression.Gzip))
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        await rig.sagas.ListSagas(request)


async def test_metadata_has_a_bound() -> None:
    async with running() as rig:
        fits = (("note", "x" * (limits.API_METADATA_BYTES_MAX // 2)),)
        await rig.sagas.ListSagas(rpc.ListSagasRequest(), metadata=fits)
        over = (("note", "x" * limits.API_METADATA_BYTES_MAX),)
        error = await failed(rig.sagas.ListSagas(rpc.ListSagasRequest(), metadata=over))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await rig.sagas.ListSagas(rpc.ListSagasRequest())


async def test_a_saga_too_large_to_show_whole_says_how_to_see_it() -> None:
    values = json_format.ParseDict({"text": "x" * (limits.API_MESSAGE_BYTES_MAX // 3)}, struct_pb2.Struct())
    async with running() as rig:
        start = rpc.StartSagaRequest(saga_id="a-1", definition="job", json=values, wait=rpc.START_WAIT_TERMINAL)
        await rig.sagas.StartSaga(start)
        error = await failed(rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1", view=pb.SAGA_VIEW_FULL)))
        assert (error.code(), reason(error)) == (grpc.StatusCode.FAILED_PRECONDITION, "RESPONSE_TOO_LARGE")
        steps = await rig.sagas.GetSaga(rpc.GetSagaRequest(saga_id="a-1", view=pb.SAGA_VIEW_STEPS))
        assert steps.saga.steps
        seen, token = 0, ""
        while True:
            page = await rig.sagas.ListSagaEvents(
                rpc.ListSagaEventsRequest(saga_id="a-1", view=pb.SAGA_VIEW_FULL, page_token=token)
            )
            seen += len(page.events)
            token = page.next_page_token
            if not token:
                break
        assert seen == (await rig.sagas.GetSaga(get())).saga.sequence


async def test_a_list_page_ends_before_its_message_is_too_large() -> None:
    attributes = {f"a{number}": struct_pb2.Value(string_value="x" * 500) for number in range(30)}
    async with running(answer_at_once=False) as rig:
        starts = (rpc.StartSagaRequest(definition="job", attributes=attributes) for _ in range(300))
        await asyncio.gather(*(rig.sagas.StartSaga(start) for start in starts))
        seen, token, pages = set(), "", 0
        while True:
            page = await rig.sagas.ListSagas(rpc.ListSagasRequest(page_size=1_000, page_token=token))
            seen |= {saga.saga_id for saga in page.sagas}
            token, pages = page.next_page_token, pages + 1
            if not token:
                break
        assert (len(seen), pages) == (300, 2)


async def test_a_taken_port_is_named_with_the_way_out() -> None:
    async with running() as rig:
        second = ApiServer(rig.orchestrator, Shelf(), Listen(port=rig.port), clock=Ticks())  # type: ignore[arg-type]  # the shelf plays it
        with pytest.raises(errors.ConfigError, match=rf"127\.0\.0\.1:{rig.port}.*--port"):
            await second.start()
        await second.drain(0.0)
        await rig.sagas.ListSagas(rpc.ListSagasRequest())


@pytest.mark.parametrize("method", ["SagaService/GetSaga", "OperatorService/RetryStep", "SagaService/WatchSaga"])
async def test_bytes_that_are_no_request_are_refused_like_any_wrong_input(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as rig:
        channel: Any = rig.channel
        kind = channel.unary_stream if method.endswith("WatchSaga") else channel.unary_unary
        call = kind(f"/orchestrator.v1.{method}")(b"\xff\xff\xff\xff")
        error = await failed(call.read() if method.endswith("WatchSaga") else call)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason(error) == "INPUT_INVALID"
        assert "cannot be read" in str(error.details())
    assert "Traceback" not in caplog.text
