"""Who is there and who owns what, as transactions. The rules stand in `ports/leases.py`; here is how each is kept.

* A member's row is locked `FOR KEY SHARE` by everything that its owner writes as a member: appends, claims, gifts. Only
  the row's removal conflicts with that, so a removal waits for what is on its way and whatever comes later finds
  nothing. A renewal conflicts with neither.
* A gift waits until no append of this process runs, because it takes no row away that an append would look for.
* Times are the server's `clock_timestamp()`.
"""

from collections.abc import Collection, Sequence

from orchestrator.errors import JournalUnavailable
from orchestrator.journal.postgres import arriving
from orchestrator.journal.postgres.driver import Link, Row
from orchestrator.journal.postgres.sql import SQL
from orchestrator.journal.refusals import joined_before
from orchestrator.ports.leases import Member, Shard, View


async def join(link: Link, member: Member, lease_s: float) -> View:
    """Add a member.

    `JournalUnavailable` where it is there already, and while another store is taken in: nobody can join until that is
    finished.
    """
    joined = await link.step(SQL["join"], member.member, member.name, member.address, member.is_leaving, lease_s)
    if not joined:
        if await link.step(SQL["is_member"], member.member):
            raise joined_before(member)
        raise JournalUnavailable(arriving.HALF_MOVED)
    return await view(link)


async def renew(link: Link, member: str, lease_s: float, is_leaving: bool) -> View | None:  # noqa: FBT001  (as columns)
    """Lengthen a lease; None where the row is gone."""
    return await view(link) if await link.step(SQL["renew"], member, lease_s, is_leaving) else None


async def view(link: Link) -> View:
    """Look at all of it."""
    (row,) = await link.step(SQL["view"])
    return view_of(row)


def view_of(row: Row) -> View:
    """Return the view of the one row that `view` selects: arrays, or nulls where there is nobody."""
    at, *arrays = row
    members, names, addresses, leaving, joined, expire, shards, owners, epochs = (found or () for found in arrays)
    return View(
        at=at,
        members=tuple(
            Member(member=member, name=name, address=address, is_leaving=leaves, joined_at=since, expires_at=until)
            for member, name, address, leaves, since, until in zip(
                members, names, addresses, leaving, joined, expire, strict=True
            )
        ),
        shards=tuple(
            Shard(shard=shard, owner=owner, epoch=epoch)
            for shard, owner, epoch in zip(shards, owners, epochs, strict=True)
        ),
    )


async def fence(link: Link, members: Collection[str]) -> list[str]:
    """Remove those whose lease is over, and free their shards."""
    removed = [row[0] for row in await link.step(SQL["fence"], list(members))]
    if removed:
        await link.step(SQL["free"], removed)
    return removed


async def leave(link: Link, member: str) -> None:
    """Remove a member, and free its shards."""
    await link.step(SQL["leave"], member)
    await link.step(SQL["free"], [member])


def arrays_of(shards: Collection[Shard]) -> tuple[list[int], list[int]]:
    """Return numbers and epochs."""
    return [shard.shard for shard in shards], [shard.epoch for shard in shards]


def shards_of(rows: Sequence[Row]) -> list[Shard]:
    """Return the shards of (shard, owner, epoch), by number."""
    return sorted((Shard(shard=row[0], owner=row[1], epoch=row[2]) for row in rows), key=lambda shard: shard.shard)
