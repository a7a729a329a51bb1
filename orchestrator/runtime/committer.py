"""Group commit: what many actors decided within one turn of the event loop becomes durable in one transaction.

The committer is one task. It wakes in the turn after the first submission, by when every actor that was ready has
submitted too; one `Journal.append` then pays one fsync for all of them. It lets another turn pass while each brings
one more: a transaction and a sync cost much the same for one append as for ten, and a turn that brings one is full of
work anyway. Where nothing comes, that is over within microseconds; whoever is alone waits for nobody. Submissions that
arrive during a commit form the next group, so the slower the disk, the larger the groups.

A storage error ends it: every waiting and every later submission is answered `JournalUnavailable`, and the process is
told to stop. Whether the failed group is on disk is not guessed; the restart reads what is really there. A store that
is a server and is away for a while is no error here: its `append` returns when it knows. What it puts off (it refuses
one stream, and takes the others) is given to it again, alone, until it has an end: nobody waits for that but its saga.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence, Sized
from typing import Final, NamedTuple

from orchestrator.errors import JournalUnavailable, OrchestratorError
from orchestrator.limits import COMMIT_AGAIN_S, COMMIT_STREAMS_MAX, COMMIT_TURNS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Append, Journal, is_put_off
from orchestrator.ports.observer import Observer
from orchestrator.tasks import Tasks

_OVER: Final = "this orchestrator has ended and records nothing any more: ask one that runs"
_UNSURE: Final = (
    "this orchestrator has ended while this was on its way to the store: it is recorded or not; ask one that runs, "
    "with the same request id, or look at the saga"
)
_LEFT: Final = "the store did not take it, nothing was recorded, and it is not tried again here: ask again"
OnCommitted = Callable[[OrchestratorError | None], None]


class _Waiting(NamedTuple):
    append: Append
    on_committed: OnCommitted


class Committer:
    """The only caller of `Journal.append`."""

    def __init__(self, journal: Journal, clock: Clock, observer: Observer, on_failed: Callable[[str], None]) -> None:
        """Take the journal over; `on_failed` hears of a storage error, once."""
        self._journal = journal
        self._clock = clock
        self._observer = observer
        self._on_failed = on_failed
        self._waiting: list[_Waiting] = []
        self._group: Sequence[_Waiting] = ()
        """What is on its way to the journal."""
        self._put_off: list[_Waiting] = []
        """What the journal refuses for now."""
        self._wake = asyncio.Event()
        self._closed = False
        self._over = False
        self._given_up: set[int] = set()
        """Shards that are left: what the journal puts off there is not tried again."""
        self._progress = asyncio.Event()
        self._again = Tasks()
        """For what was put off."""
        self.failure: str | None = None
        """Why nothing is acknowledged any more."""

    def submit(self, append: Append, on_committed: OnCommitted) -> None:
        """Queue an append; the callback is called once, in a later turn, when it is durable or refused."""
        if self.failure is not None or self._over:
            asyncio.get_running_loop().call_soon(on_committed, JournalUnavailable(self.failure or _OVER))
            return
        self._waiting.append(_Waiting(append, on_committed))
        self._wake.set()

    async def run(self, awake: Sized) -> None:
        """Commit group after group until closed and empty; who is `awake` may have something to commit."""
        try:
            while not (self._closed and not self._waiting):
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    await self._gather(awake)
                    if self._waiting:  # the store may have failed meanwhile
                        await self._commit(self._next_group())  # given no name here, where it would outlive its commit
            await self._again.cancel()
        finally:  # also where standing work beside it failed, which cancels this
            self._over = True
            unsure, lost, self._group, self._waiting = self._group, self._waiting, (), []
            for waiting in unsure:
                waiting.on_committed(JournalUnavailable(_UNSURE))
            for waiting in lost:
                waiting.on_committed(JournalUnavailable(_OVER))

    async def _gather(self, awake: Sized) -> None:
        """Let turns of the loop pass while each brings one more append, of those who may have one."""
        for _ in range(COMMIT_TURNS_MAX):
            count = len(self._waiting)
            if count < len(awake):
                await asyncio.sleep(0)  # one turn: appends come
            if len(self._waiting) == count:
                return

    async def settled(self, shards: Collection[int]) -> None:
        """Return once everything submitted of some shards has its end; what the journal puts off is given up."""
        self._given_up.update(shards)
        try:
            while self._has_open(shards):
                self._progress.clear()
                await self._progress.wait()
        finally:
            self._given_up.difference_update(shards)

    def _has_open(self, shards: Collection[int]) -> bool:
        """Return whether an append of these shards has no end yet: counted when asked, and not at every append."""
        return any(each.append.row.shard in shards for each in (*self._waiting, *self._group, *self._put_off))

    def close(self) -> None:
        """Let `run` end when everything submitted so far is committed."""
        self._closed = True
        self._wake.set()

    def fail(self, error: JournalUnavailable) -> None:
        """Acknowledge nothing any more, answer whoever waits, and say so once; whoever reads may be first to know."""
        if self.failure is None:
            self.failure = error.message
            self._on_failed(error.message)
        lost, self._waiting = self._waiting, []
        for waiting in lost:
            waiting.on_committed(error)
        self._progress.set()

    def _next_group(self) -> list[_Waiting]:
        group, self._waiting = self._waiting[:COMMIT_STREAMS_MAX], self._waiting[COMMIT_STREAMS_MAX:]
        return group

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        began = self._clock.monotonic()
        self._group = group
        try:
            results = await self._journal.append([waiting.append for waiting in group])
        except JournalUnavailable as error:
            self._group = ()
            self._waiting = [*group, *self._waiting]
            self.fail(error)
            return
        took_s = self._clock.monotonic() - began
        self._group = ()
        for waiting, result in zip(group, results, strict=True):
            if result is not None and is_put_off(result):
                self._put_off.append(waiting)
                self._again.spawn(self._commit_alone(waiting, result), name="append again")
            else:
                waiting.on_committed(result)
        # Last, so that the services work while it is told.
        self._observer.committed(len(group), sum([len(waiting.append.records) for waiting in group]), took_s)
        self._progress.set()

    async def _commit_alone(self, waiting: _Waiting, result: OrchestratorError | None) -> None:
        """Give the journal again what it put off, until it has an end, or nothing is committed any more."""
        try:
            while is_put_off(result) and waiting.append.row.shard not in self._given_up:
                await asyncio.sleep(COMMIT_AGAIN_S)
                result = JournalUnavailable(_UNSURE)  # where this is cancelled before the store has answered
                try:
                    (result,) = await self._journal.append([waiting.append])
                except JournalUnavailable as error:
                    result = error
        finally:
            self._put_off.remove(waiting)
            self._progress.set()
            waiting.on_committed(JournalUnavailable(_LEFT) if is_put_off(result) else result)
