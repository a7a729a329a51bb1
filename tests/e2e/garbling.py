"""A service that breaks its word, and its types as a file, since it does not even have reflection."""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet


def descriptor_set(*files: FileDescriptor) -> bytes:
    found: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for needed in file.dependencies:
            visit(needed)
        found.setdefault(file.name, file)

    for file in files:
        visit(file)
    together = FileDescriptorSet()
    for file in found.values():
        file.CopyToProto(together.file.add())
    return together.SerializeToString()


@contextmanager
def garbling() -> Iterator[str]:
    """A service whose replies are no messages of the type that it promised."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    broken: Any = grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"\xff\xff\xff")
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("epro.v1.Scoring", {"Score": broken})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()
