"""Who is calling, as far as a service needs to know: the metadata of a saga's call, read once.

    idempotency-key   one key per step and operation; the same on every repetition of the call
    saga-id           the saga
    saga-step         the step, with its item when the step is one of many
    saga-op           `forward` or `compensate`
    saga-attempt      1, 2, ...
    saga-not-after    Unix seconds as a decimal number; a forward call that arrives later must not act
    saga-forward-key  on an undo: the idempotency-key of the call that it undoes

All of it is optional. A caller that sends no key gets no protection from its own repetitions, and one that sends no
saga gets no barrier; the services work for both.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import grpc

from services.refusal import bad_field

Context = grpc.aio.ServicerContext[Any, Any]
"""What gRPC hands to a method beside the request."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """One call's identity; empty strings where the caller said nothing."""

    key: str = ""
    saga_id: str = ""
    saga_step: str = ""
    op: str = ""
    attempt: int = 0
    not_after_at: float = math.inf
    forward_key: str = ""
    """On an undo: the key of the call that it undoes."""

    @property
    def undoes_step(self) -> bool:
        """The call compensates a known step of a known saga: what it reaches is decided by the barrier."""
        return self.op == "compensate" and bool(self.saga_id and self.saga_step)


def read_caller(context: Context) -> Caller:
    """Read the call's metadata; raises Refusal when a number in it is none."""
    metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
    try:
        attempt = int(metadata.get("saga-attempt", "0"))
        not_after_at = float(metadata.get("saga-not-after", "inf"))
    except ValueError as exc:
        raise bad_field("metadata", f"saga-attempt and saga-not-after must be decimal numbers: {exc}") from exc
    return Caller(
        key=metadata.get("idempotency-key", ""),
        saga_id=metadata.get("saga-id", ""),
        saga_step=metadata.get("saga-step", ""),
        op=metadata.get("saga-op", ""),
        attempt=attempt,
        not_after_at=not_after_at,
        forward_key=metadata.get("saga-forward-key", ""),
    )
