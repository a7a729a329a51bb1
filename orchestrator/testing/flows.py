"""The shapes that sagas come in, each with what goes wrong in it by itself: what the simulation runs where nobody says.

A flow is small on purpose: a crash is put at every place of it, and at every pair of places.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial

from orchestrator.frozen import frozen
from orchestrator.ids import StepId
from orchestrator.saga.plan import Call, Facts, OutcomeProfile, Plan, Step
from orchestrator.saga.state import SagaStatus
from orchestrator.testing.callers import Begin
from orchestrator.testing.catalogue import FixedPlans
from orchestrator.testing.fates import Fates, Fault, read_tape
from orchestrator.testing.shorthand import applied, items, plan, retry, scope, sleep, step, wait
from orchestrator.testing.simulation import Simulation
from orchestrator.values import Payload

_INPUT = Payload("Input", b"input")
_UNDONE = SagaStatus.COMPENSATED
CLUSTER_NODES = (3, 2)
_CLUSTERS = 0.1
"""Share of the seeds that are of several nodes: each takes as long as three of one."""
SAGAS_A_SEED = 10
"""So many that they meet, so few that a failing run can be read."""


@frozen
class Flow:
    """A saga that is run alone."""

    name: str
    plans: Sequence[Plan]
    """The one that is started, then its children's."""
    tape: tuple[Fault, ...]
    """What goes wrong in it without any crash; the saga is `s1`."""
    ends: SagaStatus
    """How it ends then."""

    def simulation(self, nodes: int = 1) -> Simulation:
        """Return a simulation of this flow alone."""
        begin = Begin(definition=self.plans[0].definition, input=_INPUT)
        return Simulation(plans=self.plans, begins=(begin,), catalogue=FixedPlans(*self.plans), nodes=nodes)


def _child(name: str, *needs: str, of: str, more: Step | None = None) -> Step:
    """Return a step that is a child saga of a definition."""
    made = more or step(name, *needs, child=True, timeout_s=60.0)
    asked, undo = made.body, made.compensation
    assert isinstance(asked, Call)  # as it was made
    assert undo is not None  # as above
    # A child is called as definitions have it called: like a service that keeps keys and the barrier.
    as_child = partial(replace, method=f"{of}/r1", idempotent=True, barrier=True, profile=OutcomeProfile.DEFAULT)
    return replace(
        made, body=as_child(asked, render=_child_input), compensation=replace(undo, call=as_child(undo.call))
    )


def _child_input(facts: Facts) -> Payload:
    return Payload("Input", b"" if facts.index is None else str(facts.index).encode())


def _flow(name: str, plans: Plan | Sequence[Plan], *tape: str, ends: SagaStatus = SagaStatus.COMPLETED) -> Flow:
    """Name the first plan as the flow; children have their names."""
    first, *others = [plans] if isinstance(plans, Plan) else plans
    return Flow(name=name, plans=(_named(name, first), *others), tape=read_tape("\n".join(tape)), ends=ends)


def _named(definition: str, given: Plan) -> Plan:
    return replace(given, definition=definition)


def _chain(*, forward_s: float = 100.0, sequential: bool = False) -> Plan:
    steps = step("a", idempotent=True), step("b", "a", idempotent=True), step("c", "b", idempotent=True)
    return plan(*steps, forward_s=forward_s, sequential=sequential)


def _bare() -> Plan:
    return plan(step("a"), step("b", "a"), step("c", "b"))


def _barred() -> Plan:
    kept = [step(name, *needs, idempotent=True, barrier=True) for name, needs in (("a", ()), ("b", "a"), ("c", "b"))]
    return plan(*kept)


def _fan(*, sequential: bool = False) -> Plan:
    branches = [step(name, "a", idempotent=True) for name in "bcd"]
    return plan(step("a", idempotent=True), *branches, step("e", "b", "c", "d", idempotent=True), sequential=sequential)


def _pivot() -> Plan:
    return plan(
        step("a", idempotent=True),
        step("p", "a", pivot=True, probe=True),
        step("b", "p", retriable=True, idempotent=True),
        step("c", "b", retriable=True, idempotent=True),
    )


def _listed(count: int = 4, parallel: int = 2, tolerate: int = 0) -> Plan:
    return plan(
        step("a", for_each=items(count), parallel=parallel, tolerate=tolerate, idempotent=True),
        step("b", "a", trigger="all_done" if tolerate else "all_success", idempotent=True),
    )


def _parent(name: str) -> Sequence[Plan]:
    leaf = _named(f"{name}.leaf", plan(step("x", idempotent=True), step("y", "x", idempotent=True)))
    return (
        plan(step("a", idempotent=True), _child("c", "a", of=leaf.definition), step("b", "c", idempotent=True)),
        leaf,
    )


def _two_signals() -> Plan:
    return plan(
        sleep("a", seconds=3.0),
        wait("w", "a"),
        step("b", "w", idempotent=True),
        wait("v", "b"),
        step("c", "v", idempotent=True),
    )


def _sleeping_child(name: str) -> Sequence[Plan]:
    leaf = plan(step("x", idempotent=True), sleep("z", "x", seconds=20.0), step("y", "z", idempotent=True))
    named = _named(f"{name}.leaf", leaf)
    # Somebody is waited for beside it, who often comes too late.
    beside = wait("w", within_s=2.0)
    return plan(_child("c", of=named.definition), beside, step("b", "c", "w", idempotent=True)), named


def _grandparent(name: str) -> Sequence[Plan]:
    leaf = _named(f"{name}.leaf", plan(step("x", idempotent=True), step("y", "x", idempotent=True)))
    inner = plan(step("m", idempotent=True), _child("c", "m", of=leaf.definition))
    middle = _named(f"{name}.middle", inner)
    return plan(_child("c", of=middle.definition), step("b", "c", idempotent=True)), middle, leaf


def _children_of_items(name: str) -> Sequence[Plan]:
    leaf = _named(f"{name}.leaf", plan(step("x", idempotent=True)))
    many = step("c", child=True, timeout_s=60.0, for_each=items(3), parallel=2)
    return plan(_child("c", of=leaf.definition, more=many), step("b", "c", idempotent=True)), leaf


def _scoped() -> Plan:
    return plan(
        step("a", idempotent=True),
        scope("c", "a", steps=["p", "q"], otherwise=["e"]),
        step("p", idempotent=True, inside="c"),
        step("q", "p", idempotent=True, inside="c"),
        step("e", idempotent=True, inside="c"),
        step("b", "c", idempotent=True),
    )


def _child_in_scope(name: str) -> Sequence[Plan]:
    leaf = _named(f"{name}.leaf", plan(step("x", idempotent=True), step("y", "x", idempotent=True)))
    member = replace(_child("p", of=leaf.definition), scope=StepId("c"))
    steps = (
        scope("c", steps=["p", "q"], otherwise=["e"]),
        member,
        step("q", "p", idempotent=True, inside="c"),
        step("e", idempotent=True, inside="c"),
        step("b", "c", idempotent=True),
    )
    return plan(*steps), leaf


def _operation(*, stoppable: bool = True) -> Plan:
    return plan(
        step("a", idempotent=True),
        step("b", "a", awaits=True, stoppable=stoppable, idempotent=True, every_s=1.0),
        step("c", "b", idempotent=True),
    )


def _conditional() -> Plan:
    return plan(
        step("a", idempotent=True, optional=True),
        step("b", "a", trigger="all_done", when=applied("a"), idempotent=True),
        step("c", "a", trigger="all_done", idempotent=True),
        step("d", "b", "c", trigger="all_done", idempotent=True),
    )


FLOWS: Sequence[Flow] = (
    _flow("straight", _chain()),
    _flow("straight-refused", _chain(), "refuses s1/c/forward/1", ends=_UNDONE),
    _flow("straight-lost", _chain(), "reply.lost s1/a/forward/1", "request.lost s1/b/forward/1"),
    _flow("straight-too-late", _chain(forward_s=0.3), "slow s1/b/forward/1", ends=_UNDONE),
    _flow("bare", _bare()),
    _flow("bare-lost", _bare(), "reply.lost s1/c/forward/1", ends=_UNDONE),
    _flow("bare-late", _bare(), "late s1/c/forward/1", ends=_UNDONE),
    _flow("overtaken", _chain(), "overtaken s1/c/forward/1", "refuses s1/c/forward/2"),
    _flow("barred-overtaken", _barred(), "overtaken s1/c/forward/1", "refuses s1/c/forward/2", ends=_UNDONE),
    _flow("barred-twice", _barred(), "twice s1/a/forward/1", "refuses s1/c/forward/1", ends=_UNDONE),
    _flow("parallel", _fan()),
    _flow("parallel-refused", _fan(), "refuses s1/c/forward/1", "slow s1/b/forward/1", ends=_UNDONE),
    _flow("parallel-undone", _fan(), "refuses s1/e/forward/1", ends=_UNDONE),
    _flow("sequential-undone", _fan(sequential=True), "refuses s1/e/forward/1", ends=_UNDONE),
    _flow(
        "undo-hindered",
        _chain(),
        "refuses s1/c/forward/1",
        "reply.lost s1/b/compensate/1",
        "refused s1/a/compensate/1",
        ends=_UNDONE,
    ),
    _flow(
        "undo-refused",
        _chain(),
        "refuses s1/c/forward/1",
        "refuses.undo s1/a/compensate/1",
        ends=SagaStatus.NEEDS_ATTENTION,
    ),
    _flow("cancelled-at-once", _fan(), "cancel s1 1", ends=_UNDONE),
    _flow("cancelled-between", _fan(), "cancel s1 60", "slow s1/c/forward/1", ends=_UNDONE),
    _flow("cancelled-late", _chain(), "cancel s1 40", ends=_UNDONE),
    _flow(
        "cancelled-undoing", _chain(), "refuses s1/c/forward/1", "slow s1/b/compensate/1", "cancel s1 200", ends=_UNDONE
    ),
    _flow("conditional", _conditional()),
    _flow("conditional-refused", _conditional(), "refuses s1/a/forward/1"),
    _flow("pivot", _pivot(), "says.aborted s1/b/forward/1", "reply.lost s1/c/forward/1"),
    _flow("pivot-lost", _pivot(), "reply.lost s1/p/forward/1"),
    _flow("pivot-refused", _pivot(), "refuses s1/p/forward/1", ends=_UNDONE),
    _flow("list", _listed()),
    _flow(
        "list-undone", _listed(parallel=3), "refuses s1/b/forward/1", "reply.lost s1/a[1]/compensate/1", ends=_UNDONE
    ),
    _flow("list-tolerant", _listed(tolerate=1), "refuses s1/a[1]/forward/1"),
    _flow("wait", plan(step("a", idempotent=True), wait("w", "a"), step("b", "w", idempotent=True))),
    _flow(
        "wait-too-long",
        plan(step("a", idempotent=True), wait("w", "a", within_s=0.2), step("b", "w", idempotent=True)),
        ends=_UNDONE,
    ),
    _flow("wait-twice", _two_signals()),
    _flow("sleep", plan(step("a", idempotent=True), sleep("z", "a", seconds=30.0), step("b", "z", idempotent=True))),
    _flow("poll", plan(step("a", idempotent=True, poll=True, every_s=1.0), step("b", "a", idempotent=True))),
    _flow("operation", _operation()),
    _flow("operation-cancelled", _operation(), "withholds s1/b/await/1", "cancel s1 700", ends=_UNDONE),
    _flow("child", _parent("child")),
    _flow("child-refused", _parent("child-refused"), "refuses s1.c/y/forward/1", ends=_UNDONE),
    _flow("child-undone", _parent("child-undone"), "refuses s1/b/forward/1", ends=_UNDONE),
    _flow("child-cancelled", _sleeping_child("child-cancelled"), "cancel s1 1000", ends=_UNDONE),
    _flow("grandchild-undone", _grandparent("grandchild-undone"), "refuses s1/b/forward/1", ends=_UNDONE),
    _flow("grandchild-cancelled", _grandparent("grandchild-cancelled"), "cancel s1 25", ends=_UNDONE),
    _flow("children-undone", _children_of_items("children-undone"), "refuses s1/b/forward/1", ends=_UNDONE),
    _flow("scope-else", _scoped(), "refuses s1/q/forward/1"),
    _flow("scope-child", _child_in_scope("scope-child"), "refuses s1/q/forward/1"),
    _flow(
        "insisted",
        plan(step("a", idempotent=True), step("b", "a", idempotent=True, on_failure="retry", policy=retry(2))),
        "refuses s1/b/forward/1",
        "refuses s1/b/forward/2",
    ),
)
"""Canonical flows, by what they try."""


@lru_cache(maxsize=1)
def _everything() -> tuple[Sequence[Plan], FixedPlans]:
    plans = tuple(each for flow in FLOWS for each in flow.plans)
    return plans, FixedPlans(*plans)


def mixed(seed: int, sagas: int = SAGAS_A_SEED, nodes: int | None = None) -> Simulation:
    """Return a simulation of so many sagas of all flows, chosen by the seed, on so many nodes; mostly on one."""
    plans, catalogue = _everything()
    fates = Fates(seed)
    chosen = [fates.pick(f"flow/{number}", FLOWS) for number in range(1, sagas + 1)]
    begins = [Begin(definition=flow.plans[0].definition, input=_INPUT) for flow in chosen]
    if nodes is None:
        nodes = CLUSTER_NODES[seed % 2] if fates.draw("nodes") < _CLUSTERS else 1
    return Simulation(plans=plans, begins=begins, catalogue=catalogue, nodes=nodes)


def clustered(seed: int, sagas: int = SAGAS_A_SEED) -> Simulation:
    """Return the same on two nodes or three."""
    return mixed(seed, sagas, CLUSTER_NODES[seed % 2])
