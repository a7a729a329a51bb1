"""What is kept beside the code: the mutants that are no mistake, with reasons, and the score of the last whole run."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.mutants import Mutant

HERE = Path(__file__).parent
EQUIVALENTS = HERE / "equivalents.toml"
SCORE = HERE / "score.json"


def equivalents() -> Mapping[str, str]:
    """Return the mutants that do what the code does, by name, with the reason."""
    groups = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))["equivalent"]
    return {name: group["why"] for group in groups for name in group["mutants"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What became of the mutants of one module, or of all."""

    mutants: int
    killed: int
    survived: int
    equivalent: int

    @property
    def score(self) -> float:
        """Return the killed among those that are mistakes; 1 where there is none."""
        mistakes = self.killed + self.survived
        return self.killed / mistakes if mistakes else 1.0


def count(mutants: Sequence[Mutant], survivors: frozenset[str], known: Mapping[str, str]) -> Count:
    """Count; what nobody noticed and what is known to be no mistake are told apart."""
    equivalent = sum(each.name in known for each in mutants)
    survived = sum(each.name in survivors and each.name not in known for each in mutants)
    killed = len(mutants) - equivalent - survived
    return Count(mutants=len(mutants), killed=killed, survived=survived, equivalent=equivalent)


def keep_score(
    *, modules: Mapping[str, Count], total: Count, survivors: Sequence[str], date: str, command: str, seconds: float
) -> None:
    """Write the score of a whole run."""
    kept = {
        "date": date,
        "command": command,
        "seconds": round(seconds),
        "score": round(total.score, 4),
        "total": asdict(total),
        "modules": {name: asdict(each) for name, each in modules.items()},
        "survivors": list(survivors),
    }
    SCORE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
