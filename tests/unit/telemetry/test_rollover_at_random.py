"""T9 over random histories, with bounds so small that most of them roll over: every promise holds in each part."""

from collections import Counter
from random import Random  # noqa: TID251  (seeded by hypothesis)

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator import ids
from orchestrator.saga.events import SagaStarted
from orchestrator.saga.traceparts import TraceBounds
from orchestrator.telemetry import names
from orchestrator.telemetry.project import project
from orchestrator.telemetry.views import shape_of, view_of
from tests.unit.telemetry.histories import uid_of
from tests.unit.telemetry.shapes import EVERYTHING, roaming
from tests.unit.telemetry.trees import assert_one_tree, link_to_root, roots, told

SEEDS = st.integers(min_value=0, max_value=2**32)
BOUNDS = st.builds(
    TraceBounds,
    part_s_max=st.sampled_from([0.0, 0.004, 0.02, 1.0, 4.0]),
    part_records_max=st.sampled_from([1, 3, 10, 10_000]),
)
UID = uid_of(1)


@settings(max_examples=150, deadline=None)
@given(seed=SEEDS, bounds=BOUNDS)
def test_whatever_happens_is_one_tree_in_each_part(seed: int, bounds: TraceBounds) -> None:
    teller = roaming(Random(seed), bounds=bounds)
    assert_one_tree(teller, told(teller))


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, bounds=BOUNDS)
def test_the_machine_and_the_trace_have_everything_in_the_same_part(seed: int, bounds: TraceBounds) -> None:
    teller = roaming(Random(seed), bounds=bounds)
    started = teller.records[0].event
    assert isinstance(started, SagaStarted)
    view = view_of(started, shape_of(EVERYTHING), bounds)
    for record in teller.records:
        view, _ = project(view, record.event, record.version)
    assert view.parts == teller.state.trace_parts
    assert not (view.earlier and teller.state.is_terminal), "every part's own span is told by the end"


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, bounds=BOUNDS)
def test_each_part_has_one_start_one_root_and_a_link_both_ways(seed: int, bounds: TraceBounds) -> None:
    teller = roaming(Random(seed), bounds=bounds)
    spans = told(teller)
    if not teller.state.is_terminal:
        return
    count = teller.state.trace_parts.number
    starts = [span for span in spans if span.name == "saga.start"]
    numbers = list(range(1, count + 1))
    found = {span.span_id: span for span in roots(spans)}
    assert set(found) == {ids.root_span_id(UID, part) for part in numbers}
    assert [span.span_id for span in starts] == [ids.start_span_id(UID, part) for part in numbers]
    # Undone after its end, a child may go on in a part that was not foreseen when the one before was told.
    is_child = teller.parent is not None
    for part in numbers:
        root = found[ids.root_span_id(UID, part)]
        assert part == 1 or link_to_root(part - 1) in root.links
        assert part == count or link_to_root(part + 1) in root.links or is_child
        assert (names.SAGA_STATUS in root.attributes) != (names.SAGA_CONTINUED in root.attributes)


def test_random_histories_roll_over_often_and_in_every_way() -> None:
    seen: Counter[str] = Counter()
    for seed in range(150):
        bounds = TraceBounds(part_s_max=0.004, part_records_max=10)
        teller = roaming(Random(seed), bounds=bounds)
        parts = teller.state.trace_parts
        seen["parts"] += parts.number
        seen["undo begun in a rollback"] += len(parts.undos)
        seen["rollback in a later part"] += sum(part > 1 for part in parts.rollbacks.values())
        seen["compensation in a later part"] += parts.backward > 1
        own = {span.span_id: span for span in told(teller)}
        for span in own.values():
            for link in span.links:
                elsewhere = link.span_id in own and link.trace_id != span.trace_id
                seen[f"{span.name.partition(' ')[0]} links to another part"] += elsewhere
    expected = ["parts", "undo begun in a rollback", "rollback in a later part", "compensation in a later part"]
    expected += [f"{name} links to another part" for name in ("saga", "step", "undo")]
    assert all(seen[name] > 20 for name in expected), seen
