"""Plans in a line a step, with Python functions for the author's expressions.

Replies and requests are plain bytes here: a reply of `no` is what the usual `refuse` refuses.
"""

from collections.abc import Iterable

from orchestrator.ids import StepId
from orchestrator.saga.plan import (
    Call,
    Compensation,
    ExpressionFailure,
    Facts,
    Guard,
    Plan,
    Render,
    RenderAttributes,
    RenderText,
    RetryPolicy,
    Step,
    StepKind,
    Trigger,
    TriggerRule,
    UndoOrder,
)
from orchestrator.values import Attributes, Payload

FAILURE = ExpressionFailure("no such field")


def fails(_facts: Facts) -> ExpressionFailure:
    """An expression that cannot be evaluated, in any place."""
    return FAILURE


def says_no(facts: Facts) -> bool:
    """The usual `refuse`."""
    return facts.own_reply is not None and facts.own_reply.data == b"no"


def applied(step: str) -> Guard:
    """A guard that reads another step's status."""
    return lambda facts: facts.status_of(StepId(step)) == "APPLIED"


def request_of(step: str) -> Render:
    """A request that names the saga, so that nobody's request looks like another's."""
    return lambda facts: Payload("Do", f"{facts.saga_id}/{step}".encode())


def undo_by_key(step: str) -> Render:
    """An undo request that can always be rendered, and carries the reply where there is one (R3)."""
    return lambda facts: Payload("Undo", f"{step}:".encode() + (facts.own_reply.data if facts.own_reply else b"?"))


def undo_by_reply(step: str) -> Render:
    """An undo request that needs the forward reply, as most do that were not thought over."""

    def render(facts: Facts) -> Payload | ExpressionFailure:
        return FAILURE if facts.own_reply is None else Payload("Undo", step.encode() + facts.own_reply.data)

    return render


def retry(
    attempts: int = 3, *, initial_s: float = 1.0, max_s: float = 8.0, multiplier: float = 2.0, explicit: bool = False
) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=attempts,
        initial_backoff_s=initial_s,
        max_backoff_s=max_s,
        multiplier=multiplier,
        explicit=explicit,
    )


def step(
    name: str,
    *needs: str,
    read: bool = False,
    trigger: str = "all_success",
    optional: bool = False,
    when: Guard | None = None,
    request: Render | None = None,
    refuse: Guard | None = says_no,
    reason: RenderText | None = None,
    undo: Render | None = None,
    no_undo: bool = False,
    undo_after: Iterable[str] = (),
    undo_first: bool = False,
    policy: RetryPolicy | None = None,
    undo_policy: RetryPolicy | None = None,
    timeout_s: float = 10.0,
    idempotent: bool = False,
    barrier: bool = False,
) -> Step:
    """Return a step; compensatable, with an undo that can always be rendered, unless said otherwise."""
    rule, _, count = trigger.partition(":")
    call = Call(
        target="service",
        method=f"test.Service/{name}",
        reply_type="Reply",
        render=request or request_of(name),
        timeout_s=timeout_s,
        retry=policy or retry(),
        idempotent=idempotent,
        barrier=barrier,
    )
    undo_call = Call(
        target="service",
        method=f"test.Service/undo_{name}",
        reply_type="Reply",
        render=undo or undo_by_key(name),
        timeout_s=timeout_s,
        retry=undo_policy or retry(0),
    )
    compensation = Compensation(call=undo_call, after=tuple(map(StepId, undo_after)), first=undo_first)
    return Step(
        id=StepId(name),
        kind=StepKind.READ if read else StepKind.COMPENSATABLE,
        needs=frozenset(map(StepId, needs)),
        body=call,
        trigger=Trigger(rule=TriggerRule(rule), count=int(count or 0)),
        when=when,
        refuse=refuse,
        reason=reason,
        compensation=None if no_undo or read else compensation,
        optional=optional,
    )


def plan(
    *steps: Step,
    forward_s: float = 100.0,
    compensation_s: float = 50.0,
    sequential: bool = False,
    attributes: RenderAttributes | None = None,
    output: Render | None = None,
    revision: str = "r1",
) -> Plan:
    return Plan(
        definition="test",
        revision=revision,
        input_type="Input",
        steps={each.id: each for each in steps},
        forward_s=forward_s,
        compensation_s=compensation_s,
        undo_order=UndoOrder.SEQUENTIAL if sequential else UndoOrder.PARALLEL,
        attributes=attributes,
        output=output,
    )


def output_of(step_name: str) -> Render:
    """An output that repeats a step's reply, and fails where there is none."""

    def render(facts: Facts) -> Payload | ExpressionFailure:
        return facts.reply_of(StepId(step_name)) or FAILURE

    return render


def attributes_of_input(facts: Facts) -> Attributes:
    """Attributes that show what an expression may read at the start."""
    return {"input": facts.input.data.decode(), "saga": facts.saga_id, "uid": str(facts.uid), "at": facts.started_at}
