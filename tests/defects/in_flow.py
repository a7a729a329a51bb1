"""Mistakes in what begins and in what a saga turns on: failures, cancels, signals, timers, windows, pivots."""

from tests.defects.planting import Defect

IN_FLOW = (
    Defect(
        name="forward-after-compensation-began",
        breaks="I17, M2",
        module="saga.forward",
        says="new steps are started while the saga is being undone",
        old="    if state.cause is not None:\n        return\n    if state.cancel_reason",
        new="    if state.cancel_reason",
    ),
    Defect(
        name="cancel-behind-the-pivot",
        breaks="I21, R17",
        module="saga.decide",
        says="a saga that is past its pivot is cancelled all the same",
        old='    if state.is_past_pivot:\n        return repair.past_pivot(state, "cancelled")\n',
        new="",
    ),
    Defect(
        name="failure-behind-the-pivot",
        breaks="I21, R17",
        module="saga.state",
        says="what comes after the pivot may fail once its attempts are spent",
        old="    if step.kind is StepKind.RETRIABLE or step.on_failure is OnFailure.RETRY:\n        return True\n",
        new="""    if step.on_failure is OnFailure.RETRY:
        return True
    if step.kind is StepKind.RETRIABLE:
        return False
""",
    ),
    Defect(
        name="doubt-passed-for-success",
        breaks="I24, I27, R14",
        module="saga.frontier",
        says="a step of which nobody knows the end does not fail the saga",
        old="_FAILED = frozenset({StepStatus.NOT_APPLIED, StepStatus.UNSETTLED})",
        new="_FAILED = frozenset({StepStatus.NOT_APPLIED})",
    ),
    Defect(
        name="optional-failure-stops",
        breaks="I27, R14",
        module="saga.forward",
        says="an optional step's failure undoes the saga",
        old="if has_failed(step := state.steps[each]) and not steps[each].optional]",
        new="if has_failed(step := state.steps[each])]",
    ),
    Defect(
        name="window-one-too-wide",
        breaks="I16",
        module="saga.parts",
        says="a list has one item more under way than it may",
        old="full = items.under_way >= for_each.parallel or",
        new="full = items.under_way > for_each.parallel or",
    ),
    Defect(
        name="list-tolerates-one-more",
        breaks="I15, I27",
        module="saga.parts",
        says="a list with one failure too many counts as done",
        old="    if items.failed > tolerate:\n",
        new="    if items.failed > tolerate + 1:\n",
    ),
    Defect(
        name="signal-recorded-twice",
        breaks="I29, M14",
        module="saga.decide",
        says="a signal that is sent again is another one",
        old="    if command.request_id in state.signal_ids:\n        return None\n    if command.signal not in",
        new="    if command.signal not in",
    ),
    Defect(
        name="signal-taken-twice",
        breaks="I29",
        module="saga.evolve_with_step",
        says="a signal that a step has taken is there for the next one",
        old="        signals = {**signals, body.signal: tuple(left)}\n",
        new="        signals = {**signals, body.signal: (taken, *left)}\n",
    ),
    Defect(
        name="signal-overwritten",
        breaks="I29, I31",
        module="saga.evolve",
        says="a second signal of a name replaces the first that nobody has taken",
        old="    waiting = (*state.signals.get(event.signal, ()), Signal(",
        new="    waiting = (*state.signals.get(event.signal, ())[:0], Signal(",
    ),
    Defect(
        name="wait-over-too-early",
        breaks="I30",
        module="saga.parts",
        says="a step has slept enough whenever its timer comes, due or not",
        old="    if step.status is not StepStatus.WAITING or step.due_at is None or draft.moment.at < step.due_at:\n",
        new="    if step.status is not StepStatus.WAITING or step.due_at is None:\n",
    ),
    Defect(
        name="deadline-of-the-undo",
        breaks="I22, R23",
        module="saga.budget",
        says="an undo must end by the saga's forward deadline",
        old="    if operation is not FORWARD:\n        return end_at\n",
        new="    if operation not in {Operation.FORWARD, Operation.COMPENSATE}:\n        return end_at\n",
    ),
    Defect(
        name="alternative-of-a-failed-scope-skipped",
        breaks="I18, R18",
        module="saga.backward",
        says="a part of the saga counts as undone as soon as nothing more can be started in it",
        old="    return not (draft.state.to_undo if root is None else remaining(draft.state, root))\n",
        new="    return not list(startable(draft.state, draft.moment.at, root))\n",
    ),
)
