"""A client of gRPC server reflection: ask a running service for the files that describe it.

`grpc.reflection.v1` and `v1alpha` differ in their name only; the messages are the same on the wire, so one set of
generated classes speaks both. Servers answer with a file alone or with its imports; what is missing is asked for by
name, and Google's well-known types, which some servers do not serve, are taken from our own protobuf library.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TypeAlias

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc import StatusCode, aio
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from orchestrator.errors import TargetUnreachable
from orchestrator.invoker.targets import TargetConfig
from orchestrator.limits import (
    DESCRIPTORS_BYTES_MAX,
    DESCRIPTORS_FILES_MAX,
    REFLECTION_ATTEMPTS_MAX,
    REFLECTION_S_MAX,
)

Files = dict[str, FileDescriptorProto]
_Method: TypeAlias = "aio.StreamStreamMultiCallable[ServerReflectionRequest, ServerReflectionResponse]"
_Stream: TypeAlias = "aio.StreamStreamCall[ServerReflectionRequest, ServerReflectionResponse]"

_VERSIONS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_OTHER_WAY = "or describe it by descriptors: {set: FILE} or {files: [FILE.proto]}"


async def reflect(channel: aio.Channel, target: TargetConfig) -> Files:
    """Return every file that the target's services need, by name; raise `TargetUnreachable`."""
    unclear: aio.AioRpcError | None = None
    for version in _VERSIONS:
        try:
            return await _converse_until_clear(channel, version, target)
        except aio.AioRpcError as exc:
            if exc.code() is StatusCode.INTERNAL:
                unclear = exc
            elif exc.code() is not StatusCode.UNIMPLEMENTED:
                raise _unreachable(target, _as_told(exc)) from exc
        except DecodeError as exc:
            raise _unreachable(target, f"it sent a descriptor that cannot be decoded; {_OTHER_WAY}") from exc
    if unclear is not None:
        raise _unreachable(target, _as_told(unclear)) from unclear
    raise _unreachable(target, f"it serves no reflection; enable grpc.reflection.v1 in it, {_OTHER_WAY}")


async def _converse_until_clear(channel: aio.Channel, version: str, target: TargetConfig) -> Files:
    """Ask again where the library cannot say how the stream ended.

    A server that refuses a stream at once ends it under our first write, and once in forty to once in nine times
    grpc.aio then reports INTERNAL of its own making in place of the server's status; on a busy machine even many times
    in a row, so that the older version is tried after it too. Asking costs nothing: it is a read.
    """
    for _ in range(REFLECTION_ATTEMPTS_MAX - 1):
        try:
            return await _converse(channel, version, target)
        except aio.AioRpcError as exc:
            if exc.code() is not StatusCode.INTERNAL:
                raise
    return await _converse(channel, version, target)


async def _converse(channel: aio.Channel, version: str, target: TargetConfig) -> Files:
    method: _Method = channel.stream_stream(
        f"/{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    stream = method(timeout=REFLECTION_S_MAX)
    try:
        return await _collect(stream, target)
    finally:
        stream.cancel()
        await stream.code()


async def _collect(stream: _Stream, target: TargetConfig) -> Files:
    """Ask for each service's file, then for imports until none is missing."""
    listed = await _ask(stream, ServerReflectionRequest(list_services=""))
    files: Files = {}
    for service in listed.list_services_response.service:
        if not service.name.startswith("grpc.reflection."):
            answer = await _ask(stream, ServerReflectionRequest(file_containing_symbol=service.name))
            _take(files, answer, target)
    while missing := _missing(files):
        for name in missing:
            _take(files, await _ask(stream, ServerReflectionRequest(file_by_filename=name)), target)
            if name not in files and not _take_well_known(files, name):
                raise _unreachable(target, f"its reflection does not serve the imported file {name!r}; {_OTHER_WAY}")
    return files


def _take(files: Files, answer: ServerReflectionResponse, target: TargetConfig) -> None:
    for data in answer.file_descriptor_response.file_descriptor_proto:
        file = FileDescriptorProto.FromString(data)
        files[file.name] = file
    if len(files) > DESCRIPTORS_FILES_MAX or sum(file.ByteSize() for file in files.values()) > DESCRIPTORS_BYTES_MAX:
        raise _unreachable(
            target,
            f"its descriptors are more than {DESCRIPTORS_FILES_MAX} files or {DESCRIPTORS_BYTES_MAX} bytes;"
            " give a descriptor set with the needed files only",
        )


def _missing(files: Mapping[str, FileDescriptorProto]) -> list[str]:
    return sorted({name for file in files.values() for name in file.dependency} - files.keys())


def _take_well_known(files: Files, name: str) -> bool:
    if not name.startswith("google/protobuf/"):
        return False
    file = FileDescriptorProto()
    try:
        descriptor_pool.Default().FindFileByName(name).CopyToProto(file)
    except KeyError:
        return False
    files[name] = file
    return True


async def _ask(stream: _Stream, question: ServerReflectionRequest) -> ServerReflectionResponse:
    """Ask one question; the stream's own end, whatever its status, is raised as the error it is."""
    with contextlib.suppress(asyncio.InvalidStateError):  # the server ended the stream before it read us
        await stream.write(question)
        answer = await stream.read()
        if isinstance(answer, ServerReflectionResponse):
            return answer
    raise aio.AioRpcError(await stream.code(), aio.Metadata(), aio.Metadata(), details=await stream.details())


def _as_told(error: aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}; is it running? Start it, {_OTHER_WAY}"


def _unreachable(target: TargetConfig, why: str) -> TargetUnreachable:
    message = f"target {target.name!r} at {target.address} did not describe its methods: {why}"
    return TargetUnreachable(message, target=target.name, address=target.address)
