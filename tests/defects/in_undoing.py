"""Mistakes in undoing: what, in which order, and when."""

from tests.defects.planting import Defect

IN_UNDOING = (
    Defect(
        name="unknown-not-undone",
        breaks="I18, I24, R20",
        module="saga.evolve_order",
        says="a step of which nobody knows the end is not undone",
        old="    return is_left(step) if step.items is None else",
        new="    return is_left(step) and step.status is not StepStatus.UNSETTLED if step.items is None else",
    ),
    Defect(
        name="unknown-items-not-undone",
        breaks="I18, I24",
        module="saga.evolve_items",
        says="an item of which nobody knows the end is not undone",
        old="to_undo=is_undoable and is_left(item),",
        new="to_undo=is_undoable and is_left(item) and item.status is not StepStatus.UNSETTLED,",
    ),
    Defect(
        name="items-of-a-failed-list-not-undone",
        breaks="I18, I24",
        module="saga.evolve_order",
        says="a list that failed leaves the items that were applied",
        old="if step.items is None else",
        new="if step.items is None or step.status is not StepStatus.APPLIED else",
    ),
    Defect(
        name="undone-in-order-of-completion",
        breaks="I20, R19",
        module="saga.undoorder",
        says="where steps are undone one by one, the first goes first",
        old="    for step_id in reversed(state.to_undo):\n",
        new="""    is_turned = state.plan.undo_order is UndoOrder.SEQUENTIAL
    for step_id in state.to_undo if is_turned else reversed(state.to_undo):
""",
    ),
    Defect(
        name="undone-at-once",
        breaks="I20, R19",
        module="saga.undoorder",
        says="what began after a step had ended is undone beside it",
        old="        if step.settled_version < began:\n            return\n",
        new="",
    ),
    Defect(
        name="undone-beside-open-calls",
        breaks="I19, R12",
        module="saga.backward",
        says="undoing begins while calls are open",
        old="and is_undecided(state.step(path)):\n            return False\n    return True",
        new="and path in state.rollbacks:\n            return False\n    return True",
    ),
    Defect(
        name="undone-before-the-drain",
        breaks="I19, R12",
        module="saga.backward",
        says="a call in doubt is undone while it may still arrive",
        old="if (drain_at(state, step) or 0.0) <= now_at)",
        new="if step.status in _DONE_FORWARD)",
    ),
    Defect(
        name="drain-without-skew",
        breaks="I19, R12",
        module="saga.state",
        says="a call in doubt is undone at its deadline, by our clock",
        old="        return self.drained_at + CLOCK_SKEW_S if self.unknown else 0.0",
        new="        return self.drained_at if self.unknown else 0.0",
    ),
    Defect(
        name="applied-undone-before-the-drain",
        breaks="I19, R12",
        module="saga.backward",
        says="an applied step is undone at once, although an attempt before may still arrive",
        old="    if step.forward is None or not step.forward.unknown or",
        new="    if step.forward is None or step.outcome is Outcome.APPLIED or not step.forward.unknown or",
    ),
    Defect(
        name="barrier-taken-for-granted",
        breaks="I19, R12a",
        module="saga.backward",
        says="every method that keeps keys is trusted to keep the barrier too",
        old="or state.plan.step_of(step.id).call.barrier:\n        return None",
        new="or state.plan.step_of(step.id).call.idempotent:\n        return None",
    ),
    Defect(
        name="refused-undo-taken-for-done",
        breaks="I23, I24",
        module="saga.outcome",
        says="a service that refuses to undo is taken to have had nothing to undo",
        old="        return Stick(AttentionReason.UNDO_REFUSED)",
        new="        return Settle(Outcome.APPLIED, SettleReason.REPLIED, nothing_to_undo=True)",
    ),
    Defect(
        name="undo-given-up",
        breaks="I23, R24",
        module="saga.outcome",
        says="an undo that nobody answered is taken for done",
        old="""    if not _has_budget(end):
        return Stick(AttentionReason.ATTEMPTS_EXCEEDED)
    return Again(_delay_s(end), end.is_parked)


def _has_budget""",
        new="    return Settle(Outcome.APPLIED, SettleReason.REPLIED)\n\n\ndef _has_budget",
    ),
    Defect(
        name="retries-go-on-while-undoing",
        breaks="I17, R14",
        module="saga.backward",
        says="items that wait for their next attempt are not stopped when the saga turns back",
        old="        stop(draft, step_id)\n        stop_items(draft, step_id)\n",
        new="        stop(draft, step_id)\n",
    ),
    Defect(
        name="operation-left-running",
        breaks="I19, I24",
        module="saga.backward",
        says="a long-running operation is not awaited to its end before it is undone",
        old="""    if step.status is StepStatus.WAITING and step.awaiting is not None:
        _stop_operation(draft, step)
    elif""",
        new="    if",
    ),
)
