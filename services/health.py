"""Is a service there, and does it take calls? For the health check of a container.

    python -m services.health HOST:PORT

Exit code 0 when it says SERVING, else 1, and the reason on standard error.
"""

from __future__ import annotations

import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

PATIENCE_S = 3.0
"""Below the time that container engines give a check; an answer takes milliseconds."""


def main(arguments: list[str]) -> int:
    """Ask once; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m services.health HOST:PORT", file=sys.stderr)  # noqa: T201  (the program's own voice)
        return 2
    found = asked(arguments[0])
    if found == "SERVING":
        return 0
    print(f"{arguments[0]}: {found}", file=sys.stderr)  # noqa: T201  (the same)
    return 1


def asked(address: str) -> str:
    """What the program that listens there says of itself, or why it says nothing."""
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its type names no method
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
        except grpc.RpcError as failed:
            call: Any = failed  # every RpcError of a client is a call, which its type does not say
            return f"{call.code().name}: {call.details()}"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
