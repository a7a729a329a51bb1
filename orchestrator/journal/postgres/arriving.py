"""Taking another store in, as transactions; `ports/promotion.py` says what each has to keep.

The row of `promotion` is the gate: `join` holds it shared and is refused while a promotion is under way, so that nobody
becomes a member, and nobody without a member's row appends.
"""

from collections.abc import Sequence
from typing import Final

from orchestrator.errors import ConfigError
from orchestrator.ids import SagaId
from orchestrator.journal.postgres.driver import Link, Row
from orchestrator.journal.postgres.rows import columns_of, term_of
from orchestrator.journal.sqlfile import load
from orchestrator.ports.journal import SearchRow
from orchestrator.ports.promotion import Entry

SQL: Final = load("orchestrator.journal.postgres", "arriving.sql")
HALF_MOVED: Final = (
    "the journal is taking in another one (`saga store promote`), and that is not finished: nobody runs sagas here "
    "until it is; run that command again, it goes on where it ended"
)


async def begin(link: Link, shown: str, origin: str, epoch: int, last_position: int) -> str | None:
    """Begin or go on; None where it was finished. `ConfigError` where anything else is here, or somebody runs."""
    ((is_under_way, known, whole_until),) = await link.step(SQL["state"])
    if known == origin and not is_under_way:
        return None
    if known not in {"", origin} or (not known and await link.step(SQL["any_saga"])):
        raise ConfigError(_occupied(shown, known, is_under_way=is_under_way), path=shown)
    await link.step(SQL["open"], origin)
    await link.step(SQL["drop_dead_members"])
    living = await link.step(SQL["living_members"])
    if living:
        name, left_s = living[0]
        raise ConfigError(
            f"{len(living)} processes run on {shown}, {name!r} among them: nothing was moved; stop them (one that was "
            f"killed is gone in {left_s} s) and begin again",
            path=shown,
        )
    await link.step(SQL["raise_epochs"], epoch)
    await link.step(SQL["raise_positions"], last_position)
    return str(whole_until)


async def take(link: Link, rows: Sequence[SearchRow], entries: Sequence[Entry]) -> None:
    """Write what is not there yet."""
    if rows:
        await link.step(SQL["take_sagas"], *zip(*[columns_of(row, built_on=0) for row in rows], strict=True))
        terms = [(term_of(*attribute), row.saga_id) for row in rows for attribute in row.attributes.items()]
        if terms:
            await link.step(SQL["take_terms"], *zip(*terms, strict=True))
    if entries:
        await link.step(SQL["take_records"], *zip(*[_columns(entry) for entry in entries], strict=True))


async def mark(link: Link, saga_id: SagaId) -> None:
    """Note how far it is."""
    await link.step(SQL["mark"], saga_id)


async def finish(link: Link) -> None:
    """Open the gate."""
    await link.step(SQL["finish"])


def entry_of(row: Row) -> Entry:
    """Return the record of the columns that `entries` selects."""
    saga_id, version, position, epoch, at, type_name, checksum, body = row
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


def _columns(entry: Entry) -> tuple[object, ...]:
    return (
        entry.saga_id,
        entry.version,
        entry.position,
        entry.epoch,
        entry.at,
        entry.type,
        entry.checksum,
        entry.body,
    )


def _occupied(shown: str, known: str, *, is_under_way: bool) -> str:
    if not known:
        return f"{shown} has sagas of its own: nothing was moved; name an empty database"
    if is_under_way:
        return (
            f"{shown} holds half of a promotion of another journal, or of this one as it was before somebody ran it "
            f"again: nothing was moved; drop that database, make an empty one and begin anew"
        )
    return f"another journal was moved to {shown} before: nothing was moved; name an empty database"
