"""The numbers of a large installation: many definitions, each of whose sagas came to every end, told like real ones."""

from collections.abc import Iterator
from dataclasses import replace

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.cluster import Standing
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga.commands import TerminateSaga
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Call, Operation, Plan
from orchestrator.telemetry import Metrics, asked
from orchestrator.telemetry.instruments import Metric
from orchestrator.values import Payload, TraceContext
from tests.unit.telemetry.histories import CALLER, PLAN, Teller, flaky, notify_refused, ok, uid_of
from tests.unit.telemetry.shapes import AUDIT

TARGETS = tuple(f"target-{number}" for number in range(10))
METHODS = tuple(f"shop.v1.Orders/Method{number}" for number in range(20))
API_METHODS = tuple(f"orchestrator.v1.SagaService/Method{number}" for number in range(25))


def filled(definitions: int = 100) -> Metrics:
    """Return what a process has counted after sagas of so many definitions, over ten targets of twenty methods."""
    metrics = Metrics()
    metrics.expect_methods(API_METHODS)
    for number in range(definitions):
        plan = plan_of(number)
        for end, answer in enumerate((ok, notify_refused, flaky("score"))):
            tell(metrics, Teller(3 * number + end, plan=plan), answer)
        stopped = Teller(number, plan=plan)
        stopped.start()
        stopped.tell(TerminateSaga(audit=AUDIT))
        metrics.recorded(stopped.state, stopped.records)
        metrics.forgotten(plan.definition, 3)
    for method in API_METHODS:
        for code in ("OK", "INVALID_ARGUMENT", "UNAVAILABLE"):
            metrics.answered(method, code, 5.0, 0.004, lambda: CALLER)
    for call in calls():
        for took_s in (0.002, 0.02, 0.2, 2.0):
            metrics.called(call, Report(code="OK", phase=Phase.REPLIED, sent_at=10.0, ended_at=10.0 + took_s))
    metrics.show(
        lambda: asked.standing(Standing(shards=8, shards_in_store=16, members=2, terms=1)),
        lambda: asked.targets(TARGETS, dict.fromkeys(TARGETS, 3), {}),
    )
    return metrics


def brimming() -> Metrics:
    """Return the most that a page can ever hold: every metric with as many combinations of labels as it keeps."""
    metrics = Metrics()
    for family in metrics.families():
        labels = family.metric.labels
        for number in range(2_000 if labels else 1):
            family.of(*(f"{label}-{number:04}" for label in labels))
    metrics.show(lambda: ((metric, values_of(metric, number), 1) for metric in asked.ASKED for number in range(1_000)))
    return metrics


def values_of(metric: Metric, number: int) -> tuple[str, ...]:
    return tuple(f"{label}-{number:04}" for label in metric.labels)


def tell(metrics: Metrics, teller: Teller, answer: object) -> None:
    for append in teller.run(answer):  # type: ignore[arg-type]  # one of the tellers' answers
        metrics.recorded(teller.state, append.records)


def plan_of(number: int) -> Plan:
    """Return a plan whose steps call several of the targets."""

    def moved(at: int, call: Call) -> Call:
        return replace(call, target=TARGETS[(number + at) % len(TARGETS)])

    steps = {}
    for at, (name, step) in enumerate(PLAN.steps.items()):
        assert isinstance(step.body, Call)
        undo = step.compensation
        steps[name] = replace(
            step,
            body=moved(at, step.body),
            compensation=None if undo is None else replace(undo, call=moved(at, undo.call)),
        )
    return replace(PLAN, definition=f"definition-{number:03}", steps=steps)


def calls(trace: TraceContext = CALLER) -> Iterator[CallRequest]:
    """Yield a call of every method of every target."""
    for target in TARGETS:
        for method in METHODS:
            yield call_of(method, trace, target)


def call_of(method: str = "epro.v1.Scoring/Do", trace: TraceContext = CALLER, target: str = "scoring") -> CallRequest:
    """Return a call of which a metric sees target, method and trace."""
    return CallRequest(
        target=target,
        method=method,
        request=Payload("x", b""),
        reply_type="y",
        deadline_at=9.0,
        key="k",
        saga_id=SagaId("s"),
        uid=uid_of(1),
        step=StepId("score"),
        operation=Operation.FORWARD,
        attempt=1,
        epoch=1,
        forward_key="k",
        trace=trace,
    )
