"""What is kept beside the code: the mutants that are no mistake, with reasons, and the score of the last whole run."""

import ast
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.mutation.mutants import Module, Mutant

HERE = Path(__file__).parent
EQUIVALENTS = HERE / "equivalents.toml"
SCORE = HERE / "score.json"
LAST = Path("build/mutation.json")
"""Which test noticed each mutant that was ever judged, as long as its file stays as it was."""


def equivalents() -> Mapping[str, str]:
    """Return the mutants that do what the code does, by name, with the reason."""
    groups = tomllib.loads(EQUIVALENTS.read_text(encoding="utf-8"))["equivalent"]
    return {name: group["why"] for group in groups for name in group["mutants"]}


def survivors() -> frozenset[str]:
    """Return the mutants that nobody noticed when the score was kept: work that is known to be left."""
    return frozenset(json.loads(SCORE.read_text(encoding="utf-8"))["survivors"]) if SCORE.exists() else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What became of the mutants of one module, or of all."""

    mutants: int
    killed: int
    survived: int
    equivalent: int
    """Known to be no mistake."""
    unjudged: int
    """Which no run has come to; they come in an order of luck, so that the score of the others speaks for them."""

    @property
    def score(self) -> float:
        """Return the killed among those that are mistakes; 1 where there is none."""
        mistakes = self.killed + self.survived
        return self.killed / mistakes if mistakes else 1.0


def count(mutants: Sequence[Mutant], verdicts: Mapping[str, str | None], known: Mapping[str, str]) -> Count:
    """Count; what nobody noticed and what is known to be no mistake are told apart."""
    mistakes = [each.name for each in mutants if each.name not in known]
    judged = [name for name in mistakes if name in verdicts]
    survived = sum(verdicts[name] is None for name in judged)
    return Count(
        mutants=len(mutants),
        killed=len(judged) - survived,
        survived=survived,
        equivalent=len(mutants) - len(mistakes),
        unjudged=len(mistakes) - len(judged),
    )


def recall(modules: Sequence[Module]) -> dict[str, str | None]:
    """Return what was judged before, by name, of the files that have not changed since."""
    if not LAST.exists():
        return {}
    last = json.loads(LAST.read_text(encoding="utf-8"))
    same = {each.name for each in modules if last["files"].get(each.name) == _digest(each)}
    return {name: killer for name, killer in last["verdicts"].items() if _module_of(name) in same}


def remember(modules: Sequence[Module], verdicts: Mapping[str, str | None]) -> None:
    """Write what has been judged so far."""
    LAST.parent.mkdir(parents=True, exist_ok=True)
    kept = {"files": {each.name: _digest(each) for each in modules}, "verdicts": dict(sorted(verdicts.items()))}
    LAST.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _digest(module: Module) -> str:
    return hashlib.sha256(ast.dump(module.tree).encode()).hexdigest()


def _module_of(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def keep_score(*, modules: Mapping[str, Count], total: Count, unnoticed: Sequence[str], date: str) -> None:
    """Write the score of the whole machine."""
    kept = {
        "date": date,
        "command": "python -m tests.mutation --again --keep",
        "score": round(total.score, 4),
        "total": asdict(total),
        "modules": {name: asdict(each) for name, each in modules.items()},
        "survivors": list(unnoticed),
    }
    SCORE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
