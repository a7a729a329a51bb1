"""A cluster's store as a test of journals knows it: opened by one process, which may write everything.

Tests of journals name epochs as they need them. Here each opening joins as a member of its own, and whatever epoch an
append names first becomes that of all shards, whose owner the member is.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any
from uuid import uuid4  # noqa: TID251  (a test's own luck)

from orchestrator.journal.postgres import PostgresJournal
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.ports.leases import Member
from tests.kit import postgres

LEASE_S = 60.0
SHARDS = 8


class Owning:
    """The store, and the rights to write."""

    def __init__(self, store: PostgresJournal, dsn: str, member: str, epoch: int) -> None:
        self._store = store
        self._dsn = dsn
        self._member = member
        self.epoch = epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        epoch = max((append.epoch for append in batch if append.epoch == append.row.epoch), default=0)
        if epoch > self.epoch:
            self.own(epoch)
        return await self._store.append(batch)

    def own(self, epoch: int) -> None:
        self.epoch = epoch
        postgres.run(self._dsn, f"UPDATE shards SET owner = '{self._member}', epoch = {epoch}")


def opening(dsn: str, direct: str = "") -> Callable[[], Coroutine[Any, Any, Any]]:
    """Return how a test opens the store again and again; `direct` names the server where the DSN names a pooler."""
    last: list[int] = [0]

    async def opened() -> Owning:
        store = await PostgresJournal.open(dsn, shard_count=SHARDS)
        name = str(uuid4())
        await store.join(Member(member=name, name="test", address="127.0.0.1:1"), LEASE_S)
        owning = Owning(store, direct or dsn, name, last[0])
        last[0] += 1
        owning.own(last[0])
        return owning

    return opened
