"""Search rows and records as stores with columns have them, and back.

A damaged page gives whatever its bytes say, whatever type the table was declared with: nothing is taken on trust here.
"""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.codec import SEEDS, checksum, corrupted, decode_record, instant_from
from orchestrator.ports.journal import Record, Rest, SearchRow
from orchestrator.saga.state import SagaStatus
from orchestrator.values import AttributeValue

Columns = tuple[Any, ...]

# What stores and the record format hold as a whole number.
_INTEGER_MAX = 2**63 - 1
_REST = {rest.value: rest for rest in Rest}
_STATUS = {status.value: status for status in SagaStatus}


def record_of(saga_id: SagaId, columns: Columns) -> Record:
    """Return the record of (version, epoch, type, checksum, body); `JournalCorrupted` where it cannot be trusted."""
    version, epoch, type_name, expected, body = columns
    if not (isinstance(epoch, int) and isinstance(type_name, str) and isinstance(body, bytes)):
        raise corrupted(saga_id, version, "a column holds what the table does not allow")
    if type_name in SEEDS and checksum(type_name, body) != expected:
        raise corrupted(saga_id, version, "its checksum does not match its bytes")
    return decode_record(saga_id, version, epoch, type_name, body)


def row_of(columns: Columns) -> SearchRow:
    """Return the search row of the columns that every row query selects; `JournalCorrupted` where it cannot be read."""
    try:
        status, attributes, rest = _STATUS[columns[5]], _attributes_of(columns[8]), _REST[columns[13]]
        _check(columns)
    except (KeyError, ValueError, TypeError, RecursionError) as exc:
        raise JournalCorrupted(
            f"the search row of saga {columns[0]!r} cannot be read ({exc}): the saga is left as it is and other sagas "
            f"are not affected; restore the journal from a backup",
            saga_id=columns[0],
        ) from exc
    return SearchRow(
        saga_id=columns[0],
        uid=columns[1],
        request_id=columns[2],
        definition=columns[3],
        revision=columns[4],
        status=status,
        version=columns[6],
        epoch=columns[7],
        attributes=attributes,
        started_at=columns[9],
        updated_at=columns[10],
        ended_at=columns[11],
        wake_at=columns[12],
        rest=rest,
        attention=columns[14],
        failure=columns[15],
        parent=columns[16] or "",
        shard=columns[SHARD] if len(columns) > SHARD else 0,
    )


SHARD = 17
"""The place of a row's shard, where the store has more than one."""

_TEXTS = (0, 1, 2, 3, 4, 14, 15, 16)
_NUMBERS = (6, 7)
_INSTANTS = (9, 10, 11, 12)
_MAY_BE_NULL = frozenset({11, 12, 16})


def _check(columns: Columns) -> None:
    """Raise `ValueError` or `TypeError` for a value that a reader of the row would stumble over."""
    for kind, places in ((str, _TEXTS), (int, _NUMBERS)):
        for at in places:
            if not isinstance(columns[at], kind) and (columns[at] is not None or at not in _MAY_BE_NULL):
                raise TypeError(f"{columns[at]!r:.60} is no {kind.__name__}")
    for at in _INSTANTS:
        if columns[at] is not None or at not in _MAY_BE_NULL:
            instant_from(columns[at])


def _attributes_of(text: str) -> dict[str, AttributeValue]:
    """Read a JSON object of plain values; `ValueError` for anything else."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("its attributes are no object")
    for name, value in found.items():
        if not isinstance(value, str | int | float) or (
            isinstance(value, int) and not -_INTEGER_MAX - 1 <= value <= _INTEGER_MAX
        ):
            raise ValueError(f"attribute {name!r} is no text, number or boolean")
        for part in (name, value):
            if isinstance(part, str):
                part.encode()  # half of a surrogate pair, which JSON can say and nothing else
    return found


def attributes_text(attributes: Mapping[str, AttributeValue]) -> str:
    """Return the attributes as a JSON object, always in the same order, so that an unchanged one is seen as such."""
    return json.dumps(dict(attributes), sort_keys=True, separators=(",", ":")) if attributes else "{}"
