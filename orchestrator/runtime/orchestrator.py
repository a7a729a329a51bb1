"""The verbs of the product. Every surface calls these and nothing behind them.

What a verb returns is durable: a caller who was told a saga is accepted, cancelled or ended finds it so after any
crash.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager

from orchestrator.errors import (
    AlreadyExists,
    Draining,
    InputInvalid,
    JournalUnavailable,
    NotFound,
    OrchestratorError,
    VersionConflict,
)
from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, saga_id, trace_id
from orchestrator.limits import DRAIN_POLL_S, READ_RECORDS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import Invoker
from orchestrator.ports.journal import Journal, Record, SearchQuery, SearchRow
from orchestrator.ports.observer import Observer
from orchestrator.ports.plans import Plans
from orchestrator.runtime.actor import Actor, Surroundings
from orchestrator.runtime.committer import Committer
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.recovery import Recovery
from orchestrator.runtime.requests import ConflictPolicy, Started, StartRequest, Until
from orchestrator.runtime.watchers import Watchers
from orchestrator.saga import SagaState, decide
from orchestrator.saga.commands import CancelSaga, Command, StartSaga
from orchestrator.values import Payload, TraceContext


@frozen
class RuntimeStats:
    """What is going on in this process."""

    active_actors: int
    quarantined: int
    in_flight: Mapping[str, int]
    """Open calls by target."""
    recovered: int


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
        sampled: bool = False,
    ) -> None:
        """Put the runtime together; `on_failed` hears when the journal can record no more.

        `sampled` is the decision for sagas that no traced caller started (T10): whether anybody takes our spans.
        """
        self._journal = journal
        self._plans = plans
        self._invoker = invoker
        self._clock = clock
        self._sampled = sampled
        self._watchers = Watchers()
        self._committer = Committer(journal, clock, observer, on_failed)
        self._around = Surroundings(
            clock=clock, committer=self._committer, invoker=invoker, observer=observer, epoch=journal.epoch
        )
        self._directory = Directory(journal, plans, self._around, self._watchers)
        self._recovery = Recovery(journal, self._directory, invoker, clock)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Orchestrator"]:
        """Commit, recover and sweep while the block runs; at its end the journal holds all that was decided."""
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(self._committer.run(), name="committer")
            recovering = tasks.create_task(self._while_recording(self._recovery.recover_all), name="recovery")
            sweeping = tasks.create_task(self._while_recording(self._recovery.sweep), name="sweeper")
            try:
                yield self
            finally:
                self._around.is_draining = True
                recovering.cancel()
                sweeping.cancel()
                self._directory.flush()
                self._committer.close()
                await asyncio.wait([committing])
                self._directory.stop_all(self._draining())

    async def _while_recording(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do standing work until the journal fails; then the process drains, rather than falling over itself."""
        try:
            await work()
        except JournalUnavailable as error:
            self._committer.fail(error)

    @property
    def is_draining(self) -> bool:
        """Return whether no new work is taken."""
        return self._around.is_draining

    @property
    def failure(self) -> str | None:
        """Return why nothing can be recorded any more; None while all is well."""
        return self._committer.failure

    def stats(self) -> RuntimeStats:
        """Return what is going on in this process."""
        return RuntimeStats(
            active_actors=len(self._directory),
            quarantined=self._directory.supervisor.quarantined_count,
            in_flight=self._invoker.in_flight(),
            recovered=self._recovery.recovered_count,
        )

    async def start(self, request: StartRequest) -> Started:
        """Begin a saga, or return the one that this request began before. Durable when it returns."""
        if self.is_draining:
            raise self._draining()
        if request.request_id and (row := await self._journal.row_by_request(request.request_id)) is not None:
            return await self._same_request(request, row)
        plan = await self._plans.plan(request.definition, request.revision)
        payload = self._plans.input(plan, request.input)
        uid = self._clock.new_uid()
        name = _checked(request.saga_id) if request.saga_id else SagaId(str(uid))
        if self._directory.active(name) is not None:
            return await self._existing(name, request, payload)
        command = StartSaga(
            saga_id=name,
            uid=uid,
            input=payload,
            request_id=request.request_id,
            trace=request.trace or TraceContext(trace_id=trace_id(uid), span_id=0, sampled=self._sampled),
            attributes=request.attributes,
            forward_s=request.forward_s,
        )
        try:
            state = await self._ask(self._directory.create(name, plan), command)
        except VersionConflict:
            return await self._conflict(name, request, payload)
        return Started(saga_id=name, state=state, created=True)

    async def get(self, name: str) -> SagaState:
        """Return the saga's durable state."""
        return await self._directory.state(_checked(name))

    async def wait(self, name: str, until: Until, after_version: int, timeout_s: float) -> SagaState:
        """Return the state once it is as wanted, or as it stands when the time is over; never an error for that."""
        checked = _checked(name)
        with self._watchers.watching(checked) as watch:
            state = await self._directory.state(checked)
            try:
                async with asyncio.timeout(timeout_s):
                    while not until.is_reached(state, after_version):
                        if self.is_draining:
                            raise self._draining()
                        await watch.changed()
                        state = watch.state or state
            except TimeoutError:
                pass
        return state

    async def watch(self, name: str, after_version: int) -> AsyncGenerator[Sequence[Record]]:
        """Yield every record after a version, in order and without a gap, until the saga has ended."""
        checked = _checked(name)
        with self._watchers.watching(checked) as watch:
            state = await self._directory.state(checked)
            seen = after_version
            while True:
                records = await self._journal.read(checked, seen, READ_RECORDS_MAX)
                if records:
                    seen = records[-1].version
                    yield records
                    continue
                latest = watch.state or state
                if seen < latest.version:
                    continue
                if latest.is_terminal:
                    return
                if self.is_draining:
                    raise self._draining()
                await watch.changed()

    async def events(self, name: str, after_version: int, limit: int) -> Sequence[Record]:
        """Return records after a version, oldest first."""
        checked = _checked(name)
        records = await self._journal.read(checked, after_version, limit)
        if not records and await self._journal.row(checked) is None:
            raise NotFound("saga", name, "list what there is with ListSagas")
        return records

    async def list(self, query: SearchQuery) -> Sequence[SearchRow]:
        """Return one page of sagas."""
        return await self._journal.search(query)

    async def count(self, query: SearchQuery, group_by: str = "") -> Mapping[str, int]:
        """Return how many sagas match, by group."""
        return await self._journal.count(query, group_by)

    async def cancel(self, name: str, reason: str) -> SagaState:
        """Undo what was done and end (R22). Durable when it returns; idempotent while the undoing goes on."""
        return await self._ask_active(_checked(name), CancelSaga(reason=reason))

    async def drain(self, grace_s: float) -> None:
        """Take nothing new, begin nothing new, let what is in flight end within the grace; recovery has the rest."""
        self._around.is_draining = True
        self._watchers.tell_all()
        try:
            async with asyncio.timeout(grace_s):
                while not self._directory.is_quiet:  # noqa: ASYNC110  # many actors, one look; an event of each costs more
                    await asyncio.sleep(DRAIN_POLL_S)
        except TimeoutError:
            pass

    async def _ask_active(self, name: SagaId, command: Command) -> SagaState:
        """Ask a saga that may leave memory between being found and being asked."""
        state = await self._directory.state(name)
        while not state.is_terminal:
            try:
                return await self._ask(await self._directory.actor(name), command)
            except VersionConflict:
                state = await self._directory.state(name)
        rejected = decide(state, command, self._around.moment()).rejected
        if rejected is not None:
            raise rejected
        return state

    async def _ask(self, actor: Actor, command: Command) -> SagaState:
        """Ask an actor; one that decided nothing has no commit after which it would go to rest, so it goes now."""
        try:
            return await _answer(actor, command)
        finally:
            self._directory.rest(actor)

    async def _conflict(self, name: SagaId, request: StartRequest, payload: Payload) -> Started:
        """The journal knows the saga id or the request id already; say which, or answer as before."""
        if request.request_id and (row := await self._journal.row_by_request(request.request_id)) is not None:
            return await self._same_request(request, row)
        return await self._existing(name, request, payload)

    async def _same_request(self, request: StartRequest, row: SearchRow) -> Started:
        """Answer as before, unless the request is another one under the same id (I9)."""
        state = await self._directory.state(row.saga_id)
        # The saga may have outlived its plan's place in the catalogue's cache, and the input is read by that plan.
        plan = await self._plans.plan(state.plan.definition, state.plan.revision)
        if request.saga_id and request.saga_id != row.saga_id:
            other = f"saga {request.saga_id!r}"
        elif not self._is_same(request, self._plans.input(plan, request.input), state):
            other = "the same with another definition, input or attributes"
        else:
            return Started(saga_id=row.saga_id, state=state, created=False)
        message = f"request {request.request_id} started saga {row.saga_id!r}, and now asks for {other}"
        raise AlreadyExists(f"{message}; choose a new request id", saga_id=row.saga_id)

    async def _existing(self, name: SagaId, request: StartRequest, payload: Payload) -> Started:
        state = await self._started(name)
        same = self._is_same(request, payload, state)
        policy = request.conflict
        if policy is ConflictPolicy.USE_EXISTING or (policy is ConflictPolicy.SAME_REQUEST and same):
            return Started(saga_id=name, state=state, created=False)
        what = "was started by another request" if same else "was started with another definition, input or attributes"
        raise AlreadyExists(
            f"saga {name!r} exists and {what}; it is {state.status.value}; choose a new id, ids are never used twice",
            saga_id=name,
            status=state.status.value,
        )

    def _is_same(self, request: StartRequest, payload: Payload, state: SagaState) -> bool:
        """Compare what is given with what the saga was started with; its definition adds attributes of its own."""
        given = request.definition == state.plan.definition and request.revision in {"", state.plan.revision}
        kept = all(state.attributes.get(name) == value for name, value in request.attributes.items())
        return given and kept and payload == state.input

    async def _started(self, name: SagaId) -> SagaState:
        """Return a saga that somebody else may be starting at this very moment."""
        with self._watchers.watching(name) as watch:
            while (actor := self._directory.active(name)) is not None and actor.state.version == 0:
                await watch.changed()
        return await self._directory.state(name)

    def _draining(self) -> Draining:
        return Draining("this process is stopping and takes no new work; ask again in a moment, or ask another one")


async def _answer(actor: Actor, command: Command) -> SagaState:
    """Tell an actor and wait until what it decided is durable."""
    answered: asyncio.Future[SagaState | OrchestratorError] = asyncio.get_running_loop().create_future()

    def answer(result: SagaState | OrchestratorError) -> None:
        if not answered.done():
            answered.set_result(result)

    actor.tell(command, answer)
    result = await answered
    if isinstance(result, OrchestratorError):
        raise result
    return result


def _checked(name: str) -> SagaId:
    try:
        return saga_id(name)
    except ValueError as error:
        raise InputInvalid("saga_id", str(error)) from error
