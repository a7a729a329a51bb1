"""Words that two rooms have to write each for itself, because they may not import each other, and must write alike."""

from orchestrator.participant import refusal
from orchestrator.saga import outcome


def test_the_kit_and_the_machine_mean_the_same_reason_by_nothing_to_undo() -> None:
    assert refusal.NOTHING_TO_UNDO == outcome.NOTHING_TO_UNDO
