"""One command's connection to a server, and what its errors mean to the person who typed the command."""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar, cast

import click

from orchestrator import limits
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import FORMATS, Printer

if TYPE_CHECKING:
    import grpc
    from google.rpc.status_pb2 import Status

    from orchestrator.v1.admin_service_pb2_grpc import AdminServiceStub
    from orchestrator.v1.definition_service_pb2_grpc import DefinitionServiceStub
    from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceStub
    from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceStub
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub

F = TypeVar("F", bound=Callable[..., Any])
ExitCode = int | None
"""None: done. Not an outcome, which is a step's."""
SERVER_DEFAULT = "127.0.0.1:7400"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What every command that talks to a server has."""

    server: str
    printer: Printer
    channel: "grpc.Channel"

    @property
    def sagas(self) -> "SagaServiceStub":
        """Return the client of SagaService."""
        from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub

        return SagaServiceStub(self.channel)

    @property
    def operators(self) -> "OperatorServiceStub":
        """Return the client of OperatorService."""
        from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceStub

        return OperatorServiceStub(self.channel)

    @property
    def definitions(self) -> "DefinitionServiceStub":
        """Return the client of DefinitionService."""
        from orchestrator.v1.definition_service_pb2_grpc import DefinitionServiceStub

        return DefinitionServiceStub(self.channel)

    @property
    def admin(self) -> "AdminServiceStub":
        """Return the client of AdminService."""
        from orchestrator.v1.admin_service_pb2_grpc import AdminServiceStub

        return AdminServiceStub(self.channel)

    @property
    def diagnostics(self) -> "DiagnosticsServiceStub":
        """Return the client of DiagnosticsService."""
        from orchestrator.v1.diagnostics_service_pb2_grpc import DiagnosticsServiceStub

        return DiagnosticsServiceStub(self.channel)


def formatted(command: Callable[Concatenate[Printer, ...], ExitCode]) -> Callable[..., ExitCode]:
    """Give a command `-o` and `-q`, and a printer made of them as its first argument."""

    @click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="For people, or for programs.",
    )
    @click.option("-q", "--quiet", is_flag=True, help="Print names only, and no progress.")
    @functools.wraps(command)
    def with_printer(*args: object, output: str, quiet: bool, **kwargs: object) -> ExitCode:
        printer = Printer(format=output, quiet=quiet)
        return command(printer, *args, **kwargs)

    return with_printer


def server_option(told: str = "Where the orchestrator listens.") -> Callable[[F], F]:
    """Give a command `--server`, as `server`, with what is to be told of it."""
    return click.option(
        "--server",
        envvar="ORCHESTRATOR_SERVER",
        default=SERVER_DEFAULT,
        show_default=True,
        show_envvar=True,
        metavar="HOST:PORT",
        help=told,
    )


def connected(command: Callable[Concatenate[Session, ...], ExitCode]) -> Callable[..., ExitCode]:
    """Give a command `--server` (and `-o`, `-q`), and a session as its first argument; explain what gRPC raises."""

    @server_option()
    @functools.wraps(command)
    def with_session(printer: Printer, *args: object, server: str, **kwargs: object) -> ExitCode:
        import grpc

        with open_channel(server) as channel:
            try:
                return command(Session(server=server, printer=printer, channel=channel), *args, **kwargs)
            except grpc.RpcError as failed:
                raise explain(failed, server) from failed

    return formatted(with_session)


def channel_options(server: str) -> list[tuple[str, int]]:
    """Return options for a channel: no proxy towards this machine, and replies as large as the server sends."""
    host = server.removeprefix("dns:///").rpartition(":")[0]
    local = host in {"localhost", "[::1]", ""} or host.startswith("127.")
    return [
        ("grpc.max_receive_message_length", limits.CLI_REPLY_BYTES_MAX),
        ("grpc.enable_http_proxy", 0 if local else 1),
    ]


def open_channel(server: str) -> "grpc.Channel":
    """Return a channel to the server; it connects with the first call."""
    import grpc

    return grpc.insecure_channel(server, options=channel_options(server))


def explain(failed: "grpc.RpcError", server: str) -> Failure:
    """Say what went wrong and what to do next, from the error's google.rpc details."""
    import grpc

    call = cast("grpc.Call", failed)  # every RpcError of a client is one, which its types do not say
    code = call.code()
    status = _status(call)
    reason, metadata = _error_info(status)
    text = call.details() or code.name
    if code is grpc.StatusCode.UNAVAILABLE and not reason:
        hint = "start one with `saga serve`, or name another with --server"
        return Failure(f"no orchestrator answers at {server}; {hint}", Exit.UNAVAILABLE)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and not reason:
        return Failure(
            f"{server} did not answer in {limits.CLI_CALL_S:.0f} s; it may be overloaded, so try again", Exit.TIMEOUT
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Failure(f"{server} is not an orchestrator of this version: {text}", Exit.UNAVAILABLE)
    lines = [text, *_violations(status, text)]
    if after := _retry_after_s(status):
        lines[0] += f" (try again in {after:g} s)"
    if code is grpc.StatusCode.INTERNAL and "request_id" in metadata:
        lines[0] += f" (request {metadata['request_id']})"
    return Failure("\n".join(lines), _exit_for(code))


def refusal(failed: "grpc.RpcError") -> tuple[str, str] | None:
    """Return the status and the words of an orchestrator that answered with an error; None where nobody answered."""
    import grpc

    call = cast("grpc.Call", failed)  # the same
    code = call.code()
    if code in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}:
        return None
    if code is grpc.StatusCode.UNAVAILABLE and not _error_info(_status(call))[0]:
        return None
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return code.name, "not an orchestrator of this version"
    return code.name, call.details() or "without a word"


def pages(fetch: Callable[[str], tuple[Sequence[Any], str]], limit: int) -> Iterator[Any]:
    """Give items page by page until `limit` (0: all of them); `fetch` takes a page token and returns the next one."""
    token, given = "", 0
    while True:
        items, token = fetch(token)
        for item in items:
            yield item
            given += 1
            if given == limit:
                return
        if not token:
            return


def _exit_for(code: "grpc.StatusCode") -> Exit:
    import grpc

    match code:
        case grpc.StatusCode.NOT_FOUND:
            return Exit.NOT_FOUND
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Exit.UNAVAILABLE
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return Exit.TIMEOUT
        case _:
            return Exit.FAILED


def _status(failed: "grpc.Call") -> "Status | None":
    from grpc_status import rpc_status

    try:
        return rpc_status.from_call(failed)
    except ValueError:  # details that contradict the code: a proxy's doing; the plain text has to do
        return None


def _error_info(status: "Status | None") -> tuple[str, dict[str, str]]:
    from google.rpc.error_details_pb2 import ErrorInfo

    info = ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return info.reason, dict(info.metadata)
    return "", {}


def _violations(status: "Status | None", text: str) -> list[str]:
    from google.rpc.error_details_pb2 import BadRequest

    bad = BadRequest()
    lines: list[str] = []
    for detail in status.details if status else ():
        if detail.Unpack(bad):
            lines += [f"  {each.field}: {each.description}" for each in bad.field_violations]
    # the sentence often says the only violation already
    return [line for line in lines if line.strip() not in text]


def _retry_after_s(status: "Status | None") -> float:
    from google.rpc.error_details_pb2 import RetryInfo

    hint = RetryInfo()
    for detail in status.details if status else ():
        if detail.Unpack(hint):
            return float(hint.retry_delay.ToMilliseconds()) / 1e3
    return 0.0
