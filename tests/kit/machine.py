"""One saga under a virtual clock: given events, when a command, then events or a rejection.

Every decision is checked on the way: its state is the fold of its events (M15), and every invariant holds.
"""

from collections.abc import Iterable
from uuid import UUID

from orchestrator.errors import RequestError
from orchestrator.ids import SagaId, StepId
from orchestrator.saga import Decision, SagaState, SagaStatus, blank, check, decide, fold, owed
from orchestrator.saga.commands import (
    AttemptReported,
    Audit,
    CancelSaga,
    Command,
    Moment,
    Recovered,
    SignalSaga,
    StartSaga,
    TimerFired,
)
from orchestrator.saga.effects import Effect, SendCall, SetTimer, Timer, in_order
from orchestrator.saga.events import Event, Parent, Phase, Report, touched
from orchestrator.saga.outcome import CONFIGURATION, NEVER_FROM_THE_LIBRARY
from orchestrator.saga.owed_since import owed_since
from orchestrator.saga.plan import Operation, Plan
from orchestrator.saga.state import operation_of
from orchestrator.values import Attributes, Payload, TraceContext

BEGIN_AT = 1_000_000.0
UID = UUID("6f1c4a2e-0000-4000-8000-000000000001")
PARENT = Parent(saga_id=SagaId("p"), uid=UUID(int=7), step=StepId("child"), trace_id=1, span_id=2)
_BY_WORD = {
    "forward": Operation.FORWARD,
    "await": Operation.AWAIT,
    "probe": Operation.PROBE,
    "stop": Operation.STOP,
    "undo": Operation.COMPENSATE,
}
"""What `reply` calls an operation."""
_ANSWERS = NEVER_FROM_THE_LIBRARY | CONFIGURATION | {"OK", "DATA_LOSS"}


def report(code: str = "OK", *, phase: Phase | None = None, data: bytes | None = b"yes", **more: object) -> Report:
    """Return a report as the invoker would make it: a status that only a service sends has been replied."""
    at = phase or (Phase.REPLIED if code in _ANSWERS else Phase.SENT)
    reply = Payload("Reply", data) if code == "OK" and data is not None else None
    return Report(code=code, phase=at, message=f"it said {code}", reply=reply, **more)  # type: ignore[arg-type]  # the caller names Report's own fields


class Machine:
    """A saga, its clock and its writer."""

    def __init__(self, plan: Plan, *events: Event) -> None:
        """Begin with the given history."""
        self.state: SagaState = fold(blank(plan), events)
        self.events: list[Event] = list(events)
        self.at = BEGIN_AT
        self.entropy = 0.5
        self.epoch = 1
        self.is_draining = False
        self.rejected: RequestError | None = None

    @property
    def plan(self) -> Plan:
        return self.state.plan

    @property
    def status(self) -> SagaStatus:
        return self.state.status

    @property
    def owed(self) -> frozenset[Effect]:
        return owed(self.state)

    @property
    def timers(self) -> list[tuple[float, Timer]]:
        """What is owed by time, earliest first."""
        found = [(effect.due_at, effect.timer) for effect in self.owed if isinstance(effect, SetTimer)]
        return sorted(found, key=lambda entry: (entry[0], str(entry[1])))

    @property
    def calls(self) -> list[SendCall]:
        """What is open, by name."""
        return sorted((effect for effect in self.owed if isinstance(effect, SendCall)), key=str)

    def tell(self, command: Command) -> tuple[Event, ...]:
        """Give a command now; return what was decided."""
        moment = Moment(at=self.at, entropy=self.entropy, epoch=self.epoch, is_draining=self.is_draining)
        decision: Decision = decide(self.state, command, moment)
        assert fold(self.state, decision.events) == decision.state, "M15: the state is the fold of the events"
        assert decision.rejected is None or not decision.events, "a rejected command changes nothing"
        check(decision.state, is_draining=self.is_draining)
        self._is_owed_since(self.state, decision)
        self.state, self.rejected = decision.state, decision.rejected
        self.events.extend(decision.events)
        return decision.events

    def _is_owed_since(self, before: SagaState, decision: Decision) -> None:
        was, now, named = owed(before), owed(decision.state), touched(decision.events)
        change = owed_since(before, decision.state, named)
        assert [*change.due] == sorted(now - was, key=in_order), "what is due follows from what was touched"
        assert [*change.over] == sorted(was - now, key=in_order), "and so does what is over"

    def start(
        self,
        *,
        forward_s: float | None = None,
        attributes: Attributes | None = None,
        data: bytes = b"input",
        parent: Parent | None = None,
        signal: SignalSaga | None = None,
    ) -> tuple[Event, ...]:
        return self.tell(
            StartSaga(
                saga_id=SagaId("s"),
                uid=UID,
                input=Payload("Input", data),
                request_id="",
                trace=TraceContext(trace_id=1, span_id=0, sampled=True),
                attributes=attributes or {},
                forward_s=forward_s,
                parent=parent,
                signal=signal,
            )
        )

    def cancel(self, reason: str = "") -> tuple[Event, ...]:
        return self.tell(CancelSaga(reason=reason))

    def signal(self, name: str = "go", request_id: str = "r1", data: bytes = b"sent") -> tuple[Event, ...]:
        return self.tell(SignalSaga(signal=name, request_id=request_id, payload=Payload("Signal", data)))

    def audit(self, reason: str = "seen", *, if_version: int | None = None) -> Audit:
        """Who a person is in these stories, and why."""
        return Audit(by="ann", reason=reason, if_version=if_version)

    def reply(self, step: str, given: Report | str = "OK", *, attempt: int | None = None) -> tuple[Event, ...]:
        """Report on the open call of a step or item: the last of them, unless `step` ends in `.undo`, `.probe`, …"""
        name, _, word = step.partition(".")
        state = self.state.find(StepId(name))
        of = _BY_WORD[word] if word else Operation.FORWARD
        if state is not None and not word:
            for each in Operation:
                found = operation_of(state, each)
                of = each if found is not None and found.open is not None else of
        operation = None if state is None else operation_of(state, of)
        number = attempt or (operation.attempts if operation else 1)
        said = report(given) if isinstance(given, str) else given
        return self.tell(AttemptReported(step=StepId(name), operation=of, attempt=number, report=said))

    def tell_reply(self, step: str, data: bytes) -> tuple[Event, ...]:
        """Report OK with a reply of the caller's own."""
        return self.reply(step, report(data=data))

    def replies(self, *steps: str) -> "Machine":
        """Report OK on each step in turn."""
        for each in steps:
            self.reply(each)
        return self

    def pass_time(self, seconds: float) -> list[Event]:
        """Let time pass; every timer fires at its instant. One that fires for nothing would fire for ever."""
        until_at, seen = self.at + seconds, len(self.events)
        while self.timers and self.timers[0][0] <= until_at:
            due_at, timer = self.timers[0]
            self.at = max(self.at, due_at)
            if not self.tell(TimerFired(timer=timer)):
                assert self.is_draining, f"{timer} fired at its time, changed nothing and is owed still"
                break
        self.at = until_at
        return self.events[seen:]

    def crash(self, *, is_draining: bool = False) -> tuple[Event, ...]:
        """Let the writer die and the next one take over."""
        self.epoch += 1
        self.is_draining = is_draining
        return self.tell(Recovered())

    def taken_back(self) -> tuple[Event, ...]:
        """Let the writer go on that was about to stop, under the same epoch: what it had on the wire was let go of."""
        self.is_draining = False
        return self.tell(Recovered())


def started(plan: Plan) -> Machine:
    """Return a machine whose saga has just been started."""
    machine = Machine(plan)
    machine.start()
    return machine


def names(events: Iterable[Event]) -> list[str]:
    """Return the events by type and step, for a short expectation."""
    return [" ".join(filter(None, (type(each).__name__, getattr(each, "step", None)))) for each in events]
