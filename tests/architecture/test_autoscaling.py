"""The examples of autoscaling: they ask for what is published, and the two ways to scale do the same."""

import re
from typing import Any

from tests.kit.promql import faults
from tests.kit.rules import ROOT, loaded, published

FOLDER = ROOT / "compose/autoscaling"
KEDA, HPA, ADAPTER = (loaded(FOLDER / f"{name}.yaml") for name in ("keda", "hpa", "adapter"))
PAGE = (ROOT / "docs/autoscaling.md").read_text(encoding="utf-8")


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


def test_kedas_settings_are_texts_and_no_answer_is_not_taken_for_nothing_to_do() -> None:
    for metadata in triggers():
        assert all(isinstance(value, str) for value in metadata.values()), metadata
        assert metadata["ignoreNullValues"] == "false"


def test_the_page_names_the_files_and_there_are_no_others() -> None:
    named = set(re.findall(r"`(\w+\.yaml)`", PAGE))
    assert named == {path.name for path in FOLDER.iterdir()}
