"""A clock that is set back between two lives of a saga does not bend its trace."""

from random import Random  # noqa: TID251  (seeded by hypothesis)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.ports.journal import Append
from orchestrator.saga.commands import CancelSaga, Command
from orchestrator.saga.traceparts import TraceBounds
from tests.unit.telemetry import shapes
from tests.unit.telemetry.histories import BEGIN_AT
from tests.unit.telemetry.shapes import Guide, guide, no, plan_of, replied, roaming, run_plain, step, until
from tests.unit.telemetry.test_spans import by_name
from tests.unit.telemetry.trees import assert_one_tree, attempts, of, told

SEEDS = st.integers(min_value=0, max_value=2**32)


@settings(max_examples=80, deadline=None)
@given(
    seed=SEEDS, set_back_s=st.sampled_from([0.004, 60.0, 3_600.0]), bounds=st.sampled_from([(1e9, 9), (1.0, 10_000)])
)
def test_whatever_the_clock_does_every_rule_but_that_of_ends_holds(
    seed: int, set_back_s: float, bounds: tuple[float, int]
) -> None:
    luck = Random(seed)

    class Unsteady(Guide):
        def tell(self, command: Command, *, may_be_rejected: bool = False) -> Append:
            if luck.random() < 0.05:
                self.at -= luck.random() * set_back_s
            return super().tell(command, may_be_rejected=may_be_rejected)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shapes, "Guide", Unsteady)
        teller = roaming(Random(seed), bounds=TraceBounds(part_s_max=bounds[0], part_records_max=bounds[1]))
    assert isinstance(teller, Unsteady)
    assert_one_tree(teller, told(teller), is_clock_steady=False)


def test_what_begins_after_the_clock_was_set_back_begins_with_its_parent() -> None:
    teller = guide(plan_of("pair", step("one"), step("two", "one")))
    teller.reply("one", replied())
    teller.at = BEGIN_AT - 100.0
    teller.reply("two", no())
    spans = told(run_plain(teller))
    root = by_name(spans)["saga pair"]
    compensation, undo = by_name(spans)["saga.compensation"], of(spans, "one", "compensate")
    (attempt,) = [span for span in attempts(spans, "one") if span.parent_id == undo.span_id]
    assert root.start_ns == compensation.start_ns == undo.start_ns == attempt.start_ns == round(BEGIN_AT * 1e9)
    assert_one_tree(teller, spans, is_clock_steady=False)


def test_items_members_and_rollbacks_begin_with_what_they_are_a_part_of() -> None:
    teller = until(guide(), "flight")
    begun_at, teller.at = teller.at, BEGIN_AT - 100.0
    until(teller, "hotel").reply("hotel", no())
    teller.tell(CancelSaga(reason=""))
    spans = told(run_plain(teller))
    trip, rollback = of(spans, "trip"), by_name(spans)["rollback trip"]
    assert trip.start_ns == of(spans, "hotel").start_ns == rollback.start_ns == round(begun_at * 1e9)
    assert of(spans, "flight", "compensate").start_ns == rollback.start_ns
    assert_one_tree(teller, spans, is_clock_steady=False)
