"""Names and derived numbers: who a saga is, and every key that follows from it.

Keys, trace ids and span ids are *functions* of the saga's identity (rules R11 and T1), so any process can compute
them again after any crash, and no two processes can disagree. Nothing here draws a random number: the saga's `uid`
is given to it once, at start, and recorded.
"""

import hashlib
import re
from functools import lru_cache
from typing import NewType
from uuid import UUID

from orchestrator.limits import DERIVED_KEYS_KEPT_MAX, PATHS_KEPT_MAX, SPAN_ATTEMPTS_MAX, SPAN_ITEMS_MAX

SagaId = NewType("SagaId", str)
"""The caller's name for a saga, a business key such as `report-7F3A`; unique in a store, as long as it is kept."""

StepId = NewType("StepId", str)
"""A step's path: its name inside its definition, `[a-z][a-z0-9_]*`, and for an item of a `for_each` step its position
as well, `reserve[17]`."""

_ITEM = re.compile(r"([a-z][a-z0-9_]*)\[([0-9]+)\]")
_SAGA_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
STEP_ID = re.compile(r"[a-z][a-z0-9_]*")


def saga_id(text: str) -> SagaId:
    """Check a caller's text and return it as a saga id; `ValueError` names the allowed alphabet."""
    if _SAGA_ID.fullmatch(text) is None:
        raise ValueError("a saga id is 1 to 128 characters out of A-Z a-z 0-9 . _ : -")
    return SagaId(text)


def item_path(step: StepId, index: int) -> StepId:
    """Return the path of one item of a `for_each` step."""
    return StepId(f"{step}[{index}]")


def item_of(path: StepId) -> tuple[StepId, int | None]:
    """Return a path's step, and its position where the path is an item's."""
    return _item_of(path) if path[-1:] == "]" else (path, None)


@lru_cache(maxsize=PATHS_KEPT_MAX)
def _item_of(path: StepId) -> tuple[StepId, int | None]:
    match = _ITEM.fullmatch(path)
    return (path, None) if match is None else (StepId(match[1]), int(match[2]))


def idempotency_key(uid: UUID, step: StepId, operation: str, manual_epoch: int = 0) -> str:
    """Return the one key of all attempts of an operation (R11): UUIDv5, so that it also fits an AIP-155 `request_id`.

    `manual_epoch` counts the times a person asked to run the operation again *as new*; nothing else changes the key.
    """
    return _key(uid.int, step, operation, manual_epoch)  # a UUID is hashed and compared in Python, its number is not


@lru_cache(maxsize=DERIVED_KEYS_KEPT_MAX)
def _key(uid: int, step: StepId, operation: str, manual_epoch: int) -> str:
    # uuid.uuid5 written out: it makes two UUID objects on its way to the text, which cost more than the digest.
    name = f"{step}//{operation}/{manual_epoch}".encode()
    text = hashlib.sha1(uid.to_bytes(16, "big") + name, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}-{text[20:32]}"


_VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The two highest bits of a UUID's ninth octet are fixed (RFC 9562)."""


def trace_id(uid: UUID) -> int:
    """Return the 128-bit trace id of a saga that no traced caller started."""
    return uid.int


@lru_cache(maxsize=DERIVED_KEYS_KEPT_MAX)
def part_trace_id(uid: UUID, part: int) -> int:
    """Return the trace id of a later part of a saga's trace (T9), from 2; the first part's is the saga's own."""
    digest = hashlib.sha256(uid.bytes + f"@trace/{part}".encode()).digest()
    return int.from_bytes(digest[:16], "big") or 1


def span_id(uid: UUID, *path: str | int) -> int:
    """Return the 64-bit span id of a part of the saga, e.g. `span_id(uid, "score", "forward", 1)`; never zero."""
    return _span_id(uid, "/".join(map(str, path)))


def _span_id(uid: UUID, path: str) -> int:
    digest = hashlib.sha256(uid.bytes + path.encode()).digest()
    return int.from_bytes(digest[:8], "big") or 1


# The parts of a saga's trace. The runtime injects an attempt's id before the span exists (T5), the exporter builds the
# span from the records afterwards: both ask here, so they agree. A path that is not a step's begins with a sign no step
# id has, so no author's name can take it (T8).


def root_span_id(uid: UUID, part: int = 1) -> int:
    """Return the id of the span of the whole saga, or of one part of it where its trace has several."""
    return _span_id(uid, "@saga") if part == 1 else span_id(uid, "@saga", part)


def start_span_id(uid: UUID, part: int = 1) -> int:
    """Return the id of the short span that makes a running saga, and each part of its trace, findable (T4)."""
    return _span_id(uid, "@start") if part == 1 else span_id(uid, "@start", part)


def compensation_span_id(uid: UUID) -> int:
    """Return the id of the span over everything undone."""
    return span_id(uid, "@compensation")


def operation_span_id(uid: UUID, step: StepId, operation: str, run: int = 0) -> int:
    """Return the id of the span over all attempts of one operation of a step.

    `run` counts how often the step was begun anew (`StepsReset`), so that a second life is another span (T8).
    """
    return _span_id(uid, f"{step}/{_numbered(operation, run)}")


def attempt_span_id(uid: UUID, step: StepId, operation: str, attempt: int, manual_epoch: int = 0) -> int:
    """Return the id of one attempt's span: what the called service sees as its parent.

    Attempts are numbered from 1 again where a step begins anew, and then their key's manual epoch is another.
    """
    return _span_id(uid, f"{step}/{_numbered(operation, manual_epoch)}/{attempt}")


def rollback_span_id(uid: UUID, step: StepId, number: int) -> int:
    """Return the id of the span over one undoing of a part of the saga: the `number`th, from 1, that `step` caused."""
    return span_id(uid, "@rollback", step, number)


def _numbered(operation: str, again: int) -> str:
    return f"{operation}@{again}" if again else operation


def is_traced(step: StepId, attempt: int = 1) -> bool:
    """Return whether an attempt has a span of its own: not past the bounds on items and on attempts.

    A called service is told that what has no span is not sampled, so that none of its spans misses its parent.
    """
    return attempt <= SPAN_ATTEMPTS_MAX and (item_of(step)[1] or 0) < SPAN_ITEMS_MAX
