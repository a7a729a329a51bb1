import pytest

from orchestrator.saga import SagaStatus
from orchestrator.saga.plan import Sleep, StepKind, Wait
from orchestrator.testing.flows import FLOWS, SAGAS_A_SEED, Flow, mixed

EVERY = pytest.mark.parametrize("flow", FLOWS, ids=[flow.name for flow in FLOWS])
OVERDUE = {"wait-too-long", "child-cancelled"}
"""Their own deadlines come before what they wait for."""
ENDED = {SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.NEEDS_ATTENTION}


def test_there_are_many_and_each_has_a_name_and_plans_of_its_own() -> None:
    assert len(FLOWS) >= 25
    assert len({flow.name for flow in FLOWS}) == len(FLOWS)
    definitions = [plan.definition for flow in FLOWS for plan in flow.plans]
    assert len(set(definitions)) == len(definitions)
    assert [flow.plans[0].definition for flow in FLOWS] == [flow.name for flow in FLOWS]


@EVERY
def test_where_nothing_goes_wrong_a_flow_completes(flow: Flow) -> None:
    run = flow.simulation().run(1, tape=())
    assert run.is_sound, run.violations
    assert run.tape == ()
    expected = SagaStatus.COMPENSATED if flow.name in OVERDUE else SagaStatus.COMPLETED
    assert set(run.statuses.values()) == {expected}


@EVERY
def test_what_goes_wrong_in_a_flow_by_itself_does_strike(flow: Flow) -> None:
    run = flow.simulation().run(1, tape=flow.tape)
    assert run.is_sound, run.violations
    assert set(run.tape) == set(flow.tape)
    assert set(run.statuses.values()) <= ENDED


def test_between_them_they_have_every_kind_of_step_and_of_ending() -> None:
    steps = [step for flow in FLOWS for plan in flow.plans for step in plan.steps.values()]
    assert {step.kind for step in steps} == set(StepKind)
    assert any(isinstance(step.body, Wait) for step in steps)
    assert any(isinstance(step.body, Sleep) for step in steps)
    assert all(
        any(getattr(step, part) is not None for step in steps) for part in ("awaits", "poll", "probe", "for_each")
    )
    ends = {status for flow in FLOWS for status in flow.simulation().run(1, tape=flow.tape).statuses.values()}
    assert ends == ENDED


def test_a_mix_is_drawn_from_all_flows_by_its_seed() -> None:
    def names(seed: int) -> list[str]:
        return [begin.definition for begin in mixed(seed).begins]

    assert len(names(1)) == SAGAS_A_SEED
    assert names(1) == names(1) != names(2)
    assert {name for seed in range(60) for name in names(seed)} == {flow.name for flow in FLOWS}
    assert len(mixed(1, 3).begins) == 3
