"""The whole runtime, killed at every append of flows with children, items, waits, sleeps and scopes.

Whatever the moment, every saga of the family ends, no child is begun twice, and what is left at the service is what
the statuses say: one effect for each step that was applied in a completed saga, none for the others.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest

from orchestrator.errors import JournalUnavailable, NotFound
from orchestrator.ids import SagaId
from orchestrator.ports.invoker import CallRequest
from orchestrator.runtime import Until
from orchestrator.saga import SagaState, SagaStatus, StepStatus, blank, check, fold
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Operation, Plan, Scope
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import child, each, inside, named, scope, sleep, wait
from tests.kit.runtime import Process, run

LOST = report("UNAVAILABLE")
NO = report("FAILED_PRECONDITION")
HOUR_S = 3_600.0


class Service:
    """Keeps keys and outlives every orchestrator. A fault is said instead of the answer, once per step and list.

    A saga's step is told from another saga's by the saga's uid: two children of one definition have the same steps.
    """

    def __init__(self, faults: dict[str, Sequence[Report | None]]) -> None:
        self.effects: Counter[tuple[str, str]] = Counter()
        self.keys: dict[str, Report] = {}
        self._faults = {step: list(said) for step, said in faults.items()}

    def answer(self, call: CallRequest) -> Report | None:
        name = call.step + (".undo" if call.operation is Operation.COMPENSATE else "")
        waiting = self._faults.get(name, [])
        fault = waiting.pop(0) if waiting else report()
        if call.key not in self.keys:
            refused = fault is not None and fault.phase is Phase.REPLIED and fault.code != "OK"
            if not refused:
                self.effects[str(call.uid), call.step] = 1 if call.operation is Operation.FORWARD else 0
            self.keys[call.key] = fault if refused and fault is not None else report()
        return fault if fault is None or fault.code != "OK" else self.keys[call.key]


@dataclass(frozen=True)
class Flow:
    plans: Sequence[Plan]
    """The parent, `test`, and its children."""
    status: SagaStatus
    faults: dict[str, Sequence[Report | None]] = field(default_factory=dict)
    cancel_at: int | None = None
    """Cancel once the saga has so many records."""
    signals: Sequence[str] = ()
    """Sagas that are sent the signal `go` as soon as they are there, until they are told that it is recorded."""


def parent(*steps: object, forward_s: float = HOUR_S) -> Plan:
    return plan(*steps, forward_s=forward_s)  # type: ignore[arg-type]


A, B = step("a", idempotent=True), step("b", "c", idempotent=True)
TWO = named("child", plan(step("x", idempotent=True), step("y", "x", idempotent=True), forward_s=HOUR_S))
LEAF = named("leaf", TWO)
MIDDLE = named("child", plan(step("m", idempotent=True), child("c", "m", of="leaf"), forward_s=HOUR_S))
FLOWS = {
    "child": Flow([parent(A, child("c", "a"), B), TWO], SagaStatus.COMPLETED),
    "child refused": Flow([parent(A, child("c", "a"), B), TWO], SagaStatus.COMPENSATED, {"y": [NO]}),
    "child undone": Flow([parent(A, child("c", "a"), B), TWO], SagaStatus.COMPENSATED, {"b": [NO]}),
    "child undone with trouble": Flow(
        [parent(A, child("c", "a"), B), TWO], SagaStatus.COMPENSATED, {"b": [NO], "y.undo": [LOST], "x.undo": [LOST]}
    ),
    "grandchild undone": Flow([parent(child("c"), B), MIDDLE, LEAF], SagaStatus.COMPENSATED, {"b": [NO]}),
    "grandchild cancelled": Flow(
        [parent(A, child("c", "a")), MIDDLE, LEAF], SagaStatus.COMPENSATED, {"y": [None] * 99}, cancel_at=5
    ),
    "children of items": Flow([parent(each(child("c"), 3, parallel=2), B), TWO], SagaStatus.COMPLETED),
    "children of items undone": Flow(
        [parent(each(child("c"), 3, parallel=2), B), TWO], SagaStatus.COMPENSATED, {"b": [NO]}
    ),
    "child asleep": Flow(
        [parent(child("c"), B), named("child", plan(sleep("z", for_s=30.0), forward_s=HOUR_S))], SagaStatus.COMPLETED
    ),
    "items": Flow([parent(each(step("c", idempotent=True), 5, parallel=2), B)], SagaStatus.COMPLETED),
    "items undone": Flow(
        [parent(each(step("c", idempotent=True), 5, parallel=3), B)],
        SagaStatus.COMPENSATED,
        {"b": [NO], "c[2]": [LOST], "c[1].undo": [LOST]},
    ),
    "wait": Flow([parent(A, wait("c", "a"), B)], SagaStatus.COMPLETED, signals=["s"]),
    "wait too long": Flow([parent(A, wait("c", "a", timeout_s=20.0), B)], SagaStatus.COMPENSATED),
    "sleep": Flow([parent(A, sleep("c", "a", for_s=30.0), B)], SagaStatus.COMPLETED),
    "scope with an alternative": Flow(
        [
            parent(
                A,
                scope("c", "a", members=["p", "q"], otherwise=["e"]),
                inside("c", step("p", idempotent=True)),
                inside("c", step("q", "p", idempotent=True)),
                inside("c", step("e", idempotent=True)),
                B,
            )
        ],
        SagaStatus.COMPLETED,
        {"q": [NO]},
    ),
    "child in a scope": Flow(
        [
            parent(
                scope("c", members=["p", "q"], otherwise=["e"]),
                inside("c", child("p")),
                inside("c", step("q", "p", idempotent=True)),
                inside("c", step("e", idempotent=True)),
                B,
            ),
            TWO,
        ],
        SagaStatus.COMPLETED,
        {"q": [NO]},
    ),
}


async def live(process: Process, flow: Flow) -> SagaState | None:
    """One life: the client asks again for what it has not been told, and waits for the end."""
    async with process.orchestrator.running():
        try:
            state = (await process.start()).state
            for name in flow.signals:
                if not (await process.orchestrator.get(name)).is_terminal:
                    await process.orchestrator.signal(name, "go", Payload("Signal", b"now"), "the one")
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
    process = Process(service.answer, *flow.plans)
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
    return last, service, process, has_died


async def family(process: Process) -> list[SagaState]:
    """Read every saga that there is, as its records tell it."""
    found: list[SagaState] = []
    for name, row in sorted(process.journal._contents.rows.items()):
        records = await process.journal.read(SagaId(name))
        assert [record.version for record in records] == list(range(1, len(records) + 1))
        state = fold(blank(await process.catalogue.plan(row.definition)), [record.event for record in records])
        check(state)
        assert row.rest.value == "asleep", f"{name} ended and is {row.rest}"
        found.append(state)
    return found


def effects_fit(states: Sequence[SagaState], service: Service) -> None:
    for state in states:
        assert state.is_terminal, f"{state.saga_id} is {state.status} although its parent has ended"
        for path, each_step in [*state.steps.items(), *state.items.items()]:
            step_plan = state.plan.step_of(path)
            if isinstance(step_plan.body, Scope) or each_step.items is not None:
                continue
            is_kept = state.status is SagaStatus.COMPLETED and each_step.status is StepStatus.APPLIED
            expected = 1 if is_kept and (str(state.uid), path) in service.effects else 0
            found = service.effects[str(state.uid), path]
            assert found == expected, f"{path} of {state.saga_id} is {each_step.status} with {found} effects"
    for child_state in states:
        if child_state.parent is None:
            continue
        of = next(state for state in states if state.saga_id == child_state.parent.saga_id)
        applied = of.step(child_state.parent.step).status is StepStatus.APPLIED and of.status is SagaStatus.COMPLETED
        wanted = SagaStatus.COMPLETED if applied else SagaStatus.COMPENSATED
        assert child_state.status is wanted, f"{child_state.saga_id} is {child_state.status}"


async def judged(flow: Flow, die_at: int | None, *, loses: bool) -> tuple[SagaState, bool]:
    state, service, process, has_died = await tell(flow, die_at, loses=loses)
    effects_fit(await family(process), service)
    assert state.ended_at is not None
    assert state.ended_at - state.started_at < HOUR_S / 2, "it was found by its deadline, not by recovery"
    return state, has_died


@pytest.mark.parametrize("loses", [False, True], ids=["durable", "lost"])
@pytest.mark.parametrize("name", FLOWS)
def test_killed_at_any_append_a_family_ends_whole(name: str, loses: bool) -> None:
    flow = FLOWS[name]
    state, has_died = run(judged(flow, None, loses=False))
    assert state.status is flow.status
    assert not has_died
    for die_at in count(1):
        state, has_died = run(judged(flow, die_at, loses=loses))
        if not has_died:
            assert die_at > 2, "the flow has so few appends that nothing was tried"
            break
        assert state.status in {flow.status, SagaStatus.COMPENSATED}


def test_a_child_that_was_never_acknowledged_may_never_have_been() -> None:
    async def story() -> None:
        flow = FLOWS["child"]
        process = Process(Service({}).answer, *flow.plans)
        process.journal.die_at, process.journal.loses = 3, True
        await live(process, flow)
        with pytest.raises(NotFound):
            await process.heir().orchestrator.get("s.c")

    run(story())
