"""The figures of all cases in one file for programs, `build/bench.json`: a section each, with where it is from."""

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.bootstrap.clock import wall_clock

ROUNDS = int(os.environ.get("ROUNDS", "5"))
"""Rounds of each side of a comparison; odd, so that a median is a round."""
SAGAS = int(os.environ.get("SAGAS", "1500"))
"""Sagas of a round."""
IS_SMOKE = ROUNDS < 3 or SAGAS < 500  # what a median and a percentile need at least
"""Too few to be quoted: the run shows only that the bench works, and its figures lie apart."""
OUT = Path("build/bench-smoke.json" if IS_SMOKE else "build/bench.json")


def load() -> dict[str, Any]:
    """Return every section that is there."""
    try:
        found = json.loads(OUT.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def keep(section: str, figures: Any) -> None:
    """Write a section over what it was."""
    sections = load()
    sections[section] = {
        "measured": datetime.fromtimestamp(wall_clock(), UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "figures": figures,
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(sections, indent=1) + "\n", encoding="utf-8")
    print(f"{section}: written to {OUT}" + (" (a smoke run: too few to be quoted)" if IS_SMOKE else ""))


def keep_rows(section: str, rows: Sequence[dict[str, Any]], key: Sequence[str]) -> None:
    """Write rows over those of the same key, and leave the others."""
    old = load().get(section, {}).get("figures", [])
    fresh = {tuple(row[name] for name in key): row for row in (*old, *rows)}
    keep(section, list(fresh.values()))
