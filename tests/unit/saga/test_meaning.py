"""What one report alone says of the effect (R5 to R9), code by code and phase by phase."""

import pytest

from orchestrator.saga.events import Phase, Report
from orchestrator.saga.outcome import meaning
from orchestrator.saga.plan import Outcome, OutcomeProfile

REFUSED = ["ABORTED", "ALREADY_EXISTS", "DATA_LOSS", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "NOT_FOUND"]
GATES = ["UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"]
DOUBTFUL = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED"]
EVERY = ["OK", *REFUSED, *GATES, *DOUBTFUL]


def said(code: str, phase: Phase, *, applied: bool | None = None, unknown_before: bool = False) -> Outcome:
    return meaning(Report(code=code, phase=phase, applied=applied), unknown_before=unknown_before)


@pytest.mark.parametrize("code", EVERY)
def test_what_was_never_sent_was_not_applied_whatever_its_code(code: str) -> None:
    expected = Outcome.UNKNOWN if code == "DATA_LOSS" else Outcome.NOT_APPLIED
    assert said(code, Phase.NOT_SENT) is expected


@pytest.mark.parametrize("code", [each for each in EVERY if each != "OK"])
def test_what_nobody_saw_the_end_of_is_unknown_whatever_was_said(code: str) -> None:
    assert said(code, Phase.LOST) is Outcome.UNKNOWN
    assert said(code, Phase.LOST, applied=False) is Outcome.UNKNOWN


@pytest.mark.parametrize("phase", [Phase.SENT, Phase.REPLIED])
def test_a_service_that_says_whether_it_was_applied_is_believed(phase: Phase) -> None:
    for code in (*GATES, *DOUBTFUL, "NOT_FOUND", "ABORTED"):
        assert said(code, phase, applied=True) is Outcome.APPLIED
        assert said(code, phase, applied=False) is Outcome.NOT_APPLIED
    assert said("DATA_LOSS", phase, applied=False) is Outcome.UNKNOWN
    assert said("OK", phase, applied=False) is Outcome.APPLIED


def test_a_code_that_only_a_service_sends_says_that_it_was_not_applied() -> None:
    for code in REFUSED:
        expected = Outcome.UNKNOWN if code == "DATA_LOSS" else Outcome.NOT_APPLIED
        assert said(code, Phase.SENT) is said(code, Phase.REPLIED) is expected


def test_a_gate_that_answered_did_not_let_the_call_in() -> None:
    for code in GATES:
        assert said(code, Phase.REPLIED) is Outcome.NOT_APPLIED
        assert said(code, Phase.SENT) is Outcome.UNKNOWN


def test_a_code_that_the_library_may_have_made_says_nothing() -> None:
    for code in DOUBTFUL:
        assert said(code, Phase.SENT) is said(code, Phase.REPLIED) is Outcome.UNKNOWN


def test_what_exists_already_after_a_doubt_is_what_the_doubt_was_about() -> None:
    assert said("ALREADY_EXISTS", Phase.REPLIED, unknown_before=True) is Outcome.APPLIED
    assert said("NOT_FOUND", Phase.REPLIED, unknown_before=True) is Outcome.NOT_APPLIED


def test_a_service_that_speaks_as_dtm_does_is_still_at_it_where_others_have_refused() -> None:
    ongoing = Report(code="FAILED_PRECONDITION", phase=Phase.REPLIED)
    aborted = Report(code="ABORTED", phase=Phase.REPLIED)
    assert meaning(ongoing, unknown_before=False, profile=OutcomeProfile.DTM) is Outcome.UNKNOWN
    assert meaning(aborted, unknown_before=False, profile=OutcomeProfile.DTM) is Outcome.NOT_APPLIED
