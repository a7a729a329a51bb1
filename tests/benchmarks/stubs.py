"""The five services of the bench: answer at once, keep nothing. `python -m tests.benchmarks.stubs` prints its port.

What is stored for a parked patient waits at a gate, which the bench shuts and opens: `bench.Gate/Parked` answers with
how many wait.
"""

import asyncio
import sys

import grpc
import uvloop
from grpc_reflection.v1alpha import reflection

from services.epro.v1 import (
    archive_service_pb2,
    notifier_service_pb2,
    safety_service_pb2,
    scoring_service_pb2,
    validator_service_pb2,
)

REFUSED_PATIENT = "refused"
"""Alerts for this patient are refused, which undoes the saga."""

PARKED_PATIENT = "parked"
"""What is stored for this patient waits until the gate is open."""

REPLIES = {
    "Validator/Validate": validator_service_pb2.ValidateResponse(valid=True),
    "Scoring/Score": scoring_service_pb2.ScoreResponse(total=14, answered=9),
    "Archive/Store": archive_service_pb2.StoreResponse(record_id="record-1"),
    "Archive/Withdraw": archive_service_pb2.WithdrawResponse(withdrawn=1),
    "Safety/OpenAdverseEvent": safety_service_pb2.OpenAdverseEventResponse(event_id="event-1"),
    "Safety/VoidAdverseEvent": safety_service_pb2.VoidAdverseEventResponse(voided=1),
    "Notifier/SendAlert": notifier_service_pb2.SendAlertResponse(alert_id="alert-1"),
}
FILES = (
    validator_service_pb2,
    scoring_service_pb2,
    archive_service_pb2,
    safety_service_pb2,
    notifier_service_pb2,
)


class Gate:
    """Open at first."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()
        self._parked = 0

    async def pass_through(self) -> None:
        """Wait until it is open; whoever leaves earlier is parked no more."""
        self._parked += 1
        try:
            await self._opened.wait()
        finally:
            self._parked -= 1

    def methods(self) -> "dict[str, grpc.RpcMethodHandler[bytes, bytes]]":
        """Return what the bench does to it."""

        async def shut(_request: bytes, _context: object) -> bytes:
            self._opened.clear()
            return b""

        async def open_up(_request: bytes, _context: object) -> bytes:
            self._opened.set()
            return b""

        async def parked(_request: bytes, _context: object) -> bytes:
            return str(self._parked).encode()

        named = {"Shut": shut, "Open": open_up, "Parked": parked}
        return {name: grpc.unary_unary_rpc_method_handler(method) for name, method in named.items()}


def _method(name: str, reply: bytes, gate: Gate) -> "grpc.RpcMethodHandler[bytes, bytes]":
    marker, parked = REFUSED_PATIENT.encode(), PARKED_PATIENT.encode()

    async def answer(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        if name == "Notifier/SendAlert" and marker in request:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the nurse's line is closed")
        if name == "Archive/Store" and parked in request:
            await gate.pass_through()
        return reply

    return grpc.unary_unary_rpc_method_handler(answer)


def _handlers() -> list[grpc.GenericRpcHandler]:
    gate = Gate()
    by_service: dict[str, dict[str, grpc.RpcMethodHandler[bytes, bytes]]] = {}
    for name, reply in REPLIES.items():
        service, _, method = name.partition("/")
        answered = _method(name, reply.SerializeToString(), gate)
        by_service.setdefault(f"epro.v1.{service}", {})[method] = answered
    found = [grpc.method_handlers_generic_handler(service, methods) for service, methods in by_service.items()]
    return [*found, grpc.method_handlers_generic_handler("bench.Gate", gate.methods())]


async def main() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(_handlers())
    names = [descriptor.full_name for file in FILES for descriptor in file.DESCRIPTOR.services_by_name.values()]
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listening 127.0.0.1:{port}")
    sys.stdout.flush()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
