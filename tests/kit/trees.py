"""Reading a trace that a backend has stored, and what must hold of it, whatever happened to its saga.

`assert_sound` is all of it: the rules for every trace (`sound.py`), and what only a backend can show.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from tests.kit.jaeger import Span, Trace
from tests.kit.sound import ORCHESTRATOR, Known, Told, broken

T = TypeVar("T")

CLOCKS_APART_S = 0.005
"""Two processes of one machine read one clock; the orchestrator tells steady time, which follows that clock."""
ROUNDED_NS = 2_000
"""A backend keeps whole microseconds, of a beginning and of a length."""


def assert_sound(
    trace: Trace, *, is_retold: bool = False, before: Trace = (), clocks_apart_s: float = CLOCKS_APART_S
) -> None:
    """Assert every rule.

    `is_retold`: a process was killed, so the same span may have been sent twice. `before`: the trace that this one goes
    on from. `clocks_apart_s`: by how much the orchestrator and the services may disagree about the time.
    """
    assert trace, "the trace is not there"
    spans = distinct((*before, *trace))
    known = Known(apart_ns=ROUNDED_NS, clocks_apart_ns=round(clocks_apart_s * 1e9))
    wrong = [*_twice(trace, is_retold=is_retold), *_odd(spans), *broken([*map(as_told, spans)], known)]
    assert wrong == [], "\n".join(wrong)


def as_told(span: Span) -> Told:
    """Return a stored span as the rules read it."""
    return Told(
        trace_id=int(span.trace_id, 16),
        span_id=int(span.span_id, 16),
        parent_id=int(span.parents[0].span_id, 16) if span.parents else 0,
        name=span.name,
        kind=span.kind,
        service=span.service,
        begin_ns=span.begin_us * 1_000,
        end_ns=span.end_us * 1_000,
        tags=span.tags,
        links=tuple((int(link.trace_id, 16), int(link.span_id, 16)) for link in span.links),
        error=str(span.tags.get("otel.status_description", "")) if span.is_error else None,
    )


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


def has_ended(trace: Trace) -> bool:
    """Return whether the saga's own span is there, and the services' own of all calls that were answered.

    The orchestrator sends a saga's own span last; a service sends its spans when it likes.
    """
    served = {parent.span_id for span in trace if span.kind == "server" for parent in span.parents}
    answered = {
        span.span_id for span in trace if span.tags.get("saga.call.phase") == "REPLIED" and "rpc.method" in span.tags
    }
    return answered <= served and any("saga.status" in span.tags for span in trace)


def has_ended_after_a_crash(trace: Trace) -> bool:
    """Return the same, where services may have been asked in vain: what they tell of such a call is there, too."""
    served = {parent.span_id for span in trace if span.kind == "server" for parent in span.parents}
    lost = {span.span_id for span in trace if span.tags.get("saga.call.lost")}
    return lost <= served and has_ended(trace)


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


# --- what only a backend can show ------------------------------------------------------------------------------------


def _twice(trace: Trace, *, is_retold: bool) -> Iterator[str]:
    """No two spans share an id; what a crash had sent again is the same span."""
    for span_id, count in Counter(span.span_id for span in trace).items():
        told = [span for span in trace if span.span_id == span_id]
        if count > 1 and (not is_retold or any(_content(span) != _content(told[0]) for span in told)):
            yield f"{count} spans have the id {span_id}: {[span.name for span in told]}"


def _content(span: Span) -> object:
    """Return what a backend compares, which then shows one of two that are the same; the process is part of it."""
    return span.name, span.process, span.begin_us, span.end_us, span.parents, span.links, span.tags, span.events


def _odd(spans: Trace) -> Iterator[str]:
    """Give what the backend complains about; of clocks it knows less than the rules do."""
    for span in spans:
        if len(span.parents) > 1:
            yield f"{span.name} has {len(span.parents)} parents"
        for warning in span.warnings:
            if "clock skew" not in warning:
                yield f"{span.name}: {warning}"


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
