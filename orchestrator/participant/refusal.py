"""How a participant says no: one exception, and the one place that turns it into a gRPC status with its reason."""

from types import TracebackType
from typing import Any, Self

import grpc
from google.rpc import error_details_pb2, status_pb2

ALREADY_COMPENSATED = "SAGA_STEP_ALREADY_COMPENSATED"
"""The call's undo came first; it can never act."""
NOT_AFTER_PASSED = "SAGA_NOT_AFTER_PASSED"
"""The call came after its `saga-not-after`."""
NOTHING_TO_UNDO = "SAGA_NOTHING_TO_UNDO"
"""An undo's way to succeed with an error, for services that cannot answer OK there. The kit answers OK."""
KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
"""The key belongs to another request: the caller has a bug."""
METADATA_INVALID = "SAGA_METADATA_INVALID"
"""A number in the metadata is none, or a call names itself as the one it undoes."""
ASK_AGAIN = "SAGA_ASK_AGAIN"
"""The database ended the transaction for the sake of another one; nothing was done."""

# serialization_failure, deadlock_detected, lock_not_available: PostgreSQL took the transaction back
_CONTENTION = frozenset({"40001", "40P01", "55P03"})
# SQLITE_BUSY, SQLITE_LOCKED
_SQLITE_CONTENTION = frozenset({5, 6})


class Refused(Exception):
    """The service looked at the call and did nothing; raised inside the transaction, which it takes back."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        """Keep the code, the published reason (UPPER_SNAKE_CASE) and the sentence for people."""
        super().__init__(f"{code.name} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message


class answering:  # noqa: N801  (used as a verb, like contextlib's)
    """`with answering(context):` around the transaction: refusals and contention end the call with their status.

    `async with` in an asyncio server. Whatever else is raised passes.
    """

    def __init__(self, context: Any, *, domain: str = "") -> None:  # noqa: ANN401  (two classes without a common type)
        """`domain` is ErrorInfo's: who published the reasons, for example `payment.example`."""
        self._context = context
        self._domain = domain

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        refused = refusal_of(error)
        if refused is not None:
            self._context.set_trailing_metadata(_trailing(refused, self._domain))
            self._context.abort(refused.code, refused.message)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        refused = refusal_of(error)
        if refused is not None:
            self._context.set_trailing_metadata(_trailing(refused, self._domain))
            await self._context.abort(refused.code, refused.message)


def refusal_of(error: BaseException | None) -> Refused | None:
    """Return the refusal that an exception is, or stands for; None where it is something else."""
    if isinstance(error, Refused):
        return error
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    sqlite_code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the lowest byte is the primary code
    if state in _CONTENTION or sqlite_code in _SQLITE_CONTENTION:
        return Refused(
            grpc.StatusCode.ABORTED,
            ASK_AGAIN,
            f"another transaction was in the way ({error}); nothing was done: repeat the call with the same key",
        )
    return None


def _trailing(refused: Refused, domain: str) -> tuple[tuple[str, str | bytes], ...]:
    """Return the metadata that carries a `google.rpc.Status`; its name ends in -bin, so its value is bytes."""
    status = status_pb2.Status(code=refused.code.value[0], message=refused.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=refused.reason, domain=domain))
    return (("grpc-status-details-bin", status.SerializeToString()),)
