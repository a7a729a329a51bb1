"""The one match over `Effect`: the only place where effects meet ports.

Everything an effect needs is in the state that its records folded to, so performing it after a crash and performing
it live are the same code with the same bytes.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, assert_never

from orchestrator.errors import IntegrityError
from orchestrator.ids import SagaId, attempt_span_id, is_traced
from orchestrator.logscope import of_saga
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import CallRequest, Invoker, OnReport, OpenCall
from orchestrator.ports.observer import Observer
from orchestrator.saga import SagaState
from orchestrator.saga.commands import AttemptReported, Command, TimerFired
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer
from orchestrator.saga.events import Report
from orchestrator.saga.plan import CHILD_TARGET
from orchestrator.saga.state import OperationState, operation_of
from orchestrator.values import TraceContext

logger = logging.getLogger("orchestrator.actor")

Tell = Callable[[Command], None]
_SPAN_ID_MAX: Final = 2**64 - 1


class OpenChild(OpenCall, Protocol):
    """A call that is a child saga."""

    @property
    def is_waiting(self) -> bool:
        """Return whether nothing is to come but the child's end."""
        ...

    def let_go(self) -> None:
        """Wait for it no longer; the child goes on."""
        ...


class ChildCalls(Protocol):
    """Who performs the calls that are child sagas; see `children.py`."""

    def begin(self, call: CallRequest, on_report: OnReport) -> OpenChild:
        """Begin a call, as `Invoker.begin` does."""
        ...

    def ended(self, state: SagaState) -> None:
        """Hear that a saga with a parent has ended."""
        ...

    def set_aside(self, saga: SagaId, error: IntegrityError) -> None:
        """Hear that a saga was quarantined."""
        ...


class Hands:
    """What one actor has going on in the world: open calls and armed timers."""

    __slots__ = (
        "_calls",
        "_children",
        "_clock",
        "_invoker",
        "_observer",
        "_timers",
        "open_children",
    )

    def __init__(self, invoker: Invoker, children: ChildCalls, clock: Clock, observer: Observer) -> None:
        """Begin with nothing going on."""
        self._invoker = invoker
        self._children = children
        self._clock = clock
        self._observer = observer
        self._calls: dict[SendCall, tuple[CallRequest, OpenCall]] = {}
        """Whose report is waited for: attempts are counted anew when a step runs again, with another request then."""
        self.open_children: dict[SendCall, OpenChild] = {}
        """Those of them that are child sagas, and wait for the child or are on their way to it."""
        self._timers: dict[Timer, asyncio.TimerHandle] = {}

    @property
    def open_calls(self) -> int:
        """Return how many calls are on the wire, or on their way to a child."""
        count = len(self._calls)
        if self.open_children:
            count -= sum(child.is_waiting for child in self.open_children.values())
        return count

    @property
    def begun_calls(self) -> int:
        """Return how many calls have not reported, those to children included."""
        return len(self._calls)

    @property
    def armed_timers(self) -> int:
        """Return how many timers are running."""
        return len(self._timers)

    def perform(self, state: SagaState, effect: Effect, tell: Tell) -> None:
        """Do what is newly owed; `tell` brings what comes of it to the actor.

        It is given with each effect and goes with it: an actor with hands that knew it would be a cycle, and every
        saga that ends would be left to the collector.
        """
        match effect:
            case SendCall():
                self._send(call_request(state, effect), effect, tell)
            case AbortCall(step=step, operation=operation, attempt=attempt):
                if (call := self._calls.get(SendCall(step, operation, attempt))) is not None:
                    call[1].abort()
            case SetTimer(timer=timer, due_at=due_at):
                delay_s = max(due_at - self._clock.now(), 0.0)
                self._timers[timer] = asyncio.get_running_loop().call_later(delay_s, self._fired, timer, tell)
            case _:
                assert_never(effect)

    def _send(self, request: CallRequest, effect: SendCall, tell: Tell) -> None:
        on_report = partial(self._reported, request, effect, tell)
        if logger.isEnabledFor(logging.DEBUG):
            what = request.operation, request.attempt, request.method, request.target
            logger.debug("%s attempt %d calls %s at %s", *what, extra=_about(request))
        if request.target == CHILD_TARGET:
            child = self.open_children[effect] = self._children.begin(request, on_report)
            self._calls[effect] = request, child
        else:
            self._calls[effect] = request, self._invoker.begin(request, on_report)

    def release(self, effect: Effect) -> None:
        """Let go of what is owed no longer."""
        if isinstance(effect, SendCall):
            if effect in self._calls:
                self._give_up(effect)
        elif isinstance(effect, SetTimer) and (handle := self._timers.pop(effect.timer, None)) is not None:
            handle.cancel()

    def let_go(self) -> None:
        """Stop everything; reports of aborted calls go to a mailbox that is closed. Children go on by themselves."""
        for effect in tuple(self._calls):
            self._give_up(effect)
        for handle in self._timers.values():
            handle.cancel()
        self._timers.clear()

    def _give_up(self, effect: SendCall) -> None:
        """Nobody waits for this call any more, and it has not reported: the saga was ended, or goes on without it."""
        _, call = self._calls.pop(effect)
        if (child := self.open_children.pop(effect, None)) is not None:
            child.let_go()
        else:
            call.abort()

    def _reported(self, request: CallRequest, effect: SendCall, tell: Tell, report: Report) -> None:
        waited_for = self._calls.get(effect)
        if waited_for is None or waited_for[0] is not request:
            return  # of a call that was given up; the step may have another one of that number by now
        del self._calls[effect]
        if self.open_children:
            self.open_children.pop(effect, None)
        self._observer.called(request, report)
        if logger.isEnabledFor(logging.DEBUG):
            what = effect.operation, effect.attempt, report.code, report.phase  # not the service's own words
            logger.debug("%s attempt %d ended %s, %s", *what, extra=_about(request))
        tell(AttemptReported(step=effect.step, operation=effect.operation, attempt=effect.attempt, report=report))

    def _fired(self, timer: Timer, tell: Tell) -> None:
        self._timers.pop(timer, None)
        tell(TimerFired(timer=timer))


def _about(call: CallRequest) -> dict[str, str]:
    return of_saga(call.saga_id, call.step, call.trace)


def call_request(state: SagaState, effect: SendCall) -> CallRequest:
    """Return the call of an open attempt, as it was recorded."""
    path, kind = effect.step, effect.operation
    step = state.step(path)
    operation = operation_of(step, kind)
    assert operation is not None and operation.open is not None  # noqa: PT018  # only an open attempt is owed
    assert step.forward is not None  # everything else follows a forward
    call = state.plan.step_of(path).call_of(kind)
    return CallRequest(
        target=call.target,
        method=call.method,
        request=operation.request,
        reply_type=call.reply_type,
        deadline_at=operation.open.deadline_at,
        key=operation.key,
        saga_id=state.saga_id,
        uid=state.uid,
        step=path,
        operation=kind,
        attempt=effect.attempt,
        epoch=operation.open.epoch,
        forward_key=step.forward.key,
        trace=_place(state, effect, operation),
        baggage=state.baggage,
    )


def _place(state: SagaState, effect: SendCall, operation: OperationState) -> TraceContext:
    """Return an attempt's place in its saga's trace. Where nobody records that, none has a span, and one id does."""
    trace, step, kind = state.trace, effect.step, effect.operation
    trace_id = state.trace_id_of(state.trace_parts.part_of(step, kind))
    if trace.sampled and is_traced(step, effect.attempt):
        span_id = attempt_span_id(state.uid, step, kind.value, effect.attempt, operation.manual_epoch)
        return TraceContext(trace_id=trace_id, span_id=span_id, sampled=True, state=trace.state)
    span_id = trace.span_id or state.uid.int & _SPAN_ID_MAX or 1
    return TraceContext(trace_id=trace_id, span_id=span_id, sampled=False, state=trace.state)
