"""A checked tree -> the plan the machine runs: defaults filled in, facts about methods baked into each call."""

from orchestrator.definition import bodies, operations
from orchestrator.definition.annotated import declared, full_name
from orchestrator.definition.bound import Bound, BoundCall, BoundStep, FactsOf
from orchestrator.definition.flat import ELSE, MAIN, Flat, Placed
from orchestrator.definition.model import AtLeast, Compensate, Definition, Retry, Step
from orchestrator.frozen import changed
from orchestrator.ids import StepId
from orchestrator.limits import (
    BACKOFF_INITIAL_S_DEFAULT,
    BACKOFF_MAX_S_DEFAULT,
    BACKOFF_MULTIPLIER_DEFAULT,
    CALL_TIMEOUT_S_DEFAULT,
    COMPENSATION_BACKOFF_MAX_S_DEFAULT,
    COMPENSATION_S_DEFAULT,
    FORWARD_ATTEMPTS_DEFAULT,
    OPERATION_POLL_S_DEFAULT,
    POLL_S_DEFAULT,
    PROBE_ATTEMPTS_DEFAULT,
    PROBE_BACKOFF_INITIAL_S_DEFAULT,
    PROBE_BACKOFF_MAX_S_DEFAULT,
)
from orchestrator.ports.methods import TargetFacts
from orchestrator.saga import plan
from orchestrator.saga.plan import (
    CHILD_TARGET,
    OnFailure,
    Plan,
    Render,
    RetryPolicy,
    StepKind,
    Trigger,
    TriggerRule,
    UndoOrder,
)
from orchestrator.values import Payload

_EMPTY = "google.protobuf.Empty"


def compile_plan(definition: Definition, bound: Bound, revision: str, facts_of: FactsOf) -> Plan:
    """Return the plan of a tree whose check found no error."""
    deadline = definition.deadline
    return Plan(
        definition=definition.saga,
        revision=revision,
        input_type=bound.input_type,
        steps={StepId(name): _step(one, bound, facts_of) for name, one in bound.flat.items()},
        forward_s=bodies.forward_s(definition, bound.flat),
        compensation_s=deadline.compensation if deadline.compensation is not None else COMPENSATION_S_DEFAULT,
        undo_order=UndoOrder(definition.compensation.order),
        attributes=bound.attributes,
        output=bound.output,
    )


def _step(one: Placed, all_bound: Bound, facts_of: FactsOf) -> plan.Step:
    step, bound = one.step, all_bound.steps[one.id]
    return plan.Step(
        id=StepId(one.id),
        kind=_kind(step),
        needs=frozenset(StepId(need) for need in bound.needs),
        body=_body(one, bound, all_bound.flat, facts_of),
        trigger=_trigger(step),
        when=bound.when,
        refuse=bound.refuse,
        reason=bound.reason,
        compensation=_compensation(step, bound, facts_of),
        optional=step.optional,
        on_failure=OnFailure(one.on_failure),
        scope=StepId(one.scope) if one.scope is not None else None,
        for_each=bound.for_each,
        poll=_poll(step, bound),
        awaits=_awaits(step, bound, facts_of),
        probe=_probe(step, bound, facts_of),
    )


def _kind(step: Step) -> StepKind:
    if step.body in {"sleep", "wait", "scope"}:
        return StepKind.READ
    return StepKind(step.kind) if step.kind is not None else StepKind.COMPENSATABLE


def _body(one: Placed, bound: BoundStep, flat: Flat, facts_of: FactsOf) -> plan.Body:
    step = one.step
    if step.scope is not None:
        inside = [other for other in flat.values() if other.scope == one.id]
        return plan.Scope(
            steps=tuple(StepId(other.id) for other in inside if other.branch == MAIN),
            otherwise=tuple(StepId(other.id) for other in inside if other.branch == ELSE),
            timeout_s=step.scope.timeout,
        )
    if step.wait is not None:
        assert bound.reply is not None  # no error was found
        return plan.Wait(signal=step.wait.signal, type_name=bound.reply.full_name, timeout_s=step.wait.timeout)
    if step.sleep is not None:
        assert bound.asleep is not None  # no error was found
        return plan.Sleep(duration=bound.asleep)
    if step.saga is not None:
        assert bound.child_input is not None  # no error was found
        return _child_call(bound, bound.child_input, _unlimited(BACKOFF_MAX_S_DEFAULT))
    assert bound.call is not None  # no error was found
    return _call(bound.call, step.timeout, _retry(step.retry, _FORWARD), facts_of)


def _child_call(bound: BoundStep, render: Render, retry: RetryPolicy) -> plan.Call:
    """A child is called like a service that keeps keys and barrier (R21)."""
    child = bound.child
    assert child is not None  # no error was found
    return plan.Call(
        target=CHILD_TARGET,
        method=f"{child.definition}/{child.revision}",
        request_type=child.input_type,
        reply_type=child.output_type,
        render=render,
        timeout_s=child.budget_s,
        retry=retry,
        idempotent=True,
        barrier=True,
    )


def _compensation(step: Step, bound: BoundStep, facts_of: FactsOf) -> plan.Compensation | None:
    undo = step.compensate
    if undo == "undo":
        nothing = Payload(_EMPTY, b"")
        undoing = _child_call(bound, lambda _: nothing, _UNDO)
        return plan.Compensation(call=changed(undoing, request_type=_EMPTY, reply_type=_EMPTY))
    if not isinstance(undo, Compensate):
        return None
    assert bound.undo is not None  # no error was found
    return plan.Compensation(
        call=_call(bound.undo, undo.timeout, _retry(undo.retry, _UNDO), facts_of),
        after=tuple(StepId(other) for other in undo.after),
        first=undo.first,
        reads_reply=bound.undo_reads_reply,
    )


def _poll(step: Step, bound: BoundStep) -> plan.Poll | None:
    if bound.until is None:
        return None
    assert step.at_most is not None  # no error was found
    every_s = step.every if step.every is not None else POLL_S_DEFAULT
    return plan.Poll(until=bound.until, every_s=every_s, at_most_s=step.at_most)


def _awaits(step: Step, bound: BoundStep, facts_of: FactsOf) -> plan.Await | None:
    if not bound.is_operation:
        return None
    assert bound.call is not None and bound.reply is not None  # noqa: PT018  # no error was found
    asked = _call(bound.call, step.timeout, _unlimited(PROBE_BACKOFF_MAX_S_DEFAULT), facts_of)
    asked = changed(asked, reply_type=operations.GET_REPLY, render=operations.ask(), idempotent=True)
    return plan.Await(
        read=operations.reader(bound.reply.full_name),
        call=changed(asked, method=operations.GET, request_type=operations.GET_REQUEST),
        stop=changed(
            asked,
            method=operations.CANCEL,
            request_type=operations.CANCEL_REQUEST,
            reply_type=operations.CANCEL_REPLY,
            render=operations.cancel(),
            retry=_FORWARD,
        ),
        every_s=step.poll if step.poll is not None else OPERATION_POLL_S_DEFAULT,
    )


def _probe(step: Step, bound: BoundStep, facts_of: FactsOf) -> plan.Probe | None:
    if step.probe is None:
        return None
    assert bound.probe is not None and bound.read_probe is not None  # noqa: PT018  # no error was found
    call = _call(bound.probe, step.probe.timeout, _retry(step.probe.retry, _PROBE), facts_of)
    return plan.Probe(call=call, read=bound.read_probe)


def _call(bound: BoundCall, timeout_s: float | None, retry: RetryPolicy, facts_of: FactsOf) -> plan.Call:
    assert bound.render is not None  # no error was found
    # a target that is no longer configured cannot be called; nothing is configured about it meanwhile
    facts = declared(facts_of(bound.target) or TargetFacts(name=bound.target), bound.method)
    return plan.Call(
        target=bound.target,
        method=full_name(bound.method),
        request_type=bound.method.input_type.full_name,
        reply_type=bound.method.output_type.full_name,
        render=bound.render,
        timeout_s=timeout_s if timeout_s is not None else CALL_TIMEOUT_S_DEFAULT,
        retry=retry,
        idempotent=facts.idempotent,
        repeatable=facts.repeatable,
        barrier=facts.barrier,
        profile=facts.profile,
    )


_FORWARD = RetryPolicy(
    max_attempts=FORWARD_ATTEMPTS_DEFAULT,
    initial_backoff_s=BACKOFF_INITIAL_S_DEFAULT,
    max_backoff_s=BACKOFF_MAX_S_DEFAULT,
    multiplier=BACKOFF_MULTIPLIER_DEFAULT,
)
_PROBE = RetryPolicy(
    max_attempts=PROBE_ATTEMPTS_DEFAULT,
    initial_backoff_s=PROBE_BACKOFF_INITIAL_S_DEFAULT,
    max_backoff_s=PROBE_BACKOFF_MAX_S_DEFAULT,
    multiplier=BACKOFF_MULTIPLIER_DEFAULT,
)


def _unlimited(max_backoff_s: float) -> RetryPolicy:
    return changed(_FORWARD, max_attempts=0, max_backoff_s=max_backoff_s)


_UNDO = _unlimited(COMPENSATION_BACKOFF_MAX_S_DEFAULT)  # R24: keep trying


def _retry(given: Retry | None, default: RetryPolicy) -> RetryPolicy:
    if given is None:
        return default
    initial_s = given.initial_backoff if given.initial_backoff is not None else default.initial_backoff_s
    max_s = given.max_backoff if given.max_backoff is not None else default.max_backoff_s
    return RetryPolicy(
        max_attempts=given.max_attempts if given.max_attempts is not None else default.max_attempts,
        initial_backoff_s=initial_s,
        # an author who raises only the first pause means the later ones to be no shorter
        max_backoff_s=max(max_s, initial_s),
        multiplier=given.multiplier if given.multiplier is not None else default.multiplier,
        explicit=True,
    )


def _trigger(step: Step) -> Trigger:
    if isinstance(step.trigger, AtLeast):
        return Trigger(rule=TriggerRule.AT_LEAST, count=step.trigger.at_least)
    return Trigger(rule=TriggerRule(step.trigger))
