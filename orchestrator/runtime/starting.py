"""Beginning a saga exactly once, however often it is asked for (I8, I9)."""

from collections.abc import Collection
from uuid import UUID

from orchestrator.errors import AlreadyExists, Draining, InputInvalid, NotFound, NotOwner, VersionConflict
from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, saga_id, trace_id
from orchestrator.limits import UID_DRAWS_MAX
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Journal, SearchRow
from orchestrator.ports.ownership import shard_of
from orchestrator.ports.plans import Plans
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.messages import signal_command
from orchestrator.runtime.requests import ConflictPolicy, SignalRequest, Started, StartRequest
from orchestrator.runtime.surroundings import Surroundings
from orchestrator.runtime.watchers import Watchers
from orchestrator.saga import SagaState
from orchestrator.saga.commands import StartSaga
from orchestrator.saga.events import Parent
from orchestrator.tracecontext import kept_baggage
from orchestrator.values import AttributeValue, Payload, TraceContext


@frozen
class Family:
    """Where a child belongs: a family lies in one shard, so that whoever owns the parent runs the child."""

    parent: Parent
    shard: int


class Starting:
    """Starts sagas, or finds those that a request started before."""

    def __init__(
        self,
        *,
        journal: Journal,
        plans: Plans,
        clock: Clock,
        directory: Directory,
        asking: Asking,
        watchers: Watchers,
        around: Surroundings,
        sampled: bool,
        baggage: Collection[str],
    ) -> None:
        """Take the parts.

        `sampled` is the decision for sagas that no traced caller started (T10), `baggage` names the members of callers'
        baggage that are kept.
        """
        self._journal = journal
        self._plans = plans
        self._clock = clock
        self._directory = directory
        self._asking = asking
        self._watchers = watchers
        self._around = around
        self._sampled = sampled
        self._baggage = frozenset(baggage)

    async def start(
        self,
        request: StartRequest,
        signal: SignalRequest | None = None,
        *,
        family: Family | None = None,
        sampled: bool | None = None,
    ) -> Started:
        """Begin a saga, or return the one that this request began before. Durable when it returns.

        A signal that comes with the start is in the same append; where the saga existed it is not delivered here. A
        child is given its `family`, and its parent's sampling decision. Raise `NotOwner` where the saga's shard is
        another process's; without an id of the caller's, the saga lies in a shard of this one's.
        """
        if self._around.is_draining:
            raise draining()
        if request.request_id and (row := await self._journal.row_by_request(request.request_id)) is not None:
            return await self._same_request(request, row)
        plan = await self._plans.plan(request.definition, request.revision)
        payload = self._plans.input(plan, request.input)
        with_signal = None if signal is None else signal_command(self._plans, plan, signal)
        uid, name, shard = self._named(request.saga_id)
        if family is not None:
            shard = family.shard
        while self._directory.active(name) is not None:
            try:
                return await self._existing(name, request, payload)
            except NotFound:  # whoever was starting it could not: nothing is recorded, and it is ours to start
                continue
        traced = self._sampled if sampled is None else sampled
        command = StartSaga(
            saga_id=name,
            uid=uid,
            input=payload,
            request_id=request.request_id,
            trace=request.trace or TraceContext(trace_id=trace_id(uid), span_id=0, sampled=traced),
            attributes=request.attributes,
            forward_s=request.forward_s,
            baggage=kept_baggage(request.baggage, self._baggage),
            parent=None if family is None else family.parent,
            signal=with_signal,
        )
        try:
            actor = self._directory.create(name, plan, shard)
        except NotOwner:
            # A child lies with its parent, not where its name says: where there is one, it is found from everywhere.
            if await self._journal.row(name) is None:
                raise
            return await self._existing(name, request, payload)
        try:
            state = await self._asking.ask_actor(actor, command)
        except VersionConflict:
            return await self._conflict(name, request, payload)
        return Started(saga_id=name, state=state, created=True)

    def _named(self, given: str) -> tuple[UUID, SagaId, int]:
        """Return a saga's uid, its name, which is the uid's where it was given none, and the shard of that name.

        A saga without a name begins where it is, in a shard that this process owns, if it owns any. On average it takes
        as many draws as there are processes that share the shards evenly.
        """
        uid = self._clock.new_uid()
        name = checked(given) if given else SagaId(str(uid))
        shard = self._shard_of(name)
        if not given and self._around.ownership.shard_count > 1:
            owned = frozenset(self._around.ownership.owned()) - self._around.leaving
            for _ in range(UID_DRAWS_MAX if owned else 0):
                if shard in owned:
                    break
                uid = self._clock.new_uid()
                name = SagaId(str(uid))
                shard = self._shard_of(name)
        return uid, name, shard

    def _shard_of(self, name: SagaId) -> int:
        return shard_of(name, self._around.ownership.shard_count)

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
        kept = all(_is_same_value(state.attributes.get(name), value) for name, value in request.attributes.items())
        return given and kept and payload == state.input

    async def _started(self, name: SagaId) -> SagaState:
        """Return a saga that somebody else may be starting at this very moment."""
        with self._watchers.watching(name) as watch:
            while (actor := self._directory.active(name)) is not None and actor.state.version == 0:
                await watch.changed()
        return await self._directory.state(name)


def _is_same_value(kept: AttributeValue | None, given: AttributeValue) -> bool:
    """Compare as JSON does: to Python, true is 1."""
    return kept == given and isinstance(kept, bool) is isinstance(given, bool)


def checked(name: str) -> SagaId:
    """Return a caller's text as a saga id; `InputInvalid` where it is none."""
    try:
        return saga_id(name)
    except ValueError as error:
        raise InputInvalid("saga_id", str(error)) from error


def draining() -> Draining:
    """Return what everybody is told who wants something new of a process that stops."""
    return Draining("this process is stopping and takes no new work; ask again in a moment, or ask another one")
