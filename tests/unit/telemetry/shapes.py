"""Histories of every shape that a saga can have: items, scopes, waits, long operations, probes, people, children."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random  # noqa: TID251  (seeded by whoever asks)

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.journal import Append
from orchestrator.runtime.perform import call_request
from orchestrator.saga.commands import (
    AttemptReported,
    Audit,
    CancelSaga,
    Command,
    ForceComplete,
    PauseSaga,
    RerunFromStep,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    SignalSaga,
    SkipStep,
    StartSaga,
    TerminateSaga,
    UndoChild,
)
from orchestrator.saga.effects import SendCall
from orchestrator.saga.events import Parent, Phase, Report
from orchestrator.saga.plan import (
    CHILD_TARGET,
    Answer,
    Await,
    Body,
    Call,
    Compensation,
    Facts,
    ForEach,
    OnFailure,
    Operation,
    Outcome,
    Plan,
    Poll,
    Probe,
    RetryPolicy,
    Scope,
    Sleep,
    Step,
    StepKind,
    Wait,
)
from orchestrator.saga.state import SagaStatus, StepStatus
from orchestrator.saga.traceparts import TraceBounds
from orchestrator.telemetry.views import BOUNDS
from orchestrator.values import Payload, TraceContext
from tests.unit.telemetry.histories import BEGIN_AT, CALLER, CANARY, Teller, refused, uid_of, unavailable

SENDER = TraceContext(trace_id=0xABC, span_id=0xDEF, sampled=True)
AUDIT = Audit(by="ada", reason="looked into it")
UNDOER = TraceContext(trace_id=0x77, span_id=0x79, sampled=True)
"""The attempt of the parent that undoes its child."""
PARENT = Parent(saga_id=SagaId("trip-1"), uid=uid_of(77), step=StepId("book"), trace_id=0x77, span_id=0x78)
_RETRY = RetryPolicy(max_attempts=2, initial_backoff_s=0.1, max_backoff_s=1.0, multiplier=2.0)


def _render(_facts: Facts) -> Payload:
    return Payload("shop.v1.Request", CANARY.encode())


def read(facts: Facts) -> Answer:
    """`later` is not yet known, `no` did not take place, anything else did."""
    said = b"" if facts.own_reply is None else facts.own_reply.data
    return Answer(outcome=None if said == b"later" else Outcome.NOT_APPLIED if said == b"no" else Outcome.APPLIED)


def call(method: str, *, target: str = "shop", retry: RetryPolicy = _RETRY) -> Call:
    return Call(
        target=target,
        method=f"shop.v1.Shop/{method}" if target == "shop" else method,
        reply_type="shop.v1.Reply",
        render=_render,
        timeout_s=1.0,
        retry=retry,
        barrier=True,
    )


def step(name: str, *needs: str, body: Body | None = None, undo: bool = True, **more: object) -> Step:
    given = body or call(name)
    undone = undo and isinstance(given, Call)
    return Step(
        id=StepId(name),
        kind=StepKind.COMPENSATABLE if undone else StepKind.READ,
        needs=frozenset(map(StepId, needs)),
        body=given,
        compensation=Compensation(call=call(f"undo_{name}")) if undone else None,
        **more,  # type: ignore[arg-type]  # the caller names Step's own fields
    )


def plan_of(definition: str, *steps: Step) -> Plan:
    return Plan(
        definition=definition,
        revision="r1",
        input_type="shop.v1.Order",
        steps={each.id: each for each in steps},
        forward_s=1_000.0,
        compensation_s=30.0,
    )


def items(count: int, *, parallel: int = 2, tolerate: int = 0) -> ForEach:
    return ForEach(items=lambda _facts: range(count), parallel=parallel, tolerate=tolerate)


TRIP = StepId("trip")
EVERYTHING = plan_of(
    "everything",
    step("reserve", for_each=items(4), on_failure=OnFailure.ASK),
    step("pause", "reserve", body=Sleep(duration=lambda _facts: 5.0)),
    step("approval", "pause", body=Wait(signal="approved", type_name="shop.v1.Approval", timeout_s=60.0)),
    step("trip", "reserve", body=Scope(steps=(StepId("flight"), StepId("hotel")), otherwise=(StepId("bus"),))),
    step("flight", scope=TRIP),
    step("hotel", "flight", scope=TRIP),
    step("bus", scope=TRIP),
    step(
        "load",
        "trip",
        on_failure=OnFailure.ASK,
        awaits=Await(read=read, call=call("Look"), stop=call("Stop"), every_s=1.0),
    ),
    step("pay", "approval", "load", probe=Probe(call=call("DidPay"), read=read)),
    step("watch", "pay", undo=False, poll=Poll(until=lambda _facts: False, every_s=1.0, at_most_s=3.0), optional=True),
    step("child", "pay", body=call("hotel_booking/r7", target=CHILD_TARGET)),
)


def replied(data: bytes = b"yes") -> Report:
    return Report(code="OK", phase=Phase.REPLIED, reply=Payload("shop.v1.Reply", data))


@dataclass
class Guide(Teller):
    """A teller that people talk to as well."""

    parent: Parent | None = None
    baggage: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.injected: set[tuple[int, int]] = set()
        """The trace and span ids that the runtime would have given to called services, of calls that are sampled."""

    def tell(self, command: Command, *, may_be_rejected: bool = False) -> Append:
        append = super().tell(command, may_be_rejected=may_be_rejected)
        traces = [call_request(self.state, each).trace for each in self.calls()]
        self.injected |= {(trace.trace_id, trace.span_id) for trace in traces if trace.sampled}
        return append

    def start(self) -> object:  # type: ignore[override]  # nobody needs the append here
        return self.tell(
            StartSaga(
                saga_id=self.saga_id,
                uid=uid_of(self.number),
                input=Payload("shop.v1.Order", CANARY.encode()),
                request_id="",
                trace=self.trace,
                attributes={},
                parent=self.parent,
                baggage=self.baggage,
            )
        )

    def report(self, call: SendCall, report: Report) -> None:
        self.at += 0.003
        self.tell(AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=report))

    def reply(self, path: str, report: Report, operation: Operation | None = None) -> None:
        """Report on the open call of a path."""
        open_ones = [each for each in self.calls() if each.step == path]
        chosen = [each for each in open_ones if operation in {None, each.operation}]
        self.report(chosen[0], report)

    def signal(self, request_id: str = "r1", trace: TraceContext | None = SENDER) -> None:
        payload = Payload("shop.v1.Approval", CANARY.encode())
        self.at += 0.003
        command = SignalSaga(signal="approved", request_id=request_id, payload=payload, trace=trace)
        self.tell(command, may_be_rejected=True)

    def timers_within(self, seconds: float) -> bool:
        return any(timer.due_at < self.at + seconds for timer in self.timers())

    def try_(self, command: Command) -> None:
        """Say it, whether it is allowed or not."""
        self.at += 0.003
        self.tell(command, may_be_rejected=True)


def guide(plan: Plan = EVERYTHING, parent: Parent | None = None, bounds: TraceBounds = BOUNDS) -> Guide:
    made = Guide(number=1, trace=CALLER, at=BEGIN_AT, plan=plan, parent=parent, bounds=bounds)
    made.start()
    return made


def run(told: Guide, answers: Sequence[Report] = (), moves_count: int = 500) -> Guide:
    """Answer OK to everything, signals included, to the saga's end."""
    for report in answers:
        told.report(told.calls()[0], report)
    for _ in range(moves_count):
        calls = told.calls()
        if told.state.is_terminal:
            break
        if calls:
            told.report(calls[0], replied())
        elif told.state.steps[StepId("approval")].status is StepStatus.WAITING:
            told.signal()
        elif told.timers():
            told.wait()
        else:
            break
    return told


def until(teller: Guide, path: str, operation: Operation = Operation.FORWARD) -> Guide:
    """Answer OK until a path has this call open."""
    for _ in range(200):
        calls = teller.calls()
        if any(each.step == path and each.operation is operation for each in calls):
            return teller
        if calls:
            teller.report(calls[0], replied())
        elif teller.state.steps[StepId("approval")].status is StepStatus.WAITING:
            teller.signal()
        else:
            teller.wait()
    raise AssertionError(f"{path} is never called")


def run_plain(teller: Guide) -> Guide:
    while not teller.state.is_terminal and (teller.calls() or teller.timers()):
        if teller.calls():
            teller.report(teller.calls()[0], replied())
        else:
            teller.wait()
    return teller


def roaming(luck: Random, moves_count: int = 60, bounds: TraceBounds = BOUNDS) -> Guide:
    """A random legal history of the whole plan, with people in it; then to its end if it lets itself."""
    told = guide(parent=PARENT if luck.random() < 0.5 else None, bounds=bounds)
    trouble = luck.choice([0.0, 0.05, 0.3])
    for number in range(moves_count):
        if told.state.is_terminal:
            break
        move = luck.random()
        calls = told.calls()
        if move < 0.04:
            told.crash()
        elif move < 0.04 + trouble / 50:
            told.try_(CancelSaga(reason="changed our mind", trace=sender(number)))
        elif move < 0.1:
            told.signal(f"r{number}", sender(number))
        elif move < 0.25:
            told.try_(_verb(luck, told, replace(AUDIT, trace=sender(number))))
        elif calls and (move < 0.85 or not told.timers()):
            call = luck.choice(calls)
            odd = [replied(b"later"), replied(b"no"), no(), unavailable(call, told.at)]
            told.report(call, luck.choice(odd) if luck.random() < trouble else replied())
        elif told.timers() and (told.timers_within(100) or luck.random() < trouble / 5):
            told.wait()
    told.try_(ResumeSaga(audit=AUDIT))
    run(told)
    if told.state.status is SagaStatus.COMPLETED and luck.random() < 0.7:
        told.tell(UndoChild(reason="the trip is off", trace=UNDOER))
        run(told)
    return told


def sender(number: int) -> TraceContext | None:
    """Whoever makes a move, in a span of their own; two in three are traced."""
    return replace(SENDER, span_id=number + 1) if number % 3 else None


def no() -> Report:
    return refused(SendCall(StepId("x"), Operation.FORWARD, 1), BEGIN_AT)


def _verb(luck: Random, told: Guide, audit: Audit) -> Command:
    stuck = [each.id for each in (*told.state.in_plan_order(), *told.state.items.values()) if each.status == "STUCK"]
    paths = stuck or [*told.state.steps, *told.state.items]
    path = luck.choice(sorted(paths))
    retry = RetryStep(audit=audit, step=path, as_new=luck.random() < 0.5)
    outcome = luck.choice([Outcome.APPLIED, Outcome.NOT_APPLIED])
    rare: list[Command] = [ForceComplete(audit=audit), TerminateSaga(audit=audit)] if luck.random() < 0.1 else []
    return luck.choice(
        [
            retry,
            retry,
            ResolveStep(audit=audit, step=path, outcome=outcome),
            SkipStep(audit=audit, step=path),
            RerunFromStep(audit=audit, step=luck.choice([StepId("reserve"), StepId("trip"), StepId("load")])),
            PauseSaga(audit=audit),
            ResumeSaga(audit=audit),
            ResumeSaga(audit=audit),
            *rare,
        ]
    )
