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
    "I12": "a key is derived from saga, path, operation and manual epoch; it stands for one request of one life",
    "I13": "one key has at most one effect",
    "I14": "an operation is tried no more often than its policy allows",
    "I15": "a step starts only when its predecessors allow it, and within its scope's or its list's time",
    "I17": "nothing goes forward after compensation began, nor in a part that is being undone",
    "I18": "what is undone is exactly what was applied or may have been, in the saga, a scope, and what is run again",
    "I19": "an undo starts only when no forward call of what is undone with it is open",
    "I20": "what began later is undone earlier",
    "I21": "nothing that can be undone begins beside or after the pivot; nothing goes backward once it is applied",
    "I24": "completed: every effect stands; compensated: none does; what a person left is listed instead",
    "I25": "a terminal event is the last one, and the only one but for a completed child that its parent undoes",
    "I28": "a child ends before its parent, as the parent's step says: applied is COMPLETED, undone is not",
    "I29": "a signal is recorded once, if its sender was told so at all; no step takes one that has not come",
    "I35": "a saga that has not ended has a next wake-up, waits, or has asked a person and says why",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """An effect that a person let stand: no violation, and nothing that anybody should have to look for."""

    saga_id: str
    path: str
    """The step or item; empty of a saga ended as it was with nothing named."""
    why: str

    def __str__(self) -> str:
        """Return the line a person reads."""
        return f"saga {self.saga_id}: {self.path or 'the saga'} {self.why}"


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
    left: list[Left] = field(default_factory=list[Left])
    """What people let stand, up to a bound."""
    left_count: int = 0
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

    def leave(self, left: Iterable[Left]) -> None:
        """Keep what people let stand, up to a bound."""
        for each in left:
            self.left_count += 1
            if len(self.left) < VIOLATIONS_KEPT_MAX:
                self.left.append(each)

    @property
    def violation_count(self) -> int:
        """Return how many facts broke a rule, kept or not."""
        return self.by_invariant.total()

    def finish(self) -> None:
        """Say of every invariant that saw no fact that it was not checked."""
        for invariant in INVARIANTS:
            if not self.checked[invariant]:
                self.not_checked.setdefault(invariant, "nothing in these witnesses bears on it")
