"""Numbers as a page: Prometheus's text format, and OpenMetrics for those who ask for it.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md. They differ in three things here: a
counter's family has no `_total` in OpenMetrics, only there are exemplars, and it ends with a line that says so.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from orchestrator.telemetry.instruments import Metric
from orchestrator.telemetry.series import Counter, Exemplar, Family, Gauge, Histogram, escaped, written

AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores"
TEXT = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"
"""The same as the older one where every name is of letters, digits and underscores, as ours are."""
TEXT_OLD = "text/plain; version=0.0.4; charset=utf-8"


def content_type_for(accept: str) -> str:
    """Return which of the three formats to answer an `Accept` header with; the oldest where it says nothing of use."""
    try:
        _, chosen = choose_encoder(accept)
    except TypeError:  # a version that is no number, which prometheus-client compares with one
        return TEXT_OLD
    if chosen.startswith("application/openmetrics-text"):
        return OPENMETRICS
    return TEXT if "version=1.0.0" in chosen else TEXT_OLD


def page(families: Iterable[AnyFamily], others: CollectorRegistry, content_type: str) -> bytes:
    """Return the page; `others` are few numbers that prometheus-client collects itself."""
    is_openmetrics = content_type == OPENMETRICS
    lines: list[str] = []
    for family in families:
        _head(lines, family.metric, is_openmetrics=is_openmetrics)
        for values, child in family.children():
            labels = family.labels[values]
            match child:
                case Histogram():
                    _histogram(lines, family.metric.name, labels, family.bounds, child, tells=is_openmetrics)
                case Counter(exemplar=exemplar) if exemplar is not None and is_openmetrics:
                    lines.append(f"{_sample(family.metric.name, labels, child.value)}{_told(exemplar)}\n")
                case _:
                    lines.append(f"{_sample(family.metric.name, labels, child.value)}\n")
    last = generate_openmetrics(others) if is_openmetrics else generate_latest(others)  # type: ignore[no-untyped-call]  # it has none
    return "".join(lines).encode() + last


def samples(families: Iterable[AnyFamily]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield every number of the page: name, labels, value."""
    for family in families:
        metric = family.metric
        for values, child in family.children():
            labels = dict(zip(metric.labels, values, strict=True))
            if not isinstance(child, Histogram):
                yield metric.name, labels, child.value
                continue
            so_far = 0
            for bound, count in zip(family.bounds, child.counts, strict=True):
                so_far += count
                yield f"{metric.name}_bucket", {**labels, "le": bound}, so_far
            yield f"{metric.name}_count", labels, so_far
            yield f"{metric.name}_sum", labels, child.total


def _head(lines: list[str], metric: Metric, *, is_openmetrics: bool) -> None:
    name, meaning = metric.name, metric.meaning.replace("\\", r"\\").replace("\n", r"\n")
    if is_openmetrics:
        meaning = escaped(metric.meaning)
        if metric.kind == "counter":
            name = name.removesuffix("_total")
    lines.append(f"# HELP {name} {meaning}\n# TYPE {name} {metric.kind}\n")


def _histogram(
    lines: list[str], name: str, labels: str, bounds: tuple[str, ...], of: Histogram, *, tells: bool
) -> None:
    before = f"{name}_bucket{{{labels},le=" if labels else f"{name}_bucket{{le="
    exemplars = of.exemplars if tells else {}
    so_far = 0
    for bucket, count in enumerate(of.counts):
        so_far += count
        told = _told(exemplars[bucket]) if bucket in exemplars else ""
        lines.append(f'{before}"{bounds[bucket]}"}} {so_far}{told}\n')
    within = f"{{{labels}}}" if labels else ""
    lines.append(f"{name}_count{within} {so_far}\n{name}_sum{within} {of.total!r}\n")


def _sample(name: str, labels: str, value: float) -> str:
    return f"{name}{{{labels}}} {written(value)}" if labels else f"{name} {written(value)}"


def _told(exemplar: Exemplar) -> str:
    where = f'{{trace_id="{exemplar.trace_id:032x}",span_id="{exemplar.span_id:016x}"}}'
    return f" # {where} {exemplar.value!r} {exemplar.at:.3f}"
