"""Beside the request travels who asks, under which key, until when, in which trace."""

from dataclasses import replace
from uuid import UUID

from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ids import SagaId, StepId
from orchestrator.invoker.metadata import Given, headers
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga.plan import Operation
from orchestrator.values import Payload, TraceContext

FORWARD = CallRequest(
    target="scoring",
    method="epro.v1.Scoring/Score",
    request=Payload("epro.v1.ScoreRequest", b""),
    reply_type="epro.v1.ScoreResponse",
    deadline_at=1_764_000_000.25,
    key="7d1c3a52-0000-5000-8000-000000000001",
    saga_id=SagaId("report-7F3A"),
    uid=UUID(int=5),
    step=StepId("score"),
    operation=Operation.FORWARD,
    attempt=2,
    epoch=9,
    forward_key="7d1c3a52-0000-5000-8000-000000000001",
    trace=TraceContext(trace_id=0xABC, span_id=0xDEF, sampled=True, state="vendor=1"),
)


def test_a_forward_call_says_who_asks_and_until_when() -> None:
    assert headers(FORWARD, 0.0) == (
        ("idempotency-key", "7d1c3a52-0000-5000-8000-000000000001"),
        ("saga-id", "report-7F3A"),
        ("saga-step", "score"),
        ("saga-op", "forward"),
        ("saga-attempt", "2"),
        ("saga-epoch", "9"),
        ("saga-not-after", "1764000000.250"),
        ("traceparent", "00-00000000000000000000000000000abc-0000000000000def-01"),
        ("tracestate", "vendor=1"),
    )


def test_baggage_travels_as_it_was_kept_and_not_where_there_is_none() -> None:
    said = headers(replace(FORWARD, baggage="tenant=acme;via=web,plan=7"), 0.0)
    assert [value for name, value in said if name == "baggage"] == ["tenant=acme;via=web,plan=7"]
    assert "baggage" not in dict(headers(FORWARD, 0.0))


def test_not_after_is_by_the_clock_that_the_service_compares_it_with() -> None:
    assert dict(headers(FORWARD, 3_600.0))["saga-not-after"] == "1764003600.250"
    assert dict(headers(FORWARD, -3_600.0))["saga-not-after"] == "1763996400.250"


def test_an_undo_names_the_operation_it_undoes() -> None:
    undo = replace(FORWARD, operation=Operation.COMPENSATE, key="undo-key")
    said = dict(headers(undo, 0.0))
    assert said["idempotency-key"] == "undo-key"
    assert said["saga-op"] == "compensate"
    assert said["saga-forward-key"] == FORWARD.key
    assert "saga-forward-key" not in dict(headers(FORWARD, 0.0))


def test_an_unsampled_trace_is_passed_on_as_unsampled() -> None:
    said = dict(headers(replace(FORWARD, trace=TraceContext(trace_id=1, span_id=2, sampled=False)), 0.0))
    assert said["traceparent"].endswith("-00")
    assert "tracestate" not in said


def test_invalid_trace_ids_are_not_sent() -> None:
    for trace_id, span_id in ((0, 1), (1, 0)):
        trace = TraceContext(trace_id=trace_id, span_id=span_id, sampled=True)
        said = dict(headers(replace(FORWARD, trace=trace), 0.0))
        assert "traceparent" not in said


@given(st.text(max_size=600))
def test_a_trace_state_that_grpc_would_refuse_is_left_out(state: str) -> None:
    said = dict(headers(replace(FORWARD, trace=TraceContext(trace_id=1, span_id=1, sampled=True, state=state)), 0.0))
    sent = said.get("tracestate", "")
    assert sent in {"", state}
    assert all(" " <= character <= "~" for character in sent)
    assert len(sent) <= 512
    legal = 0 < len(state) <= 512 and all(" " <= character <= "~" for character in state)
    assert bool(sent) == legal


def test_grpc_is_given_the_headers_as_they_are() -> None:
    said = headers(FORWARD, 0.0)
    given = Given(said)
    assert tuple(given) == said
    assert len(given) == len(said)
    assert given  # gRPC takes what is false for none


def test_the_headers_are_what_grpcs_own_metadata_is_to_an_interceptor() -> None:
    said = headers(FORWARD, 0.0)
    own = aio.Metadata(*said)

    assert Given(said)["saga-id"] == own["saga-id"] == "report-7F3A"
    assert Given(said).get("saga-id") == "report-7F3A"
    assert Given(said).get("x") is None
    assert Given(said).get_all("saga-step") == ["score"]
    assert ("saga-id" in Given(said), "x" in Given(said)) == (True, False)  # type: ignore[comparison-overlap]  # by name
    assert list(Given(said).keys()) == list(own.keys())
    assert list(Given(said).values()) == list(own.values())
    assert list(Given(said).items()) == list(own.items())
    assert Given(said) == own == Given(said) == said
    more = (("x", "y"),)
    assert Given(said) + more == own + more
    assert Given(said) + own == own + own
    assert str(said) in repr(Given(said))


def test_a_header_that_an_interceptor_adds_is_sent() -> None:
    said = headers(FORWARD, 0.0)
    given = Given(said)

    given.add("x-tenant", "acme")
    given["saga-id"] = "other"
    del given["saga-epoch"]

    sent = tuple(given)
    assert ("x-tenant", "acme") in sent
    assert ("saga-id", "other") in sent
    assert "saga-epoch" not in dict(sent)
    assert len(given) == len(sent) == len(said)
