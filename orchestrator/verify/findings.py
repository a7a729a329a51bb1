"""What a check found, and what it looked at: a claim without its count is not evidence."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator.limits import VIOLATIONS_KEPT_MAX
from orchestrator.verify.invariants import INVARIANTS


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
    partly: dict[str, str] = field(default_factory=dict[str, str])
    """Invariant -> which part of it these witnesses cannot show."""
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

    def hold(self, invariant: str, found: "Iterable[Violation | int]") -> None:
        """Take what a rule found: a number of facts that obey it, or one that does not."""
        facts = 0
        for each in found:
            if isinstance(each, int):
                facts += each
            else:
                self.add(invariant, (each,))
        self.checked[invariant] += facts

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
