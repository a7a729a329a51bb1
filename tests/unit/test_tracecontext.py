"""W3C Trace Context: strict about ids, lenient about flags."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.limits import TRACESTATE_CHARS_MAX, TRACESTATE_MEMBERS_MAX
from orchestrator.tracecontext import parse, traceparent
from orchestrator.values import TraceContext
from tests.kit.effort import LENGTH, is_quick

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_the_sampled_bit_counts_and_other_flags_do_not(flags: str, sampled: bool) -> None:
    found = parse(f"00-{TRACE}-{SPAN}-{flags}")
    assert found == TraceContext(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), sampled=sampled)


def test_a_later_version_may_say_more() -> None:
    assert parse(f"01-{TRACE}-{SPAN}-01-more") is not None
    assert parse(f"cc-{TRACE}-{SPAN}-01") is not None


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{SPAN}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}-01\nx: y",
    ],
)
def test_a_malformed_header_counts_as_absent(header: str) -> None:
    assert parse(header) is None


@pytest.mark.parametrize(
    ("given_state", "kept"),
    [
        ("congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"),
        (" a=1 , ,b=2 ", "a=1,b=2"),
        ("tenant@vendor=1", "tenant@vendor=1"),
        ("no value", ""),
        ("a=1,UPPER=2", ""),
        ("a=1\r\nsaga-id: forged", ""),
        ("a=" + "x" * TRACESTATE_CHARS_MAX, ""),
        (",".join(f"k{number}=v" for number in range(TRACESTATE_MEMBERS_MAX + 1)), ""),
    ],
)
def test_a_malformed_tracestate_is_dropped_alone(given_state: str, kept: str) -> None:
    found = parse(f"00-{TRACE}-{SPAN}-01", given_state)
    assert found is not None
    assert found.state == kept


@pytest.mark.parametrize("piece", ["a", "a=", "a=b,", ", ", " ", ",", "a= ", "-01", "0", "@*/", "=="])
@pytest.mark.parametrize("end", ["", '"', "\n", "ä"])
def test_hostile_headers_are_read_in_a_time_that_grows_with_their_length_alone(piece: str, end: str) -> None:
    for length in (LENGTH, 8_192):
        hostile = (piece * length)[:length] + end
        assert is_quick(partial(parse, hostile))
        assert is_quick(partial(parse, f"01-{TRACE}-{SPAN}-01-{hostile}"))
        assert is_quick(partial(parse, f"00-{TRACE}-{SPAN}-01", hostile))


@given(
    trace_id=st.integers(min_value=1, max_value=2**128 - 1),
    span_id=st.integers(min_value=1, max_value=2**64 - 1),
    sampled=st.booleans(),
)
def test_what_is_written_is_what_is_read(trace_id: int, span_id: int, sampled: bool) -> None:
    context = TraceContext(trace_id=trace_id, span_id=span_id, sampled=sampled)
    assert parse(traceparent(context)) == context
