"""What a definition means, checked before the first call: one function per rule, all findings at once.

`check` finds what is named (`found.py`), compiles every expression and applies the rules: about single steps
(`bodies.py`), about edges (`edges.py`, `rules.py`), about the pivot (`pivot.py`). What it resolved is returned for
`compile.py`; it is complete only when no error was found.
"""

from google.protobuf.descriptor import Descriptor

from orchestrator.definition import annotated, bodies, edges, found, lists, pivot, render, rules
from orchestrator.definition.bound import Bound, BoundCall, BoundStep, Services
from orchestrator.definition.diagnostics import At, Code, Findings
from orchestrator.definition.expressions import DYN
from orchestrator.definition.flat import Flat, Placed, flatten
from orchestrator.definition.model import Compensate, Definition, Step
from orchestrator.definition.names import Names, before_steps, during_steps
from orchestrator.ids import STEP_ID
from orchestrator.limits import ATTRIBUTES_MAX, STEPS_MAX
from orchestrator.saga.plan import ForEach, Guard


def check(definition: Definition, services: Services, findings: Findings) -> Bound:
    """Apply every rule; the result is complete where `findings.has_errors` stays false."""
    top = At(findings, ())
    flat = flatten(definition, top)
    input_ = found.input_type(definition, services, top)
    found.targets(definition, flat, services, top)
    _step_ids(flat, top)
    bound = Bound(
        flat=flat,
        input_type=input_.full_name if input_ is not None else "",
        steps={name: found.resolve(one, definition, services, top) for name, one in flat.items()},
    )
    bodies.judge(flat, bound.steps, services, top)
    _signals(flat, top)
    known = during_steps(services.types, input_, bound.offers())
    _expressions(definition, bound, (before_steps(services.types, input_), known), top)
    _graph(definition, bound, known, top)
    annotated.contradictions(flat, {name: step.called for name, step in bound.steps.items()}, top)
    return bound


def _graph(definition: Definition, bound: Bound, known: Names, top: At) -> None:
    flat, uses = bound.flat, known.uses
    needs = edges.edges(flat, uses, top)
    for name, direct in needs.items():
        bound.steps[name].needs = direct
    for name in rules.undo_needs_reply(uses):
        bound.steps[name].undo_reads_reply = True
    edges.cycles(flat, needs, top)
    rules.settled_reads(flat, uses, edges.upstream(flat, needs))
    rules.undo_order(flat, needs, top)
    rules.triggers(flat, needs, top)
    rules.absent_replies(flat, uses)
    pivot.judge(flat, needs, top)
    bodies.deadlines(definition, flat, needs, top)


def _step_ids(flat: Flat, top: At) -> None:
    if len(flat) > STEPS_MAX:
        message = f"{len(flat)} steps, more than the {STEPS_MAX} a saga may have"
        (top / "steps").key(Code.TOO_LARGE, message, "split it into several sagas")
    for name, one in flat.items():
        at = At(top.findings, one.path)
        if STEP_ID.fullmatch(name) is None:
            fixed = "".join(char if char.isascii() and char.isalnum() else "_" for char in name.lower()).strip("_")
            fix = f"write `{fixed}`" if STEP_ID.fullmatch(fixed) else "write a name such as `reserve_stock`"
            why = f"`{name}` is not a step id: a letter a-z, then a-z 0-9 _ (a dash is minus in an expression)"
            at.key(Code.INVALID_VALUE, why, fix)
        elif bodies.is_reserved(name):
            at.key(Code.INVALID_VALUE, f"`{name}` is a word of the expression language", f"write `{name}_step`")


def _signals(flat: Flat, top: At) -> None:
    """A signal has one type, whichever step waits for it."""
    types: dict[str, tuple[str, str]] = {}
    for name, one in flat.items():
        if one.step.wait is None:
            continue
        first, type_ = types.setdefault(one.step.wait.signal, (name, one.step.wait.type))
        if type_ != one.step.wait.type:
            message = f"signal `{one.step.wait.signal}` is a {type_} where step `{first}` waits for it"
            (At(top.findings, one.path) / "wait" / "type").value(
                Code.INVALID_VALUE, message, "wait for another signal, or for the same type"
            )


# --- expressions ---------------------------------------------------------------------------------------------------


def _expressions(definition: Definition, bound: Bound, names: tuple[Names, Names], top: At) -> None:
    before, during = names
    if len(definition.attributes) > ATTRIBUTES_MAX:
        message = f"{len(definition.attributes)} attributes, more than {ATTRIBUTES_MAX}"
        (top / "attributes").key(Code.TOO_LARGE, message, "keep those one searches for")
    if definition.attributes:
        bound.attributes = render.compile_attributes(definition.attributes, top / "attributes", before)
    for name, one in bound.flat.items():
        _step_expressions(one, bound.steps[name], during, At(top.findings, one.path))
    if definition.output is not None:
        output = render.compile_output(definition.output, top / "output", during)
        if output is not None:
            bound.output, bound.output_type = output


def _step_expressions(one: Placed, bound: BoundStep, names: Names, at: At) -> None:
    step = one.step
    if step.when is not None:
        bound.when = _guard(step.when, at / "when", names)
    if step.sleep is not None:
        bound.asleep = render.compile_sleep(step.sleep, at / "sleep", names)
    known = _for_each(step, bound, names, at)
    if bound.call is not None:
        bound.call = _rendering(bound.call, step.request, at / "request", known)
    _child_input(step, bound, known, at / "input")
    settled = known.with_reply(bound.reply)
    if step.refuse is not None:
        bound.refuse = _guard(step.refuse, at / "refuse", settled)
    if step.until is not None:
        bound.until = _guard(step.until, at / "until", settled)
    if step.reason is not None:
        bound.reason = render.compile_sentence(step.reason, at / "reason", settled)
    if isinstance(step.compensate, Compensate) and bound.undo is not None:
        bound.undo = _rendering(bound.undo, step.compensate.request, at / "compensate" / "request", settled)
    _probe(step, bound, known, at / "probe")


def _for_each(step: Step, bound: BoundStep, names: Names, at: At) -> Names:
    """Return the names of what is read for one item, or of the step where it has none."""
    if step.for_each is None:
        return names
    compiled = lists.compile_items(step.for_each, at / "for_each", names)
    if compiled is None:
        return names.with_item(step.item, DYN)  # what is wrong was said: no more about it
    items, element = compiled
    bound.for_each = ForEach(items=items, parallel=step.parallel, tolerate=step.tolerate)
    return names.with_item(step.item, element)


def _child_input(step: Step, bound: BoundStep, known: Names, at: At) -> None:
    if bound.child is None:
        return
    descriptor: Descriptor | None = known.types.message(bound.child.input_type)
    assert descriptor is not None  # what a child takes is pinned with its parent
    bound.child_input = render.compile_message(step.input if step.input is not None else {}, descriptor, at, known)


def _probe(step: Step, bound: BoundStep, known: Names, at: At) -> None:
    if step.probe is None or bound.probe is None:
        return
    bound.probe = _rendering(bound.probe, step.probe.request, at / "request", known)
    answered = known.with_reply(bound.probe.method.output_type)
    bound.read_probe = render.compile_probe(step.probe, bound.reply, at, answered)


def _rendering(call: BoundCall, request: render.Tree, at: At, known: Names) -> BoundCall:
    rendering = render.compile_message(request, call.method.input_type, at, known)
    return BoundCall(target=call.target, method=call.method, render=rendering)


def _guard(text: str, at: At, known: Names) -> Guard | None:
    compiled = render.compile_guard(text, at, known)
    if compiled is None:
        return None
    guard, expression = compiled
    if not expression.names:
        at.value(Code.CONSTANT_GUARD, "this condition reads nothing, so it always gives the same answer", "remove it")
    return guard
