"""What must hold of every saga's trace, as far as its spans alone can show it (T1-T9).

One rule set for two kinds of trace: what the orchestrator makes of records (`unit/telemetry/trees.py`), and what a
backend has stored (`trees.py`). Each of them says its spans as `Told`. A rule is a function that returns what breaks
it, in sentences with the names of the spans, so that a failing test says which span is wrong and how. Rules derive what
is to be from what happened (an outcome, a status, a phase), never from another tag that says the same.
`unit/telemetry/test_sound.py` plants each fault.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

ORCHESTRATOR = "saga-orchestrator"
ATTEMPTS_MAX = 128
"""Of one operation have spans; docs/tracing.md promises it."""
SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Codes that are a failure of the server by OpenTelemetry's conventions for gRPC; others are answers."""
CUT_OFF = {"RESET", "SAGA_ENDED"}
"""Reasons of what something else brought to its end."""
GOOD_REASONS = {"REPLIED", "DONE", "PROBED", "RESOLVED"}
_OF_ATTEMPT = ("saga.step", "saga.operation", "saga.attempt")
_OF_SETTLED = ("saga.call.phase", "saga.outcome")
_OF_CALL = ("rpc.system.name", "rpc.method", "saga.target", "server.address")
_OF_SAGA = ("saga.uid", "saga.definition", "saga.revision")
_OF_SERVER = ("saga.id", *_OF_ATTEMPT, "rpc.system.name", "rpc.method")

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A span, as much of it as there are rules for; instants in Unix nanoseconds."""

    trace_id: int
    span_id: int
    parent_id: int
    """0: no parent."""
    name: str
    kind: str
    """client, server or internal."""
    service: str
    begin_ns: int
    end_ns: int
    tags: Mapping[str, Value]
    links: tuple[tuple[int, int], ...] = ()
    """Trace and span ids."""
    error: str | None = None
    """Why it has the red mark; empty where it does not say; None where it has none."""

    @property
    def place(self) -> tuple[int, int]:
        """Return its trace's id and its own: what is linked to."""
        return self.trace_id, self.span_id

    @property
    def run(self) -> int:
        """Return how often its step was begun anew before."""
        return int(self.tags.get("saga.run", 0))

    @property
    def step(self) -> str:
        """Return the path that it is about."""
        return str(self.tags.get("saga.step", ""))

    @property
    def operation(self) -> str:
        """Return which operation it is, or is an attempt of."""
        return str(self.tags.get("saga.operation", ""))

    @property
    def is_attempt(self) -> bool:
        """Return whether it is a call of the orchestrator."""
        return self.kind == "client" and self.service == ORCHESTRATOR

    @property
    def is_saga(self) -> bool:
        """Return whether it is the saga's own, or that of a part of its trace."""
        return self.service == ORCHESTRATOR and self.name.startswith("saga ")

    @property
    def is_whole(self) -> bool:
        """Return whether it is a step, an item or an undo: the whole of an operation."""
        return self.service == ORCHESTRATOR and self.kind == "internal" and bool(self.operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What else a rule may need to know of a trace."""

    outside: Collection[int] = ()
    """Spans that are not there and may have children: the caller's, who tells somebody else."""
    is_clock_steady: bool = True
    """Where it was set back while the saga ran, ends may be before ends; beginnings are in order all the same."""
    apart_ns: int = 0
    """By how much two spans of one process may seem to overlap."""
    clocks_apart_ns: int = 0
    """By how much two processes may disagree about the time."""


class Tree:
    """Spans by who is above them."""

    def __init__(self, spans: Sequence[Told], known: Known) -> None:
        self.spans = spans
        self.known = known
        self.by_id = {span.span_id: span for span in spans}
        self.below: dict[int, list[Told]] = {}
        for span in spans:
            self.below.setdefault(span.parent_id, []).append(span)

    def above(self, span: Told) -> Told | None:
        """Return the parent; None where it is not there."""
        return self.by_id.get(span.parent_id)

    def tried(self, whole: Told | None, operation: str) -> list[Told]:
        """Return the attempts of an operation below a step or an undo, in their order."""
        below = () if whole is None else self.below.get(whole.span_id, ())
        found = [span for span in below if span.is_attempt and span.operation == operation]
        return sorted(found, key=lambda span: int(span.tags.get("saga.attempt", 0)))


def broken(spans: Sequence[Told], known: Known) -> list[str]:
    """Return what is wrong with a trace, or with all parts of one, once its saga has ended; nothing where all is well.

    Source: semantics.md, T1-T9, and docs/tracing.md.
    """
    tree = Tree(spans, known)
    return [sentence for rule in RULES for sentence in rule(tree)]


def _told_once(tree: Tree) -> Iterator[str]:
    """No two spans share an id, and no two are of one thing (T8): a step, an undo, an attempt, a part of the saga."""
    for span_id, count in Counter(span.span_id for span in tree.spans).items():
        if count > 1:
            yield f"{count} spans have the id {span_id:016x}"
    for what, count in Counter(map(_what, tree.by_id.values())).items():
        if what is not None and count > 1:
            yield f"{' '.join(map(str, what))} is told {count} times"


def _what(span: Told) -> tuple[object, ...] | None:
    if span.is_whole:
        return span.operation, "of", span.step, "in run", span.run
    if span.is_attempt:
        below = f"below {span.parent_id:016x}"  # attempts are numbered anew in each run
        return "attempt", span.tags.get("saga.attempt"), "to", span.operation, span.step, below
    if span.is_saga or (span.service == ORCHESTRATOR and span.name == "saga.start"):
        return span.name, f"in trace {span.trace_id:032x}"
    if span.service == ORCHESTRATOR and span.name == "saga.compensation":
        return (span.name,)
    return None


def _one_tree(tree: Tree) -> Iterator[str]:
    """In each trace there is one span without a parent, and every other reaches it."""
    for trace_id in {span.trace_id for span in tree.spans}:
        spans = [span for span in tree.spans if span.trace_id == trace_id]
        roots = [span.name for span in spans if not span.parent_id or span.parent_id in tree.known.outside]
        if len(roots) != 1:
            yield f"the trace has {len(roots)} roots: {roots}"
    for span in tree.spans:
        if not span.parent_id or span.parent_id in tree.known.outside:
            continue
        above = tree.above(span)
        if above is None:
            yield f"the parent of {span.name} is missing: {span.parent_id:016x}"
        elif above.trace_id != span.trace_id:
            yield f"{span.name} has its parent in another trace"
        elif len(list(_ancestors(span, tree))) >= len(tree.spans):
            yield f"{span.name} is above itself"


def _ancestors(span: Told, tree: Tree) -> Iterator[Told]:
    """Give what is above, nearest first; a circle is gone round once."""
    for _ in tree.spans:
        above = tree.above(span)
        if above is None:
            return
        yield above
        span = above


def _in_place(tree: Tree) -> Iterator[str]:
    """Everything hangs below what it is a part of; a service's own span below the attempt that called it (T5, T6)."""
    for span in tree.spans:
        above = tree.above(span)
        if above is None:
            if span.service == ORCHESTRATOR and not span.is_saga and span.parent_id in {0, *tree.known.outside}:
                yield f"{span.name} is not below its saga"
        elif span.kind == "server" and "saga.attempt" in span.tags:
            yield from _served(span, above)
        elif span.service == ORCHESTRATOR and not _belongs(span, above):
            yield f"{span.name} is below {above.name}, where it does not belong"


def _belongs(span: Told, above: Told) -> bool:
    if span.is_saga:
        return above.service != ORCHESTRATOR
    if span.name in {"saga.start", "saga.compensation"}:
        return above.is_saga
    if span.name.startswith("rollback "):
        return above.is_saga or (above.is_whole and (above.step, above.operation) == (span.step, "forward"))
    if span.is_attempt:
        side = "compensate" if span.operation == "compensate" else "forward"
        return above.is_whole and (above.step, above.operation) == (span.step, side)
    if span.operation == "compensate":
        return _undoes(above)
    if span.step.endswith("]"):
        return above.is_whole and (above.step, above.operation) == (span.step.rpartition("[")[0], "forward")
    return above.is_saga or (above.is_whole and above.operation == "forward" and not above.step.endswith("]"))


def _undoes(span: Told) -> bool:
    return span.service == ORCHESTRATOR and (span.name == "saga.compensation" or span.name.startswith("rollback "))


def _served(span: Told, above: Told) -> Iterator[str]:
    of_call = (*_OF_ATTEMPT, "rpc.method")
    called, served = ([each.tags.get(name) for name in of_call] for each in (above, span))
    if not above.is_attempt or called != served:
        yield f"{span.name} of {span.service} served {served}, and is below {above.name}, which called {called}"
    elif above.tags.get("saga.call.phase") == "NOT_SENT":
        yield f"{span.name} of {span.service} is below an attempt that was never sent"


def _counted(tree: Tree) -> Iterator[str]:
    """The attempts of an operation are 1 to n; there are none above the bound, and what is counted was above it."""
    for whole in tree.spans:
        if not whole.is_whole:
            continue
        operations = {span.operation for span in tree.below.get(whole.span_id, ()) if span.is_attempt}
        lengths = [0]
        for operation in sorted(operations):
            numbers = [span.tags.get("saga.attempt") for span in tree.tried(whole, operation)]
            lengths.append(len(numbers))
            if numbers != list(range(1, len(numbers) + 1)):
                yield f"{whole.name} has the attempts {numbers} to {operation}"
            if len(numbers) > ATTEMPTS_MAX:
                yield f"{whole.name} has {len(numbers)} attempts to {operation}, over {ATTEMPTS_MAX}"
        if "saga.spans_untold" in whole.tags and "saga.items.count" not in whole.tags and max(lengths) < ATTEMPTS_MAX:
            yield f"{whole.name} counts attempts that have no span, and tells {max(lengths)}"
        was_called = whole.tags.get("saga.reason") == "REPLIED" or _is_undone(whole)
        if was_called and not operations:
            yield f"{whole.name} was answered, and has no attempt"


def _is_undone(span: Told) -> bool:
    return span.operation == "compensate" and "saga.reason" not in span.tags


def _undone_linked(tree: Tree) -> Iterator[str]:
    """An undo is linked to the last attempt of what it undoes, and to nothing else (T6).

    Where that attempt is past the bound it is to the step. A person may say that a call took place which nobody made;
    what undoes that has nothing to link to.
    """
    forward = {(span.step, span.run): span for span in tree.spans if span.is_whole and span.operation == "forward"}
    for undo in tree.spans:
        if not (undo.is_whole and undo.operation == "compensate"):
            continue
        step = forward.get((undo.step, undo.run))
        tried = tree.tried(step, "forward")
        if step is None:
            yield f"{undo.name} undoes a step that is not there"
            continue
        expected: list[tuple[tuple[int, int], ...]] = [(each.place,) for each in tried[-1:]]
        if "saga.spans_untold" in step.tags and len(tried) == ATTEMPTS_MAX:
            expected.append((step.place,))
        if not tried and step.tags.get("saga.reason") == "RESOLVED":
            expected.append(())
        if undo.links not in expected:
            yield f"{undo.name} is linked to {undo.links} and not to the attempt that it undoes, {expected}"


def _linked(tree: Tree) -> Iterator[str]:
    """A link into a trace that is here leads to a span that is here (T7)."""
    places = {span.place for span in tree.spans}
    traces = {span.trace_id for span in tree.spans}
    for span in tree.spans:
        for trace_id, span_id in span.links:
            is_outside = span_id in tree.known.outside
            if trace_id in traces and (trace_id, span_id) not in places and not is_outside:
                yield f"{span.name} is linked to {span_id:016x}, which is not there"


def _failures_marked(tree: Tree) -> Iterator[str]:
    """The red mark is where something failed, and nowhere else; it says what."""
    for span in tree.spans:
        if span.service != ORCHESTRATOR:
            failure = span.tags.get("rpc.response.status_code") if span.kind == "server" else None
            failure = failure if failure in SERVER_FAULTS else None
        else:
            failure = _failure(span)
            if span.tags.get("error.type") != failure:
                yield f"{span.name} failed by {failure}, and its error is {span.tags.get('error.type')}"
            if span.error == "":
                yield f"{span.name} is marked as an error, and does not say of what"
        if (span.error is not None) != (failure is not None):
            marked = "not marked" if span.error is None else "marked"
            yield f"{span.name} of {span.service} is {marked} as an error, and failed by {failure}"


def _failure(span: Told) -> Value | None:
    """Return what a span of the orchestrator has failed by; None where it has not."""
    tags = span.tags
    reason, code = tags.get("saga.reason"), tags.get("rpc.response.status_code")
    if span.is_saga:
        status = tags.get("saga.status", "COMPLETED")
        cause = tags.get("saga.cause", "without a cause")
        return {"COMPLETED": None, "TERMINATED": "TERMINATED"}.get(str(status), cause)
    if span.is_attempt and "saga.call.phase" in tags:
        return "LOST" if tags["saga.call.phase"] == "LOST" else code if code != "OK" else None
    if span.is_attempt or (span.is_whole and reason in CUT_OFF):
        return reason
    if not span.is_whole or "saga.outcome" not in tags or reason == "STOPPED":
        return None
    outcome = tags["saga.outcome"]
    if outcome == "APPLIED" and reason in GOOD_REASONS:
        return None
    return reason if reason != "REPLIED" else outcome if code in {None, "OK"} else code


def _described(tree: Tree) -> Iterator[str]:
    """The attributes by which a span is found and read are there; all are about one saga."""
    for span in tree.spans:
        expected: tuple[str, ...] = ("saga.id",) if span.service == ORCHESTRATOR else ()
        if span.is_saga or span.name == "saga.start":
            expected += _OF_SAGA
        if span.is_saga and "saga.continued" not in span.tags:
            expected += ("saga.status",)
        if span.is_attempt:
            expected += _OF_ATTEMPT + (("saga.child",) if "saga.child" in span.tags else _OF_CALL)
            expected += () if span.tags.get("saga.reason") in CUT_OFF else _OF_SETTLED
        if span.is_attempt and span.tags.get("saga.call.phase") not in {None, "LOST"}:
            expected += ("rpc.response.status_code",)
        if span.kind == "server":
            expected += _OF_SERVER
        if missing := [name for name in expected if name not in span.tags]:
            yield f"{span.name} of {span.service} does not say {missing}"
    about = {str(span.tags["saga.id"]) for span in tree.spans if "saga.id" in span.tags}
    if len(about) != 1:
        yield f"the trace is about {sorted(about)}"


def _within(tree: Tree) -> Iterator[str]:
    """A span lies within its parent; a service's own within the call, as nearly as two processes agree on the time."""
    for span in tree.spans:
        parent = tree.above(span)
        if span.end_ns < span.begin_ns:
            yield f"{span.name} ends before it begins"
        if parent is None or parent.service not in {ORCHESTRATOR, span.service}:
            continue
        apart_ns = tree.known.apart_ns if span.service == parent.service else tree.known.clocks_apart_ns
        if span.begin_ns < parent.begin_ns - apart_ns:
            yield f"{span.name} of {span.service} begins {parent.begin_ns - span.begin_ns} ns before {parent.name}"
        if not tree.known.is_clock_steady or _may_be_later(span, parent):
            continue
        if span.end_ns > parent.end_ns + apart_ns:
            yield f"{span.name} of {span.service} ends {span.end_ns - parent.end_ns} ns after {parent.name}"


def _may_be_later(span: Told, parent: Told) -> bool:
    """Return whether a span may go on when its parent has ended.

    A service may work for longer on a call that it does not answer with OK: it ends the call, and then its work; and
    the caller may have given up. A completed child has an end of its own, and may be undone after that. What is at work
    in a step that gives up comes to its own end, and so does the call that stops it; undos that began in a rollback go
    on when the whole saga is undone.
    """
    if span.kind == "server":
        return parent.tags.get("rpc.response.status_code") != "OK"
    if span.is_attempt:
        return span.operation == "stop"
    if span.is_whole and parent.is_whole:
        return parent.tags.get("saga.reason") in {"STOPPED", "ITEM_FAILED"}
    if span.is_whole and span.operation == "compensate":
        return parent.name.startswith("rollback ")
    return span.name == "saga.compensation" and parent.tags.get("saga.status") == "COMPLETED"


RULES: Sequence[Callable[[Tree], Iterator[str]]] = (
    _told_once,
    _one_tree,
    _in_place,
    _counted,
    _undone_linked,
    _linked,
    _failures_marked,
    _described,
    _within,
)
