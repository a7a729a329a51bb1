"""Steps that are more than a call, in a line each: waits, sleeps, children, items, scopes; and named plans."""

from collections.abc import Sequence
from dataclasses import replace

from orchestrator.ids import StepId
from orchestrator.saga.plan import (
    CHILD_TARGET,
    Call,
    Compensation,
    Facts,
    ForEach,
    OnFailure,
    Plan,
    Scope,
    Sleep,
    Step,
    StepKind,
    Wait,
)
from orchestrator.testing.shorthand import retry, undo_by_key
from orchestrator.values import Payload


def wait(
    name: str, *needs: str, signal: str = "go", timeout_s: float | None = None, on_failure: str = "compensate"
) -> Step:
    """A step that waits for a signal of type `Signal`."""
    body = Wait(signal=signal, type_name="Signal", timeout_s=timeout_s)
    return _read(name, needs, body, on_failure=OnFailure(on_failure))


def sleep(name: str, *needs: str, for_s: float = 60.0) -> Step:
    """A step that lets time pass."""
    return _read(name, needs, Sleep(duration=lambda _facts: for_s))


def scope(name: str, *needs: str, members: Sequence[str], otherwise: Sequence[str] = ()) -> Step:
    """A scope around members, which `inside` makes."""
    body = Scope(steps=tuple(map(StepId, members)), otherwise=tuple(map(StepId, otherwise)))
    return _read(name, needs, body)


def inside(scope_name: str, step: Step) -> Step:
    """Return the step as a direct member of a scope."""
    return replace(step, scope=StepId(scope_name))


def each(step: Step, count: int, *, parallel: int = 2, tolerate: int = 0) -> Step:
    """Return the step, its call made for the numbers up to `count`."""
    return replace(step, for_each=ForEach(items=lambda _facts: range(count), parallel=parallel, tolerate=tolerate))


def child(
    name: str,
    *needs: str,
    of: str = "child",
    timeout_s: float = 1_000.0,
    no_undo: bool = False,
    optional: bool = False,
    kind: StepKind = StepKind.COMPENSATABLE,
) -> Step:
    """A step that is a child saga: keys and barrier kept, as the definition language has it."""
    call = Call(
        target=CHILD_TARGET,
        method=f"{of}/r1",
        reply_type="Reply",
        render=lambda facts: Payload("Input", b"" if facts.index is None else str(facts.index).encode()),
        timeout_s=timeout_s,
        retry=retry(3),
        idempotent=True,
        barrier=True,
    )
    undo = replace(call, render=undo_by_key(name), retry=retry(0))
    undone = kind is StepKind.COMPENSATABLE and not no_undo
    return Step(
        id=StepId(name),
        kind=kind,
        needs=frozenset(map(StepId, needs)),
        body=call,
        compensation=Compensation(call=undo) if undone else None,
        optional=optional,
    )


def named(definition: str, plan: Plan) -> Plan:
    """Return the plan as another definition's."""
    return replace(plan, definition=definition)


def item_request(facts: Facts) -> Payload:
    """A request that names the item."""
    return Payload("Do", f"{facts.saga_id}/{facts.index}={facts.item}".encode())


def _read(
    name: str, needs: Sequence[str], body: Wait | Sleep | Scope, on_failure: OnFailure = OnFailure.COMPENSATE
) -> Step:
    return Step(
        id=StepId(name), kind=StepKind.READ, needs=frozenset(map(StepId, needs)), body=body, on_failure=on_failure
    )
