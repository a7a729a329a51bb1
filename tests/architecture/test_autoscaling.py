"""The examples of autoscaling: they ask for what is published, and the two ways to scale do the same."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.kit.promql import faults
from tests.kit.rules import ABSENT, PROMTOOL, ROOT, loaded, published

FOLDER = ROOT / "compose/autoscaling"
KEDA, HPA, ADAPTER = (loaded(FOLDER / f"{name}.yaml") for name in ("keda", "hpa", "adapter"))
PAGE = (ROOT / "docs/autoscaling.md").read_text(encoding="utf-8")
SCRAPE_S = 15
"""What the page counts with."""


def quantity(text: str) -> float:
    """A number as Kubernetes writes it: `50m` is a twentieth."""
    return float(text.removesuffix("m")) / (1000 if text.endswith("m") else 1)


def triggers() -> list[dict[str, Any]]:
    return [trigger["metadata"] for trigger in KEDA["spec"]["triggers"]]


def test_what_they_scale_by_is_published() -> None:
    known = published()
    for rule in ADAPTER["externalRules"]:
        assert [fault for key in ("seriesQuery", "metricsQuery") for fault in faults(rule[key], known)] == []


def test_both_ways_ask_the_same_and_draw_the_line_at_the_same_place() -> None:
    assert [trigger["query"] for trigger in triggers()] == [rule["metricsQuery"] for rule in ADAPTER["externalRules"]]
    metrics = [metric["external"] for metric in HPA["spec"]["metrics"]]
    assert [metric["metric"]["name"] for metric in metrics] == [rule["name"]["as"] for rule in ADAPTER["externalRules"]]
    limits = [float(trigger["threshold"]) for trigger in triggers()]
    assert limits == [quantity(metric["target"]["value"]) for metric in metrics]
    assert all(f"| {limit:g} s |" in PAGE for limit in limits), "the page says where"


def test_both_ways_are_as_quick_out_and_as_slow_in() -> None:
    keda, hpa = KEDA["spec"], HPA["spec"]
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == hpa["behavior"]
    assert (keda["minReplicaCount"], keda["maxReplicaCount"]) == (hpa["minReplicas"], hpa["maxReplicas"])
    assert keda["scaleTargetRef"] == hpa["scaleTargetRef"]
    assert (
        hpa["behavior"]["scaleDown"]["stabilizationWindowSeconds"]
        > hpa["behavior"]["scaleUp"]["stabilizationWindowSeconds"]
    )


def test_an_age_is_not_divided_by_the_number_of_processes() -> None:
    assert {trigger["metricType"] for trigger in KEDA["spec"]["triggers"]} == {"Value"}
    assert {metric["external"]["target"]["type"] for metric in HPA["spec"]["metrics"]} == {"Value"}


@pytest.mark.skipif(PROMTOOL is None, reason=f"NOT TESTED, the window: {ABSENT.format('promtool')}")
def test_an_age_that_one_scrape_sees_passes_within_the_window(tmp_path: Path) -> None:
    """As after a death: 7 s at the scrape of 5:15. An autoscaler takes the least that it was told within the window."""
    window_s = HPA["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"]
    asks_at = range(300, 301 + 2 * window_s, SCRAPE_S)
    query, threshold = triggers()[0]["query"], float(triggers()[0]["threshold"])
    series = [
        {"series": 'saga_oldest_runnable_age_seconds{job="saga",instance="one"}', "values": "0x20 7 0x20"},
        {"series": 'saga_oldest_runnable_age_seconds{job="saga",instance="two"}', "values": "1x42"},
    ]
    cases = [
        {"expr": f"{query} > {threshold:g}", "eval_time": f"{at}s", "exp_samples": samples}
        for at in asks_at
        for samples in [[{"labels": "{}", "value": 7}] if at == 300 + SCRAPE_S else []]
    ]
    assert window_s > SCRAPE_S, "or the one scrape fills it"
    test = {"interval": f"{SCRAPE_S}s", "input_series": series, "promql_expr_test": cases}
    file = tmp_path / "window.yaml"
    file.write_text(json.dumps({"rule_files": [], "evaluation_interval": f"{SCRAPE_S}s", "tests": [test]}))
    assert PROMTOOL is not None
    result = subprocess.run([PROMTOOL, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_kedas_settings_are_texts_and_no_answer_is_not_taken_for_nothing_to_do() -> None:
    for metadata in triggers():
        assert all(isinstance(value, str) for value in metadata.values()), metadata
        assert metadata["ignoreNullValues"] == "false"


def test_the_page_names_the_files_and_there_are_no_others() -> None:
    named = set(re.findall(r"`(\w+\.yaml)`", PAGE))
    assert named == {path.name for path in FOLDER.iterdir()}
