"""Leases and letter boxes in their plainest form, over one memory that several members share.

For tests, simulations and reading. `MemoryCluster` is what a database server would hold; `open()` is what one process
opens there: its `journal` names the member that joined last through it in every append, and is refused without that
member's row or the shard's epoch. ::

    cluster = MemoryCluster(now=lambda: BEGIN_AT + loop.time(), shard_count=8)
    one, two = cluster.open(), cluster.open()        # two processes
    Membership(one, clock, shard_count=8, ...)       # one: Leases and Posts
    Orchestrator(journal=one.journal, ...)           # one.journal: Journal, Catalogue, Cursors, Pruning

A process that is killed is simply not asked again; its next life opens the cluster anew.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.errors import Fenced, OrchestratorError
from orchestrator.frozen import changed
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.refusals import joined_before
from orchestrator.ports.journal import Append
from orchestrator.ports.leases import Member, Shard, View
from orchestrator.ports.posts import Answer, Post


@dataclass(slots=True)
class _Answered:
    answer: Answer
    at: float


@dataclass(slots=True)
class _Table:
    """What the server would hold beside the journal."""

    shards: list[Shard]
    members: dict[str, Member] = field(default_factory=dict[str, Member])
    posts: dict[int, Post] = field(default_factory=dict[int, Post])
    """Those without an answer, by number."""
    answered: dict[int, _Answered] = field(default_factory=dict[int, _Answered])
    posted_count: int = 0


class MemoryCluster:
    """A store that several processes of one cluster open."""

    def __init__(self, now: Callable[[], float], shard_count: int) -> None:
        """`now` is the store's clock, Unix seconds."""
        self._now = now
        self._journal = MemoryJournal()
        self._table = _Table([Shard(shard=number, owner="", epoch=0) for number in range(shard_count)])

    def open(self) -> "MemoryLeases":
        """Return the store as one process finds it."""
        return MemoryLeases(self._journal, self._table, self._now)


class MemoryLeases:
    """`Leases` and `Posts` of one process, and the journal beside them."""

    def __init__(self, journal: MemoryJournal, table: _Table, now: Callable[[], float]) -> None:
        """Begin as nobody: `MemoryCluster.open` makes these."""
        self._table = table
        self._now = now
        self._member = ""
        self.journal = journal.shared(self._refusal)

    @property
    def shard_count(self) -> int:
        """Return how many shards the store has."""
        return len(self._table.shards)

    def _refusal(self, append: Append, shard: int) -> OrchestratorError | None:
        """Return why an append is not taken: nobody's, or not of the shard's owner under its epoch."""
        table = self._table
        if self._member not in table.members:
            return Fenced(
                f"saga {append.saga_id!r}: this process is no member of the cluster any more; nothing was recorded"
            )
        held = table.shards[shard]
        if held.owner != self._member or held.epoch != append.epoch:
            return Fenced(
                f"saga {append.saga_id!r}: its shard {shard} is under epoch {held.epoch} of another member, and this"
                f" append under {append.epoch}; nothing was recorded"
            )
        return None

    # --- leases ------------------------------------------------------------------------------------------------------

    async def join(self, member: Member, lease_s: float) -> View:
        if member.member in self._table.members:
            raise joined_before(member)
        at = self._now()
        self._table.members[member.member] = changed(member, joined_at=at, expires_at=at + lease_s)
        self._member = member.member
        return await self.view()

    async def renew(self, member: str, lease_s: float, *, is_leaving: bool) -> View | None:
        known = self._table.members.get(member)
        if known is None:
            return None
        self._table.members[member] = changed(known, expires_at=self._now() + lease_s, is_leaving=is_leaving)
        return await self.view()

    async def view(self) -> View:
        members = self._table.members
        return View(
            at=self._now(), members=tuple(members[each] for each in sorted(members)), shards=tuple(self._table.shards)
        )

    async def claim(self, member: str, shards: Collection[Shard]) -> Sequence[Shard]:
        if member not in self._table.members:
            return ()
        free = [each for each in shards if self._is_free(each)]
        return [self._passed_on(each.shard, member) for each in free]

    async def give(self, member: str, shards: Collection[Shard], to: str) -> Sequence[Shard]:
        if member not in self._table.members:
            return ()
        own = [each for each in shards if self._is_owned(each, member)]
        return [self._passed_on(each.shard, to) for each in own]

    async def fence(self, members: Collection[str]) -> Collection[str]:
        at = self._now()
        over = [each for each in members if each in self._table.members]
        over = [each for each in over if self._table.members[each].expires_at <= at]
        for each in over:
            await self.leave(each)
        return over

    async def leave(self, member: str) -> None:
        if self._table.members.pop(member, None) is None:
            return
        for shard in tuple(self._table.shards):
            if shard.owner == member:
                self._passed_on(shard.shard, "")

    def _is_free(self, given: Shard) -> bool:
        held = self._table.shards[given.shard]
        return held.epoch == given.epoch and held.owner not in self._table.members

    def _is_owned(self, given: Shard, member: str) -> bool:
        held = self._table.shards[given.shard]
        return held.epoch == given.epoch and held.owner == member

    def _passed_on(self, number: int, to: str) -> Shard:
        passed = changed(self._table.shards[number], owner=to, epoch=self._table.shards[number].epoch + 1)
        self._table.shards[number] = passed
        return passed

    # --- posts -------------------------------------------------------------------------------------------------------

    async def post(self, shard: int, method: str, request: bytes, metadata: tuple[tuple[str, str], ...]) -> int:
        table = self._table
        table.posted_count += 1
        table.posts[table.posted_count] = Post(
            number=table.posted_count,
            shard=shard,
            method=method,
            request=request,
            metadata=metadata,
            posted_at=self._now(),
        )
        return table.posted_count

    async def posted(self, shards: Collection[int], limit: int) -> Sequence[Post]:
        wanted = frozenset(shards)
        return [each for each in self._table.posts.values() if each.shard in wanted][:limit]

    async def answer(self, number: int, answer: Answer) -> None:
        if self._table.posts.pop(number, None) is not None:
            self._table.answered[number] = _Answered(answer, self._now())

    async def answers(self, numbers: Collection[int]) -> Mapping[int, Answer]:
        answered = self._table.answered
        return {number: answered[number].answer for number in numbers if number in answered}

    async def clear(self, answered_before_at: float, limit: int) -> int:
        old = [number for number, each in self._table.answered.items() if each.at < answered_before_at][:limit]
        for number in old:
            del self._table.answered[number]
        return len(old)
