"""A checked tree -> the plan the machine runs: defaults filled in, facts about methods baked into each call."""

from collections.abc import Callable
from dataclasses import replace

from orchestrator.definition.annotated import declared, full_name
from orchestrator.definition.check import Bound, BoundCall, BoundStep
from orchestrator.definition.model import AtLeast, Compensate, Definition, Retry, Step
from orchestrator.ids import StepId
from orchestrator.limits import (
    BACKOFF_INITIAL_S_DEFAULT,
    BACKOFF_MAX_S_DEFAULT,
    BACKOFF_MULTIPLIER_DEFAULT,
    CALL_TIMEOUT_S_DEFAULT,
    COMPENSATION_BACKOFF_MAX_S_DEFAULT,
    COMPENSATION_S_DEFAULT,
    FORWARD_ATTEMPTS_DEFAULT,
    FORWARD_S_DEFAULT,
)
from orchestrator.ports.methods import TargetFacts
from orchestrator.saga import plan
from orchestrator.saga.plan import Plan, RetryPolicy, StepKind, Trigger, TriggerRule, UndoOrder

FactsOf = Callable[[str], TargetFacts | None]


def compile_plan(definition: Definition, bound: Bound, revision: str, facts_of: FactsOf) -> Plan:
    """Return the plan of a tree whose check found no error."""
    deadline = definition.deadline
    return Plan(
        definition=definition.saga,
        revision=revision,
        input_type=bound.input_type,
        steps={
            StepId(name): _step(StepId(name), step, bound.steps[name], facts_of)
            for name, step in definition.steps.items()
        },
        forward_s=deadline.forward if deadline.forward is not None else FORWARD_S_DEFAULT,
        compensation_s=deadline.compensation if deadline.compensation is not None else COMPENSATION_S_DEFAULT,
        undo_order=UndoOrder(definition.compensation.order),
        attributes=bound.attributes,
        output=bound.output,
    )


def _step(name: StepId, step: Step, bound: BoundStep, facts_of: FactsOf) -> plan.Step:
    assert bound.call is not None  # no error was found
    return plan.Step(
        id=name,
        kind=StepKind.READ if step.kind == "read" else StepKind.COMPENSATABLE,
        needs=frozenset(StepId(need) for need in bound.needs),
        body=_call(bound.call, step.timeout, _retry(step.retry, _FORWARD), facts_of),
        trigger=_trigger(step),
        when=bound.when,
        refuse=bound.refuse,
        reason=bound.reason,
        compensation=_compensation(step, bound, facts_of),
        optional=step.optional,
    )


def _compensation(step: Step, bound: BoundStep, facts_of: FactsOf) -> plan.Compensation | None:
    undo = step.compensate
    if not isinstance(undo, Compensate):
        return None
    assert bound.undo is not None  # no error was found
    return plan.Compensation(
        call=_call(bound.undo, undo.timeout, _retry(undo.retry, _UNDO), facts_of),
        after=tuple(StepId(other) for other in undo.after),
        first=undo.first,
        reads_reply=bound.undo_reads_reply,
    )


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
        # the owner says that a repetition does no harm, which is what an author says by writing a `retry`
        retry=replace(retry, explicit=True) if facts.repeatable else retry,
        idempotent=facts.idempotent,
        barrier=facts.barrier,
        profile=facts.profile,
    )


_FORWARD = RetryPolicy(
    max_attempts=FORWARD_ATTEMPTS_DEFAULT,
    initial_backoff_s=BACKOFF_INITIAL_S_DEFAULT,
    max_backoff_s=BACKOFF_MAX_S_DEFAULT,
    multiplier=BACKOFF_MULTIPLIER_DEFAULT,
)
_UNDO = RetryPolicy(
    max_attempts=0,  # R24: keep trying
    initial_backoff_s=BACKOFF_INITIAL_S_DEFAULT,
    max_backoff_s=COMPENSATION_BACKOFF_MAX_S_DEFAULT,
    multiplier=BACKOFF_MULTIPLIER_DEFAULT,
)


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
