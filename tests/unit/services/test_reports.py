"""The demo's input is what its generator says it is, and the validator's rules see every kind of bad report."""

from collections import Counter

import pytest
from google.protobuf import json_format

from services import generate_reports, phq9, reports
from services.epro.v1 import report_pb2
from services.sites import CLOSED_SITES


def parsed() -> list[report_pb2.Report]:
    lines = generate_reports.FILE.read_text(encoding="utf-8").splitlines()
    return [json_format.Parse(line, report_pb2.Report()) for line in lines]


def test_the_shipped_file_is_what_the_generator_writes() -> None:
    assert generate_reports.FILE.read_text(encoding="utf-8") == generate_reports.generate()


def test_the_mix_is_the_documented_one() -> None:
    mix: Counter[str] = Counter()
    for report in parsed():
        if reports.problems(report):
            mix["refused"] += 1
            continue
        score = phq9.score(reports.answers(report))
        if not score.needs_alert:
            mix["quiet"] += 1
        else:
            mix["closed" if report.site in CLOSED_SITES else "alert"] += 1
    assert mix == {"quiet": 660, "alert": 225, "refused": 80, "closed": 35}


def test_every_band_the_flag_alone_and_missing_items_occur() -> None:
    scores = [phq9.score(reports.answers(report)) for report in parsed() if not reports.problems(report)]
    assert {score.severity for score in scores} == set(phq9.Severity)
    assert sum(score.safety_flag and score.total < phq9.ALERT_TOTAL_MIN for score in scores) == 25
    assert {score.answered for score in scores} == {7, 8, 9}
    assert 60 < sum(score.prorated for score in scores) < 130


def test_report_ids_are_unique_and_languages_belong_to_the_site() -> None:
    all_reports = parsed()
    assert len({report.report_id for report in all_reports}) == len(all_reports) == 1000
    for report in all_reports:
        assert report.language in (*generate_reports.SITE_LANGUAGES[report.site[:2]], "xx")


def good_report() -> report_pb2.Report:
    report = report_pb2.Report(
        report_id="R1",
        patient_id="P1",
        site="DE-01",
        visit="BASELINE",
        language="de",
        instrument=report_pb2.INSTRUMENT_PHQ9,
        answers=[report_pb2.ItemAnswer(item=item, value=1) for item in range(1, 10)],
    )
    report.submitted_at.FromSeconds(1)
    return report


def test_a_good_report_has_no_problems() -> None:
    assert reports.problems(good_report()) == []


@pytest.mark.parametrize(
    "field", ["report_id", "patient_id", "site", "visit", "language", "submitted_at", "instrument"]
)
def test_a_report_without_this_field_is_refused(field: str) -> None:
    report = good_report()
    report.ClearField(field)  # type: ignore[arg-type]  # the stub lists the names as literals
    assert len(reports.problems(report)) == 1
