"""An error says what happened to whom, keeps its facts for a program, and stands where its catcher looks."""

import pytest

from orchestrator import errors
from orchestrator.errors import Fault, OrchestratorError, Retry


@pytest.mark.parametrize(
    ("error", "message", "reason"),
    [
        (errors.DefinitionInvalid("intake.yaml has 2 errors", ["intake.yaml:3:1: a"]), "intake.yaml has 2 errors",
         "DEFINITION_INVALID"),
        (errors.InputInvalid("input.items[2].value", "must be 0 to 3, is 7"),
         "input.items[2].value: must be 0 to 3, is 7", "INPUT_INVALID"),
        (errors.NotFound("saga", "s-1"), "saga 's-1' does not exist", "SAGA_NOT_FOUND"),
        (errors.NotFound("definition", "intake", "create it first"),
         "definition 'intake' does not exist; create it first", "DEFINITION_NOT_FOUND"),
        (errors.Rejected("TERMINAL_STATE", "saga s-1 is over"), "saga s-1 is over", "TERMINAL_STATE"),
        (errors.Overloaded("MAILBOX_FULL", "saga s-1 has 100 commands waiting", 0.5),
         "saga s-1 has 100 commands waiting", "MAILBOX_FULL"),
        (errors.InvariantViolated("M5", "two attempts of a step are open"), "M5: two attempts of a step are open",
         "INVARIANT_VIOLATED"),
    ],
)  # fmt: skip
def test_an_error_is_a_sentence_with_a_reason(error: OrchestratorError, message: str, reason: str) -> None:
    assert str(error) == error.message == message
    assert error.reason == reason


def test_a_reason_of_one_error_leaves_the_next_alone() -> None:
    errors.Rejected("TERMINAL_STATE", "saga s-1 is over")
    assert errors.Rejected("PAST_PIVOT", "saga s-1 is past its pivot").reason == "PAST_PIVOT"
    assert errors.NotFound.reason == OrchestratorError.reason


def test_facts_are_kept_beside_the_sentence() -> None:
    assert errors.AlreadyExists("saga s-1 exists", saga_id="s-1").metadata == {"saga_id": "s-1"}
    assert errors.NotFound("saga", "s-1").metadata == {"kind": "saga", "name": "s-1"}
    assert errors.Overloaded("QUEUE_FULL", "too many starts wait", 2.0).retry_after_s == 2.0
    assert errors.DefinitionInvalid("2 errors", ["a", "b"]).findings == ("a", "b")


@pytest.mark.parametrize(
    ("parent", "fault", "retry"),
    [
        (errors.RequestError, Fault.CALLER, Retry.NEVER),
        (errors.BusyError, Fault.SYSTEM, None),
        (errors.IntegrityError, None, Retry.NEVER),
        (errors.ConfigError, Fault.OPERATOR, Retry.NEVER),
    ],
)
def test_the_place_in_the_tree_says_who_acts(
    parent: type[OrchestratorError], fault: Fault | None, retry: Retry | None
) -> None:
    for kind in (parent, *parent.__subclasses__()):
        assert fault is None or kind.fault is fault
        assert retry is None or kind.retry is retry
    if parent is errors.BusyError:
        assert all(kind.retry is not Retry.NEVER for kind in parent.__subclasses__())


def test_who_writes_a_stream_is_no_business_of_a_caller() -> None:
    for kind in (errors.VersionConflict, errors.Fenced):
        assert kind.__bases__ == (OrchestratorError,)
