"""What a check found, and what it looked at: a claim without its count is not evidence."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.limits import VIOLATIONS_KEPT_MAX

INVARIANTS: Mapping[str, str] = {
    "I1": "a stream's versions are 1..n without a gap",
    "I2": "epochs never decrease along a stream",
    "I4": "the search row says what the records fold to",
    "I5": "every record is an arc of the transition tables, and the end obeys M1 to M13",
    "I7": "what a caller was told is in the journal",
    "I10": "an effect at a service was recorded as an intent before",
    "I11": "an attempt has at most one end, and in an ended saga exactly one",
    "I12": "an operation's key is derived from the saga, and the same for every attempt",
    "I13": "one key has at most one effect",
    "I14": "an operation is tried no more often than its policy allows",
    "I15": "a step starts only when its predecessors allow it",
    "I17": "nothing goes forward after compensation began",
    "I18": "what is undone is exactly what was applied or may have been",
    "I19": "an undo starts only when no forward call is open",
    "I20": "what began later is undone earlier",
    "I24": "completed: every effect stands; compensated: none does",
    "I25": "a terminal event is the last one, and the only one",
    "I35": "a saga that has not ended has a next wake-up or has asked a person",
}
"""The system invariants that can be read off a journal, the services' ledgers and the callers' answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken rule in one saga; `versions` point at the records."""

    invariant: str
    saga_id: str
    message: str
    versions: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return the line a person reads."""
        where = f" (records {', '.join(map(str, self.versions))})" if self.versions else ""
        return f"{self.invariant} saga {self.saga_id}: {self.message}{where}; the rule: {INVARIANTS[self.invariant]}"


@dataclass(slots=True)
class Findings:
    """Everything a run of the checker has to say."""

    checked: Counter[str] = field(default_factory=Counter[str])
    """Invariant -> how many facts were held against it."""
    violations: list[Violation] = field(default_factory=list[Violation])
    by_invariant: Counter[str] = field(default_factory=Counter[str])
    """Invariant -> how many facts broke it."""
    not_checked: dict[str, str] = field(default_factory=dict[str, str])
    """Invariant -> why nothing was held against it."""
    sagas: int = 0
    records: int = 0
    effects: int = 0

    def add(self, invariant: str, violations: Iterable[Violation], facts: int = 1) -> None:
        """Count what was checked, and keep what was wrong, up to a bound."""
        self.checked[invariant] += facts
        for violation in violations:
            self.by_invariant[invariant] += 1
            if len(self.violations) < VIOLATIONS_KEPT_MAX:
                self.violations.append(violation)

    @property
    def violation_count(self) -> int:
        """Return how many facts broke a rule, kept or not."""
        return self.by_invariant.total()

    def finish(self) -> None:
        """Say of every invariant that saw no fact that it was not checked."""
        for invariant in INVARIANTS:
            if not self.checked[invariant]:
                self.not_checked.setdefault(invariant, "nothing in these witnesses bears on it")
