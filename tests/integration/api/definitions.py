"""Definitions for the rig, one for each way in which a saga waits for somebody. Methods are named after their steps."""

from collections.abc import Mapping
from dataclasses import replace

from orchestrator.ids import StepId
from orchestrator.saga.plan import (
    CHILD_TARGET,
    Call,
    Compensation,
    ExpressionFailure,
    Facts,
    ForEach,
    OnFailure,
    Plan,
    RetryPolicy,
    Sleep,
    Step,
    StepKind,
    Wait,
)
from orchestrator.values import JSON_TYPE, Payload

PATIENT = RetryPolicy(max_attempts=5, initial_backoff_s=3_600.0, max_backoff_s=3_600.0, multiplier=1.0)
ONCE = RetryPolicy(max_attempts=1, initial_backoff_s=3_600.0, max_backoff_s=3_600.0, multiplier=1.0)


def call(name: str, *, idempotent: bool = True, retry: RetryPolicy = ONCE) -> Call:
    return Call(
        target="shop",
        method=f"shop.v1.Shop/{name}",
        reply_type=JSON_TYPE,
        request_type=JSON_TYPE,
        render=lambda facts: facts.input,
        timeout_s=30.0,
        retry=retry,
        idempotent=idempotent,
        barrier=True,
    )


def step(
    name: str,
    *needs: str,
    kind: StepKind = StepKind.COMPENSATABLE,
    undo: bool = True,
    on_failure: OnFailure = OnFailure.COMPENSATE,
    idempotent: bool = True,
    for_each: ForEach | None = None,
    retry: RetryPolicy = ONCE,
) -> Step:
    undone = undo and kind is StepKind.COMPENSATABLE
    return Step(
        id=StepId(name),
        kind=kind,
        needs=frozenset(map(StepId, needs)),
        body=call(name, idempotent=idempotent, retry=retry),
        compensation=Compensation(call=call(f"undo_{name}", retry=PATIENT)) if undone else None,
        on_failure=on_failure,
        for_each=for_each,
    )


def needs_reply(facts: Facts) -> Payload | ExpressionFailure:
    return facts.own_reply or ExpressionFailure("steps.a.reply is not known")


def unrenderable(name: str) -> Step:
    """A step whose undo needs a reply that a lost call never gave."""
    undo = Call(
        target="shop",
        method=f"shop.v1.Shop/undo_{name}",
        reply_type=JSON_TYPE,
        request_type=JSON_TYPE,
        render=needs_reply,
        timeout_s=30.0,
        retry=ONCE,
        barrier=True,
    )
    one = step(name, idempotent=False)
    return Step(id=one.id, kind=one.kind, needs=one.needs, body=one.body, compensation=Compensation(call=undo))


def child(name: str, definition: str) -> Step:
    """A step that is a saga of another definition."""
    body = Call(
        target=CHILD_TARGET,
        method=f"{definition}/r1",
        reply_type=JSON_TYPE,
        request_type=JSON_TYPE,
        render=lambda facts: facts.input,
        timeout_s=3_600.0,
        retry=ONCE,
        idempotent=True,
        barrier=True,
    )
    undo = Compensation(call=replace(body, retry=PATIENT))
    return Step(id=StepId(name), kind=StepKind.COMPENSATABLE, needs=frozenset(), body=body, compensation=undo)


def waits(name: str, *needs: str, signal: str) -> Step:
    body = Wait(signal=signal, type_name=JSON_TYPE)
    return Step(id=StepId(name), kind=StepKind.READ, needs=frozenset(map(StepId, needs)), body=body)


def sleeps(name: str, *needs: str) -> Step:
    body = Sleep(duration=lambda _facts: 3_600.0)
    return Step(id=StepId(name), kind=StepKind.READ, needs=frozenset(map(StepId, needs)), body=body)


def plan(definition: str, *steps: Step) -> Plan:
    return Plan(
        definition=definition,
        revision="r1",
        input_type=JSON_TYPE,
        steps={each.id: each for each in steps},
        forward_s=86_400.0,
        compensation_s=86_400.0,
        output=lambda facts: facts.input,
    )


FIVE = ForEach(items=lambda _facts: range(5), parallel=2)
PLANS: Mapping[str, Plan] = {
    each.definition: each
    for each in (
        plan("trip", step("a"), step("b", "a"), step("c", "b")),
        plan("lossy", unrenderable("a"), step("b", "a")),
        plan("asking", step("a"), step("b", "a", on_failure=OnFailure.ASK)),
        plan(
            "payment",
            step("a"),
            step("p", "a", kind=StepKind.PIVOT, idempotent=False),
            step("z", "p", kind=StepKind.RETRIABLE),
        ),
        plan("approval", step("a"), waits("w", "a", signal="approved"), step("b", "w")),
        plan("night", step("a"), sleeps("nap", "a")),
        plan("many", step("a", for_each=FIVE), sleeps("nap", "a")),
        plan("family", child("trip", "night")),
        plan("slow", step("a", retry=PATIENT), step("b", "a")),
    )
}
