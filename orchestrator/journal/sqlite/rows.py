"""Search rows and records as the file has them, and back."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.codec import EVENT_TYPES, corrupted, decode_record
from orchestrator.ports.journal import Append, Record, Rest, SearchRow
from orchestrator.saga.state import SagaStatus
from orchestrator.values import AttributeValue

Columns = tuple[Any, ...]

_REST = {rest.value: rest for rest in Rest}
_STATUS = {status.value: status for status in SagaStatus}
_SEED = {event_type.__name__: zlib.crc32(event_type.__name__.encode()) for event_type in EVENT_TYPES}


def checksum(type_name: str, body: bytes) -> int:
    """Return the CRC-32 of type and body: many a flipped bit still makes a readable, different record."""
    return zlib.crc32(body, _SEED.get(type_name, 0))


def record_of(saga_id: SagaId, columns: Columns) -> Record:
    """Return the record of (version, epoch, type, checksum, body); `JournalCorrupted` where it cannot be trusted."""
    version, epoch, type_name, expected, body = columns
    if type_name in _SEED and checksum(type_name, body) != expected:
        raise corrupted(saga_id, version, "its checksum does not match its bytes")
    return decode_record(saga_id, version, epoch, type_name, body)


def columns_of_new(append: Append) -> Columns:
    """Return the values of `create_saga`."""
    row = append.row
    return (
        row.saga_id,
        row.uid,
        row.request_id,
        row.definition,
        row.revision,
        row.status.value,
        row.version,
        row.epoch,
        attributes_text(row.attributes),
        row.started_at,
        row.updated_at,
        row.ended_at,
        row.wake_at,
        row.rest.value,
        row.attention,
        row.failure,
    )


def columns_of_advance(append: Append) -> Columns:
    """Return the values of `advance_saga`: what may change after the start, then the conditions."""
    row = append.row
    return (
        row.status.value,
        row.version,
        row.epoch,
        row.updated_at,
        row.ended_at,
        row.wake_at,
        row.rest.value,
        row.attention,
        row.failure,
        append.saga_id,
        append.expected_version,
        append.epoch,
    )


def row_of(columns: Columns) -> SearchRow:
    """Return the search row of the columns that every row query selects; `JournalCorrupted` where it cannot be read."""
    try:
        status, attributes, rest = _STATUS[columns[5]], json.loads(columns[8]), _REST[columns[13]]
    except (KeyError, ValueError) as exc:
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
    )


def attributes_text(attributes: Mapping[str, AttributeValue]) -> str:
    """Return the attributes as a JSON object, always in the same order, so that an unchanged one is seen as such."""
    return json.dumps(dict(attributes), sort_keys=True, separators=(",", ":")) if attributes else "{}"
