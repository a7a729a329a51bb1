"""What all programs share: flags, the gRPC server around one service or a few, and how it starts and stops.

    python -m services.archive --port 0 --data DIR [--host 127.0.0.1] [--grace 5] [--fault JSON]...

* Ready means ready: exactly one line, `listening HOST:PORT`, is printed on standard output once calls are answered.
  Everything else goes to standard error. Port 0 lets the system choose.
* Loopback by default. Whoever gives another --host knows why.
* Beside the services: grpc.health.v1.Health, epro.v1.FaultService, and reflection under both names. The Python package
  ships `grpc.reflection.v1alpha` only; `grpc.reflection.v1` has the same messages on the wire, so the same servicer is
  registered under that name too. It is served and not listed: its descriptor is not in the pool, and a client that
  lists services and then asks for each would be told NOT_FOUND.
* SIGTERM or SIGINT: health turns NOT_SERVING, new calls are refused, open ones have --grace seconds, then the files are
  closed and the exit code is 0. A second signal ends the waiting.
* Exit codes: 0 stopped, 1 cannot start (the reason on standard error), 2 wrong flags.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from services.epro.v1 import admin_service_pb2, admin_service_pb2_grpc
from services.faults import Faults, FaultServicer
from services.interception import WrapMethods
from services.ledger import LedgerInUseError
from services.refusal import Refusal
from services.tally import Tally
from services.tracing import Tracing, is_wanted, wraps_of

GRACE_S = 5.0
"""Longer than any call of the demo, shorter than a person's patience."""

MESSAGE_BYTES_MAX = 1024 * 1024
"""A report is about 1 KB; anything near this is a mistake."""

log = logging.getLogger(__name__)


class Closing(Protocol):
    """Something with files to close."""

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One service, or a few that belong together, ready to be run."""

    name: str
    """For example "archive": the module's name, and the service.name of its spans."""
    owner: str
    """Whose it is, for example "epro": the domain of its refusals is `<name>.<owner>.example`."""
    descriptors: tuple[ServiceDescriptor, ...]
    """What it serves; no two methods have one name, since faults and counters go by bare names."""
    register: Callable[[grpc.aio.Server, Path, dict[str, Tally]], Closing | None]
    """Adds the servicers to the server; gets the data folder and one tally per method."""

    @property
    def full_names(self) -> tuple[str, ...]:
        """The services, for example "epro.v1.Archive"."""
        return tuple(descriptor.full_name for descriptor in self.descriptors)

    @property
    def domain(self) -> str:
        """The ErrorInfo domain of its refusals."""
        return f"{self.name}.{self.owner}.example"


def main(program: Program) -> int:
    """Run until told to stop; returns the exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format=f"{program.name}: %(levelname)s %(message)s")
    options = parse(program)
    try:
        return asyncio.run(serve(program, options))
    except (LedgerInUseError, OSError, sqlite3.Error, RuntimeError, Refusal) as exc:
        print(f"{program.name}: cannot start: {exc}", file=sys.stderr)  # noqa: T201  (the program's own voice)
        return 1


def parse(program: Program) -> argparse.Namespace:
    """The flags, `fault` as a list of epro.v1.Fault."""
    parser = argparse.ArgumentParser(prog=f"python -m services.{program.name}", description=f"Serve {program.name}.")
    parser.add_argument("--data", type=Path, required=True, help="folder for the database and the effect ledger")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose (default)")
    parser.add_argument("--grace", type=float, default=GRACE_S, help="seconds for open calls at SIGTERM (%(default)s)")
    parser.add_argument("--fault", type=fault, action="append", default=[], help="an epro.v1.Fault as JSON")
    return parser.parse_args()


def fault(text: str) -> admin_service_pb2.Fault:
    """A fault from the command line; argparse reports what is wrong with it."""
    try:
        return json_format.Parse(text, admin_service_pb2.Fault())
    except json_format.ParseError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


async def serve(program: Program, options: argparse.Namespace) -> int:
    """Start, say so, wait for a signal, stop."""
    stopping, hurrying = asyncio.Event(), asyncio.Event()
    listen_for_signals(stopping, hurrying)
    tallies = {method.name: Tally() for descriptor in program.descriptors for method in descriptor.methods}
    faults = Faults(domain=program.domain, tallies=tallies)
    for each in options.fault:
        faults.set(each)
    tracing = Tracing(program.name) if is_wanted(os.environ) else None
    server = grpc.aio.server(
        interceptors=[WrapMethods(program.full_names, [faults.wrap, *wraps_of(tracing)])],
        options=[
            ("grpc.so_reuseport", 0),  # a port in use is an error, not a silent share of the calls
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ],
    )
    closing = program.register(server, options.data, tallies)
    servicer = FaultServicer(domain=program.domain, faults=faults, tallies=tallies)
    admin_service_pb2_grpc.add_FaultServiceServicer_to_server(servicer, server)
    health_servicer = await add_health(server, program.full_names)
    add_reflection(server, program.full_names)
    port = server.add_insecure_port(f"{options.host}:{options.port}")
    await server.start()
    print(f"listening {options.host}:{port}", flush=True)  # noqa: T201  (the one line that tests and people wait for)
    await stopping.wait()
    await health_servicer.enter_graceful_shutdown()
    await stop(server, options.grace, hurrying)
    if closing:
        closing.close()
    if tracing:
        tracing.close()
    return 0


def listen_for_signals(stopping: asyncio.Event, hurrying: asyncio.Event) -> None:
    """The first SIGTERM or SIGINT sets `stopping`, the second `hurrying`."""

    def signalled() -> None:
        (hurrying if stopping.is_set() else stopping).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signalled)


async def stop(server: grpc.aio.Server, grace_s: float, hurrying: asyncio.Event) -> None:
    """Refuse new calls, give open ones their grace, or less when hurried."""
    async with asyncio.TaskGroup() as group:
        hurry = group.create_task(hurry_up(server, hurrying))
        await server.stop(grace_s)
        hurry.cancel()


async def hurry_up(server: grpc.aio.Server, hurrying: asyncio.Event) -> None:
    """Cut the grace short at the second signal."""
    await hurrying.wait()
    await server.stop(0)


async def add_health(server: grpc.aio.Server, full_names: tuple[str, ...]) -> health.aio.HealthServicer:
    """grpc.health.v1 for the server ("") and for each service by name."""
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    for name in ("", *full_names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return servicer


def add_reflection(server: grpc.aio.Server, full_names: tuple[str, ...]) -> None:
    """Reflection v1alpha by the package, v1 by the same servicer under the other name."""
    admin = admin_service_pb2.DESCRIPTOR.services_by_name["FaultService"].full_name
    names = (*full_names, admin, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    servicer = reflection_aio.ReflectionServicer(names)
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    v1 = "grpc.reflection.v1.ServerReflection"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(v1, {"ServerReflectionInfo": method})])
