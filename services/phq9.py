"""The PHQ-9: nine questions about the last two weeks, scored as its authors score them.

Source: K. Kroenke, R. L. Spitzer, J. B. W. Williams, "The PHQ-9: validity of a brief depression severity measure",
J Gen Intern Med 2001; 16:606-613.

* Nine items, each 0 (not at all), 1 (several days), 2 (more than half the days) or 3 (nearly every day); total 0..27.
* Severity bands: 0-4 minimal, 5-9 mild, 10-14 moderate, 15-19 moderately severe, 20-27 severe. From 10 upwards the
  paper finds sensitivity and specificity of 88 % for major depression, which is why people alert at 10.
* Item 9 asks for thoughts of being better off dead or of hurting oneself. Any answer above 0 raises the safety flag,
  whatever the total: a person with a total of 1 from item 9 needs somebody to look.
* Missing items: the paper does not say. The NHS Data Dictionary's page on the PHQ-9 does: one or two missing values may
  be replaced by the average of the others, a questionnaire with more is disregarded. Replacing by the average is the
  same as `sum * 9 / answered`; halves are rounded up, since the total is a whole number and under-reporting is the
  worse mistake. Seven answers of at most 3 cannot exceed 27 after scaling. A missing item 9 raises no flag: a guess
  about that question, from the other eight, is not made here.

Pure: no protobuf, no gRPC, no clock. An answer is a pair (item number, value or None).
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

ITEM_COUNT = 9
SAFETY_ITEM = 9
VALUE_MAX = 3
MISSING_MAX = 2
ALERT_TOTAL_MIN = 10
"""The usual cut-off for somebody to look at a report, as in the paper above."""

Answer = tuple[int, int | None]


class Severity(enum.Enum):
    """The band of a total; the value is the lowest total in it."""

    MINIMAL = 0
    MILD = 5
    MODERATE = 10
    MODERATELY_SEVERE = 15
    SEVERE = 20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a complete enough questionnaire says."""

    total: int
    """0..27, after proration."""
    severity: Severity
    safety_flag: bool
    """Item 9 was answered above 0."""
    prorated: bool
    answered: int
    """7..9"""

    @property
    def needs_alert(self) -> bool:
        """Somebody at the site must look at this patient."""
        return self.total >= ALERT_TOTAL_MIN or self.safety_flag


class UnscorableError(ValueError):
    """The answers are not a PHQ-9 that may be scored; `problems` says everything that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def score(answers: Sequence[Answer]) -> Score:
    """Score a questionnaire; raises UnscorableError with every problem found."""
    found = problems(answers)
    if found:
        raise UnscorableError(found)
    values = {item: value for item, value in answers if value is not None}
    answered = len(values)
    total = round_half_up(sum(values.values()) * ITEM_COUNT, answered)
    return Score(
        total=total,
        severity=band(total),
        safety_flag=values.get(SAFETY_ITEM, 0) > 0,
        prorated=answered < ITEM_COUNT,
        answered=answered,
    )


def problems(answers: Sequence[Answer]) -> list[str]:
    """Everything that forbids scoring, one sentence each, in the order a reader would meet it; empty when fine."""
    found = []
    seen: set[int] = set()
    answered = 0
    for item, value in answers:
        if not 1 <= item <= ITEM_COUNT:
            found.append(f"item {item} does not exist: the PHQ-9 has items 1 to {ITEM_COUNT}")
            continue
        if item in seen:
            found.append(f"item {item} is answered twice")
            continue
        seen.add(item)
        if value is None:
            continue
        answered += 1
        if not 0 <= value <= VALUE_MAX:
            found.append(f"item {item} is answered with {value}: the scale is 0 to {VALUE_MAX}")
    missing = ITEM_COUNT - answered
    if missing > MISSING_MAX:
        found.append(f"{missing} items are missing: at most {MISSING_MAX} can be made up for from the others")
    return found


def band(total: int) -> Severity:
    """The severity band of a total 0..27."""
    return max((each for each in Severity if each.value <= total), key=lambda each: each.value)


def round_half_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator` to the nearest whole number, halves upwards; exact, both at least 0."""
    return (2 * numerator + denominator) // (2 * denominator)
