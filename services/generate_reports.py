"""The demo's input: 1,000 invented reports, the same bytes every time.

    python -m services.generate_reports           rewrite services/data/reports.jsonl
    python -m services.generate_reports --check   exit 1 when the file is not what this program writes

One epro.v1.Report in protobuf-JSON form a line. No person stands behind any of them: patients, answers and visits come
out of a random generator with a fixed seed (only `random()` of the generator is used, whose sequence Python promises
to keep).

How many of each, exactly (see `KINDS`), shuffled:

    660   quiet       total 0..9 and item 9 at 0; from any site, closed ones included
    225   alert       total 10..27, or item 9 above 0; from an open site: adverse event and alert
     80   refused     30 with 3 to 6 items missing, 30 with an answer off the scale, 8 with an item answered twice,
                      6 in a language without approved translation, 6 without a visit
     35   closed      as alert, but from a closed site: the safety service refuses and the archive is undone

Within a kind: a patient's burden is drawn evenly from the kind's range, each item then 0..3 around it, until the
result is of the kind; about one scorable report in ten has one or two items missing; item 9 is rarely above 0 unless
the burden is high, and 25 of the alerts have a total below 10 and come from item 9 alone. 400 patients, each with a
site and a language of that site, report at up to five visits. Every severity band occurs; `services/data` is checked
for that by the tests.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from google.protobuf import json_format

from services import phq9
from services.epro.v1 import report_pb2
from services.sites import CLOSED_SITES, OPEN_SITES

SEED = 20261121
FILE = Path(__file__).parent / "data" / "reports.jsonl"
VISITS = ("SCREENING", "BASELINE", "WEEK-4", "WEEK-8", "WEEK-12")
PATIENT_COUNT = 400
CLOSED_SITE_SHARE = 0.2
MISSING_SHARE = 0.125
FIRST_SUBMITTED_AT = 1_767_600_000
"""2026-01-05 08:00 UTC, a Monday."""
SUBMITTED_EVERY_S = 7_919
"""A prime a little above two hours, so that the clock times wander over the day."""
SITE_LANGUAGES = {
    "BR": ("pt-BR",), "DE": ("de", "de", "en"), "ES": ("es",), "FR": ("fr", "fr", "en"), "GB": ("en",),
    "IT": ("it",), "JP": ("ja",), "PL": ("pl", "en"), "US": ("en", "en", "es"),
}  # fmt: skip

Values = list[int | None]
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Somebody who does not exist."""

    patient_id: str
    site: str
    language: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row of the table in the module's text."""

    count: int
    burden: tuple[float, float]
    """0 (no symptom ever) .. 1 (every symptom nearly every day)."""
    fits: Callable[[phq9.Score], bool]
    spoil: str = ""
    """What is done to a good report to have it refused."""
    sites: tuple[str, ...] = OPEN_SITES + CLOSED_SITES


def is_quiet(score: phq9.Score) -> bool:
    """Nobody needs to look."""
    return not score.needs_alert


def is_high(score: phq9.Score) -> bool:
    """Somebody must look because of the total."""
    return score.total >= phq9.ALERT_TOTAL_MIN


def is_flag_alone(score: phq9.Score) -> bool:
    """Somebody must look because of item 9 alone."""
    return score.safety_flag and score.total < phq9.ALERT_TOTAL_MIN


def is_any(_score: phq9.Score) -> bool:
    """The report will be refused; its score does not matter."""
    return True


KINDS = (
    Kind(count=660, burden=(0.0, 0.35), fits=is_quiet),
    Kind(count=200, burden=(0.3, 1.0), fits=is_high, sites=OPEN_SITES),
    Kind(count=25, burden=(0.1, 0.4), fits=is_flag_alone, sites=OPEN_SITES),
    Kind(count=35, burden=(0.3, 1.0), fits=is_high, sites=CLOSED_SITES),
    Kind(count=30, burden=(0.0, 1.0), fits=is_any, spoil="missing"),
    Kind(count=30, burden=(0.0, 1.0), fits=is_any, spoil="off the scale"),
    Kind(count=8, burden=(0.0, 1.0), fits=is_any, spoil="twice"),
    Kind(count=6, burden=(0.0, 1.0), fits=is_any, spoil="language"),
    Kind(count=6, burden=(0.0, 1.0), fits=is_any, spoil="visit"),
)


class Dice:
    """Everything drawn goes through `random()`, the one method whose sequence is promised for ever."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)  # noqa: S311  (invented data, not a secret)

    def share(self) -> float:
        return self._source.random()

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return low + int(self.share() * (high - low + 1))

    def one_of(self, values: Sequence[T]) -> T:
        return values[self.between(0, len(values) - 1)]

    def shuffled(self, values: Sequence[T]) -> list[T]:
        """Fisher and Yates."""
        left = list(values)
        for last in range(len(left) - 1, 0, -1):
            other = self.between(0, last)
            left[last], left[other] = left[other], left[last]
        return left


def generate() -> str:
    """The whole file."""
    dice = Dice(SEED)
    patients = [draw_patient(dice, number) for number in range(1, PATIENT_COUNT + 1)]
    kinds = dice.shuffled([kind for kind in KINDS for _ in range(kind.count)])
    lines = []
    for number, kind in enumerate(kinds, start=1):
        report = draw_report(dice, kind, number, patients)
        fields = json_format.MessageToDict(report)
        lines.append(json.dumps(fields, separators=(",", ":"), ensure_ascii=False) + "\n")
    return "".join(lines)


def draw_patient(dice: Dice, number: int) -> Patient:
    """Closed sites are over-represented a little: they recruited well before they closed."""
    site = dice.one_of(CLOSED_SITES if dice.share() < CLOSED_SITE_SHARE else OPEN_SITES)
    return Patient(patient_id=f"P{number:04d}", site=site, language=dice.one_of(SITE_LANGUAGES[site[:2]]))


def draw_report(dice: Dice, kind: Kind, number: int, patients: Sequence[Patient]) -> report_pb2.Report:
    """One report of the kind."""
    patient = dice.one_of([each for each in patients if each.site in kind.sites])
    values = draw_values(dice, kind)
    if kind.spoil == "missing":
        for index in dice.shuffled(range(phq9.ITEM_COUNT))[: dice.between(phq9.MISSING_MAX + 1, 6)]:
            values[index] = None
    if kind.spoil == "off the scale":
        values[dice.between(0, phq9.ITEM_COUNT - 1)] = dice.one_of((-1, 4, 5, 7, 9, 33))
    report = report_pb2.Report(
        report_id=f"R{number:05d}",
        patient_id=patient.patient_id,
        site=patient.site,
        visit="" if kind.spoil == "visit" else dice.one_of(VISITS),
        language="xx" if kind.spoil == "language" else patient.language,
        instrument=report_pb2.INSTRUMENT_PHQ9,
    )
    report.submitted_at.FromSeconds(FIRST_SUBMITTED_AT + number * SUBMITTED_EVERY_S)
    for item, value in enumerate(values, start=1):
        if value is not None:
            report.answers.add(item=item, value=value)
        elif dice.share() < 0.5:  # noqa: PLR2004  (half the forms send a skipped item without a value, half do not)
            report.answers.add(item=item)
    if kind.spoil == "twice":
        report.answers.append(dice.one_of(report.answers))
    return report


def draw_values(dice: Dice, kind: Kind) -> Values:
    """Nine answers that can be scored and whose score is of the kind; drawn until they are."""
    low, high = kind.burden
    while True:
        burden = low + dice.share() * (high - low)
        values: Values = [draw_value(dice, burden) for _ in range(phq9.ITEM_COUNT)]
        values[phq9.SAFETY_ITEM - 1] = draw_value(dice, burden**3)
        if dice.share() < MISSING_SHARE:
            for index in dice.shuffled(range(phq9.ITEM_COUNT))[: dice.between(1, phq9.MISSING_MAX)]:
                values[index] = None
        if kind.fits(phq9.score(list(enumerate(values, start=1)))):
            return values


def draw_value(dice: Dice, burden: float) -> int:
    """0..3: three throws, each counted with probability `burden`."""
    return sum(dice.share() < burden for _ in range(phq9.VALUE_MAX))


def main(argv: Sequence[str]) -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(prog="python -m services.generate_reports", description="Invent the demo's input.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the file differs")
    text = generate()
    if parser.parse_args(argv).check:
        return int(not FILE.exists() or FILE.read_text(encoding="utf-8") != text)
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
