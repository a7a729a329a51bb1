"""Plans in a line a step, with Python functions for the author's expressions.

Replies and requests are plain bytes here. A reply of `no` is what the usual `refuse` refuses; `wait` is what the usual
`until` is not content with; and of the answers of a probe or of a long-running operation, `wait` says "not yet", `did`
"applied, reply unknown", `not` "not applied" and `lost` "nobody will ever know"; anything else is the reply itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from orchestrator.ids import StepId
from orchestrator.saga.plan import (
    CHILD_TARGET,
    Answer,
    Await,
    Body,
    Call,
    Compensation,
    ExpressionFailure,
    Facts,
    ForEach,
    Guard,
    OnFailure,
    Outcome,
    OutcomeProfile,
    Plan,
    Poll,
    Probe,
    Render,
    RenderAttributes,
    RenderItems,
    RenderText,
    RetryPolicy,
    Scope,
    Sleep,
    Step,
    StepKind,
    Trigger,
    TriggerRule,
    UndoOrder,
    Wait,
)
from orchestrator.values import Attributes, Payload

FAILURE = ExpressionFailure("no such field")


def fails(_facts: Facts) -> ExpressionFailure:
    """An expression that cannot be evaluated, in any place."""
    return FAILURE


def says_no(facts: Facts) -> bool:
    """The usual `refuse`."""
    return facts.own_reply is not None and facts.own_reply.data == b"no"


def is_enough(facts: Facts) -> bool | ExpressionFailure:
    """The usual `until`."""
    data = facts.own_reply.data if facts.own_reply else b""
    return FAILURE if data == b"bad" else data != b"wait"


def read_answer(facts: Facts) -> Answer | ExpressionFailure:
    """What the answer of a probe, or of a look at an operation, says."""
    reply = facts.own_reply
    data = reply.data if reply is not None else b"bad"
    if data == b"bad":
        return FAILURE
    if data == b"wait":
        return Answer(outcome=None)
    if data == b"did":
        return Answer(outcome=Outcome.APPLIED)
    if data == b"not":
        return Answer(outcome=Outcome.NOT_APPLIED, code="ABORTED", message="it was not done")
    if data == b"lost":
        return Answer(outcome=Outcome.UNKNOWN, message="nobody knows")
    return Answer(outcome=Outcome.APPLIED, reply=reply)


def items(count: int) -> RenderItems:
    """Return a list of so many elements: `i0`, `i1` and on."""
    return lambda _facts: [f"i{number}" for number in range(count)]


def applied(step: str) -> Guard:
    """A guard that reads another step's status."""
    return lambda facts: facts.status_of(StepId(step)) == "APPLIED"


def request_of(step: str) -> Render:
    """A request that names the saga, so that nobody's request looks like another's; and the item, if there is one."""
    return lambda facts: Payload("Do", f"{facts.saga_id}/{step}{_item(facts)}".encode())


def _item(facts: Facts) -> str:
    return "" if facts.index is None else f"[{facts.index}]={facts.item}"


def undo_by_key(step: str) -> Render:
    """An undo request that can always be rendered, and carries the reply where there is one (R3)."""

    def render(facts: Facts) -> Payload:
        return Payload("Undo", f"{step}{_item(facts)}:".encode() + (facts.own_reply.data if facts.own_reply else b"?"))

    return render


def undo_by_reply(step: str) -> Render:
    """An undo request that needs the forward reply, as most do that were not thought over."""

    def render(facts: Facts) -> Payload | ExpressionFailure:
        return FAILURE if facts.own_reply is None else Payload("Undo", step.encode() + facts.own_reply.data)

    return render


def retry(
    attempts: int = 3, *, initial_s: float = 1.0, max_s: float = 8.0, multiplier: float = 2.0, explicit: bool = False
) -> RetryPolicy:
    """Return a policy whose pauses are powers of two seconds."""
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
    pivot: bool = False,
    retriable: bool = False,
    dtm: bool = False,
    child: bool = False,
    on_failure: str = "compensate",
    inside: str | None = None,
    probe: bool = False,
    probe_request: Render | None = None,
    probe_policy: RetryPolicy | None = None,
    awaits: bool = False,
    stoppable: bool = True,
    await_request: Render | None = None,
    stop_request: Render | None = None,
    poll: bool = False,
    every_s: float = 2.0,
    at_most_s: float = 20.0,
    for_each: RenderItems | None = None,
    parallel: int = 2,
    tolerate: int = 0,
) -> Step:
    """Return a step; compensatable, with an undo that can always be rendered, unless said otherwise."""
    rule, _, count = trigger.partition(":")
    asked = partial(
        _asked, is_child=child, timeout_s=timeout_s, idempotent=idempotent or child, barrier=barrier or child, dtm=dtm
    )
    kind = StepKind.READ if read else StepKind.PIVOT if pivot else StepKind.COMPENSATABLE
    undo_call = asked(f"undo_{name}", undo or undo_by_key(name), undo_policy or retry(0))
    compensation = Compensation(call=undo_call, after=tuple(map(StepId, undo_after)), first=undo_first)
    stop = asked(f"stop_{name}", stop_request or request_of(f"{name}!stop"), retry()) if stoppable else None
    looks = asked(f"await_{name}", await_request or request_of(f"{name}!await"), retry())
    proof = asked(f"probe_{name}", probe_request or request_of(f"{name}!probe"), probe_policy or retry())
    return Step(
        id=StepId(name),
        kind=StepKind.RETRIABLE if retriable else kind,
        needs=frozenset(map(StepId, needs)),
        body=asked(name, request or request_of(name), policy or retry()),
        trigger=Trigger(rule=TriggerRule(rule), count=int(count or 0)),
        when=when,
        refuse=refuse,
        reason=reason,
        compensation=None if no_undo or read or pivot or retriable else compensation,
        optional=optional,
        on_failure=OnFailure(on_failure),
        scope=None if inside is None else StepId(inside),
        for_each=None if for_each is None else ForEach(items=for_each, parallel=parallel, tolerate=tolerate),
        poll=Poll(until=is_enough, every_s=every_s, at_most_s=at_most_s) if poll else None,
        awaits=Await(read=read_answer, call=looks, stop=stop, every_s=every_s) if awaits else None,
        probe=Probe(call=proof, read=read_answer) if probe else None,
    )


def _asked(
    what: str,
    render: Render,
    given: RetryPolicy,
    *,
    is_child: bool,
    timeout_s: float,
    idempotent: bool,
    barrier: bool,
    dtm: bool,
) -> Call:
    return Call(
        target=CHILD_TARGET if is_child else "service",
        method="test/r1" if is_child else f"test.Service/{what}",
        reply_type="Reply",
        render=render,
        timeout_s=timeout_s,
        retry=given,
        idempotent=idempotent,
        barrier=barrier,
        # A child says ABORTED when it has been compensated, which is a refusal for good.
        profile=OutcomeProfile.DTM if dtm or is_child else OutcomeProfile.DEFAULT,
    )


def _without_call(given: Step, body: Body) -> Step:
    return replace(given, body=body, kind=StepKind.READ, compensation=None, refuse=None)


def sleep(name: str, *needs: str, seconds: float | None = 5.0, **more: object) -> Step:
    """Return a step that lets time pass; None: its duration cannot be evaluated."""
    duration = FAILURE if seconds is None else seconds
    return _without_call(step(name, *needs, **more), Sleep(duration=lambda _facts: duration))  # type: ignore[arg-type]  # the caller names step's own options


def wait(name: str, *needs: str, signal: str = "go", within_s: float | None = None, **more: object) -> Step:
    """Return a step that waits for a signal."""
    body = Wait(signal=signal, type_name="Signal", timeout_s=within_s)
    return _without_call(step(name, *needs, **more), body)  # type: ignore[arg-type]  # the caller names step's own options


def scope(
    name: str,
    *needs: str,
    steps: Sequence[str],
    otherwise: Sequence[str] = (),
    within_s: float | None = None,
    **more: object,
) -> Step:
    """Return a scope; its members say `inside=name`."""
    body = Scope(steps=tuple(map(StepId, steps)), otherwise=tuple(map(StepId, otherwise)), timeout_s=within_s)
    return _without_call(step(name, *needs, **more), body)  # type: ignore[arg-type]  # the caller names step's own options


def plan(
    *steps: Step,
    forward_s: float = 100.0,
    compensation_s: float = 50.0,
    sequential: bool = False,
    attributes: RenderAttributes | None = None,
    output: Render | None = None,
    revision: str = "r1",
) -> Plan:
    """Return a plan of these steps, of the definition `test`."""
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
