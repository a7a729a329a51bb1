"""From what a caller gives to the commands of the machine: every message checked against the plan's types."""

from orchestrator.errors import InputInvalid
from orchestrator.ids import StepId, item_of
from orchestrator.ports.plans import JsonInput, Plans
from orchestrator.runtime.requests import Override, RepairRequest, Resolve, SignalRequest
from orchestrator.saga import SagaState
from orchestrator.saga.commands import OverrideStepRequest, Repair, ResolveStep, RetryStep, SignalSaga
from orchestrator.saga.plan import Call, Operation, Plan, Wait
from orchestrator.saga.repair import stuck_operation
from orchestrator.saga.state import StepState, operation_of
from orchestrator.values import Payload

_NOTHING = Payload("", b"")
"""Stands in a command that the machine refuses for another reason than its message."""


def signal_command(plans: Plans, plan: Plan, request: SignalRequest) -> SignalSaga:
    """Return the command; a signal that the plan does not know is for the machine to refuse."""
    type_name = plan.signals.get(request.signal)
    payload = _NOTHING
    if type_name is not None:
        payload = plans.payload(plan, type_name, request.payload, "payload")
    return SignalSaga(signal=request.signal, request_id=request.request_id, payload=payload, trace=request.trace)


def repair_command(plans: Plans, state: SagaState, request: RepairRequest) -> Repair:
    """Return the command for a saga in this state; what the state does not allow is for the machine to refuse."""
    match request:
        case Override() | OverrideStepRequest():
            step = state.find(request.step)
            if step is None:
                return RetryStep(audit=request.audit, step=request.step)  # refused like any verb on no step
            sent = _request(plans, state, step, request.request)
            return OverrideStepRequest(audit=request.audit, step=request.step, request=sent)
        case Resolve() | ResolveStep():
            given = request.reply
            reply = None if given is None else _reply(plans, state.plan, request.step, given)
            return ResolveStep(audit=request.audit, step=request.step, outcome=request.outcome, reply=reply)
        case _:
            return request


def _request(plans: Plans, state: SagaState, step: StepState, given: Payload | JsonInput) -> Payload:
    plan_step = state.plan.step_of(step.id)
    operation = stuck_operation(step) or Operation.FORWARD
    if operation is Operation.FORWARD and not isinstance(plan_step.body, Call):
        raise InputInvalid("request", f"step {step.id} sends none: it is no call")
    sent = operation_of(step, operation)
    known = plan_step.call_of(operation).request_type or (sent.request.type_name if sent is not None else "")
    return _payload(plans, state.plan, known, given, "request")


def _reply(plans: Plans, plan: Plan, path: StepId, given: Payload | JsonInput) -> Payload | None:
    if item_of(path)[0] not in plan.steps:
        return None  # the machine refuses a step that there is not
    step = plan.step_of(path)
    if isinstance(step.body, Call) and (step.for_each is None or path != step.id):
        known = step.awaits.reply_type if step.awaits is not None else step.body.reply_type
    elif isinstance(step.body, Wait):
        known = step.body.type_name
    else:
        raise InputInvalid("reply", f"step {path} has none: it is no call")
    return _payload(plans, plan, known, given, "reply")


def _payload(plans: Plans, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
    if type_name:
        return plans.payload(plan, type_name, given, path)
    if isinstance(given, JsonInput):
        raise InputInvalid(path, "its message type is not known here; give a typed message instead of JSON")
    return given
