"""One call as a participant needs to know it: the metadata of the specification, read once."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import grpc
from google.protobuf.message import Message

from orchestrator.participant.refusal import METADATA_INVALID, Refused


class HasMetadata(Protocol):
    """A servicer context, or a test's stand-in."""

    def invocation_metadata(self) -> "Iterable[tuple[str, str | bytes]] | None":
        """Return what the caller sent beside the request."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who calls, and for what; empty strings where the caller said nothing."""

    key: str
    """`idempotency-key`: the same on every repetition. Without one nothing protects from repetitions."""
    forward_key: str = ""
    """`saga-forward-key`, on an undo: the key of the call it undoes. Without one there is no barrier."""
    saga_id: str = ""
    step: str = ""
    not_after_at: float = math.inf
    """`saga-not-after`, Unix seconds: a forward call that arrives later must not act."""
    digest: bytes
    """SHA-256 of the request and its type: tells whether a key is used for the same request again."""


def read_call(context: HasMetadata, request: Message) -> Call:
    """Read a call's metadata; raise `Refused` where a number in it is none, or a call undoes itself."""
    given = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
    key, forward_key = given.get("idempotency-key", ""), given.get("saga-forward-key", "")
    try:
        not_after_at = float(given.get("saga-not-after", "inf"))
    except ValueError as exc:
        raise _invalid(f"saga-not-after is {given['saga-not-after']!r}, not Unix seconds as a decimal number") from exc
    if math.isnan(not_after_at):
        raise _invalid("saga-not-after is not a number")
    if key and key == forward_key:
        raise _invalid("saga-forward-key is the call's own key; a call cannot undo itself")
    return Call(
        key=key,
        forward_key=forward_key,
        saga_id=given.get("saga-id", ""),
        step=given.get("saga-step", ""),
        not_after_at=not_after_at,
        digest=_digest(request),
    )


def _digest(request: Message) -> bytes:
    named = request.DESCRIPTOR.full_name.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return hashlib.sha256(named).digest()


def _invalid(why: str) -> Refused:
    return Refused(grpc.StatusCode.INVALID_ARGUMENT, METADATA_INVALID, f"{why}; nothing was done")
