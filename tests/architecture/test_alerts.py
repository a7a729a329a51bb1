"""Alerts and recorded rules: they ask for what exists, each is explained, each is tried by Prometheus' own tests."""

import re
import subprocess
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from tests.kit.promql import STORE_WIDE, added_up, asked, faults, labels_of
from tests.kit.rules import ABSENT, PROMTOOL, ROOT, RULE_TESTS, RULES, alerts, loaded, published, rules
from tests.unit.api.test_reference import FILES

PAGE = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
SEVERITIES = {"warning", "critical"}


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second level."""
    found = re.split(r"^## (.+)\n", page, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_a_rule_asks_only_for_what_is_published() -> None:
    known = published()
    assert [fault for rule in rules() for fault in faults(rule["expr"], known)] == []


def test_a_recorded_rule_is_called_after_the_labels_that_it_keeps() -> None:
    for rule in (rule for rule in rules() if "record" in rule):
        level, _, operation = rule["record"].split(":")
        assert operation
        grouping = asked(rule["expr"]).grouping - {"le"}
        assert set(level.split("_")) == (grouping or set(level.split("_"))), rule["record"]


def test_streams_are_told_from_requests_that_fail() -> None:
    """By their names, and there is no other way: both are in one metric."""
    excepted = {found for rule in rules() for found in re.findall(r'method!~"([^"]*)"', rule["expr"])}
    (pattern,) = excepted
    for method in served():
        is_stream = method.server_streaming or method.client_streaming
        name = f"{method.containing_service.full_name}/{method.name}"
        assert bool(re.fullmatch(pattern, name)) == is_stream, name


def served() -> Iterator[MethodDescriptor]:
    services = [service for file in FILES for service in file.services_by_name.values()]
    for standard in (health_pb2, reflection_pb2):
        services += standard.DESCRIPTOR.services_by_name.values()
    for service in services:
        yield from service.methods


def test_what_is_counted_in_the_store_is_never_added_up_over_processes() -> None:
    for rule in rules():
        assert added_up(rule["expr"]) == []


def test_the_page_of_metrics_says_which_are_counted_in_the_store() -> None:
    page = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    row = re.search(r"^\| in the store[^|]*\|([^|]*)\|", page, re.MULTILINE)
    assert row is not None
    assert set(re.findall(r"`(\w+)`", row[1])) == set(STORE_WIDE)


@pytest.mark.parametrize(
    ("expr", "wrong"),
    [
        ("max by (job, status) (saga_live)", []),
        ('sum(max by (status) (saga_live{job="a"}))', []),
        ("sum by (job) (saga_live) > max(saga_needing_attention)", ["saga_live"]),
        ("saga_needing_attention > 0", ["saga_needing_attention"]),
    ],
)
def test_a_sum_over_what_every_process_shows_is_found(expr: str, wrong: list[str]) -> None:
    assert added_up(expr) == wrong


def test_every_recorded_rule_is_asked_for_by_an_alert_a_panel_or_another_rule() -> None:
    boards = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "compose/grafana/dashboards").glob("*.json"))
    for rule in rules():
        if "record" in rule:
            others = "".join(each["expr"] for each in rules() if each is not rule)
            assert rule["record"] in others + boards, f"nobody asks for {rule['record']}"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_where_to_read_on(name: str) -> None:
    for rule in alerts()[name]:
        assert rule["labels"]["severity"] in SEVERITIES
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert all(rule["annotations"].values())
        assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    severities = [rule["labels"]["severity"] for rule in alerts()[name]]
    assert len(severities) == len(set(severities))


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_has_a_section_that_says_what_to_do(name: str) -> None:
    section = sections(PAGE)[name]
    for part in ("Says", "See", "Do", "Nothing if"):
        assert f"**{part}:**" in section, f"{name} has no {part!r}"
    for rule in alerts()[name]:
        assert rule["labels"]["severity"] in section.lower()


def test_the_page_has_no_section_of_an_alert_that_is_gone() -> None:
    assert {name for name in sections(PAGE) if name.startswith("Saga")} == set(alerts())


def test_every_recorded_rule_is_in_the_table_of_the_page() -> None:
    told = set(re.findall(r"^\| `([^`]+)`", sections(PAGE)["Recorded rules"], re.MULTILINE))
    assert told == {rule["record"] for rule in rules() if "record" in rule}


@pytest.mark.parametrize("name", sorted(alerts()))
def test_an_alert_is_tried_where_it_fires_at_each_severity_and_where_it_is_silent(name: str) -> None:
    fired: set[str] = set()
    is_silent = False
    for test in (test for path in RULE_TESTS for test in loaded(path)["tests"]):
        for case in test.get("alert_rule_test", ()):
            if case["alertname"] == name:
                fired |= {each["exp_labels"]["severity"] for each in case["exp_alerts"]}
                is_silent |= not case["exp_alerts"]
        for case in test.get("promql_expr_test", ()):
            samples = [each["labels"] for each in case["exp_samples"]]
            of_it = [labels for labels in samples if f'alertname="{name}"' in labels and '"firing"' in labels]
            fired |= {severity for severity in SEVERITIES for labels in of_it if f'severity="{severity}"' in labels}
            is_silent |= f'alertname="{name}"' in case["expr"] and not samples
    assert fired == {rule["labels"]["severity"] for rule in alerts()[name]}
    assert is_silent


@pytest.mark.skipif(PROMTOOL is None, reason=f"NOT TESTED, the rules: {ABSENT.format('promtool')}")
@pytest.mark.parametrize("command", ["check", "test"])
def test_prometheus_itself_takes_the_rules_and_passes_their_tests(command: str) -> None:
    assert PROMTOOL is not None
    files = RULES if command == "check" else RULE_TESTS
    result = subprocess.run([PROMTOOL, command, "rules", *files], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_mesh_is_scraped_under_the_job_that_the_rules_know() -> None:
    config = loaded(ROOT / "compose/prometheus/prometheus.yaml")
    assert "saga" in {job["job_name"] for job in config["scrape_configs"]}
    assert config["rule_files"] == ["rules/*.yaml"]


@pytest.mark.skipif(PROMTOOL is None, reason=f"NOT TESTED, the mesh's configuration: {ABSENT.format('promtool')}")
def test_prometheus_itself_takes_the_configuration_of_the_mesh() -> None:
    assert PROMTOOL is not None
    config = str(ROOT / "compose/prometheus/prometheus.yaml")
    result = subprocess.run([PROMTOOL, "check", "config", config], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(RULES)} rule files found" in result.stdout


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        ("sum by (job, status) (saga_live)", None),
        ('max(saga_live{status=~"RUNNING|x{y"}) > 5', None),
        ("rate(saga_journal_commit_seconds_bucket[5m])", None),
        ("saga_journal_commit_seconds", "no metric saga_journal_commit_seconds"),
        ("sum(rate(saga_lives[5m] offset 1h)) and on (job) up == 0", "no metric saga_lives"),
        ('saga_live{state="RUNNING"}', "saga_live has no label state"),
        ("sum by (definition) (saga_live)", "nothing in it has a label definition"),
        ("vector(0)", "it asks for nothing"),
    ],
)
def test_an_expression_that_asks_for_what_nobody_publishes_is_found(expr: str, fault: str | None) -> None:
    known = {**labels_of(), "up": frozenset({"job", "instance"})}
    found = list(faults(expr, known))
    assert [each.split(":")[0] for each in found] == ([] if fault is None else [fault])
