"""What was found, kept in `found.json`, and the table of it in the documentation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.defects.planting import ROOT
from tests.defects.table import DEFECTS

FOUND = Path(__file__).parent / "found.json"
PAGE = ROOT / "docs" / "reliability.md"
_BEGIN, _END = "<!-- planted defects: written by `python -m tests.defects --write` -->\n", "<!-- end -->\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One search for one defect, from one starting point."""

    first: int
    seed: int | None
    """The seed that told; None where none did."""
    ran: int
    told_by: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What became of one defect."""

    name: str
    trials: Sequence[Trial]

    @property
    def is_found(self) -> bool:
        """Return whether it was found from every starting point."""
        return all(trial.seed is not None for trial in self.trials)

    @property
    def seeds(self) -> int:
        """Return how many seeds it takes, the median over the starting points."""
        return int(median(trial.ran for trial in self.trials))

    @property
    def seconds(self) -> float:
        """Return how much processor time that is."""
        return median(trial.seconds for trial in self.trials)

    @property
    def told_by(self) -> str:
        """Return what told, what told most often first."""
        words = [trial.told_by for trial in self.trials if trial.seed is not None]
        return ", ".join(sorted(dict.fromkeys(words), key=lambda word: (-words.count(word), word)))


def read() -> Mapping[str, Detection]:
    """Return what is kept, by name."""
    kept = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {"defects": {}}
    return {
        name: Detection(name=name, trials=tuple(Trial(**trial) for trial in trials))
        for name, trials in kept["defects"].items()
    }


def write(found: Mapping[str, Detection], *, date: str) -> None:
    """Keep what was found over what is kept, in the order of the table, and write the page."""
    every = {**read(), **found}
    defects = {name: [asdict(trial) for trial in every[name].trials] for name in DEFECTS if name in every}
    kept = {"date": date, "command": "python -m tests.defects --write", "defects": defects}
    FOUND.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(_page(), encoding="utf-8")


def check() -> list[str]:
    """Return what is wrong with the page, or with what is kept."""
    kept, wrong = read(), []
    wrong += [
        f"{name} is not in found.json; run python -m tests.defects {name} --write"
        for name in DEFECTS.keys() - kept.keys()
    ]
    wrong += [f"{name} is in found.json and was never planted" for name in kept.keys() - DEFECTS.keys()]
    if PAGE.read_text(encoding="utf-8") != _page():
        wrong.append("docs/reliability.md does not follow found.json; run python -m tests.defects --write")
    return wrong


def _page() -> str:
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin, f"{PAGE} has lost the line {_BEGIN}"
    assert end, f"{PAGE} has lost the line {_END} after it"
    return before + begin + "\n" + table(read()) + "\n" + end + after


def table(kept: Mapping[str, Detection]) -> str:
    """Return the table, what is found soonest first."""
    rows = sorted((kept[name] for name in DEFECTS if name in kept), key=lambda each: (each.seeds, each.name))
    found = [each.seeds for each in rows if each.is_found]
    lines = [
        f"{len(DEFECTS)} planted, {len(found)} found; half of them within {int(median(found or [0]))} seeds.",
        "",
    ]
    lines += ["| defect | what the program does then | breaks | told by | seeds |", "|---|---|---|---|---|"]
    for each in rows:
        defect = DEFECTS[each.name]
        seeds = f"{each.seeds:,}" if each.is_found else "NOT FOUND"
        lines.append(f"| `{each.name}` | {defect.says} | {defect.breaks} | {each.told_by} | {seeds} |")
    return "\n".join(lines) + "\n"
