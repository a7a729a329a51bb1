"""Page tokens: where the last page ended, bound to the question it answered.

A token holds the key of the last row already seen (never an offset, so a page neither misses nor repeats a row that is
there throughout) and a digest of the query. It is opaque by promise, not by secrecy: it grants nothing that the query
itself would not, so it is checked but not signed.
"""

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from orchestrator import limits
from orchestrator.errors import InputInvalid

_Row = TypeVar("_Row")
Key = tuple[float | str, ...]
"""What tells the last row seen, e.g. its start time and its saga id."""

_VERSION = 1
_INTEGER_MAX = 2**63 - 1
_DIGEST_CHARS = 16
# Tag and length of a row in its list, and the row's share of the page token.
_ROW_OVERHEAD_BYTES = 16


def page_size(asked: int) -> int:
    """Return the number of rows of a page; the default where none was asked for."""
    if not 0 <= asked <= limits.API_PAGE_SIZE_MAX:
        raise InputInvalid("page_size", f"{asked} is not between 0 and {limits.API_PAGE_SIZE_MAX}; 0 is the default")
    return asked or limits.API_PAGE_SIZE_DEFAULT


def fitting(rows: Sequence[_Row], size_of: Callable[[_Row], int]) -> int:
    """Return how many of the rows fit into one answer; at least one, so that paging always goes on."""
    total = 0
    for number, row in enumerate(rows):
        total += size_of(row) + _ROW_OVERHEAD_BYTES
        if total > limits.API_MESSAGE_BYTES_MAX and number:
            return number
    return len(rows)


def token(key: Key, *query: str) -> str:
    """Return the token of the page after the row with this key."""
    text = json.dumps([_VERSION, _digest(query), *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def after(token_text: str, shape: tuple[type, ...], *query: str) -> Key | None:
    """Return the key inside a token; None for the first page.

    Raise `InputInvalid` where the token is not one of ours, or belongs to another query.
    """
    if not token_text:
        return None
    if len(token_text) > limits.API_PAGE_TOKEN_CHARS_MAX:
        raise _foreign()
    try:
        padded = token_text.encode("ascii") + b"=" * (-len(token_text) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as exc:
        raise _foreign() from exc
    if not isinstance(found, list) or len(found) != 2 + len(shape) or found[0] != _VERSION:
        raise _foreign()
    key = tuple(found[2:])
    if not all(_fits(part, kind) for part, kind in zip(key, shape, strict=True)):
        raise _foreign()
    if found[1] != _digest(query):
        raise InputInvalid(
            "page_token", "belongs to another query; send the same filter and order as for the page before"
        )
    return key


def _fits(part: object, kind: type) -> bool:
    if isinstance(part, bool):
        return False
    if isinstance(part, int):  # anybody can make a token: a number that no store can be asked for is not ours
        return kind in {int, float} and abs(part) <= _INTEGER_MAX
    return isinstance(part, kind) and (not isinstance(part, float) or math.isfinite(part))


def _digest(query: tuple[str, ...]) -> str:
    return hashlib.sha256(json.dumps(query).encode()).hexdigest()[:_DIGEST_CHARS]


def _foreign() -> InputInvalid:
    return InputInvalid("page_token", "is not one that this server gave; begin again without it")
