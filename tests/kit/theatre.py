"""A theatre's box office: the participant that tests call. Its types, and a server around whatever keeps its promises.

The types are written out here because the tests install no compiler; theatre.proto, beside the participant in another
language, says the same.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

SERVICE = "theatre.v1.BoxOffice"
SEATS_MAX = 8
"""A reservation of more is refused by the house itself."""

THREADS = 16
"""More than there are duplicates at once."""

_FIELDS = {
    "ReserveRequest": {"client": "string", "seats": "int32"},
    "Reservation": {"reservation_id": "string", "client": "string"},
    "ReleaseRequest": {"client": "string"},
    "ReleaseReply": {"released": "int32"},
    "ListRequest": {"client": "string"},
    "ListReply": {"reservations": "*Reservation"},
}
METHODS = {
    "Reserve": ("ReserveRequest", "Reservation"),
    "Release": ("ReleaseRequest", "ReleaseReply"),
    "List": ("ListRequest", "ListReply"),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="theatre.proto", package="theatre.v1", syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            added = message.field.add(name=field, number=number, label=3 if kind.startswith("*") else 1)
            if kind.startswith("*"):
                added.type_name = f".theatre.v1.{kind[1:]}"
            else:
                added.type = 9 if kind == "string" else 5  # type: ignore[assignment]  # by number
    service = file.service.add(name="BoxOffice")
    for name, (request, reply) in METHODS.items():
        service.method.add(name=name, input_type=f".theatre.v1.{request}", output_type=f".theatre.v1.{reply}")
    return file


DESCRIPTORS = descriptor_pb2.FileDescriptorSet(file=[_file()])
POOL = DescriptorPool()
POOL.AddSerializedFile(DESCRIPTORS.file[0].SerializeToString())
_CLASSES: dict[str, Any] = {name: GetMessageClass(POOL.FindMessageTypeByName(f"theatre.v1.{name}")) for name in _FIELDS}
ReserveRequest, Reservation, ReleaseRequest, ReleaseReply, ListRequest, ListReply = _CLASSES.values()

Context: TypeAlias = Any
Answer = Callable[[Any, Context], Any]


class House(Protocol):
    """What answers: plain functions behind threads, coroutines behind an event loop."""

    @property
    def reserve(self) -> Answer: ...
    @property
    def release(self) -> Answer: ...
    @property
    def list_(self) -> Answer: ...


def _handlers(house: House) -> grpc.GenericRpcHandler:
    answers = {"Reserve": house.reserve, "Release": house.release, "List": house.list_}
    handlers: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=_CLASSES[METHODS[name][0]].FromString,
            response_serializer=_CLASSES[METHODS[name][1]].SerializeToString,
        )
        for name, answer in answers.items()
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


@contextlib.contextmanager
def in_threads(house: House, *, credentials: grpc.ServerCredentials | None = None) -> Iterator[str]:
    """Serve plain functions, each call on a thread; give the address."""
    server = grpc.server(ThreadPoolExecutor(THREADS))
    server.add_generic_rpc_handlers((_handlers(house),))
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server, pool=POOL)
    where = "127.0.0.1:0"
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextlib.asynccontextmanager
async def in_loop(house: House) -> AsyncIterator[str]:
    """Serve coroutines on this loop; give the address."""
    server = aio.server()
    server.add_generic_rpc_handlers((_handlers(house),))
    servicer = reflection_aio.ReflectionServicer((SERVICE, reflection.SERVICE_NAME), pool=POOL)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]  # its stubs
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
