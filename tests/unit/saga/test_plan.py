"""What a plan knows of its steps."""

from orchestrator.ids import StepId
from orchestrator.saga.plan import Plan
from orchestrator.testing.shorthand import plan, scope, step


def after_pivot(given: Plan) -> list[str]:
    return [each for each in given.steps if given.is_after_pivot(each)]


def test_what_waits_for_the_pivot_comes_after_it_and_so_do_members_of_its_scopes() -> None:
    given = plan(
        step("a"),
        step("p", "a", pivot=True),
        step("beside", "a", read=True),
        step("after", "p", retriable=True),
        scope("outer", "after", steps=["inner"]),
        scope("inner", inside="outer", steps=["deep"]),
        step("deep", inside="inner"),
    )
    assert after_pivot(given) == ["after", "outer", "inner", "deep"]


def test_nothing_comes_after_a_pivot_that_is_not_there() -> None:
    assert after_pivot(plan(step("a"), step("b", "a"))) == []


def test_a_path_of_an_item_is_of_its_step() -> None:
    given = plan(step("a"))
    assert given.step_of(StepId("a[3]")) is given.steps[StepId("a")]
