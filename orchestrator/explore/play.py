"""One saga, played in virtual time with scripted replies: what the machine would record, without a service or a wait.

The machine is the real one and so are the definition's expressions. A service answers what its script says, after the
time its script says; one that says nothing answers OK with an empty message. Nothing is random: the same script gives
the same records.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from orchestrator.errors import RequestError
from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId, item_of
from orchestrator.limits import PLAY_RECORDS_MAX
from orchestrator.saga import SagaState, blank, decide, owed
from orchestrator.saga.commands import (
    AttemptReported,
    CancelSaga,
    Command,
    Moment,
    SignalSaga,
    StartSaga,
    TimerFired,
)
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer
from orchestrator.saga.events import Event, Phase, Report
from orchestrator.saga.plan import Operation, Plan
from orchestrator.saga.state import operation_of
from orchestrator.values import Payload, TraceContext

OPERATION_WORDS: Mapping[str, Operation] = {"": Operation.FORWARD, "undo": Operation.COMPENSATE} | {
    operation.value: operation for operation in (Operation.PROBE, Operation.AWAIT, Operation.STOP)
}
"""What stands behind a step's name where a script says how an operation of it is answered: `capture.probe`."""

BEGIN_AT = 1_767_225_600.0
"""2026-01-01T00:00:00Z: a played saga has no date of its own."""


@frozen
class Scripted:
    """What a service answers to one attempt, and after how long."""

    report: Report
    after_s: float


Answers = Callable[[StepId, Operation, int], Scripted]
"""By path, operation and attempt, counted from 1."""


@frozen
class Input:
    """What comes to the saga from outside, so many seconds after its start."""

    after_s: float
    command: SignalSaga | CancelSaga


@frozen
class Played:
    """How it went."""

    events: tuple[Event, ...]
    state: SagaState
    is_complete: bool
    """False: `PLAY_RECORDS_MAX` was reached before the saga came to rest."""
    rejected: tuple[str, ...] = ()
    """What came from outside and was refused, with the reason."""


def play(plan: Plan, given: Payload, answers: Answers, inputs: Sequence[Input] = ()) -> Played:
    """Play a saga to its end, or until nothing can happen any more. Raise `InputInvalid` where it cannot be started."""
    stage = _Stage(plan, answers)
    refused = stage.tell(_start(given))
    if refused is not None:
        raise refused
    for each in inputs:
        stage.put(BEGIN_AT + each.after_s, each.command)
    rejected: list[str] = []
    while stage.has_more and len(stage.events) < PLAY_RECORDS_MAX:
        refused = stage.next()
        if refused is not None:
            rejected.append(refused.message)
    return Played(
        events=tuple(stage.events), state=stage.state, is_complete=not stage.has_more, rejected=tuple(rejected)
    )


class _Stage:
    """A saga, its clock, and everything that will happen to it."""

    def __init__(self, plan: Plan, answers: Answers) -> None:
        self.state = blank(plan)
        self.events: list[Event] = []
        self._answers = answers
        self._at = BEGIN_AT
        self._queue: list[tuple[float, int, Command]] = []
        self._count = 0
        self._owed: frozenset[Effect] = frozenset()

    @property
    def has_more(self) -> bool:
        return bool(self._queue) and not self.state.is_terminal

    def put(self, at: float, command: Command) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, command))

    def next(self) -> RequestError | None:
        at, _, command = heapq.heappop(self._queue)
        self._at = max(self._at, at)
        return self.tell(command)

    def tell(self, command: Command) -> RequestError | None:
        if isinstance(command, TimerFired):
            # Not owed any more: it would change nothing. Owed again by what follows: it is armed again.
            mine = {effect for effect in self._owed if isinstance(effect, SetTimer) and effect.timer == command.timer}
            self._owed -= mine
        decision = decide(self.state, command, Moment(at=self._at, entropy=0.5, epoch=1))
        self.state = decision.state
        self.events.extend(decision.events)
        new = owed(self.state)
        for effect in sorted(new - self._owed, key=str):
            self._perform(effect)
        self._owed = new
        return decision.rejected

    def _perform(self, effect: Effect) -> None:
        match effect:
            case SendCall(step=step, operation=operation, attempt=attempt):
                scripted = self._answers(step, operation, attempt)
                of = operation_of(self.state.step(step), operation)
                assert of is not None  # it is owed
                assert of.open is not None  # as above
                at, report = self._at + scripted.after_s, scripted.report
                if at > of.open.deadline_at:
                    at, report = of.open.deadline_at, Report(code="DEADLINE_EXCEEDED", phase=Phase.SENT)
                self.put(at, AttemptReported(step=step, operation=operation, attempt=attempt, report=report))
            case AbortCall(step=step, operation=operation, attempt=attempt):
                report = Report(code="CANCELLED", phase=Phase.SENT, message="the call was stopped")
                command = AttemptReported(step=step, operation=operation, attempt=attempt, report=report)
                self.put(self._at, command)
            case SetTimer(timer=timer, due_at=due_at):
                self.put(due_at, TimerFired(timer=timer))


def _start(given: Payload) -> StartSaga:
    return StartSaga(
        saga_id=SagaId("simulated"),
        uid=UUID(int=1),
        input=given,
        request_id="",
        trace=TraceContext(trace_id=1, span_id=0, sampled=False),
        attributes={},
    )


def from_script(script: Mapping[tuple[StepId, Operation], Sequence[Scripted]], default: Answers) -> Answers:
    """Return answers out of a script: the n-th entry for the n-th attempt, the last one for all that follow.

    An item of a `for_each` step answers as its own path says, or else as its step does.
    """

    def answer(path: StepId, operation: Operation, attempt: int) -> Scripted:
        found = script.get((path, operation)) or script.get((item_of(path)[0], operation))
        return default(path, operation, attempt) if not found else found[min(attempt, len(found)) - 1]

    return answer
