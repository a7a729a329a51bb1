"""What a lane of tests has counted, kept where the page of figures finds it."""

import json
from pathlib import Path

FOLDER = Path("build/figures")


def keep(lane: str, **figures: float | str) -> None:
    """Write a lane's figures over those of its last run; names as the page shows them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{lane}.json").write_text(json.dumps({"lane": lane, **figures}, indent=1) + "\n", encoding="utf-8")
