"""The rules that Prometheus is given, the dashboards that Grafana is given, and the programs that try them."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from docs.dashboards.page import DASHBOARDS
from tests.kit.promql import MADE, SCRAPED, asked, labels_of

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "compose/prometheus/rules").glob("*.yaml"))
RULE_TESTS = sorted((ROOT / "compose/prometheus/tests").glob("*.yaml"))
BOARDS = [ROOT / f"compose/grafana/dashboards/{each.uid}.json" for each in DASHBOARDS]
PROMTOOL, PROMETHEUS = shutil.which("promtool"), shutil.which("prometheus")
# What prometheus-client publishes of the process and its garbage collector.
CLIENT = {
    **dict.fromkeys(("process_cpu_seconds_total", "process_resident_memory_bytes"), frozenset[str]()),
    **dict.fromkeys(("process_open_fds", "process_max_fds", "process_start_time_seconds"), frozenset[str]()),
    "python_gc_collections_total": frozenset({"generation"}),
}
ABSENT = "there is no {} on this machine (Debian: apt install prometheus)"


@cache
def loaded(path: Path) -> Any:
    """Return what a YAML file holds."""
    return YAML(typ="safe").load(path.read_text(encoding="utf-8"))


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Return every rule, recording and alerting."""
    return tuple(rule for path in RULES for group in loaded(path)["groups"] for rule in group["rules"])


def alerts() -> dict[str, list[dict[str, Any]]]:
    """Return the alerts by name; one name may have a rule for each severity."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in rules():
        if "alert" in rule:
            found.setdefault(rule["alert"], []).append(rule)
    return found


def panels(path: Path) -> list[dict[str, Any]]:
    """Return a dashboard's panels but for the headings."""
    return [panel for panel in json.loads(path.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]


def published() -> dict[str, frozenset[str]]:
    """Return every series there can be, with its labels: scraped ones, recorded ones, and what Prometheus makes."""
    known = {**labels_of(), **{name: labels | SCRAPED for name, labels in MADE.items()}}
    known |= {name: SCRAPED | labels for name, labels in CLIENT.items()}
    recorded = [rule for rule in rules() if "record" in rule]
    for rule in recorded:  # a name says which labels are kept
        known[rule["record"]] = frozenset(rule["record"].partition(":")[0].split("_"))
    known["ALERTS"] |= {label for each in alerts().values() for rule in each for label in _kept(rule["expr"], known)}
    return known


def _kept(expr: str, known: dict[str, frozenset[str]]) -> frozenset[str]:
    return frozenset(label for name in asked(expr).names for label in known.get(name, ()))
