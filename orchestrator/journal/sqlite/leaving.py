"""The file as it lies there, for its promotion to another store: nothing is decoded, so nothing can be changed."""

from collections.abc import Mapping

import apsw

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.journal.sqlite import rows
from orchestrator.journal.sqlite.sql import SQL
from orchestrator.limits import PROMOTION_BYTES
from orchestrator.ports.promotion import Entry


def entries(connection: apsw.Connection, after: tuple[str, int], until: str, limit: int) -> list[Entry]:
    """Return a page of records by saga and version; `JournalCorrupted` for one that no other store could hold."""
    found: list[Entry] = []
    size = 0
    for columns in connection.execute(SQL["entries"], (*after, until, limit)):
        found.append(_entry(columns))
        size += len(found[-1].body)
        if size >= PROMOTION_BYTES:
            break
    return found


def last_position(connection: apsw.Connection) -> int:
    """Return the greatest position ever given, which forgetting does not lower."""
    return int(connection.execute(SQL["last_position"]).get or 0)


def cursors(connection: apsw.Connection) -> Mapping[str, int]:
    """Return every reader's position by its name."""
    return {str(name): int(str(position)) for name, position in connection.execute(SQL["cursors"])}


def successor(connection: apsw.Connection) -> str:
    """Return the store that has the sagas now; "" while it is this file."""
    return str(connection.execute(SQL["successor"]).get or "")


_KINDS: tuple[type, ...] = (str, int, int, int, float, str, int, bytes)


def _entry(columns: rows.Columns) -> Entry:
    saga_id, version, position, epoch, at, type_name, checksum, body = columns
    if not all(isinstance(column, kind) for column, kind in zip(columns, _KINDS, strict=True)):
        raise JournalCorrupted(
            f"record {version} of saga {saga_id!r} cannot be moved: a column holds what the table does not allow; "
            f"restore the journal from a backup",
            saga_id=str(saga_id),
            version=str(version),
        )
    return Entry(
        saga_id=SagaId(saga_id),
        version=version,
        position=position,
        epoch=epoch,
        at=at,
        type=type_name,
        checksum=checksum,
        body=body,
    )
