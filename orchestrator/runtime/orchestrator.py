"""The verbs of the product. Every surface calls these and nothing behind them.

What a verb returns is durable: a caller who was told a saga is accepted, cancelled or ended finds it so after any
crash.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from orchestrator.errors import JournalUnavailable, NotFound
from orchestrator.frozen import changed, frozen
from orchestrator.ids import SagaId
from orchestrator.limits import DRAIN_POLL_S, JOURNAL_AWAY_PAUSE_S, WATCH_RECORDS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.diagnostics import ActorFacts
from orchestrator.ports.invoker import Invoker
from orchestrator.ports.journal import Journal, PositionedRecord, Record, SearchQuery, SearchRow
from orchestrator.ports.observer import Backlog, Observer
from orchestrator.ports.ownership import Ownership
from orchestrator.ports.plans import JsonInput, Plans
from orchestrator.runtime import backlog
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.children import Children
from orchestrator.runtime.committer import Committer
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.lookout import Lookout
from orchestrator.runtime.messages import repair_command, signal_command
from orchestrator.runtime.recovery import BeforeTimers, Recovery
from orchestrator.runtime.requests import (
    ConflictPolicy,
    RepairRequest,
    SignalRequest,
    Started,
    StartRequest,
    Until,
)
from orchestrator.runtime.starting import Starting, checked, draining
from orchestrator.runtime.surroundings import Surroundings
from orchestrator.runtime.watchers import Watch, Watchers
from orchestrator.saga import SagaState, SagaStatus
from orchestrator.saga.commands import CancelSaga
from orchestrator.saga.state import TERMINAL
from orchestrator.values import Payload, TraceContext


@frozen
class RuntimeStats:
    """What is going on in this process."""

    active_actors: int
    quarantined: int
    in_flight: Mapping[str, int]
    """Open calls by target."""
    recovered: int
    orphaned: int = 0
    """Sagas that needed an actor and had none (I35): each of them a bug, and taken up."""


class Orchestrator:
    """Starts, drives and shows sagas. Use it inside `running()`."""

    def __init__(
        self,
        *,
        journal: Journal,
        plans: Plans,
        invoker: Invoker,
        clock: Clock,
        observer: Observer,
        on_failed: Callable[[str], None],
        ownership: Ownership,
        sampled: bool = False,
        baggage: Collection[str] = (),
    ) -> None:
        """Put the runtime together; `on_failed` hears when the journal can record no more.

        `sampled` is the decision for sagas that no traced caller started (T10): whether anybody takes our spans.
        `baggage` names the members of callers' baggage that are kept with their sagas and sent on.
        """
        self._journal = journal
        self._plans = plans
        self._invoker = invoker
        self._clock = clock
        self._watchers = Watchers()
        self._committer = Committer(journal, clock, observer, on_failed)
        self._around = Surroundings(
            clock=clock, committer=self._committer, invoker=invoker, observer=observer, ownership=ownership
        )
        self._directory = Directory(journal, plans, self._around, self._watchers)
        self._asking = Asking(self._directory, self._around)
        self._starting = Starting(
            journal=journal,
            plans=plans,
            clock=clock,
            directory=self._directory,
            asking=self._asking,
            watchers=self._watchers,
            around=self._around,
            sampled=sampled,
            baggage=baggage,
        )
        self._children = self._around.children = Children(
            journal=journal,
            plans=plans,
            clock=clock,
            directory=self._directory,
            asking=self._asking,
            starting=self._starting,
        )
        self._recovery = Recovery(journal, self._directory, invoker, clock, ownership)
        self._lookout = Lookout(journal, self._directory, self._watchers)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Orchestrator"]:
        """Commit, recover and sweep while the block runs; at its end the journal holds all that was decided."""
        ownership = self._around.ownership
        self.took(ownership.owned())
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(self._committer.run(self._directory), name="committer")
            standing = [
                tasks.create_task(self._while_recording(self._recovery.recover), name="recovery"),
                tasks.create_task(self._while_recording(self._recovery.sweep), name="sweeper"),
            ]
            if ownership.shard_count > 1:
                standing.append(tasks.create_task(self._lookout.run(), name="lookout"))
            try:
                yield self
            finally:
                self._around.is_draining = True
                for task in standing:
                    task.cancel()
                await self._children.close()
                await self._recovery.close()
                self._directory.flush()
                self._committer.close()
                await asyncio.wait([committing])
                self._directory.stop_all(draining())

    async def _while_recording(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do standing work until the journal fails; then the process drains, rather than falling over itself.

        A journal that is away for a while is asked again; what was under way is begun anew.
        """
        while True:
            try:
                return await work()
            except JournalUnavailable as error:
                if self._journal.failed is not None:
                    return self._committer.fail(error)
            await asyncio.sleep(JOURNAL_AWAY_PAUSE_S)

    # --- shards that come and go (`ports.ownership.Tenant`) ----------------------------------------------------------

    def do_before_timers(self, work: BeforeTimers) -> None:
        """Have something done in every shard that is taken over, before any timer of its sagas fires (I31)."""
        self._recovery.before_timers = work

    def took(self, shards: Collection[int]) -> None:
        """Take up what needs an actor in shards that are this process's from now on."""
        self._around.leaving.difference_update(shards)
        self._recovery.took(shards)

    async def leave(self, shards: Collection[int], grace_s: float) -> None:
        """Begin nothing new in these shards, let what is in flight end within the grace, and let go of their sagas."""
        self._around.leaving.update(shards)
        self._directory.flush_in(shards)
        try:
            async with asyncio.timeout(grace_s):
                while not self._directory.is_quiet_in(shards):  # noqa: ASYNC110  # as in `drain`
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            pass
        self._directory.hand_over(shards)
        await self._committer.settled(shards)

    def lost(self, shards: Collection[int]) -> None:
        """Let go of the sagas of these shards at once: another process runs them, or will."""
        self._around.leaving.difference_update(shards)
        self._directory.hand_over(shards)

    @property
    def is_draining(self) -> bool:
        """Return whether no new work is taken."""
        return self._around.is_draining

    @property
    def failure(self) -> str | None:
        """Return why nothing can be recorded any more; None while all is well."""
        return self._committer.failure

    @property
    def obstacle(self) -> str | None:
        """Return why no new work can be taken here now, or None."""
        if self.failure is not None:
            return f"the journal records nothing any more: {self.failure}"
        return "the process drains" if self.is_draining else self._around.ownership.obstacle or self._journal.obstacle

    def stats(self) -> RuntimeStats:
        """Return what is going on in this process."""
        return RuntimeStats(
            active_actors=len(self._directory),
            quarantined=self._directory.supervisor.quarantined_count,
            in_flight=self._invoker.in_flight(),
            recovered=self._recovery.recovered_count,
            orphaned=self._recovery.orphaned_count,
        )

    def actors(self) -> Iterator[ActorFacts]:
        """Yield the sagas in memory, which makes this `ports.diagnostics.Acting`."""
        return self._directory.actors()

    async def backlog(self) -> Backlog:
        """Return what could move here and waits to be taken up: a question to the store, at a small price."""
        untaken = self._recovery.untaken()
        return await backlog.look(self._journal, self._directory, self._around.ownership, self._clock, untaken)

    async def start(self, request: StartRequest) -> Started:
        """Begin a saga, or return the one that this request began before. Durable when it returns."""
        return await self._starting.start(request)

    async def get(self, name: str) -> SagaState:
        """Return the saga's durable state, no older than any process has shown it."""
        return await self._directory.latest(checked(name))

    async def wait(self, name: str, until: Until, after_version: int, timeout_s: float) -> SagaState:
        """Return the state once it is as wanted, or as it stands when the time is over; never an error for that."""
        saga = checked(name)
        with self._watchers.watching(saga, partial(until.is_reached, after_version=after_version)) as watch:
            state = await self._directory.state(saga)
            try:
                async with asyncio.timeout(timeout_s):
                    while not until.is_reached(state, after_version):
                        if self.is_draining:
                            raise draining()
                        await watch.changed()
                        state = watch.state or await self._moved(saga, state, until)
            except TimeoutError:
                return watch.state or state
        return state

    async def _moved(self, saga: SagaId, state: SagaState, until: Until) -> SagaState:
        """Return a saga that moved elsewhere as it is now; as it was, where that is not worth reading all of it."""
        row = await self._journal.row(saga)
        if row is None:
            raise NotFound("saga", saga, "it has ended, and was forgotten by now")
        if row.version <= state.version:
            return state
        is_settled = row.status in TERMINAL or row.status is SagaStatus.NEEDS_ATTENTION
        return await self._directory.state(saga) if is_settled or until is Until.CHANGE else state

    async def watch(self, name: str, after_version: int) -> AsyncGenerator[Sequence[Record]]:
        """Yield every record after a version, in order and without a gap, until the saga has ended."""
        saga = checked(name)
        with self._watchers.watching(saga) as watch:
            self._directory.supervisor.refuse_quarantined(saga)
            seen = after_version
            while True:
                records = await self._journal.read(saga, seen, WATCH_RECORDS_MAX)
                if records:
                    seen = records[-1].version
                    yield records
                    continue
                version, is_ended = await self._standing(saga, watch)
                if seen < version:
                    continue
                if is_ended:
                    return
                if self.is_draining:
                    raise draining()
                await watch.changed()

    async def _standing(self, saga: SagaId, watch: Watch) -> tuple[int, bool]:
        """Return how far a saga is and whether it has ended, without reading it whole."""
        actor = self._directory.active(saga)
        state = watch.state if actor is None or actor.state.version == 0 else actor.state
        if state is not None:
            return state.version, state.is_terminal
        row = await self._journal.row(saga)
        if row is None:
            raise NotFound("saga", saga, "list what there is with ListSagas")
        return row.version, row.status in TERMINAL

    async def events(self, name: str, after_version: int, limit: int) -> Sequence[Record]:
        """Return records after a version, oldest first."""
        saga = checked(name)
        records = await self._journal.read(saga, after_version, limit)
        if not records and await self._journal.row(saga) is None:
            raise NotFound("saga", name, "list what there is with ListSagas")
        return records

    async def acts(self, before: int | None, limit: int) -> Sequence[PositionedRecord]:
        """Return what people did to any saga (R25), newest first, from before a position in the store."""
        return await self._journal.acts(before, limit)

    async def started_by(self, request_id: str) -> SagaId | None:
        """Return the saga that was started with this request id, as a child is with its call's key."""
        row = await self._journal.row_by_request(request_id)
        return None if row is None else row.saga_id

    async def list(self, query: SearchQuery) -> Sequence[SearchRow]:
        """Return one page of sagas."""
        return await self._journal.search(query)

    async def count(self, query: SearchQuery, group_by: str = "") -> Mapping[str, int]:
        """Return how many sagas match, by group."""
        return await self._journal.count(query, group_by)

    async def cancel(
        self,
        name: str,
        reason: str,
        *,
        if_version: int | None = None,
        trace: TraceContext | None = None,
        validate_only: bool = False,
    ) -> SagaState:
        """Undo what was done and end (R22). Durable when it returns; idempotent while the undoing goes on."""
        command = CancelSaga(reason=reason, if_version=if_version, trace=trace)
        return await self._asking.ask(checked(name), command, validate_only=validate_only)

    async def signal(
        self,
        name: str,
        signal: str,
        payload: Payload | JsonInput,
        request_id: str = "",
        *,
        trace: TraceContext | None = None,
        validate_only: bool = False,
    ) -> SagaState:
        """Hand a message to the saga (M14). Durable when it returns; the same request id again is the same signal.

        Without a request id each call is a signal of its own.
        """
        known = request_id or str(self._clock.new_uid())
        request = SignalRequest(signal=signal, payload=payload, request_id=known, trace=trace)
        return await self._signal(checked(name), request, validate_only=validate_only)

    async def signal_with_start(
        self, request: StartRequest, signal: str, payload: Payload | JsonInput, request_id: str = ""
    ) -> Started:
        """Begin a saga with a signal in the same append, or hand the signal to the saga that exists, whatever began it.

        Asked again with the same request id, which need not name a saga, it is the same signal to the same saga.
        """
        known = request_id or str(self._clock.new_uid())
        given = SignalRequest(signal=signal, payload=payload, request_id=known, trace=request.trace)
        named = request.saga_id or request.request_id
        start = changed(
            request,
            conflict=ConflictPolicy.USE_EXISTING,
            request_id=request.request_id if named else given.request_id,
        )
        started = await self._starting.start(start, given)
        if started.created:
            return started
        return changed(started, state=await self._signal(started.saga_id, given))

    async def repair(self, name: str, request: RepairRequest, *, validate_only: bool = False) -> SagaState:
        """Do what only a person may (R25). Durable when it returns.

        With `validate_only` nothing is recorded: the state comes back as it is, or the refusal is raised.
        """
        saga = checked(name)
        if not validate_only:
            await self._asking.refuse_foreign(saga)
        state = await self._directory.state(saga)
        await self._plans.plan(state.plan.definition, state.plan.revision)
        command = repair_command(self._plans, state, request)
        return await self._asking.ask(saga, command, validate_only=validate_only)

    async def _signal(self, saga: SagaId, request: SignalRequest, *, validate_only: bool = False) -> SagaState:
        if not validate_only:
            await self._asking.refuse_foreign(saga)
        state = await self._directory.state(saga)
        # Its plan may have been put aside meanwhile, and the payload is read by it.
        plan = await self._plans.plan(state.plan.definition, state.plan.revision)
        command = signal_command(self._plans, plan, request)
        return await self._asking.ask(saga, command, validate_only=validate_only)

    def refuse_new(self) -> None:
        """Take nothing new and begin nothing new from now on; whoever waits is told."""
        self._around.is_draining = True
        self._watchers.tell_all()

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, begin nothing new, let what is in flight end within the grace; recovery has the rest."""
        self.refuse_new()
        try:
            async with asyncio.timeout(grace_s):
                while not self._directory.is_quiet:  # noqa: ASYNC110  # many actors, one look; an event of each costs more
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            pass
