"""The rules for traces catch what they are for: each fault is planted alone, in a small trace that is sound."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from tests.kit.jaeger import Reference, Span, Trace, Value
from tests.kit.sound import ATTEMPTS_MAX, ORCHESTRATOR
from tests.kit.trees import assert_sound

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
MS = 1_000
"""In Jaeger's microseconds."""
Spans = dict[str, Span]
Tags = Mapping[str, Value]
Fault = Callable[[Spans], None]


def place(label: str) -> Reference:
    return Reference(trace_id=TRACE, span_id=f"{_LABELS.index(label) + 1:016x}")


_LABELS = [
    *("caller", "saga", "start", "one", "one 1", "one 2", "one served"),
    *("two", "two 1", "two served", "undoing", "undo", "undo 1", "undo served"),
]


def a_span(label: str, above: str, name: str, ends: tuple[int, int], *said: Tags, service: str = ORCHESTRATOR) -> Span:
    kind = "server" if label.endswith(" served") else "client" if label[-1].isdigit() else "internal"
    whose: Tags = {} if service == "clinic" else {"saga.id": "x"}
    return Span(
        trace_id=TRACE,
        span_id=place(label).span_id,
        name=name,
        service=service,
        process={},
        begin_us=ends[0] * MS,
        end_us=ends[1] * MS,
        parents=(place(above),) if above else (),
        links=(),
        tags={key: value for tags in (whose, {"span.kind": kind}, *said) for key, value in tags.items()},
        events=(),
        warnings=(),
    )


def failed(span: Span, error: str) -> Span:
    said: Tags = {"error": True, "error.type": error, "otel.status_description": "the site is closed"}
    return replace(span, tags={**span.tags, **said})


def about(step: str, operation: str = "forward", attempt: int = 0) -> Tags:
    found: Tags = {"saga.step": step, "saga.operation": operation}
    return {**found, "saga.attempt": attempt} if attempt else found


def settled(outcome: str, code: str = "") -> Tags:
    found: Tags = {"saga.outcome": outcome, "saga.reason": "REPLIED"}
    return {**found, "rpc.response.status_code": code} if code else found


def call(method: str, code: str, outcome: str) -> Tags:
    whom = {"saga.target": "shop", "server.address": "shop"}
    return {**served(method, code), **whom, "saga.outcome": outcome, "saga.call.phase": "REPLIED"}


def served(method: str, code: str) -> Tags:
    return {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": code}


NO = "FAILED_PRECONDITION"
WHO: Tags = {"saga.uid": "u", "saga.definition": "shop", "saga.revision": "r1"}
ENDED: Tags = {"saga.status": "COMPENSATED", "saga.cause": "STEP_FAILED"}
FIRST, SECOND = about("one", attempt=1), about("one", attempt=2)
REFUSED, UNDONE = about("two", attempt=1), about("one", "compensate", 1)


def spans() -> Spans:
    """Step one is called twice and undone; step two is refused."""
    busy, refused = call("S/Do", "UNAVAILABLE", "UNKNOWN"), call("S/No", NO, "NOT_APPLIED")
    found = {
        "caller": a_span("caller", "", "buy", (0, 30), service="clinic"),
        "saga": failed(a_span("saga", "caller", "saga shop", (1, 29), WHO, ENDED), "STEP_FAILED"),
        "start": a_span("start", "saga", "saga.start", (1, 1), WHO),
        "one": a_span("one", "saga", "step one", (2, 10), about("one"), settled("APPLIED")),
        "one 1": failed(a_span("one 1", "one", "S/Do", (3, 4), FIRST, busy), "UNAVAILABLE"),
        "one 2": a_span("one 2", "one", "S/Do", (5, 9), SECOND, call("S/Do", "OK", "APPLIED")),
        "one served": a_span("one served", "one 2", "S/Do", (6, 8), SECOND, served("S/Do", "OK"), service="shop"),
        "two": failed(a_span("two", "saga", "step two", (10, 15), about("two"), settled("NOT_APPLIED", NO)), NO),
        "two 1": failed(a_span("two 1", "two", "S/No", (11, 14), REFUSED, refused), NO),
        "two served": a_span("two served", "two 1", "S/No", (12, 13), REFUSED, served("S/No", NO), service="shop"),
        "undoing": a_span("undoing", "saga", "saga.compensation", (15, 29)),
        "undo": a_span("undo", "undoing", "undo one", (16, 28), about("one", "compensate")),
        "undo 1": a_span("undo 1", "undo", "S/Undo", (17, 27), UNDONE, call("S/Undo", "OK", "APPLIED")),
        "undo served": a_span(
            "undo served", "undo 1", "S/Undo", (18, 26), UNDONE, served("S/Undo", "OK"), service="shop"
        ),
    }
    return {**found, "undo": replace(found["undo"], links=(place("one 2"),))}


def trace(found: Spans) -> Trace:
    return tuple(found.values())


def without(*labels: str) -> Fault:
    def plant(found: Spans) -> None:
        for label in labels:
            del found[label]

    return plant


def below(label: str, above: str) -> Fault:
    return lambda found: found.update({label: replace(found[label], parents=(place(above),))})


def linked(label: str, *others: str) -> Fault:
    return lambda found: found.update({label: replace(found[label], links=tuple(map(place, others)))})


def saying(label: str, *untold: str, **tags: Value) -> Fault:
    """With tags put in, or left out."""

    def plant(found: Spans) -> None:
        added = {key.replace("__", "."): value for key, value in tags.items()}
        kept = {key: value for key, value in found[label].tags.items() if key not in untold}
        found[label] = replace(found[label], tags={**kept, **added})

    return plant


MARK = ("error", "error.type", "otel.status_description")


def unmarked(label: str) -> Fault:
    return saying(label, *MARK)


def marked(label: str, error: str) -> Fault:
    return lambda found: found.update({label: failed(found[label], error)})


def lasting(label: str, *ends: int) -> Fault:
    return lambda found: found.update({label: replace(found[label], begin_us=ends[0] * MS, end_us=ends[1] * MS)})


def again(label: str, **tags: Value) -> Fault:
    """The same once more, under an id of its own."""

    def plant(found: Spans) -> None:
        found["again"] = replace(found[label], span_id="f" * 16)
        saying("again", **tags)(found)

    return plant


def both(*faults: Fault) -> Fault:
    def plant(found: Spans) -> None:
        for fault in faults:
            fault(found)

    return plant


def odd(label: str) -> Fault:
    return lambda found: found.update({label: replace(found[label], warnings=("invalid length",))})


def bare(label: str) -> Fault:
    """An undo of what nobody attempted, below the saga."""
    return both(without("one", "one 1", "one 2", "one served"), linked(label), below(label, "saga"))


FAULTS: dict[str, tuple[Fault, str]] = {
    "a step not applied, unmarked": (unmarked("two"), "step two of .* is not marked as an error"),
    "its error type alone left out": (saying("two", "error.type"), "step two failed by FAILED_PRECONDITION, and its"),
    "another error type": (saying("two", error__type="REPLIED"), "step two failed by FAILED_PRECONDITION, and its"),
    "a mark without a sentence": (saying("two", "otel.status_description"), "step two .* does not say of what"),
    "a lost attempt, unmarked": (
        both(unmarked("one 1"), saying("one 1", "rpc.response.status_code", saga__call__phase="LOST")),
        "S/Do failed by LOST, and its error is None",
    ),
    "an attempt that was not answered OK, unmarked": (unmarked("one 1"), "S/Do of .* is not marked as an error"),
    "a mark on an attempt that was answered OK": (
        marked("one 2", "LOST"),
        "S/Do failed by None, and its error is LOST",
    ),
    "a mark on a step that came to a good end": (marked("one", "REPLIED"), "step one of .* is marked as an error"),
    "a mark on a step that was only stopped": (
        saying("two", saga__reason="STOPPED"),
        "step two of .* is marked as an error, and failed by None",
    ),
    "a step applied for no good reason, unmarked": (
        saying("one", saga__reason="UNDO_NOT_RENDERED"),
        "step one failed by UNDO_NOT_RENDERED, and its error is None",
    ),
    "a saga that is undone, unmarked": (unmarked("saga"), "saga shop failed by STEP_FAILED, and its error is None"),
    "a mark on a saga that completed": (
        saying("saga", saga__status="COMPLETED"),
        "saga shop of .* is marked as an error, and failed by None",
    ),
    "a terminated saga that is marked otherwise": (
        saying("saga", saga__status="TERMINATED"),
        "saga shop failed by TERMINATED, and its error is STEP_FAILED",
    ),
    "what was cut off, unmarked": (
        saying("undo", saga__reason="SAGA_ENDED"),
        "undo one failed by SAGA_ENDED, and its error is None",
    ),
    "a mark on an undo": (marked("undo", "X"), "undo one of .* is marked as an error"),
    "a mark on the compensation": (marked("undoing", "X"), "saga.compensation of .* is marked as an error"),
    "a server's fault, unmarked": (
        saying("two served", rpc__response__status_code="INTERNAL"),
        "S/No of shop is not marked as an error",
    ),
    "a server's mark for a mere answer": (marked("two served", "X"), "S/No of shop is marked as an error"),
    "an undo without a link": (linked("undo"), r"undo one is linked to \(\) and not to the attempt"),
    "an undo linked to an earlier attempt": (
        linked("undo", "one 1"),
        "undo one is linked to .* and not to the attempt",
    ),
    "an undo linked to its step": (linked("undo", "one"), "undo one is linked to .* and not to the attempt"),
    "an undo linked twice": (linked("undo", "one 2", "two 1"), "undo one is linked to .* and not to the attempt"),
    "an undo of a step that is not there": (bare("undo"), "undo one undoes a step that is not there"),
    "an undo without an attempt to undo": (
        both(without("one 1", "one 2", "one served"), linked("undo")),
        r"undo one is linked to \(\) and not to the attempt that it undoes, \[\]",
    ),
    "an undo below the saga": (below("undo", "saga"), "undo one is below saga shop, where it does not belong"),
    "an undo below the attempt that it undoes": (below("undo", "one 2"), "undo one is below S/Do, where it does not"),
    "an undo below a step": (below("undo", "one"), "undo one is below step one, where it does not belong"),
    "a step below the compensation": (
        below("two", "undoing"),
        "step two is below saga.compensation, where it does not",
    ),
    "a step below the caller": (below("two", "caller"), "step two is below buy, where it does not belong"),
    "a compensation below a step": (below("undoing", "two"), "saga.compensation is below step two, where it does not"),
    "a start below a step": (below("start", "two"), "saga.start is below step two, where it does not belong"),
    "a rollback below another step": (
        lambda found: found.update(
            {"more": replace(a_span("start", "two", "rollback one", (12, 13), about("one")), span_id="e" * 16)}
        ),
        "rollback one is below step two, where it does not belong",
    ),
    "an item below another step": (
        both(again("two"), saying("again", saga__step="one[0]"), below("again", "two")),
        "step two is below step two, where it does not belong",
    ),
    "an attempt below another step": (below("one 2", "two"), "S/Do is below step two, where it does not belong"),
    "an attempt below the undo of its step": (below("one 2", "undo"), "S/Do is below undo one, where it does not"),
    "an attempt below the saga": (below("one 2", "saga"), "S/Do is below saga shop, where it does not belong"),
    "a service's span below another attempt": (below("one served", "one 1"), r"S/Do of shop served .* is below S/Do"),
    "a service's span below the step": (below("one served", "one"), r"S/Do of shop served .* is below step one"),
    "a service's span below what was never sent": (
        saying("two 1", saga__call__phase="NOT_SENT"),
        "S/No of shop is below an attempt that was never sent",
    ),
    "a step told twice": (again("two"), "forward of two in run 0 is told 2 times"),
    "an undo told twice": (again("undo"), "compensate of one in run 0 is told 2 times"),
    "an attempt told twice": (again("one 1"), "attempt 1 to forward one below .* is told 2 times"),
    "a start told twice": (again("start"), "saga.start in trace .* is told 2 times"),
    "a compensation told twice": (again("undoing"), "saga.compensation is told 2 times"),
    "two spans with one id": (
        lambda found: found.update({"start": replace(found["start"], span_id=found["two"].span_id)}),
        f"2 spans have the id {place('two').span_id}",
    ),
    "an attempt left out": (without("one 1"), r"step one has the attempts \[2\] to forward"),
    "an attempt that skips a number": (
        both(saying("one 2", saga__attempt=3), saying("one served", saga__attempt=3)),
        r"step one has the attempts \[1, 3\] to forward",
    ),
    "all attempts left out": (without("two 1", "two served"), "step two was answered, and has no attempt"),
    "an undo's attempts left out": (without("undo 1", "undo served"), "undo one was answered, and has no attempt"),
    "counted as untold far below the bound": (
        saying("one", saga__spans_untold=1),
        "step one counts attempts that have no span, and tells 2",
    ),
    "a missing parent": (without("undoing"), "the parent of undo one is missing"),
    "two roots": (lambda found: found.update({"saga": replace(found["saga"], parents=())}), "the trace has 2 roots"),
    "a circle": (below("undoing", "undo"), "is above itself"),
    "a link to nothing": (
        lambda found: found.update({"saga": replace(found["saga"], links=(Reference(trace_id=TRACE, span_id="ab"),))}),
        "saga shop is linked to 00000000000000ab, which is not there",
    ),
    "another saga's span": (saying("two", saga__id="y"), r"the trace is about \['x', 'y'\]"),
    "a saga without its definition": (
        saying("saga", "saga.definition"),
        r"saga shop of .* not say \['saga.definition'\]",
    ),
    "a saga without its status": (saying("saga", "saga.status"), r"saga shop of .* does not say \['saga.status'\]"),
    "an attempt without its phase": (saying("one 2", "saga.call.phase"), r"S/Do of .* not say \['saga.call.phase'\]"),
    "an attempt without its method": (saying("one 2", "rpc.method"), r"S/Do of .* does not say \['rpc.method'\]"),
    "an answered attempt without its status": (
        saying("one 2", "rpc.response.status_code"),
        r"S/Do of .* does not say \['rpc.response.status_code'\]",
    ),
    "a service that does not say of which saga": (
        saying("one served", "saga.id"),
        r"S/Do of shop does not say \['saga.id",
    ),
    "a step that begins before its saga": (lasting("one", 0, 10), "step one of .* begins 1000000 ns before saga shop"),
    "a step that ends after its saga": (lasting("two", 10, 31), "step two of .* ends 2000000 ns after saga shop"),
    "an undo that ends after its compensation": (
        lasting("undo", 16, 30),
        "undo one of .* ends 1000000 ns after saga.comp",
    ),
    "a service that begins long before the call": (lasting("undo served", 1, 26), "S/Undo of shop begins 16000000 ns"),
    "a service that ends long after an answer": (
        lasting("undo served", 18, 40),
        "S/Undo of shop ends 13000000 ns after",
    ),
    "a span that ends before it begins": (lasting("start", 9, 8), "saga.start ends before it begins"),
    "what the backend complains about": (odd("two"), "step two: invalid length"),
}


def test_a_sound_trace_is_found_sound() -> None:
    assert_sound(trace(spans()))


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_caught_with_a_sentence_that_names_it(name: str) -> None:
    plant, sentence = FAULTS[name]
    found = spans()
    plant(found)
    with pytest.raises(AssertionError, match=sentence):
        assert_sound(trace(found))


def test_no_trace_at_all_is_not_sound() -> None:
    with pytest.raises(AssertionError, match="the trace is not there"):
        assert_sound(())


def test_a_span_that_is_there_twice_is_sound_only_after_a_crash_and_only_where_it_is_the_same() -> None:
    found = spans()
    twice = (*trace(found), found["two"])
    assert_sound(twice, is_retold=True)
    with pytest.raises(AssertionError, match="2 spans have the id"):
        assert_sound(twice)
    with pytest.raises(AssertionError, match="2 spans have the id"):
        assert_sound((*trace(found), replace(found["two"], end_us=14 * MS)), is_retold=True)


@pytest.mark.parametrize("label", ["one 128", "one"])
def test_an_undo_of_what_was_tried_beyond_the_bound_is_linked_to_the_last_attempt_told_or_to_the_step(
    label: str,
) -> None:
    found = spans()
    for number in range(3, ATTEMPTS_MAX + 1):
        found[f"one {number}"] = replace(found["one 2"], span_id=f"{number + 1_000:016x}")
        saying(f"one {number}", saga__attempt=number)(found)
    saying("one", saga__spans_untold=5)(found)
    found["undo"] = replace(found["undo"], links=(Reference(trace_id=TRACE, span_id=found[label].span_id),))
    assert_sound(trace(found))
    found["undo"] = replace(found["undo"], links=(place("one 2"),))
    with pytest.raises(AssertionError, match="undo one is linked to"):
        assert_sound(trace(found))


def test_what_a_person_said_took_place_has_no_attempt_to_link_to() -> None:
    found = spans()
    both(without("one 1", "one 2", "one served"), linked("undo"), saying("one", saga__reason="RESOLVED"))(found)
    assert_sound(trace(found))


def test_a_second_run_of_a_step_is_another_span_and_its_undo_is_linked_to_its_own_attempt() -> None:
    found = spans()
    for label in ("one", "one 1", "undo", "undo 1"):
        source = found[label]
        found[f"new {label}"] = replace(source, span_id=f"a{source.span_id[1:]}", begin_us=20 * MS, end_us=21 * MS)
    for label, above in (("new one 1", "new one"), ("new undo 1", "new undo")):
        found[label] = replace(found[label], parents=(_reference(found[above]),))
    for label in ("new one", "new undo"):
        saying(label, saga__run=1)(found)
    found["new undo"] = replace(found["new undo"], links=(_reference(found["new one 1"]),))
    assert_sound(trace(found))
    linked("new undo", "one 2")(found)
    with pytest.raises(AssertionError, match="undo one is linked to"):
        assert_sound(trace(found))


def _reference(span: Span) -> Reference:
    return Reference(trace_id=TRACE, span_id=span.span_id)
