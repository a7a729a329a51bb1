"""The demo's proof: what the client was told and what the orchestrator says, against what the services did.

Three witnesses that share nothing. The client's record: which starts were acknowledged, and how each saga was said to
end. The orchestrator's own list, read after everything is over. The services' effect ledgers, `*.ledger.jsonl` in the
data folder (`orchestrator/verify/witnesses.py` says what of them counts). The balance of a step is its forward effects
less its undone ones.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.verify import Ledgers, read_ledgers

# Steps of the demo's definition whose effects the ledgers count, and the one that refuses a report.
EFFECT_STEPS = frozenset({"archive", "adverse_event", "notify"})
ALERT_STEP = "notify"
REFUSING_STEP = "validate"


Balance = Counter[tuple[str, str]]
"""(saga id, step) -> effects that stand."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """One saga as the client knows it."""

    saga_id: str
    is_acknowledged: bool = False
    status: str = ""
    """The status it was told the saga ended with; empty while it was told none."""
    failed_step: str = ""
    applied: tuple[str, ...] = ()
    """Steps that it was told were applied and stand."""
    took_s: float = 0.0
    """From the first request to the end of the saga, as the client saw it."""
    was_cut: bool = False
    """It was under way when the orchestrator was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the three witnesses say together; every list names saga ids, or saga id and step."""

    lost: list[str] = field(default_factory=list[str])
    """Acknowledged and not there, there with another end, or without an effect that was reported as applied."""
    duplicated: list[str] = field(default_factory=list[str])
    """A step whose effect stands more than once, or was undone more often than done."""
    left_undone: list[str] = field(default_factory=list[str])
    """A step of a COMPENSATED saga whose effect still stands."""

    @property
    def is_clean(self) -> bool:
        """Return whether nothing is wrong."""
        return not (self.lost or self.duplicated or self.left_undone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came out."""

    answers: Sequence[Answer]
    verdict: Verdict
    kills: int
    cut: int
    """Sagas that were under way when the orchestrator was killed."""
    retries: int
    """Calls that the client sent again."""
    away_s: float
    """From the kill until the orchestrator answered again."""
    seconds: float

    def counts(self) -> dict[str, int | float]:
        """Return the figures of `--json`."""
        ended = [answer.status for answer in self.answers]
        refused = sum(is_refused(answer) for answer in self.answers)
        return {
            "reports": len(self.answers),
            "completed": ended.count("COMPLETED"),
            "alerted": sum(is_alerted(answer) for answer in self.answers),
            "refused": refused,
            "compensated": ended.count("COMPENSATED") - refused,
            "needs_attention": ended.count("NEEDS_ATTENTION"),
            "lost": len(self.verdict.lost),
            "duplicated_effects": len(self.verdict.duplicated),
            "left_undone": len(self.verdict.left_undone),
            "kills": self.kills,
            "seconds": round(self.seconds, 2),
        }

    @property
    def is_clean(self) -> bool:
        """Return whether every report came to an end that nobody must look at."""
        return self.verdict.is_clean and all(answer.status in {"COMPLETED", "COMPENSATED"} for answer in self.answers)


def judge(
    answers: Iterable[Answer], listed: Mapping[str, str], balance: Balance, effect_steps: frozenset[str]
) -> Verdict:
    """Compare the witnesses; `listed` is saga id -> status, `effect_steps` the steps that have effects to count."""
    lost: list[str] = []
    left_undone: list[str] = []
    for answer in answers:
        if not answer.is_acknowledged:
            continue
        if listed.get(answer.saga_id) != answer.status or not answer.status:
            lost.append(answer.saga_id)
        if answer.status == "COMPLETED":
            applied = (step for step in answer.applied if step in effect_steps)
            lost += [f"{answer.saga_id} {step}" for step in applied if not balance[answer.saga_id, step]]
        if answer.status == "COMPENSATED":
            left_undone += [
                f"{answer.saga_id} {step}" for step in sorted(effect_steps) if balance[answer.saga_id, step] > 0
            ]
    duplicated = [f"{saga_id} {step}" for (saga_id, step), stands in sorted(balance.items()) if not 0 <= stands <= 1]
    return Verdict(lost=lost, duplicated=duplicated, left_undone=left_undone)


def read_balance(folder: Path) -> Balance:
    """Add up every ledger of a folder, read as `saga verify` reads it; `ConfigError` where one cannot be read."""
    return Counter({(saga_id, step): stands for (saga_id, step), stands in Ledgers(read_ledgers(folder)).net.items()})


def is_refused(answer: Answer) -> bool:
    """Return whether the validator said no, so that nothing was done."""
    return answer.status == "COMPENSATED" and answer.failed_step == REFUSING_STEP


def is_alerted(answer: Answer) -> bool:
    """Return whether the saga completed with an alert to the study nurse."""
    return answer.status == "COMPLETED" and ALERT_STEP in answer.applied
