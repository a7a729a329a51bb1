"""Derived keys are functions of the saga's identity, and what they claim to be."""

from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import ids
from orchestrator.ids import StepId, idempotency_key
from orchestrator.limits import SPAN_ATTEMPTS_MAX, SPAN_ITEMS_MAX

STEPS = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).map(StepId)
OPERATIONS = st.sampled_from(["forward", "compensate"])


@given(st.uuids(), STEPS, OPERATIONS, st.integers(0, 1_000))
def test_a_key_is_a_name_based_uuid_of_the_saga(uid: UUID, step: StepId, operation: str, manual_epoch: int) -> None:
    expected = uuid5(uid, f"{step}//{operation}/{manual_epoch}")
    assert idempotency_key(uid, step, operation, manual_epoch) == str(expected)
    assert expected.version == 5


@given(st.uuids(), STEPS, STEPS, OPERATIONS, OPERATIONS)
def test_other_operations_have_other_keys(uid: UUID, one: StepId, two: StepId, did: str, does: str) -> None:
    assert (idempotency_key(uid, one, did) == idempotency_key(uid, two, does)) == ((one, did) == (two, does))


@given(st.uuids(), STEPS, OPERATIONS, st.tuples(st.integers(1, 20), st.integers(1, 20)), st.integers(1, 3))
def test_a_span_of_another_life_has_another_id(
    uid: UUID, step: StepId, operation: str, attempts: tuple[int, int], again: int
) -> None:
    one, two = attempts
    first = {ids.operation_span_id(uid, step, operation), ids.attempt_span_id(uid, step, operation, one)}
    anew = {ids.operation_span_id(uid, step, operation, again), ids.attempt_span_id(uid, step, operation, two, again)}
    assert len(first | anew) == 4


def test_the_first_life_has_the_ids_that_it_always_had() -> None:
    uid, step = UUID("0b9f3a52-6c1e-4f0e-9d3a-2f4f6a1c7d10"), StepId("score")
    assert ids.operation_span_id(uid, step, "forward") == ids.span_id(uid, "score", "forward")
    assert ids.attempt_span_id(uid, step, "forward", 2, 0) == ids.span_id(uid, "score", "forward", 2)


@pytest.mark.parametrize(
    ("path", "attempt", "expected"),
    [
        ("score", 1, True),
        ("score", SPAN_ATTEMPTS_MAX, True),
        ("score", SPAN_ATTEMPTS_MAX + 1, False),
        (f"reserve[{SPAN_ITEMS_MAX - 1}]", 1, True),
        (f"reserve[{SPAN_ITEMS_MAX}]", 1, False),
    ],
)
def test_what_is_past_the_bounds_has_no_span(path: str, attempt: int, expected: bool) -> None:
    assert ids.is_traced(StepId(path), attempt) is expected


def test_ids_of_parts_are_functions_of_the_saga_and_the_parts_number() -> None:
    uid = UUID(int=7)
    traces = {ids.trace_id(uid), *(ids.part_trace_id(uid, part) for part in range(2, 20))}
    assert len(traces) == 19
    assert all(0 < trace < 2**128 for trace in traces)
    assert ids.part_trace_id(UUID(int=7), 3) == ids.part_trace_id(uid, 3) != ids.part_trace_id(UUID(int=8), 3)
    spans = [each(uid, part) for part in range(1, 20) for each in (ids.root_span_id, ids.start_span_id)]
    assert len(set(spans)) == len(spans)
    assert spans[:2] == [ids.span_id(uid, "@saga"), ids.span_id(uid, "@start")], "of the first part, as ever"
