"""A dashboard as a value, and as the JSON that Grafana reads.

What is the same in every panel is said here once: where it stands, how it is drawn, which data source it asks. What a
panel shows and says is in the modules beside this one. A panel that names an alert takes its thresholds from the
rule of that alert, so that a line in a picture and what wakes a person are the same number.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML

RULES = Path(__file__).parents[2] / "compose/prometheus/rules/alerts.yaml"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
HEIGHTS = {"timeseries": 8, "stat": 4, "table": 7}
COLOURS = {"warning": "orange", "critical": "red"}
# Version of Grafana's model: that of Grafana 11, which later ones bring up to their own when they load it.
SCHEMA = 39
# Of what a query answers at one instant, a table shows the labels: that there is a row is the answer.
_LABELS_ALONE = {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One PromQL expression, and how its series are called: `{{label}}` is replaced."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. `unit` is one of Grafana's; `tells` says what it shows and what to do when it moves."""

    title: str
    unit: str
    tells: str
    queries: tuple[Query, ...]
    shows: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    alert: str = ""
    is_stacked: bool = False
    has_exemplars: bool = False
    leads_to: str = ""
    """`label:uid`: a click on a series opens that dashboard with the series' label as its variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One page of panels. `variables` are names of labels to choose from, each with a metric that has it."""

    uid: str
    title: str
    tells: str
    rows: tuple[Row, ...]
    variables: tuple[tuple[str, str], ...] = ()


def rendered(dashboard: Dashboard) -> str:
    """The file that Grafana is provisioned with."""
    model = {
        "annotations": {"list": [_restarts()]},
        "description": dashboard.tells,
        "editable": False,
        "graphTooltip": 1,
        "id": None,
        "links": [_siblings()],
        "panels": _panels(dashboard.rows),
        "refresh": "30s",
        "schemaVersion": SCHEMA,
        "tags": ["saga"],
        "templating": {"list": [_source(), *_variables(dashboard)]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "title": dashboard.title,
        "uid": dashboard.uid,
    }
    return json.dumps(model, indent=1, ensure_ascii=False) + "\n"


def thresholds(alert: str) -> tuple[tuple[str, float], ...]:
    """What an alert compares with, by severity: the number after the first `>` or `==` of its rule, ascending."""
    groups = YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"] if rule["alert"] == alert]
    limits = [(rule["labels"]["severity"], re.search(r"(?:>|==) (\d[\d.]*)", rule["expr"])) for rule in rules]
    found = [(severity, float(limit[1])) for severity, limit in limits if limit is not None]
    if not found:
        raise LookupError(f"a panel names the alert {alert!r}, of which {RULES.name} knows no threshold")
    return tuple(sorted(found, key=lambda each: each[1]))


def _panels(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        made.append(
            {
                "collapsed": False,
                "gridPos": {"h": 1, "w": WIDTH, "x": 0, "y": top},
                "id": len(made) + 1,
                "panels": [],
                "title": row.title,
                "type": "row",
            }
        )
        top += 1
        left = height = 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                left, top, height = 0, top + height, 0
            place = {"h": HEIGHTS[panel.shows], "w": panel.width, "x": left, "y": top}
            made.append({"gridPos": place, "id": len(made) + 1, **_panel(panel)})
            left, height = left + panel.width, max(height, HEIGHTS[panel.shows])
        top += height
    return made


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "color": {"mode": "palette-classic"}, "custom": {}}
    if panel.leads_to:
        label, _, uid = panel.leads_to.partition(":")
        address = f"/d/{uid}?var-{label}=${{__field.labels.{label}}}&var-job=$job&${{__url_time_range}}"
        defaults["links"] = [{"title": f"Open ${{__field.labels.{label}}}", "url": address, "targetBlank": False}]
    options = {"timeseries": _timeseries, "stat": _stat, "table": _table}[panel.shows](panel, defaults)
    if panel.alert:
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        steps += [{"color": COLOURS[severity], "value": limit} for severity, limit in _steps(panel)]
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    told = panel.tells + (f"\n\nAlert: {panel.alert} (docs/alerts.md)" if panel.alert else "")
    return {
        "datasource": SOURCE,
        "description": told,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
        "title": panel.title,
        "transformations": [_LABELS_ALONE] if panel.shows == "table" else [],
        "type": panel.shows,
    }


def _steps(panel: Panel) -> tuple[tuple[str, float], ...]:
    """A stat shows counts, and Grafana's steps hold from their value on: more than none is one."""
    limits = thresholds(panel.alert)
    return tuple((severity, 1.0 if panel.unit == "none" and limit == 0 else limit) for severity, limit in limits)


def _timeseries(panel: Panel, defaults: dict[str, Any]) -> dict[str, Any]:
    defaults["min"] = 0
    defaults["custom"] = {
        "fillOpacity": 20 if panel.is_stacked else 0,
        "lineWidth": 1,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if panel.alert else "off"},
    }
    return {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def _stat(panel: Panel, defaults: dict[str, Any]) -> dict[str, Any]:
    defaults["color"] = {"mode": "thresholds" if panel.alert else "fixed", "fixedColor": "text"}
    return {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "auto",
    }


def _table(panel: Panel, defaults: dict[str, Any]) -> dict[str, Any]:
    return {"cellHeight": "sm", "showHeader": True}


def _target(panel: Panel, number: int, query: Query) -> dict[str, Any]:
    is_table = panel.shows == "table"
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "exemplar": panel.has_exemplars,
        "expr": query.expr,
        "format": "table" if is_table else "time_series",
        "instant": is_table,
        "legendFormat": query.legend or "__auto",
        "range": not is_table,
        "refId": chr(ord("A") + number),
    }


def _source() -> dict[str, Any]:
    return {
        "current": {"selected": False, "text": "Prometheus", "value": "prometheus"},
        "hide": 0,
        "label": "Data source",
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "type": "datasource",
    }


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    """The job is one store, chosen alone; of everything else several may be chosen, or all."""
    made: list[dict[str, Any]] = []
    for name, metric in (("job", "saga_actors"), ("instance", "saga_actors"), *dashboard.variables):
        is_one = name == "job"
        query = f"label_values({metric}, {name})" if is_one else f'label_values({metric}{{job="$job"}}, {name})'
        every = {"current": {"selected": True, "text": ["All"], "value": ["$__all"]}, "allValue": ".*"}
        made.append(
            {
                **({} if is_one else every),
                "datasource": SOURCE,
                "hide": 0,
                "includeAll": not is_one,
                "label": {"job": "Store (job)", "instance": "Process"}.get(name, name.capitalize()),
                "multi": not is_one,
                "name": name,
                "query": {"qryType": 1, "query": query, "refId": f"choose-{name}"},
                "refresh": 2,
                "sort": 1,
                "type": "query",
            }
        )
    return made


def _siblings() -> dict[str, Any]:
    return {
        "asDropdown": False,
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "tags": ["saga"],
        "targetBlank": False,
        "title": "",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }


def _restarts() -> dict[str, Any]:
    return {
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "blue",
        "name": "Restarts",
        "tagKeys": "instance",
        "target": {"expr": 'changes(process_start_time_seconds{job="$job"}[$__interval]) > 0', "refId": "restarts"},
        "titleFormat": "{{instance}} was started again",
    }
