"""Histories for the telemetry tests, told by the real machine: five steps, three of them with an undo."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random  # noqa: TID251  (seeded by whoever asks)
from uuid import UUID

from orchestrator import ids
from orchestrator.frozen import changed
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.journal import Append, Record, SearchRow
from orchestrator.saga.commands import AttemptReported, CancelSaga, Command, Moment, Recovered, StartSaga, TimerFired
from orchestrator.saga.decide import decide
from orchestrator.saga.effects import SendCall, SetTimer
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.owed import owed
from orchestrator.saga.plan import Call, Compensation, Facts, Operation, Plan, RetryPolicy, Step, StepKind
from orchestrator.saga.state import SagaState, blank
from orchestrator.saga.traceparts import TraceBounds, TraceParts
from orchestrator.telemetry.views import BOUNDS
from orchestrator.values import Payload, TraceContext

CANARY = "canary-7f3a-never-in-a-span"
CALLER = TraceContext(
    trace_id=0x4BF92F3577B34DA6A3CE929D0E0E4736, span_id=0x00F067AA0BA902B7, sampled=True, state="v=1"
)
UNSAMPLED = TraceContext(trace_id=1, span_id=2, sampled=False)
BEGIN_AT = 1_700_000_000.0

Answer = Callable[[SendCall, float], Report]


def uid_of(number: int) -> UUID:
    return UUID(int=(0x1234 << 96) + number)


def _render(_facts: Facts) -> Payload:
    return Payload("epro.v1.Request", CANARY.encode())


def _step(name: str, service: str, *needs: str, undo: bool = False) -> Step:
    retry = RetryPolicy(max_attempts=3, initial_backoff_s=0.1, max_backoff_s=1.0, multiplier=2.0, explicit=True)

    def call(method: str, idempotent: bool) -> Call:
        return Call(
            target=service.lower(),
            method=f"epro.v1.{service}/{method}",
            reply_type="epro.v1.Reply",
            render=_render,
            timeout_s=1.0,
            retry=retry,
            idempotent=idempotent,
            barrier=True,
        )

    return Step(
        id=StepId(name),
        kind=StepKind.COMPENSATABLE if undo else StepKind.READ,
        needs=frozenset(map(StepId, needs)),
        body=call("Do", True),
        compensation=Compensation(call=call("Undo", True)) if undo else None,
    )


PLAN = Plan(
    definition="epro",
    revision="r1",
    input_type="epro.v1.Report",
    steps={
        step.id: step
        for step in (
            _step("validate", "Validator"),
            _step("score", "Scoring", "validate"),
            _step("archive", "Archive", "validate", undo=True),
            _step("record", "Safety", "score", "archive", undo=True),
            _step("notify", "Notifier", "score", "archive", undo=True),
        )
    },
    forward_s=60.0,
    compensation_s=30.0,
)


def ok(_call: SendCall, at: float) -> Report:
    reply = Payload("epro.v1.Reply", CANARY.encode())
    return Report(code="OK", phase=Phase.REPLIED, reply=reply, sent_at=at, ended_at=at + 0.001)


def refused(_call: SendCall, at: float) -> Report:
    text = "no: " + "x" * 500
    return Report(code="FAILED_PRECONDITION", phase=Phase.REPLIED, message=text, sent_at=at, ended_at=at + 0.001)


def unavailable(_call: SendCall, at: float) -> Report:
    return Report(code="UNAVAILABLE", phase=Phase.SENT, message="gone", sent_at=at, ended_at=at + 0.001)


def notify_refused(call: SendCall, at: float) -> Report:
    is_notify = call.step == "notify" and call.operation is Operation.FORWARD
    return refused(call, at) if is_notify else ok(call, at)


def flaky(step: str) -> Answer:
    """The step's first forward attempt is cut off; later, the notifier refuses."""

    def answer(call: SendCall, at: float) -> Report:
        is_first = call.step == step and call.operation is Operation.FORWARD and call.attempt == 1
        return unavailable(call, at) if is_first else notify_refused(call, at)

    return answer


@dataclass
class Teller:
    """One saga on its way through the machine; every move is one append."""

    number: int = 1
    trace: TraceContext = CALLER
    at: float = BEGIN_AT
    epoch: int = 1
    plan: Plan = PLAN
    bounds: TraceBounds = BOUNDS

    def __post_init__(self) -> None:
        self.saga_id = SagaId(f"report-{self.number}")
        self.state: SagaState = changed(blank(self.plan), trace_parts=TraceParts(bounds=self.bounds))
        self.records: list[Record] = []
        self.appends: list[Append] = []

    def tell(self, command: Command, *, may_be_rejected: bool = False) -> Append:
        moment = Moment(at=self.at, entropy=0.5, epoch=self.epoch)
        expected = self.state.version
        decision = decide(self.state, command, moment)
        assert decision.rejected is None or may_be_rejected
        new = tuple(
            Record(version=expected + 1 + index, epoch=self.epoch, event=event)
            for index, event in enumerate(decision.events)
        )
        self.state = decision.state
        self.records.extend(new)
        row = _row(self.state, self)
        append = Append(saga_id=self.saga_id, expected_version=expected, epoch=self.epoch, records=new, row=row)
        self.appends.append(append)
        return append

    def start(self) -> Append:
        return self.tell(
            StartSaga(
                saga_id=self.saga_id,
                uid=uid_of(self.number),
                input=Payload("epro.v1.Report", CANARY.encode()),
                request_id=f"request-{self.number}",
                trace=self.trace,
                attributes={"site": CANARY},
            )
        )

    def calls(self) -> list[SendCall]:
        found = [effect for effect in owed(self.state) if isinstance(effect, SendCall)]
        return sorted(found, key=lambda call: (call.step, call.operation, call.attempt))

    def answer(self, call: SendCall, answer: Answer) -> Append:
        report = answer(call, self.at + 0.001)
        self.at += 0.003
        return self.tell(AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=report))

    def timers(self) -> list[SetTimer]:
        return [effect for effect in owed(self.state) if isinstance(effect, SetTimer)]

    def wait(self) -> Append:
        timer = min(self.timers(), key=lambda timer: (timer.due_at, repr(timer.timer)))
        self.at = max(self.at, timer.due_at)
        return self.tell(TimerFired(timer=timer.timer))

    def crash(self) -> Append:
        self.epoch += 1
        self.at += 1.0
        return self.tell(Recovered())

    def run(self, answer: Answer = ok) -> Iterator[Append]:
        """To the end, every call answered the same way."""
        if self.state.version == 0:
            yield self.start()
        while not self.state.is_terminal:
            calls = self.calls()
            yield self.answer(calls[0], answer) if calls else self.wait()


def happy(number: int = 1, trace: TraceContext = CALLER) -> list[Append]:
    return list(Teller(number, trace).run())


def compensated(number: int = 1) -> list[Append]:
    return list(Teller(number).run(notify_refused))


def wandering(luck: Random, number: int = 1, moves_count: int = 30) -> Teller:
    """A random legal history: answers of every kind, waits, crashes, a cancel; then to its end if it lets itself."""
    teller = Teller(number)
    teller.start()
    for move_number in range(moves_count + 200):
        calls = teller.calls()
        if teller.state.is_terminal or not (calls or teller.timers()):
            break  # it has ended, or waits for a person
        move = luck.random() if move_number < moves_count else 0.5
        if move < 0.08:
            teller.crash()
        elif move < 0.1:
            teller.tell(CancelSaga(reason="changed our mind"))
        elif calls and (move < 0.85 or not teller.timers()):
            teller.answer(luck.choice(calls), luck.choice([ok, ok, ok, refused, unavailable]))
        else:
            teller.wait()
    return teller


def _row(state: SagaState, teller: Teller) -> SearchRow:
    return SearchRow(
        saga_id=teller.saga_id,
        uid=str(uid_of(teller.number)),
        request_id=f"request-{teller.number}",
        definition=teller.plan.definition,
        revision="r1",
        status=state.status,
        version=state.version,
        epoch=teller.epoch,
        started_at=state.started_at,
        updated_at=state.updated_at,
        ended_at=state.ended_at,
        wake_at=None,
    )


def attempt_id(number: int, step: str, operation: Operation, attempt: int) -> int:
    return ids.attempt_span_id(uid_of(number), StepId(step), operation, attempt)
