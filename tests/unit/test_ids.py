"""Derived keys are functions of the saga's identity, and what they claim to be."""

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.ids import StepId, idempotency_key

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
