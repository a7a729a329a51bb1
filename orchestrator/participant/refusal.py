"""How a participant says no: one exception, its published reasons, and what a database's own no stands for."""

import grpc

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
