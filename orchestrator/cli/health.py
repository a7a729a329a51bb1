"""`saga health`: does a server take work? For the health checks of containers, so it starts fast and says little."""

from typing import TYPE_CHECKING, Any, cast

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import echo, tame
from orchestrator.cli.session import Session, connected
from orchestrator.limits import CLI_HEALTH_S

if TYPE_CHECKING:
    import grpc


@click.command()
@click.option("--service", default="", metavar="NAME", help="One of its services; the whole server otherwise.")
@connected
def health(session: Session, *, service: str) -> int:
    """Ask a server whether it takes work: `grpc.health.v1`, which any gRPC server may answer.

    Exit code 0 when it says SERVING, otherwise 1, also when nobody answers within three seconds.
    """
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    stub: Any = HealthStub(session.channel)  # its type names no method
    try:
        reply = stub.Check(HealthCheckRequest(service=service), timeout=CLI_HEALTH_S)
    except grpc.RpcError as failed:
        call = cast("grpc.Call", failed)  # every RpcError of a client is one, which its types do not say
        why = f"{call.code().name}: {tame(call.details() or 'no reason given')}"
        raise Failure(f"{session.server} does not say that it takes work: {why}") from failed
    word = HealthCheckResponse.ServingStatus.Name(reply.status)
    if not session.printer.is_table:
        session.printer.message(reply)
    elif not session.printer.quiet:
        echo(word)
    return Exit.OK if reply.status == HealthCheckResponse.SERVING else Exit.FAILED
