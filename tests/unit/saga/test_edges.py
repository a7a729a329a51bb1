"""What a plan derives from its edges."""

from orchestrator.ids import StepId
from orchestrator.saga.edges import closed, inside, places_by

A, B, C, D = (StepId(name) for name in "abcd")


def test_whoever_names_a_step_is_found_by_it_in_order() -> None:
    assert places_by([(), (A,), (A, B), (B,)]) == {A: (1, 2), B: (2, 3)}


def test_what_needs_a_step_needs_it_through_others_too() -> None:
    assert closed({A: (), B: (A,), C: (A,), D: (B, C)}) == {A: {B, C, D}, B: {D}, C: {D}, D: set()}


def test_what_is_in_a_scope_is_in_every_scope_around_it() -> None:
    assert inside({A: None, B: A, C: B, D: None}) == {A: (B, C), B: (C,)}
