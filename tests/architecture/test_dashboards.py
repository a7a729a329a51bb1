"""Dashboards: every query asks for what is published, every panel is explained, and they follow from the code."""

import itertools
import json
from pathlib import Path

import pytest

from docs.dashboards.model import thresholds
from docs.dashboards.page import DASHBOARDS, files
from orchestrator.telemetry.instruments import METRICS
from tests.kit.promql import added_up, asked, faults
from tests.kit.rules import BOARDS, ROOT, alerts, loaded, panels, published, rules

of_each_board = pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)


def queries(board: Path) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


def plain(expr: str) -> str:
    """An expression without Grafana's variables, as far as names and labels go."""
    return expr.replace("$__rate_interval", "1m").replace("$__interval", "1m")


@of_each_board
def test_a_panel_asks_only_for_what_is_published(board: Path) -> None:
    known = published()
    assert [fault for expr in queries(board) for fault in faults(plain(expr), known)] == []


@of_each_board
def test_a_panel_says_what_it_shows_in_which_unit_and_what_to_do(board: Path) -> None:
    for panel in panels(board):
        assert panel["title"], panel
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"].split()) >= 3, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@of_each_board
def test_a_query_is_bound_to_one_store(board: Path) -> None:
    for expr in queries(board):
        for name, labels in asked(plain(expr)).selectors:
            assert "job" in labels or name == "ALERTS", f"{name} of every store: {expr}"


@of_each_board
def test_what_is_counted_in_the_store_is_not_added_up_over_processes(board: Path) -> None:
    assert [name for expr in queries(board) for name in added_up(expr)] == []


@of_each_board
def test_panels_stand_beside_each_other_and_not_on_each_other(board: Path) -> None:
    places = [panel["gridPos"] for panel in json.loads(board.read_text(encoding="utf-8"))["panels"]]
    for place in places:
        assert place["x"] + place["w"] <= 24
    for one, other in itertools.combinations(places, 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart or above, (one, other)


@of_each_board
def test_what_a_panel_leads_to_and_what_it_is_chosen_by_exists(board: Path) -> None:
    model = json.loads(board.read_text(encoding="utf-8"))
    names = {variable["name"] for variable in model["templating"]["list"]}
    uids = {each.uid for each in DASHBOARDS}
    for panel in panels(board):
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            assert link["url"].removeprefix("/d/").partition("?")[0] in uids
    used = {
        name for expr in queries(board) for name in ("job", "instance", "definition", "target") if f"${name}" in expr
    }
    assert used <= names
    assert names - {"datasource"} == used, "a choice that changes nothing"


def test_a_line_in_a_picture_is_where_the_alert_begins() -> None:
    drawn: dict[str, list[float]] = {}
    for panel in (panel for board in DASHBOARDS for row in board.rows for panel in row.panels):
        if panel.alert:
            drawn[panel.alert] = [limit for _, limit in thresholds(panel.alert)]
    assert set(drawn) <= set(alerts())
    assert drawn["SagaEventLoopLate"] == [0.1]
    with pytest.raises(LookupError, match="knows no threshold"):
        thresholds("SagaNobodyKnows")


def test_every_metric_is_in_a_panel() -> None:
    recorded: dict[str, str] = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    exprs = [plain(expr) for board in BOARDS for expr in queries(board)]
    names = {name for expr in exprs for name in asked(expr).names}
    names |= {name for record in names & set(recorded) for name in asked(recorded[record]).names}
    shown = {name.removesuffix(ending) for name in names for ending in ("", "_bucket", "_sum", "_count")}
    assert {metric.name for metric in METRICS} - shown - UNSHOWN == set()
    assert UNSHOWN.isdisjoint(shown)


# `saga_sleeping` leaves out what is in one process's memory; of several processes only what is live, less all that is
# in memory anywhere, is true.
UNSHOWN = {"saga_sleeping"}


def test_the_committed_files_are_those_that_grafana_is_given() -> None:
    written = {(ROOT / "docs" / path).resolve() for path in files()}
    there = set((ROOT / "compose/grafana/dashboards").glob("*.json"))
    assert written == there


def test_pictures_of_time_have_exemplars() -> None:
    timed = [panel for board in BOARDS for panel in panels(board) if panel["title"].startswith("Time ")]
    with_points = {panel["title"] for panel in timed if all(target["exemplar"] for target in panel["targets"])}
    assert with_points >= {"Time from start to end", "Time on the wire, by method"}


@of_each_board
def test_the_mesh_provides_the_source_of_data_and_the_way_from_a_point_to_its_trace(board: Path) -> None:
    provided = loaded(ROOT / "compose/grafana/provisioning/datasources/datasources.yaml")["datasources"]
    uids = {source["uid"]: source for source in provided}
    variables = json.loads(board.read_text(encoding="utf-8"))["templating"]["list"]
    (chosen,) = [each for each in variables if each["type"] == "datasource"]
    (way,) = uids[chosen["current"]["value"]]["jsonData"]["exemplarTraceIdDestinations"]
    assert way["name"] == "trace_id"
    assert uids[way["datasourceUid"]]["type"] == "jaeger"
