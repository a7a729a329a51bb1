"""Which metrics and labels a PromQL expression names; enough of the grammar for that, and no evaluation."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.telemetry.instruments import METRICS

# What Prometheus adds to every sample that it scrapes, and what it makes itself.
SCRAPED = frozenset({"job", "instance"})
MADE = {"up": frozenset[str](), "ALERTS": frozenset({"alertname", "alertstate", "severity"})}
# Counted in the store, so that every process over it shows all of them.
STORE_WIDE = (
    *("saga_live", "saga_needing_attention", "saga_sleeping", "saga_definitions"),
    *("saga_cluster_shards_in_store", "saga_cluster_members"),
)
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = frozenset({"and", "or", "unless", "bool", "offset"})
_AGGREGATIONS = frozenset({"sum", "max", "min", "avg", "count", "topk", "quantile", "group"})
_TOKEN = re.compile(
    r"""(?P<text>"[^"]*"|'[^']*')|(?P<range>\[[^\]]*\])|(?P<number>[+-]?(?:\d[\w.]*|Inf|NaN)\b)"""
    r"""|(?P<name>[A-Za-z_:][\w:]*)|(?P<mark>[(){},]|=~|!~|!=|=)|(?P<rest>\S)"""
)
_MATCHER = re.compile(r"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an expression asks for: metrics with the labels that they are chosen by, and labels that results keep."""

    selectors: tuple[tuple[str, frozenset[str]], ...]
    grouping: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.selectors)


def asked(expr: str) -> Asked:
    """Read an expression; what it computes is of no interest here."""
    selectors: list[tuple[str, frozenset[str]]] = []
    grouping: set[str] = set()
    tokens = [(found.lastgroup, found.group(), found.end()) for found in _TOKEN.finditer(expr)]
    skip_to = 0
    for at, (kind, text, end) in enumerate(tokens):
        if end <= skip_to or kind != "name":
            continue
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if text in _GROUPING:
            if following == "(":
                skip_to = expr.index(")", end)
                grouping.update(re.findall(r"\w+", expr[end:skip_to]))
        elif text in _WORDS or text in _AGGREGATIONS or following == "(":
            continue
        elif following == "{":
            skip_to = expr.index("}", end)
            selectors.append((text, frozenset(_MATCHER.findall(re.sub(r'"[^"]*"', '""', expr[end:skip_to])))))
        else:
            selectors.append((text, frozenset()))
    return Asked(selectors=tuple(selectors), grouping=frozenset(grouping))


def labels_of() -> dict[str, frozenset[str]]:
    """Every series that the orchestrator publishes, with its labels: of a histogram its three."""
    found: dict[str, frozenset[str]] = {}
    for metric in METRICS:
        labels = frozenset(metric.labels) | SCRAPED
        if metric.kind == "histogram":
            found[f"{metric.name}_bucket"] = labels | {"le"}
            found[f"{metric.name}_sum"] = found[f"{metric.name}_count"] = labels
        else:
            found[metric.name] = labels
    return found


def faults(expr: str, known: dict[str, frozenset[str]]) -> Iterator[str]:
    """What an expression names that nobody publishes."""
    query = asked(expr)
    kept: set[str] = set()
    for name, labels in query.selectors:
        if name not in known:
            yield f"no metric {name}: {expr}"
            continue
        kept |= known[name]
        if strange := labels - known[name]:
            yield f"{name} has no label {', '.join(sorted(strange))}: {expr}"
    if not query.selectors:
        yield f"it asks for nothing: {expr}"
    elif strange := query.grouping - kept:
        yield f"nothing in it has a label {', '.join(sorted(strange))}: {expr}"


def added_up(expr: str) -> list[str]:
    """Return the metrics that are counted in the store, and of which an expression does not take the largest."""
    found = re.finditer(
        rf"(?P<largest>max(?: by \([^)]*\))? ?\()?(?<![\w:])(?P<name>{'|'.join(STORE_WIDE)})(?![\w:])", expr
    )
    return [each["name"] for each in found if each["largest"] is None]
