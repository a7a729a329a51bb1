"""What a report says and what is wrong with it: the few lines between `epro.v1.Report` and the instrument.

Used by the validator, to judge a report, and by scoring, to score it.
"""

from __future__ import annotations

from services import phq9
from services.epro.v1 import report_pb2

LANGUAGES = ("en", "de", "es", "fr", "it", "pl", "pt-BR", "ja")
"""Translations of the questionnaire that the study's ethics committees approved."""


def answers(report: report_pb2.Report) -> list[phq9.Answer]:
    """The report's answers as the instrument takes them; None where an item has no value."""
    return [(each.item, each.value if each.HasField("value") else None) for each in report.answers]


def problems(report: report_pb2.Report) -> list[str]:
    """Every reason not to take this report in, one sentence each; empty when there is none."""
    found = [f"{name} is empty" for name in ("report_id", "patient_id", "site", "visit") if not getattr(report, name)]
    if report.language not in LANGUAGES:
        found.append(f"language {report.language!r} has no approved translation: one of {', '.join(LANGUAGES)}")
    if not report.HasField("submitted_at"):
        found.append("submitted_at is absent")
    if report.instrument != report_pb2.INSTRUMENT_PHQ9:
        return [*found, "the instrument is not the PHQ-9, which is the only one this study uses"]
    return found + phq9.problems(answers(report))
