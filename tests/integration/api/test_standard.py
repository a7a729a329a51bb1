"""Health and reflection, as tools that know nothing of us use them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2 as alpha

from orchestrator.api import SERVICES, ApiBounds
from tests.integration.api.rig import Rig, running

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def health_of(rig: Rig) -> Any:
    return health_pb2_grpc.HealthStub(rig.channel)


@pytest.mark.parametrize("name", ["", *SERVICES])
async def test_health_says_serving_and_then_not(name: str) -> None:
    async with running() as rig:
        health = health_of(rig)
        request = health_pb2.HealthCheckRequest(service=name)
        assert (await health.Check(request)).status == SERVING
        watchers = [aiter(health.Watch(request)) for _ in range(2)]
        assert [(await anext(watcher)).status for watcher in watchers] == [SERVING, SERVING]
        gone = health.Watch(request)
        await anext(aiter(gone))
        gone.cancel()
        rig.api.refuse_new()
        assert [(await anext(watcher)).status for watcher in watchers] == [NOT_SERVING, NOT_SERVING]
        assert (await health.Check(request)).status == NOT_SERVING


async def test_health_does_not_know_strangers() -> None:
    async with running() as rig:
        health = health_of(rig)
        stranger = health_pb2.HealthCheckRequest(service="x.v1.X")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(stranger)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        first = await anext(aiter(health.Watch(stranger)))
        assert first.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def test_health_answers_when_the_server_is_full() -> None:
    async with running(bounds=ApiBounds(calls=0, waits=0)) as rig:
        answer = await health_of(rig).Check(health_pb2.HealthCheckRequest())
        assert answer.status == SERVING


def reflect(rig: Rig, name: str) -> Callable[..., AsyncIterator[Any]]:
    return rig.channel.stream_stream(  # type: ignore[return-value]  # the stubs do not know aio
        f"/{name}/ServerReflectionInfo",
        request_serializer=alpha.ServerReflectionRequest.SerializeToString,
        response_deserializer=alpha.ServerReflectionResponse.FromString,
    )


async def ask(rig: Rig, name: str, request: alpha.ServerReflectionRequest) -> alpha.ServerReflectionResponse:
    async for answer in reflect(rig, name)(iter([request])):
        found: alpha.ServerReflectionResponse = answer
        return found
    raise AssertionError("no answer")


@pytest.mark.parametrize("name", NAMES)
async def test_reflection_lists_every_service_under_both_of_its_names(name: str) -> None:
    async with running() as rig:
        answer = await ask(rig, name, alpha.ServerReflectionRequest(list_services=""))
        listed = {service.name for service in answer.list_services_response.service}
        assert listed == {*SERVICES, *NAMES, "grpc.health.v1.Health"}


@pytest.mark.parametrize("name", NAMES)
async def test_a_client_without_our_code_starts_a_saga_by_reflection(name: str) -> None:
    async with running() as rig:
        request = alpha.ServerReflectionRequest(file_containing_symbol=SERVICES[0])
        answer = await ask(rig, name, request)
        pool = descriptor_pool.DescriptorPool()
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(data)
            for data in answer.file_descriptor_response.file_descriptor_proto
        ]
        missing = {file.name: file for file in files}
        while missing:
            ready = [file for file in missing.values() if not set(file.dependency) & missing.keys()]
            assert ready, "the answer leaves out a file that another one needs"
            for file in ready:
                pool.Add(missing.pop(file.name))
        method = pool.FindServiceByName(SERVICES[0]).methods_by_name["StartSaga"]
        sent = message_factory.GetMessageClass(method.input_type)()
        json_format.ParseDict({"sagaId": "a-1", "definition": "job", "json": {"n": 1}}, sent, descriptor_pool=pool)
        call: Any = rig.channel.unary_unary(
            f"/{SERVICES[0]}/StartSaga",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        shown = json_format.MessageToDict(await call(sent), descriptor_pool=pool)
        assert shown["saga"]["sagaId"] == "a-1"
        assert (await rig.orchestrator.get("a-1")).version > 0


async def test_reflection_that_stays_open_does_not_hold_up_a_drain() -> None:
    async with running() as rig:
        stream = reflect(rig, NAMES[0])()
        await stream.write(alpha.ServerReflectionRequest(list_services=""))  # type: ignore[attr-defined]  # the stubs do not know aio
        await stream.read()  # type: ignore[attr-defined]  # the same
        async with asyncio.timeout(10):
            await rig.api.drain(60.0)
