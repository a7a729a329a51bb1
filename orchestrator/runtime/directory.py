"""Where the actors are: saga id -> actor, brought into memory when something happens and let go when nothing does.

A saga is at any time *active* (an actor is its writer), *ended* (its last state is remembered for a while, because
whoever started it is about to ask) or only in the journal. Activation is single flight: two messages for a sleeping
saga read its records once.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence

from orchestrator.errors import (
    IntegrityError,
    JournalCorrupted,
    NotFound,
    NotOwner,
    OrchestratorError,
    Overloaded,
    VersionConflict,
)
from orchestrator.ids import SagaId
from orchestrator.limits import (
    ACTORS_MAX,
    CRASH_PAUSE_S,
    FOLD_RECORDS_MAX,
    PASSIVATION_WAIT_S_MIN,
    READ_RECORDS_MAX,
    RETRY_AFTER_S_DEFAULT,
)
from orchestrator.ports.diagnostics import ActorFacts
from orchestrator.ports.journal import Journal, Record
from orchestrator.ports.plans import Plans
from orchestrator.runtime.actor import Actor
from orchestrator.runtime.passivation import Ended, may_leave
from orchestrator.runtime.supervisor import Supervisor
from orchestrator.runtime.surroundings import Surroundings
from orchestrator.runtime.watchers import Watchers
from orchestrator.saga import SagaState, blank, fold
from orchestrator.saga.commands import Recovered
from orchestrator.saga.events import SagaStarted
from orchestrator.saga.plan import Plan


class Directory:
    """All actors of this process."""

    def __init__(self, journal: Journal, plans: Plans, around: Surroundings, watchers: Watchers) -> None:
        """Begin with nobody in memory."""
        self._journal = journal
        self._plans = plans
        self._around = around
        self._watchers = watchers
        self.supervisor = Supervisor[Actor](around.observer, self._set_aside, self._crashed)
        self.guard = self.supervisor.guard
        self._active: dict[SagaId, Actor] = {}
        self._by_shard: dict[int, dict[SagaId, Actor]] = {}
        """The same: many shards may be left at once, and each asks for its own actors again and again."""
        self._activating: dict[SagaId, asyncio.Event] = {}
        self._leaving: dict[SagaId, asyncio.TimerHandle] = {}
        """Those that wait for children, and when to look whether they still do."""
        self._ended = Ended()

    def __len__(self) -> int:
        """Return how many actors are in memory."""
        return len(self._active)

    @property
    def is_quiet(self) -> bool:
        """Return whether no actor has anything under way."""
        return all(actor.is_idle for actor in self._active.values())

    @property
    def has_room(self) -> bool:
        """Return whether one more saga may be brought into memory of our own accord."""
        return len(self._active) < ACTORS_MAX

    def actors(self) -> Iterator[ActorFacts]:
        """Yield who is in memory, each as it is when it is asked for; who left meanwhile is left out."""
        for actor in tuple(self._active.values()):
            if self._active.get(actor.saga_id) is actor:
                yield actor.facts()

    def knows(self, saga_id: SagaId) -> bool:
        """Return whether the saga is in memory, on its way there, or set aside."""
        return saga_id in self._active or saga_id in self._activating or self.supervisor.is_quarantined(saga_id)

    def active(self, saga_id: SagaId) -> Actor | None:
        """Return the saga's actor if it is in memory."""
        return self._active.get(saga_id)

    def refuse_foreign(self, shard: int) -> int:
        """Return the epoch of a shard in which something may begin here; raise `NotOwner` for any other."""
        epoch = self._around.ownership.epoch(shard)
        if shard in self._around.leaving:
            raise NotOwner(f"shard {shard} is being handed to another process; ask again in a moment", shard=shard)
        return epoch

    async def shard(self, saga_id: SagaId) -> int:
        """Return the shard a saga lies in; `NotFound` where there is no such saga."""
        if (actor := self._active.get(saga_id)) is not None:
            return actor.shard
        if self._around.ownership.shard_count == 1:
            return 0
        row = await self._journal.row(saga_id)
        if row is None:
            raise _not_found(saga_id)
        return row.shard

    def create(self, saga_id: SagaId, plan: Plan, shard: int) -> Actor:
        """Return the actor of a saga that has no records yet; the journal decides whether that is true."""
        self.supervisor.refuse_quarantined(saga_id)
        self.refuse_foreign(shard)
        if not self.has_room:
            message = f"{len(self._active)} sagas are active already; ask again in {RETRY_AFTER_S_DEFAULT:g} s"
            raise Overloaded("QUEUE_FULL", message, RETRY_AFTER_S_DEFAULT)
        return self._enter(Actor(saga_id, blank(plan), self._around, self, shard=shard))

    async def actor(self, saga_id: SagaId) -> Actor:
        """Return the saga's actor, activating it if need be.

        Raise `NotFound` where there is no such saga, and `NotOwner` where it is another process's to run.
        """
        while (found := self._active.get(saga_id)) is None:
            self.supervisor.refuse_quarantined(saga_id)
            if (pending := self._activating.get(saga_id)) is not None:
                await pending.wait()
                continue
            done = self._activating[saga_id] = asyncio.Event()
            try:
                shard = await self.shard(saga_id)
                epoch = self.refuse_foreign(shard)
                state = await self._read(saga_id)
                if self.refuse_foreign(shard) != epoch:  # it came and went while the saga was read
                    continue
                # A start may have failed and left meanwhile, but nobody else activates: this one is the actor.
                found = self._enter(Actor(saga_id, state, self._around, self, shard=shard))
                found.tell(Recovered())
            finally:
                del self._activating[saga_id]
                done.set()
            return found
        return found

    async def state(self, saga_id: SagaId) -> SagaState:
        """Return the saga's durable state without activating it; `NotFound` where there is no such saga."""
        actor = self._active.get(saga_id)
        if actor is not None and actor.state.version > 0:
            return actor.state
        if (ended := self._ended.get(saga_id)) is not None:
            return ended
        self.supervisor.refuse_quarantined(saga_id)
        return await self._read(saga_id)

    async def latest(self, saga_id: SagaId) -> SagaState:
        """Return the saga's state no older than anybody else may have seen it, at whatever process.

        Memory is behind where an append is durable and its answer on its way here, or where the saga is another
        process's and nobody has told this one yet.
        """
        actor = self._active.get(saga_id)
        row = None if actor is None or self._is_exact(actor) else await self._journal.row(saga_id)
        return await self.state_from(saga_id, 0 if row is None else row.version)

    async def state_from(self, saga_id: SagaId, version: int) -> SagaState:
        """Return the saga's state at a version that is durable, or a later one; memory may be behind it."""
        state = await self.state(saga_id)
        return state if state.version >= version else await self._read(saga_id)

    def _is_exact(self, actor: Actor) -> bool:
        """Return whether memory has all that is durable, which whoever lists or watches reads from the journal."""
        try:
            self._around.ownership.epoch(actor.shard)
        except NotOwner:
            return False
        return not actor.is_in_commit

    def advanced(self, actor: Actor) -> None:
        """Tell whoever watches, and let the actor go where it has nothing to do."""
        state = actor.state
        self._watchers.tell(actor.saga_id, state)
        if state.is_terminal:
            self.supervisor.well(actor.saga_id)
            if state.parent is not None:
                self._around.children.ended(state)
        self.rest(actor)

    def rest(self, actor: Actor) -> None:
        """Let an actor leave memory where it has nothing to do for a while.

        One that waits for children goes when none of them has ended for a while: most end soon, and one after another.
        """
        if not actor.has_children:
            if self._may_leave(actor) and self._active.get(actor.saga_id) is actor:
                self._let_rest(actor)
        elif actor.saga_id not in self._leaving and self._active.get(actor.saga_id) is actor:
            self._leave_later(actor)

    def _may_leave(self, actor: Actor) -> bool:
        return actor.is_idle and may_leave(actor.state, actor.wake_at, self._around.clock)

    def _leave_later(self, actor: Actor) -> None:
        loop, version = asyncio.get_running_loop(), actor.state.version
        self._leaving[actor.saga_id] = loop.call_later(PASSIVATION_WAIT_S_MIN, self._has_waited, actor, version)

    def _has_waited(self, actor: Actor, version: int) -> None:
        del self._leaving[actor.saga_id]
        if actor.state.version == version and self._may_leave(actor):
            self._let_rest(actor)
        else:
            self.rest(actor)

    def _let_rest(self, actor: Actor) -> None:
        self._leave(actor, VersionConflict(f"saga {actor.saga_id!r} has left memory"))
        if actor.state.is_terminal:
            self._ended.remember(actor.saga_id, actor.state, actor.shard)

    def wake(self, saga_id: SagaId) -> Actor | None:
        """Fire what is due of an active saga; None where it must be activated first."""
        actor = self._active.get(saga_id)
        if actor is not None:
            actor.fire_due(self._around.clock.now())
        return actor

    def flush(self) -> None:
        """Let no actor wait for company any longer: what was decided is committed while that can be done."""
        for actor in list(self._active.values()):
            actor.flush()

    def flush_in(self, shards: Collection[int]) -> None:
        """Do so with the actors of some shards."""
        for actor in self._in(shards):
            actor.flush()

    def is_quiet_in(self, shards: Collection[int]) -> bool:
        """Return whether no actor of these shards has anything under way."""
        return all(actor.is_idle for actor in self._in(shards))

    def _in(self, shards: Collection[int]) -> list[Actor]:
        return [actor for shard in shards for actor in self._by_shard.get(shard, {}).values()]

    def stop_all(self, error: OrchestratorError) -> None:
        """Let every actor go; what is open is for recovery."""
        for actor in list(self._active.values()):
            self._leave(actor, error)

    def hand_over(self, shards: Collection[int]) -> None:
        """Let the actors of some shards go, and what is remembered of their sagas: another process goes on.

        Whoever is told of it has asked for what was not begun: it may be asked elsewhere.
        """
        for actor in self._in(shards):
            self._leave(actor, _handed_over(actor))
        self._ended.forget_in(shards)

    def _crashed(self, actor: Actor, error: OrchestratorError, again: bool) -> None:  # noqa: FBT001  # a guard's callback
        self._leave(actor, error)
        if again and not self._around.is_leaving(actor.shard):
            asyncio.get_running_loop().call_later(CRASH_PAUSE_S, self._restart, actor)

    def _set_aside(self, saga_id: SagaId, error: IntegrityError) -> None:
        self._around.children.set_aside(saga_id, error)

    def _restart(self, crashed: Actor) -> None:
        """Go on from the last durable state, which is what the records fold to (M15)."""
        if crashed.saga_id in self._active or crashed.state.version == 0:
            return
        if self.supervisor.is_quarantined(crashed.saga_id):  # set aside during the pause
            return
        if crashed.shard in self._around.leaving or crashed.shard not in self._around.ownership.owned():
            return
        again = Actor(crashed.saga_id, crashed.state, self._around, self, shard=crashed.shard)
        self._enter(again).tell(Recovered())

    def _enter(self, actor: Actor) -> Actor:
        self._active[actor.saga_id] = actor
        self._by_shard.setdefault(actor.shard, {})[actor.saga_id] = actor
        self._ended.forget(actor.saga_id)  # a child that had completed may be undone
        self._around.observer.activated(len(self._active))
        return actor

    def _leave(self, actor: Actor, error: OrchestratorError) -> None:
        actor.stop(error)
        if self._active.get(actor.saga_id) is actor:
            del self._active[actor.saga_id]
            del self._by_shard[actor.shard][actor.saga_id]
            if (handle := self._leaving.pop(actor.saga_id, None)) is not None:
                handle.cancel()
            self._around.observer.activated(len(self._active))
            # Who waits for a start to become durable must learn that this one never will.
            self._watchers.tell(actor.saga_id, None)

    async def _read(self, saga_id: SagaId) -> SagaState:
        records = await self._page(saga_id, 0)
        if not records:
            raise _not_found(saga_id)
        first = records[0].event
        if not isinstance(first, SagaStarted):
            raise JournalCorrupted(f"saga {saga_id!r} does not begin with SagaStarted; restore the store from a backup")
        if first.saga_id != saga_id:
            its = f"begins as saga {first.saga_id!r}: its records are another's"
            raise JournalCorrupted(f"saga {saga_id!r} {its}; restore the store from a backup")
        plan = await self._plans.plan(first.definition, first.revision)
        state = blank(plan)
        while records:
            for begin in range(0, len(records), FOLD_RECORDS_MAX):
                if begin:
                    await asyncio.sleep(0)  # one turn: others have their turns while a long saga is read
                state = _folded(saga_id, state, records[begin : begin + FOLD_RECORDS_MAX])
            records = await self._page(saga_id, state.version) if len(records) >= READ_RECORDS_MAX else ()
        return state

    async def _page(self, saga_id: SagaId, after_version: int) -> Sequence[Record]:
        return await self._journal.read(saga_id, after_version, READ_RECORDS_MAX)


def _handed_over(actor: Actor) -> NotOwner:
    why = "goes to another process; nothing was recorded, ask again in a moment"
    return NotOwner(f"saga {actor.saga_id!r} {why}", shard=actor.shard)


def _not_found(saga_id: SagaId) -> NotFound:
    return NotFound("saga", saga_id, "list what there is with ListSagas")


def _folded(saga_id: SagaId, state: SagaState, records: Sequence[Record]) -> SagaState:
    if records[0].version != state.version + 1 or records[-1].version != state.version + len(records):
        raise JournalCorrupted(f"saga {saga_id!r} has a gap after version {state.version}; restore from a backup")
    try:
        return fold(state, (record.event for record in records))
    except JournalCorrupted as error:
        raise JournalCorrupted(f"saga {saga_id!r}: {error.message}") from error
