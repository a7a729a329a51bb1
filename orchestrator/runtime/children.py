"""Child sagas: a step whose call is another saga (R21).

::

      parent                                   child
      SendCall @saga  --- start, or find -->   runs as any saga
                          by the call's key
      AbortCall       --- cancel ---------->   goes backward, or past its pivot and on
      SendCall undo   --- undo ------------>   runs its own undo log
                      <-- report -----------   has ended

The call's key is the child's request id, so whoever asks again, after whatever crash, finds the same child. A parent
that waits for nothing but children holds no task and may leave memory: the end of a child knows its parent and wakes
it, and where the process died in between, recovery asks again.

There is no deadline here: the child has got its parent's as its own, and an end is reported when it has come.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from orchestrator.errors import (
    AlreadyExists,
    BusyError,
    InputInvalid,
    IntegrityError,
    JournalUnavailable,
    NotFound,
    NotOwner,
    OrchestratorError,
    Overloaded,
    PlanMissing,
    Rejected,
)
from orchestrator.ids import SagaId, StepId, item_of, saga_id
from orchestrator.limits import JOURNAL_AWAY_PAUSE_S, WAKERS_MAX
from orchestrator.logscope import of_saga
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import CallRequest, OnReport
from orchestrator.ports.journal import Journal
from orchestrator.ports.plans import Plans
from orchestrator.runtime.asking import Asking
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.requests import ConflictPolicy, Started, StartRequest
from orchestrator.runtime.starting import Family, Starting
from orchestrator.saga import SagaState, SagaStatus
from orchestrator.saga.commands import CancelSaga, UndoChild
from orchestrator.saga.events import Parent, Phase, Report
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import TERMINAL
from orchestrator.tasks import Tasks
from orchestrator.values import Payload

logger = logging.getLogger("orchestrator.children")

_NO_REPLY = Payload("google.protobuf.Empty", b"")


class ChildCall:
    """A call that is a child saga, as long as its parent is in memory and waits for it."""

    __slots__ = ("_children", "_on_report", "call", "child", "driven", "is_aborted", "is_over")

    def __init__(self, children: "Children", call: CallRequest, on_report: OnReport) -> None:
        self.call = call
        self.child: SagaId | None = None
        """Known once it was started or found."""
        self.driven = 0
        """How much is on its way for it: a start, a cancel, an undo."""
        self.is_aborted = False
        self.is_over = False
        self._children = children
        self._on_report = on_report

    @property
    def is_waiting(self) -> bool:
        """Return whether nothing is to come but the child's end."""
        return not self.driven

    def abort(self) -> None:
        """Have the child cancelled; the report comes with its true end."""
        if not self.is_aborted:
            self.is_aborted = True
            if self.child is not None:
                self._children.cancel(self)

    def let_go(self) -> None:
        """Stop waiting: the parent leaves memory, or its process stops. The child goes on."""
        self.is_over = True
        self._children.forget(self)

    def end(self, report: Report) -> None:
        """Report, once and in a later turn."""
        if not self.is_over:
            self.is_over = True
            self._children.forget(self)
            asyncio.get_running_loop().call_soon(self._on_report, report)


class Children:
    """Starts, finds, cancels and undoes child sagas, and tells parents of their ends."""

    def __init__(
        self,
        *,
        journal: Journal,
        plans: Plans,
        clock: Clock,
        directory: Directory,
        asking: Asking,
        starting: Starting,
    ) -> None:
        """Take the parts; nothing happens before a parent calls."""
        self._journal = journal
        self._plans = plans
        self._clock = clock
        self._directory = directory
        self._asking = asking
        self._starting = starting
        self._tasks = Tasks()
        self._begun: dict[str, asyncio.Event] = {}
        """Key -> a start that is on its way: whoever comes after waits for it, so that nothing is undone before it is
        done, and nobody is told that its name is taken by itself."""
        self._waiting: dict[SagaId, dict[ChildCall, None]] = {}
        self._to_wake: dict[SagaId, None] = {}
        self._wakers = 0

    def begin(self, call: CallRequest, on_report: OnReport) -> ChildCall:
        """Begin a call; what goes wrong is a report."""
        opened = ChildCall(self, call, on_report)
        self._run(opened)
        return opened

    def cancel(self, opened: ChildCall) -> None:
        """Cancel the child of a call that waits for it."""
        self._run(opened)

    def forget(self, opened: ChildCall) -> None:
        """Wait for a child no longer."""
        if opened.child is not None and (waiting := self._waiting.get(opened.child)) is not None:
            waiting.pop(opened, None)
            if not waiting:
                del self._waiting[opened.child]

    def ended(self, state: SagaState) -> None:
        """Hear that a child has ended: tell the parent, or bring it back into memory to ask for itself."""
        assert state.parent is not None  # a child is told of
        waiting = list(self._waiting.get(state.saga_id, ()))
        for opened in waiting:
            if opened.call.operation is Operation.FORWARD:
                opened.end(self._forward_report(opened, state))
            else:
                self._run(opened)  # it may have completed although it was to be cancelled
        if not waiting:
            self._wake(state.parent.saga_id)

    def set_aside(self, saga: SagaId, error: IntegrityError) -> None:
        """Hear that a saga was quarantined: if it is a child, its parent needs a person as well."""
        for opened in list(self._waiting.get(saga, ())):
            opened.end(self._error_report(opened, error))
        actor = self._directory.active(saga)
        if actor is not None and actor.state.parent is not None:
            self._wake(actor.state.parent.saga_id)

    async def close(self) -> None:
        """Stop what is on its way; recovery asks again."""
        await self._tasks.cancel()

    # --- one call ----------------------------------------------------------------------------------------------------

    def _run(self, opened: ChildCall) -> None:
        drive = {Operation.FORWARD: self._forward, Operation.COMPENSATE: self._undo}.get(opened.call.operation)
        if drive is None:
            opened.end(self._report(opened, "UNIMPLEMENTED", Phase.REPLIED, "a child saga is not asked that"))
        else:
            opened.driven += 1
            self._tasks.spawn(self._driven(opened, drive), lambda error: self._failed(opened, error))

    async def _driven(self, opened: ChildCall, drive: Callable[[ChildCall], Coroutine[None, None, None]]) -> None:
        try:
            while not opened.is_over:
                try:
                    await drive(opened)
                    break
                except JournalUnavailable:
                    if self._journal.failed is not None:
                        raise
                    await asyncio.sleep(JOURNAL_AWAY_PAUSE_S)  # asked again, it is the same child
        finally:
            opened.driven -= 1

    async def _forward(self, opened: ChildCall) -> None:
        await self._until_begun(opened.call.key)
        found = await self._find(opened.call.key)
        if found is None and opened.is_aborted:
            opened.end(self._report(opened, "CANCELLED", Phase.NOT_SENT, "stopped before its child saga was started"))
            return
        if found is None:
            found = (await self._start(opened.call)).saga_id
        self._directory.supervisor.refuse_quarantined(found)
        self._wait_for(opened, found)
        if opened.is_aborted:
            await self._cancel(found, f"cancelled by its parent saga {opened.call.saga_id}")
        row = await self._journal.row(found)
        if row is not None and row.status in TERMINAL:  # read only then: a child may be long, and asleep
            opened.end(self._forward_report(opened, await self._directory.state_from(found, row.version)))

    async def _undo(self, opened: ChildCall) -> None:
        await self._until_begun(opened.call.forward_key)
        found = await self._find(opened.call.forward_key)
        if found is None:
            opened.end(self._report(opened, "NOT_FOUND", Phase.REPLIED, "its child saga was never started"))
            return
        self._wait_for(opened, found)
        reason = f"undone by its parent saga {opened.call.saga_id}"
        state = await self._asking.ask(found, UndoChild(reason=reason, trace=opened.call.trace))
        if state.is_terminal:
            opened.end(self._undo_report(opened, state))

    async def _until_begun(self, key: str) -> None:
        """Wait for a start that is on its way, of a call that was given up: it is the same child."""
        while (begun := self._begun.get(key)) is not None:
            await begun.wait()

    async def _find(self, key: str) -> SagaId | None:
        row = await self._journal.row_by_request(key)
        return None if row is None else row.saga_id

    async def _start(self, call: CallRequest) -> Started:
        """Start the child under a name that people can read, if that is free, otherwise under its key."""
        await self._until_begun(call.key)
        begun = self._begun[call.key] = asyncio.Event()  # in the turn in which nobody else was at it
        try:
            readable = child_name(call.saga_id, call.step)
            if readable is not None:
                try:
                    return await self._begin(call, readable)
                except AlreadyExists:
                    logger.debug("the child's name %s is taken", readable, extra=of_saga(call.saga_id, call.step))
            return await self._begin(call, SagaId(call.key))
        finally:
            del self._begun[call.key]
            begun.set()

    async def _begin(self, call: CallRequest, name: SagaId) -> Started:
        """Start it; its own deadline is never later than its parent's, and never later than its definition says."""
        definition, _, revision = call.method.partition("/")
        plan = await self._plans.plan(definition, revision)
        request = StartRequest(
            definition=definition,
            revision=revision,
            input=call.request,
            saga_id=name,
            request_id=call.key,
            conflict=ConflictPolicy.FAIL,  # a saga like it, of somebody else or of a life before, is not this child
            baggage=call.baggage,
            forward_s=min(plan.forward_s, max(call.deadline_at - self._clock.now(), 0.0)),
        )
        family = Family(parent=_parent(call), shard=await self._directory.shard(call.saga_id))
        return await self._starting.start(request, family=family, sampled=call.trace.sampled)

    async def _cancel(self, child: SagaId, reason: str) -> None:
        try:
            await self._asking.ask(child, CancelSaga(reason=reason))
        except Rejected as refused:
            # Past its pivot it completes, and ended it has: either way its end is what is reported.
            logger.debug("child saga %s is not cancelled: %s", child, refused.reason, extra=of_saga(child))

    def _wait_for(self, opened: ChildCall, child: SagaId) -> None:
        opened.child = child
        if not opened.is_over:
            self._waiting.setdefault(child, {})[opened] = None

    def _failed(self, opened: ChildCall, error: BaseException) -> None:
        """A process that can record nothing more of a saga reports nothing: it is as if it had been killed."""
        if isinstance(error, JournalUnavailable | NotOwner):
            return
        if not isinstance(error, OrchestratorError):
            about = of_saga(opened.call.saga_id, opened.call.step, opened.call.trace)
            logger.error("the child of a step failed inside; please report this", exc_info=error, extra=about)
        opened.end(self._error_report(opened, error))

    # --- waking parents ----------------------------------------------------------------------------------------------

    def _wake(self, parent: SagaId) -> None:
        if self._directory.active(parent) is not None:
            return  # it asks, or has asked, for itself
        self._to_wake[parent] = None
        if self._wakers < WAKERS_MAX:
            self._wakers += 1
            self._tasks.spawn(self._wake_parents(), self._waking_failed)

    async def _wake_parents(self) -> None:
        """One after the other, a few of us at a time, however many children end at once."""
        try:
            while self._to_wake:
                parent = next(iter(self._to_wake))
                del self._to_wake[parent]
                try:
                    self._directory.rest(await self._directory.actor(parent))
                except NotOwner:
                    logger.debug("saga %s is another process's by now", parent, extra=of_saga(parent))
                except JournalUnavailable:
                    if self._journal.failed is not None:
                        return
                    self._to_wake[parent] = None  # nobody else would ask again: its row says that it waits for children
                    await asyncio.sleep(JOURNAL_AWAY_PAUSE_S)
                except OrchestratorError as error:
                    logger.warning("saga %s was not woken by its child: %s", parent, error, extra=of_saga(parent))
                await asyncio.sleep(0)  # one turn: reading the journal may not have waited
        finally:
            self._wakers -= 1

    def _waking_failed(self, error: BaseException) -> None:
        logger.error("waking parents failed; start this process anew, which finds them", exc_info=error)

    # --- reports -----------------------------------------------------------------------------------------------------

    def _forward_report(self, opened: ChildCall, state: SagaState) -> Report:
        assert state.is_terminal  # it is reported once it has ended
        name = f"child saga {state.saga_id}"
        match state.status:
            case SagaStatus.COMPLETED:
                reply = state.output or _NO_REPLY
                return self._report(opened, "OK", Phase.REPLIED, "", reply=reply)
            case SagaStatus.COMPENSATED:
                why = state.cause.message if state.cause is not None else "it was undone"
                # Asked again, the same child gives the same answer.
                return self._report(
                    opened, "ABORTED", Phase.REPLIED, f"{name}: {why}", applied=False, retry_after_s=-1.0
                )
            case _:
                message = f"{name} was terminated by a person: what it had done is left"
                return self._report(opened, "DATA_LOSS", Phase.REPLIED, message)

    def _undo_report(self, opened: ChildCall, state: SagaState) -> Report:
        if state.status is SagaStatus.COMPENSATED:
            return self._report(opened, "OK", Phase.REPLIED, "", reply=_NO_REPLY)
        why = "is past its pivot" if state.status is SagaStatus.COMPLETED else "was terminated by a person"
        message = f"child saga {state.saga_id} has ended {state.status.value} and cannot be undone: it {why}"
        return self._report(opened, "FAILED_PRECONDITION", Phase.REPLIED, message)

    def _error_report(self, opened: ChildCall, error: BaseException) -> Report:
        told = error.message if isinstance(error, OrchestratorError) else repr(error)
        match error:
            case Overloaded(retry_after_s=retry_after_s):
                return self._held_back(opened, "RESOURCE_EXHAUSTED", told, retry_after_s)
            case BusyError():
                return self._held_back(opened, "UNAVAILABLE", told, None)
            case NotFound() | PlanMissing():
                return self._held_back(opened, "UNIMPLEMENTED", told, None)
            case InputInvalid():
                return self._report(opened, "INVALID_ARGUMENT", Phase.REPLIED, told)
            case IntegrityError():
                return self._report(opened, "DATA_LOSS", Phase.REPLIED, told)
            case OrchestratorError():
                return self._report(opened, "FAILED_PRECONDITION", Phase.REPLIED, told)
            case _:
                return self._report(opened, "INTERNAL", Phase.SENT, told)

    def _held_back(self, opened: ChildCall, code: str, message: str, retry_after_s: float | None) -> Report:
        return self._report(opened, code, Phase.NOT_SENT, message, parked=True, retry_after_s=retry_after_s)

    def _report(
        self,
        opened: ChildCall,
        code: str,
        phase: Phase,
        message: str,
        *,
        reply: Payload | None = None,
        applied: bool | None = None,
        parked: bool = False,
        retry_after_s: float | None = None,
    ) -> Report:
        return Report(
            code=code,
            phase=phase,
            message=message,
            reply=reply,
            applied=applied,
            parked=parked,
            retry_after_s=retry_after_s,
            ended_at=self._clock.now(),
        )


def child_name(parent: SagaId, step: StepId) -> SagaId | None:
    """Return the name for people, `parent.step` or `parent.step.3`; None where it would be no saga id."""
    name, index = item_of(step)
    try:
        return saga_id(f"{parent}.{name}" if index is None else f"{parent}.{name}.{index}")
    except ValueError:
        return None


def _parent(call: CallRequest) -> Parent:
    trace = call.trace
    return Parent(saga_id=call.saga_id, uid=call.uid, step=call.step, trace_id=trace.trace_id, span_id=trace.span_id)
