"""Whether a process does at once what its records oblige it to: seen from inside, because no record shows it.

A call that nobody aborts ends by itself, and a child that nobody cancels comes to its end and is undone then: the
records of both are in order, and the world has worked in vain for as long as that took.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from orchestrator.ids import SagaId, StepId, item_of
from orchestrator.limits import SIMULATED_ROWS_MAX
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Journal, Record, Rest, SearchQuery
from orchestrator.ports.observer import Observer, TraceOf
from orchestrator.saga.events import AttemptOpened, AttemptSettled, AttentionReason, Report, StepStuck
from orchestrator.saga.frontier import can_begin
from orchestrator.saga.plan import CHILD_TARGET, Operation, Plan
from orchestrator.saga.state import SagaState, SagaStatus
from orchestrator.testing.fates import Fault, Kind
from orchestrator.testing.loop import Life
from orchestrator.testing.network import SimulatedInvoker

PlanOf = Callable[[SagaId], Plan | None]

_HEARS_S = 16.0
"""Three commits, the slowest there are: the group before, what a saga was about to record, and what it is told."""


class Heed:
    """`Observer` of one life: passes on what it hears, and writes down what was not done."""

    def __init__(self, observer: Observer, invoker: SimulatedInvoker, life: Life, broken: list[str]) -> None:
        """Violations are added to `broken`."""
        self._observer = observer
        self._invoker = invoker
        self._life = life
        self._broken = broken
        self._turned_s: dict[SagaId, float] = {}
        """Saga -> when this life first knew that it has turned back."""
        self._told_s: dict[tuple[SagaId, StepId, Operation, int], float] = {}
        """Call -> when its end came."""
        self._last: dict[SagaId, SagaState] = {}
        self.is_own: Callable[[Sequence[Record], SagaId], bool] = lambda _records, _saga: True
        """Whether a saga is still this life's, as far as it can know."""

    def forget(self) -> None:
        """Know nothing any more: what was seen may have gone on elsewhere."""
        self._turned_s.clear()
        self._told_s.clear()
        self._last.clear()

    def recorded(self, state: SagaState, records: Sequence[Record]) -> None:
        if self._life.is_over:
            return  # killed in this very turn, at a call: the rest of the turn does nothing
        if not self.is_own(records, state.saga_id):
            self._observer.recorded(state, records)
            return  # what is owed is its new owner's, and what is open here is let go of
        self._last[state.saga_id] = state
        if state.is_backward:
            self._turned_s.setdefault(state.saga_id, asyncio.get_running_loop().time())
        if state.is_backward or state.rollbacks:
            self._check_aborted(state)
        if state.parent is not None and any(_begins(record) for record in records):
            self._check_cancelled(state, state.parent.saga_id)
        if state.is_terminal and state.status is not SagaStatus.TERMINATED:
            self._check_children(state.saga_id)
        for record in records:
            if isinstance(record.event, AttemptSettled):
                self._check_taken_up(state.saga_id, record.event)
        self._observer.recorded(state, records)

    def _check_taken_up(self, saga: SagaId, event: AttemptSettled) -> None:
        """I36: nothing that a process has heard lies there until something else happens."""
        told_s = self._told_s.pop((saga, event.step, event.operation, event.attempt), None)
        if told_s is None or self._life.stood_still:
            return
        for_s = asyncio.get_running_loop().time() - told_s
        if for_s > _HEARS_S:
            message = (
                f"the end of {event.operation.value} {event.attempt} of {event.step} was recorded {for_s:.1f} s late"
            )
            self._broken.append(f"I36 saga {saga}: {message}")

    def _check_aborted(self, state: SagaState) -> None:
        """I26, I27: what is open of what has been stopped was reset in the turn that told it so; a pivot never is."""
        for call in self._invoker.open:
            request = call.request
            if request.saga_id != state.saga_id or request.operation is not Operation.FORWARD or call.was_reset:
                continue
            step = item_of(request.step)[0]
            if step != state.plan.pivot and _is_stopped(state, step):
                self._broken.append(f"I27 saga {state.saga_id}: {request.step} has been stopped, and its call goes on")

    def _check_children(self, parent: SagaId) -> None:
        """I28: a saga ends after its children have; who has a successor does not know of what that one records."""
        if self._life.is_usurped:
            return
        for child, state in self._last.items():
            if state.parent is not None and state.parent.saga_id == parent and not state.is_terminal:
                self._broken.append(f"I28 saga {child}: is {state.status.value}, and its parent {parent} has ended")

    def _check_cancelled(self, state: SagaState, parent: SagaId) -> None:
        """I26: a child begins nothing when its parent has turned back and the child had time to hear of it."""
        turned_s = self._turned_s.get(parent)
        if turned_s is None or state.is_backward or state.is_past_pivot or self._life.stood_still:
            return
        for_s = asyncio.get_running_loop().time() - turned_s
        if for_s > _HEARS_S:
            message = f"begins something {for_s:.1f} s after its parent {parent} has turned back"
            self._broken.append(f"I26 saga {state.saga_id}: {message}")

    async def check_left(self, journal: Journal) -> None:
        """I35: whatever a process that leaves could still have begun, its successor is told to take up."""
        for saga, state in self._last.items():
            if state.is_terminal or state.is_backward or state.cancel_reason is not None or not can_begin(state):
                continue
            row = await journal.row(saga)
            if row is not None and row.version == state.version and row.rest is Rest.ASLEEP and not row.attention:
                self._broken.append(f"I35 saga {saga}: was put to sleep, and something in it could begin")

    def committed(self, streams: int, records: int, seconds: float) -> None:
        self._observer.committed(streams, records, seconds)

    def called(self, call: CallRequest, report: Report) -> None:
        self._told_s[call.saga_id, call.step, call.operation, call.attempt] = asyncio.get_running_loop().time()
        self._observer.called(call, report)

    def activated(self, count: int) -> None:
        self._observer.activated(count)

    def mailbox(self, depth: int) -> None:
        self._observer.mailbox(depth)

    def quarantined(self, saga_id: str, reason: str) -> None:
        self._observer.quarantined(saga_id, reason)

    def forwarded(self, way: str, outcome: str) -> None:
        self._observer.forwarded(way, outcome)

    def answered(self, method: str, code: str, at: float, seconds: float | None, trace: TraceOf) -> None:
        self._observer.answered(method, code, at, seconds, trace)

    def refused(self, reason: str) -> None:
        self._observer.refused(reason)

    def stalled(self, seconds: float) -> None:
        self._observer.stalled(seconds)

    def forgotten(self, definition: str, count: int) -> None:
        self._observer.forgotten(definition, count)

    def retention_behind(self, seconds: float) -> None:
        self._observer.retention_behind(seconds)


async def asked_for_nothing(journal: Journal, struck: Iterable[Fault], plan_of: PlanOf) -> list[str]:
    """I23: who asks a person to undo something was refused by a service, or by a child that is past its pivot."""
    refused = {fault.site.rpartition("/")[0] for fault in struck if fault.kind is Kind.REFUSES_UNDO}
    broken: list[str] = []
    for row in await journal.search(
        SearchQuery(limit=SIMULATED_ROWS_MAX, statuses=frozenset({SagaStatus.NEEDS_ATTENTION}))
    ):
        for record in await journal.read(row.saga_id):
            event = record.event
            if not isinstance(event, StepStuck) or event.reason is not AttentionReason.UNDO_REFUSED:
                continue
            plan = plan_of(row.saga_id)
            is_child = plan is not None and plan.step_of(event.step).call.target == CHILD_TARGET
            if is_child or f"{row.saga_id}/{event.step}/{Operation.COMPENSATE.value}" not in refused:
                broken.append(f"I23 saga {row.saga_id}: {event.step} asks a person, and nobody refused to undo it")
    return broken


def _begins(record: Record) -> bool:
    event = record.event
    return isinstance(event, AttemptOpened) and event.operation is Operation.FORWARD


def _is_stopped(state: SagaState, step: StepId) -> bool:
    return state.is_backward or any(step in rollback.steps for rollback in state.rollbacks.values())
