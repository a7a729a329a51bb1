"""A saga as callers see it: its state, its steps and items, why it waits, what undoing it would call, who did what.

Every function here makes a message of the API out of a value of the domain, and changes nothing.
"""

from collections.abc import Iterable, Mapping
from itertools import islice

from google.protobuf import json_format, struct_pb2

from orchestrator.api.mapping import (
    CAUSE,
    KIND,
    OPERATION,
    OUTCOME,
    STATUS,
    STAYING,
    STEP_STATUS,
    WAIT,
    attribute,
    instant,
    packed,
    struct,
)
from orchestrator.errors import OrchestratorError
from orchestrator.ids import SagaId
from orchestrator.limits import EXPLAINED_MAX
from orchestrator.ports.journal import SearchRow
from orchestrator.ports.plans import Plans
from orchestrator.saga import explain
from orchestrator.saga.events import Cause, OperatorActed
from orchestrator.saga.plan import CHILD_TARGET, Call, Operation, Plan, Wait
from orchestrator.saga.state import ItemsState, OperationState, SagaState, StepState, operation_of
from orchestrator.saga.undoplan import PlannedUndo, UndoPlan
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.values import Payload

Children = Mapping[str, SagaId]
"""Key of a call that is a child saga -> the child."""


def listed(row: SearchRow) -> pb.Saga:
    """Return a saga as a list shows it."""
    saga = pb.Saga(
        saga_id=row.saga_id,
        uid=row.uid,
        definition=row.definition,
        revision=row.revision,
        status=STATUS[row.status],
        sequence=row.version,
        etag=str(row.version),
        attributes={name: attribute(value) for name, value in row.attributes.items()},
        request_id=row.request_id,
        start_time=instant(row.started_at),
        update_time=instant(row.updated_at),
        end_time=None if row.ended_at is None else instant(row.ended_at),
        attention=[word for word in row.attention.split(",") if word],
    )
    if row.failure:
        saga.cause.message = row.failure
    return saga


def saga(state: SagaState, view: int, plans: Plans, children: Children | None = None) -> pb.Saga:
    """Return a saga in a view; `plans` knows how to read its payloads, `children` the names of its children."""
    message = pb.Saga(
        saga_id=state.saga_id,
        uid=str(state.uid),
        definition=state.plan.definition,
        revision=state.plan.revision,
        status=STATUS[state.status],
        sequence=state.version,
        etag=str(state.version),
        attributes={name: attribute(value) for name, value in state.attributes.items()},
        request_id=state.request_id,
        start_time=instant(state.started_at),
        update_time=instant(state.updated_at),
        end_time=None if state.ended_at is None else instant(state.ended_at),
        forward_deadline=instant(state.forward_deadline_at),
        cause=None if state.cause is None else _cause(state.cause),
        attention=list(dict.fromkeys(state.attention)),
        trace_id=f"{state.trace.trace_id:032x}",
        paused=state.is_paused,
        attention_entries=[_attention(each) for each in explain.attention_of(state)],
        cancel_requested=state.cancel_reason is not None,
    )
    if state.parent is not None:
        message.parent.saga_id, message.parent.uid = state.parent.saga_id, str(state.parent.uid)
        message.parent.step = state.parent.step
    for root, rollback in state.rollbacks.items():
        part = message.rollbacks.add(step=root, steps=sorted(rollback.steps))
        part.cause.CopyFrom(_cause(rollback.cause))
    for step, key in child_calls(state, state.in_plan_order()):
        if children and key in children:
            definition, _, revision = state.plan.step_of(step.id).call.method.partition("/")
            message.children.add(step=step.id, saga_id=children[key], definition=definition, revision=revision)
    if view in {pb.SAGA_VIEW_STEPS, pb.SAGA_VIEW_FULL}:
        shown = _Shown(plans, state.plan) if view == pb.SAGA_VIEW_FULL else None
        message.steps.extend(_step(state.plan, step, shown, children or {}) for step in state.in_plan_order())
        message.pending_signals.extend(_signals(state, shown))
        # Sentences with instants: dear beside the rest, and nobody reads them in the answer to a start.
        message.waiting_for.extend(_wait(each) for each in explain.waits_of(state))
        if shown:
            message.input.CopyFrom(shown.payload(state.input))
            if state.output is not None:
                message.output.CopyFrom(shown.payload(state.output))
    return message


def child_calls(state: SagaState, steps: Iterable[StepState]) -> list[tuple[StepState, str]]:
    """Return those that are child sagas and have begun, each with the key that its child was started with."""
    found = [(step, step.forward) for step in steps if step.forward is not None]
    return [(step, forward.key) for step, forward in found if _is_child(state.plan, step)]


def _is_child(plan: Plan, step: StepState) -> bool:
    body = plan.step_of(step.id).body
    return isinstance(body, Call) and body.target == CHILD_TARGET


def items(state: SagaState, steps: list[StepState], plans: Plans | None, children: Children) -> list[pb.SagaStep]:
    """Return items of a `for_each` step; with payloads where `plans` is given, which can read them."""
    shown = None if plans is None else _Shown(plans, state.plan)
    return [_step(state.plan, step, shown, children) for step in steps]


def explanation(state: SagaState, told: explain.Explanation) -> pb.Explanation:
    """Return why a saga is not further than it is."""
    return pb.Explanation(
        saga_id=state.saga_id,
        etag=str(state.version),
        status=STATUS[state.status],
        summary=told.summary,
        waits=[_wait(each) for each in told.waits],
        next_wake_time=None if told.wake_at is None else instant(told.wake_at),
        remarks=told.remarks,
        possible=[
            pb.PossibleVerb(
                verb=each.verb,
                step=each.step or "",
                outcome=pb.STEP_OUTCOME_UNSPECIFIED if each.outcome is None else OUTCOME[each.outcome],
                message=each.message,
            )
            for each in told.possible
        ],
    )


def undo_plan(state: SagaState, plan: UndoPlan, plans: Plans | None) -> pb.UndoPlan:
    """Return what undoing a saga would call; with requests where `plans` is given, which can read them."""
    shown = None if plans is None else _Shown(plans, state.plan)
    return pb.UndoPlan(
        saga_id=state.saga_id,
        etag=str(state.version),
        calls=[_planned(each, shown) for each in plan.calls],
        omitted=plan.omitted,
        stays=[
            pb.StayingEffect(step=each.step, reason=STAYING[each.reason], message=each.message) for each in plan.stays
        ],
        conditions=plan.conditions,
    )


def _planned(undo: PlannedUndo, shown: "_Shown | None") -> pb.PlannedUndo:
    return pb.PlannedUndo(
        step=undo.step,
        wave=undo.wave,
        target=undo.call.target,
        method=undo.call.method,
        idempotency_key=undo.key,
        outcome=OUTCOME[undo.outcome],
        not_before=None if undo.not_before_at is None else instant(undo.not_before_at),
        attempts=undo.attempts,
        probed_first=undo.probed_first,
        request=shown.payload(undo.request) if shown else None,
    )


def audit_entry(saga_id: str, sequence: int, acted: OperatorActed) -> pb.AuditEntry:
    """Return who did what, and why."""
    return pb.AuditEntry(
        saga_id=saga_id,
        sequence=sequence,
        event_time=instant(acted.at),
        verb=acted.verb,
        by=acted.by,
        reason=acted.reason,
        step=acted.step or "",
        operation=pb.OPERATION_KIND_UNSPECIFIED if acted.operation is None else OPERATION[acted.operation],
        outcome=pb.STEP_OUTCOME_UNSPECIFIED if acted.outcome is None else OUTCOME[acted.outcome],
    )


class _Shown:
    """Payloads of one saga, as bytes and as JSON."""

    def __init__(self, plans: Plans, plan: Plan) -> None:
        self._plans = plans
        self._plan = plan

    def payload(self, payload: Payload) -> pb.SagaPayload:
        """Return both forms; JSON is left out where nobody can read the message any more."""
        return pb.SagaPayload(typed=packed(payload), json=json_of(self._plans, self._plan, payload))


def json_of(plans: Plans, plan: Plan, payload: Payload) -> struct_pb2.Struct | None:
    """Return a payload as JSON for people; None where it cannot be read."""
    try:
        return struct(plans.to_json(plan, payload))
    except (OrchestratorError, ValueError, json_format.Error):
        return None


def _wait(waiting: explain.Waiting) -> pb.SagaWait:
    return pb.SagaWait(
        kind=WAIT[waiting.kind],
        step=waiting.step or "",
        until=None if waiting.until_at is None else instant(waiting.until_at),
        since=None if waiting.since_at is None else instant(waiting.since_at),
        signal=waiting.signal,
        operation=pb.OPERATION_KIND_UNSPECIFIED if waiting.operation is None else OPERATION[waiting.operation],
        message=waiting.message,
    )


def _attention(entry: explain.Attention) -> pb.AttentionEntry:
    return pb.AttentionEntry(
        reason=entry.reason,
        step=entry.step or "",
        operation=pb.OPERATION_KIND_UNSPECIFIED if entry.operation is None else OPERATION[entry.operation],
        message=entry.message,
    )


def _signals(state: SagaState, shown: _Shown | None) -> list[pb.PendingSignal]:
    waiting = ((name, signal) for name, signals in sorted(state.signals.items()) for signal in signals)
    return [
        pb.PendingSignal(
            signal=name, request_id=signal.request_id, payload=shown.payload(signal.payload) if shown else None
        )
        for name, signal in islice(waiting, EXPLAINED_MAX)
    ]


def _cause(cause: Cause) -> pb.SagaCause:
    return pb.SagaCause(
        kind=CAUSE[cause.kind], message=cause.message, step=cause.step or "", code=cause.code, reason=cause.reason
    )


def _step(plan: Plan, state: StepState, shown: _Shown | None, children: Children) -> pb.SagaStep:
    step = plan.step_of(state.id)
    message = pb.SagaStep(
        step=state.id,
        status=STEP_STATUS[state.status],
        outcome=OUTCOME[state.outcome] if state.outcome else pb.STEP_OUTCOME_UNSPECIFIED,
        settle_reason=state.settle_reason or "",
        code=state.code,
        message=state.message,
        attention=state.stuck or "",
        reply=shown.payload(state.reply) if shown and state.reply else None,
        items=None if state.items is None else _items(state.items),
        kind=KIND[step.kind],
        begin_time=instant(state.began_at) if state.began_at else None,
        due_time=None if state.due_at is None else instant(state.due_at),
        signal=step.body.signal if isinstance(step.body, Wait) else "",
        scope=step.scope or "",
        in_else=state.in_else,
    )
    for operation, field in _FIELDS.items():
        of = operation_of(state, operation)
        if of is not None:
            getattr(message, field).CopyFrom(_operation(step.call_of(operation), of, shown))
    if state.forward is not None and _is_child(plan, state):
        message.child_saga_id = children.get(state.forward.key, "")
    return message


_FIELDS = {
    Operation.FORWARD: "forward",
    Operation.AWAIT: "awaiting",
    Operation.PROBE: "probe",
    Operation.STOP: "stop",
    Operation.COMPENSATE: "undo",
}


def _items(state: ItemsState) -> pb.StepItems:
    return pb.StepItems(
        count=state.count,
        began=state.began,
        under_way=state.under_way,
        applied=state.applied,
        failed=state.failed,
        to_undo=state.to_undo,
        undoing=state.undoing,
        stuck=state.stuck,
        first_failed=state.first_failed or "",
    )


def _operation(call: Call, state: OperationState, shown: _Shown | None) -> pb.StepOperation:
    # Of an item that has ended only what undoing it needs is kept: its request is not.
    request = shown.payload(state.request) if shown and state.request.type_name else None
    message = pb.StepOperation(
        idempotency_key=state.key,
        method=call.method,
        target=call.target,
        start_time=instant(state.started_at),
        attempts=state.attempts,
        retry_time=None if state.retry_at is None else instant(state.retry_at),
        parked=state.parked,
        last_code=state.last.code if state.last else "",
        last_message=state.last.message if state.last else "",
        request=request,
        spent=state.spent,
        manual_epoch=state.manual_epoch,
        unknown=state.unknown,
    )
    if state.open:
        message.open.attempt = state.open.number
        message.open.open_time.CopyFrom(instant(state.open.opened_at))
        message.open.deadline.CopyFrom(instant(state.open.deadline_at))
    return message
