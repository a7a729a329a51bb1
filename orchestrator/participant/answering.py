"""The edge of a call: its metadata on the way in, a status with its reason on the way out."""

from types import TracebackType
from typing import Any

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from orchestrator.participant.call import Call, read_call
from orchestrator.participant.refusal import Refused, refusal_of


class answering:  # noqa: N801  (used as a verb, like contextlib's)
    """`with answering(context, request) as call:` around the transaction; `async with` in an asyncio server.

    Gives the `Call`. A refusal, or contention in the database, ends the gRPC call with its status and ErrorInfo;
    whatever else is raised passes.
    """

    def __init__(self, context: Any, request: Message, *, domain: str = "") -> None:  # noqa: ANN401  (gRPC has two classes without a common type)
        """`domain` is ErrorInfo's: who published the reasons, for example `payment.example`."""
        self._context = context
        self._request = request
        self._domain = domain

    def __enter__(self) -> Call:
        try:
            return read_call(self._context, self._request)
        except Refused as refused:
            self._end(refused)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        refused = refusal_of(error)
        if refused is not None:
            self._end(refused)

    async def __aenter__(self) -> Call:
        try:
            return read_call(self._context, self._request)
        except Refused as refused:
            await self._end(refused)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        refused = refusal_of(error)
        if refused is not None:
            await self._end(refused)

    def _end(self, refused: Refused) -> Any:  # noqa: ANN401  (None or an awaitable, by the server's kind)
        """End the call: raises, at once or when awaited."""
        self._context.set_trailing_metadata(_trailing(refused, self._domain))
        return self._context.abort(refused.code, refused.message)


def _trailing(refused: Refused, domain: str) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata that carries a `google.rpc.Status`; its name ends in -bin, so its value is bytes."""
    status = status_pb2.Status(code=refused.code.value[0], message=refused.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=refused.reason, domain=domain))
    return (("grpc-status-details-bin", status.SerializeToString()),)
