"""The whole runtime, killed at every append of every flow, before and after the group is durable.

Whatever the moment, the saga ends as it would have, or compensated with nothing left, and no start that was
acknowledged is forgotten.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import count

import pytest

from orchestrator.errors import JournalUnavailable, NotFound
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime import Until
from orchestrator.saga import SagaState, SagaStatus, StepStatus, blank, check, fold
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Operation, Plan
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import report
from tests.kit.runtime import Process, run


class Service:
    """Keeps keys and outlives every orchestrator. A fault is said instead of the answer, once per step and list."""

    def __init__(self, faults: dict[str, list[Report | None]]) -> None:
        self.effects: Counter[str] = Counter()
        self.keys: dict[str, Report] = {}
        self._faults = {step: list(said) for step, said in faults.items()}

    def answer(self, call: CallRequest) -> Report | None:
        if call.operation is Operation.PROBE:
            return report(data=b"yes" if self.effects[call.step] else b"not")
        if call.operation is Operation.STOP:
            self.effects[call.step] = 0
            return report()
        if call.operation is Operation.AWAIT:
            looks = self._faults.get(f"{call.step}.await", [])
            told = looks.pop(0) if looks else report()
            return told if self.effects[call.step] else report(data=b"not")
        name = call.step + (".undo" if call.operation is Operation.COMPENSATE else "")
        waiting = self._faults.get(name, [])
        fault = waiting.pop(0) if waiting else report()
        if fault is not None and fault.phase is Phase.NOT_SENT:
            return fault
        if call.key not in self.keys:
            refused = fault is not None and fault.phase is Phase.REPLIED and fault.code not in {"OK", "ABORTED"}
            if not refused:
                self.effects[call.step] = 1 if call.operation is Operation.FORWARD else 0
            if fault is None or fault.code != "ABORTED":
                said = refused or (fault is not None and fault.code == "OK")
                self.keys[call.key] = fault if said and fault is not None else report()
        return fault if fault is None or fault.code != "OK" else self.keys[call.key]


@dataclass(frozen=True)
class Flow:
    plan: Plan
    faults: dict[str, list[Report | None]]
    status: SagaStatus
    cancel_at: int | None = None
    """Cancel once the saga has so many records."""


CHAIN = (step("a", idempotent=True), step("b", "a", idempotent=True), step("c", "b", idempotent=True))
FAN = (
    step("a", idempotent=True),
    *(step(name, "a", idempotent=True) for name in ("b", "c", "d")),
    step("e", "b", "c", "d", idempotent=True),
)
BEGUN = report(data=b"wait")
"""What a call says that has begun a long-running operation."""
PIVOT = (
    step("a", idempotent=True),
    step("p", "a", pivot=True, probe=True),
    step("b", "p", retriable=True, idempotent=True),
    step("c", "b", retriable=True, idempotent=True),
)
LOST = report("UNAVAILABLE")
NO = report("FAILED_PRECONDITION")
FLOWS = {
    "chain": Flow(plan(*CHAIN), {}, SagaStatus.COMPLETED),
    "fan": Flow(plan(*FAN), {}, SagaStatus.COMPLETED),
    "refused at the end": Flow(plan(*FAN), {"e": [NO]}, SagaStatus.COMPENSATED),
    "refused beside others": Flow(plan(*FAN), {"c": [NO], "b": [None]}, SagaStatus.COMPENSATED),
    "replies lost": Flow(plan(*CHAIN), {"a": [LOST], "b": [LOST, LOST]}, SagaStatus.COMPLETED),
    "undo hindered": Flow(
        plan(*CHAIN),
        {"c": [NO], "b.undo": [LOST, report("UNAVAILABLE", phase=Phase.NOT_SENT)], "a.undo": [LOST]},
        SagaStatus.COMPENSATED,
    ),
    "optional step refused": Flow(
        plan(step("a", optional=True, idempotent=True), step("b", "a", trigger="all_done", idempotent=True)),
        {"a": [NO]},
        SagaStatus.COMPLETED,
    ),
    "never answered": Flow(plan(*CHAIN, forward_s=30), {"b": [None] * 99}, SagaStatus.COMPENSATED),
    "cancelled": Flow(plan(*CHAIN), {"c": [None] * 99}, SagaStatus.COMPENSATED, cancel_at=6),
    "one after the other": Flow(plan(*FAN, sequential=True), {"e": [NO]}, SagaStatus.COMPENSATED),
    "past the pivot": Flow(plan(*PIVOT), {"b": [report("ABORTED")] * 4, "c": [LOST, LOST]}, SagaStatus.COMPLETED),
    "pivot lost and probed": Flow(plan(*PIVOT), {"p": [LOST]}, SagaStatus.COMPLETED),
    "pivot refused": Flow(plan(*PIVOT), {"p": [NO]}, SagaStatus.COMPENSATED),
    "operation": Flow(
        plan(step("a", idempotent=True), step("b", "a", awaits=True, idempotent=True), step("c", "b", idempotent=True)),
        {"b": [BEGUN] * 9},
        SagaStatus.COMPLETED,
    ),
    "operation cancelled": Flow(
        plan(step("a", idempotent=True), step("b", "a", awaits=True, idempotent=True), step("c", "b", idempotent=True)),
        {"b": [BEGUN] * 9, "b.await": [BEGUN] * 99},
        SagaStatus.COMPENSATED,
        cancel_at=9,
    ),
}


async def live(process: Process, flow: Flow) -> SagaState | None:
    """One life: the client asks again for what it has not been told, and waits for the end."""
    async with process.orchestrator.running():
        try:
            state = (await process.start()).state
            if flow.cancel_at is not None and not state.is_terminal:
                await process.orchestrator.wait("s", Until.CHANGE, flow.cancel_at - 1, 60)
                await process.orchestrator.cancel("s", "on second thoughts")
        except JournalUnavailable:
            return None
        while not (process.failures or state.is_terminal):
            state = await process.ended(timeout_s=5)
        return state


async def tell(flow: Flow, die_at: int | None, *, loses: bool) -> tuple[SagaState, Service, Process, bool]:
    service = Service(flow.faults)
    process = Process(service.answer, flow.plan)
    process.journal.die_at, process.journal.loses = die_at, loses
    last = await live(process, flow)
    has_died = bool(process.failures)
    if has_died:
        acknowledged = last is not None
        process = process.heir()
        if acknowledged:
            assert (await process.orchestrator.get("s")).version > 0, "an acknowledged start was lost"
        last = await live(process, flow)
    assert last is not None
    records = await process.journal.read(last.saga_id)
    assert fold(blank(flow.plan), [record.event for record in records]) == last
    assert [record.version for record in records] == list(range(1, last.version + 1))
    check(last)
    return last, service, process, has_died


def _effects_fit(state: SagaState, service: Service) -> None:
    for name, each in state.steps.items():
        expected = 1 if state.status is SagaStatus.COMPLETED and each.status is StepStatus.APPLIED else 0
        assert service.effects[name] == expected, f"{name} is {each.status} with {service.effects[name]} effects"


@pytest.mark.parametrize("loses", [False, True], ids=["durable", "lost"])
@pytest.mark.parametrize("name", FLOWS)
def test_killed_at_any_append_a_saga_ends_whole(name: str, loses: bool) -> None:
    flow = FLOWS[name]
    state, service, process, _ = run(tell(flow, None, loses=False))
    assert state.status is flow.status
    assert not process.failures
    _effects_fit(state, service)
    for die_at in count(1):
        state, service, process, has_died = run(tell(flow, die_at, loses=loses))
        if not has_died:
            assert die_at > 2, "the flow has so few appends that nothing was tried"
            break
        assert state.status in {flow.status, SagaStatus.COMPENSATED}
        _effects_fit(state, service)


def test_a_start_that_was_not_acknowledged_may_never_have_been() -> None:
    async def story() -> None:
        process = Process(lambda _call: report(), plan(*CHAIN))
        process.journal.die_at, process.journal.loses = 1, True
        async with process.orchestrator.running():
            with pytest.raises(JournalUnavailable):
                await process.start()
        with pytest.raises(NotFound):
            await process.heir().orchestrator.get("s")

    run(story())
