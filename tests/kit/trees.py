"""What must hold of every trace that a backend has stored, whatever happened to its saga.

`assert_sound` is all of it. Each rule is a function that returns what breaks it, in sentences with the names of the
spans, so that a failing test says which span is wrong and how.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from tests.kit.jaeger import Reference, Span, Trace

T = TypeVar("T")

ORCHESTRATOR = "saga-orchestrator"
CLOCKS_APART_S = 0.005
"""Two processes of one machine read one clock; the orchestrator tells steady time, which follows that clock."""
ROUNDED_US = 2
"""A backend keeps whole microseconds, of a beginning and of a length."""
SERVER_FAULTS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
"""Codes that are a failure of the server by OpenTelemetry's conventions for gRPC; others are answers."""
_OF_ATTEMPT = ("saga.step", "saga.operation", "saga.attempt", "saga.call.phase", "saga.outcome")
_OF_CALL = ("rpc.system.name", "rpc.method", "saga.target", "server.address")
_OF_SAGA = ("saga.uid", "saga.definition", "saga.revision")


def assert_sound(
    trace: Trace, *, is_retold: bool = False, before: Trace = (), clocks_apart_s: float = CLOCKS_APART_S
) -> None:
    """Assert every rule below.

    `is_retold`: a process was killed, so the same span may have been sent twice. `before`: the trace that this one goes
    on from. `clocks_apart_s`: by how much the orchestrator and the services may disagree about the time.
    """
    assert trace, "the trace is not there"
    assert list(_twice(trace, is_retold=is_retold)) == []
    spans = distinct(trace)
    broken = [sentence for rule in _RULES for sentence in rule(spans)]
    broken += [*_undone_linked(spans, before), *_within(spans, clocks_apart_s)]
    assert broken == [], "\n".join(broken)


def distinct(trace: Trace) -> Trace:
    """Return each span once."""
    return tuple({span.span_id: span for span in trace}.values())


def paths(trace: Trace) -> dict[str, list[Span]]:
    """Return spans by where they hang in the tree: `saga x > step y > …`, without the caller's own."""
    by_id = {span.span_id: span for span in trace}
    found: dict[str, list[Span]] = {}
    for span in by_id.values():
        above = list(_ancestors(span, by_id))
        names = [span.name, *(each.name for each in above)]
        is_ours = [each.service == ORCHESTRATOR for each in (span, *above)]
        if any(is_ours):
            kept = names[: len(names) - is_ours[::-1].index(True)]
            found.setdefault(" > ".join(reversed(kept)), []).append(span)
    return found


def only(found: Sequence[T]) -> T:
    """Return the one that there is."""
    assert len(found) == 1, f"{len(found)} where one is expected: {found}"
    return found[0]


def root_of(trace: Trace) -> Span:
    """Return the saga's own span."""
    return only([span for span in distinct(trace) if span.name.startswith("saga ")])


def attempts(trace: Trace, step: str, operation: str = "forward") -> list[Span]:
    """Return the attempts of an operation, in their order."""
    found = [span for span in distinct(trace) if _is_attempt(span) and _about(span) == (step, operation)]
    return sorted(found, key=lambda span: int(span.tags["saga.attempt"]))


def code_of(span: Span) -> str:
    """Return the gRPC status that a call ended with, as its caller or its server tells it; empty where none is told."""
    return str(span.tags.get("rpc.response.status_code", ""))


def has_ended(trace: Trace) -> bool:
    """Return whether the saga's own span is there, and the services' own of all calls that were answered.

    The orchestrator sends a saga's own span last; a service sends its spans when it likes.
    """
    served = {parent.span_id for span in trace if span.kind == "server" for parent in span.parents}
    answered = {
        span.span_id for span in trace if span.tags.get("saga.call.phase") == "REPLIED" and "rpc.method" in span.tags
    }
    return answered <= served and any("saga.status" in span.tags for span in trace)


def services_in_order(trace: Trace) -> list[str]:
    """Return the called services by when each was first called on the saga's way forward, then on its way back."""
    spans = sorted(distinct(trace), key=lambda span: span.begin_us)
    by_id = {span.span_id: span for span in spans}
    there: list[str] = []
    back: list[str] = []
    for span in spans:
        if span.kind == "server" and (parent := _parent(span, by_id)) is not None:
            (back if parent.tags.get("saga.operation") == "compensate" else there).append(span.service)
    return [*dict.fromkeys(there), *dict.fromkeys(back)]


# --- the rules -------------------------------------------------------------------------------------------------------


def _twice(trace: Trace, *, is_retold: bool) -> Iterator[str]:
    """No two spans share an id; what a crash had sent again is the same span."""
    for span_id, count in Counter(span.span_id for span in trace).items():
        told = [span for span in trace if span.span_id == span_id]
        if count > 1 and (not is_retold or any(_content(span) != _content(told[0]) for span in told)):
            yield f"{count} spans have the id {span_id}: {[span.name for span in told]}"


def _content(span: Span) -> object:
    """Return what a backend compares, which then shows one of two that are the same; the process is part of it."""
    return span.name, span.process, span.begin_us, span.end_us, span.parents, span.links, span.tags, span.events


def _one_tree(spans: Trace) -> Iterator[str]:
    """There is one span without a parent, and every other reaches it."""
    by_id = {span.span_id: span for span in spans}
    roots = [span.name for span in spans if not span.parents]
    if len(roots) != 1:
        yield f"the trace has {len(roots)} roots: {roots}"
    for span in spans:
        if len(span.parents) > 1:
            yield f"{span.name} has {len(span.parents)} parents"
        elif span.parents and _parent(span, by_id) is None:
            yield f"the parent of {span.name} is missing: {span.parents[0].span_id}"
        elif len(list(_ancestors(span, by_id))) >= len(spans):
            yield f"{span.name} is above itself"


def _nothing_odd(spans: Trace) -> Iterator[str]:
    """The backend has nothing to complain about; of clocks it knows less than `_within`."""
    for span in spans:
        for warning in span.warnings:
            if "clock skew" not in warning:
                yield f"{span.name}: {warning}"


def _undone_linked(spans: Trace, before: Trace) -> Iterator[str]:
    """An undo is linked to the last attempt of what it undoes, and to nothing else (T6)."""
    for span in spans:
        if not span.name.startswith("undo "):
            continue
        last = attempts((*before, *spans), str(span.tags["saga.step"]))[-1:]
        expected = tuple(Reference(trace_id=each.trace_id, span_id=each.span_id) for each in last)
        if span.links != expected:
            yield f"{span.name} is linked to {span.links} and not to the attempt that it undoes, {expected}"


def _failures_marked(spans: Trace) -> Iterator[str]:
    """The red mark is where something failed, and nowhere else; it says what."""
    for span in spans:
        if span.service == ORCHESTRATOR:
            failed = "error.type" in span.tags
            status = span.tags.get("saga.status")
            if status is not None and failed != (status != "COMPLETED"):
                yield f"{span.name} is {status}, and its error is {span.tags.get('error.type')}"
            code = span.tags.get("rpc.response.status_code")
            if _is_attempt(span) and code is not None and failed != (code != "OK"):
                yield f"{span.name} was answered {code}, and its error is {span.tags.get('error.type')}"
            if span.is_error and not span.tags.get("otel.status_description"):
                yield f"{span.name} is marked as an error, and does not say of what"
        else:
            failed = code_of(span) in SERVER_FAULTS
        if span.is_error != failed:
            yield f"{span.name} of {span.service} is {'' if span.is_error else 'not '}marked as an error"


def _described(spans: Trace) -> Iterator[str]:
    """The attributes by which a span is found and read are there; all are about one saga."""
    for span in spans:
        expected: tuple[str, ...] = ("saga.id",) if span.service == ORCHESTRATOR else ()
        if span.name == "saga.start" or span.name.startswith("saga ") or "saga.status" in span.tags:
            expected += _OF_SAGA
        if _is_attempt(span):
            expected += _OF_ATTEMPT + (("saga.child",) if "saga.child" in span.tags else _OF_CALL)
        if span.kind == "server":
            expected += ("saga.id", "saga.step", "saga.operation", "saga.attempt", "rpc.system.name", "rpc.method")
        if missing := [name for name in expected if name not in span.tags]:
            yield f"{span.name} of {span.service} does not say {missing}"
    about = {str(span.tags["saga.id"]) for span in spans if "saga.id" in span.tags}
    if len(about) != 1:
        yield f"the trace is about {sorted(about)}"


def _within(spans: Trace, clocks_apart_s: float) -> Iterator[str]:
    """A span lies within its parent; a service's own within the call, as nearly as two processes agree on the time.

    A service may work for longer on a call that it does not answer with OK: it ends the call, and then its work; and
    the caller may have given up. A completed child has an end of its own, and may be undone after that.
    """
    by_id = {span.span_id: span for span in spans}
    for span in spans:
        parent = _parent(span, by_id)
        if parent is None or parent.service not in {ORCHESTRATOR, span.service}:
            continue
        apart_us = ROUNDED_US if span.service == parent.service else clocks_apart_s * 1e6
        may_be_later = span.name == "saga.compensation" and parent.tags.get("saga.status") == "COMPLETED"
        may_be_later |= span.kind == "server" and code_of(parent) != "OK"
        if span.begin_us < parent.begin_us - apart_us:
            yield f"{span.name} of {span.service} begins {parent.begin_us - span.begin_us} us before {parent.name}"
        if not may_be_later and span.end_us > parent.end_us + apart_us:
            yield f"{span.name} of {span.service} ends {span.end_us - parent.end_us} us after {parent.name}"


_RULES: Sequence[Callable[[Trace], Iterator[str]]] = (
    _one_tree,
    _nothing_odd,
    _failures_marked,
    _described,
)


def _is_attempt(span: Span) -> bool:
    return span.kind == "client" and span.service == ORCHESTRATOR


def _about(span: Span) -> tuple[object, object]:
    return span.tags.get("saga.step"), span.tags.get("saga.operation")


def _parent(span: Span, by_id: Mapping[str, Span]) -> Span | None:
    return by_id.get(span.parents[0].span_id) if span.parents else None


def _ancestors(span: Span, by_id: Mapping[str, Span]) -> Iterator[Span]:
    """Give what is above, nearest first; a circle is gone round once."""
    for _ in by_id:
        above = _parent(span, by_id)
        if above is None:
            return
        yield above
        span = above
