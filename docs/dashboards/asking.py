"""PromQL in the shapes that the panels need.

What is counted in the store is shown by every process in full, so the largest is taken; what a process counts of itself
is summed over those that are chosen.
"""

from docs.dashboards.model import Query

# A unit of Grafana's: the number, and what stands behind it
PER_SECOND = "suffix:/s"
STORE = 'job="$job"'
PROCESS = 'job="$job", instance=~"$instance"'
DEFINITION = 'definition=~"$definition"'
TARGET = 'target=~"$target"'


def _where(scope: str, where: str) -> str:
    return f"{{{scope}, {where}}}" if where else f"{{{scope}}}"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def largest(metric: str, by: str = "") -> str:
    """A gauge that is counted in the store."""
    return f"max{_by(by)} ({metric}{{{STORE}}})"


def total(metric: str, by: str = "", where: str = "") -> str:
    """A gauge that each process has of its own."""
    return f"sum{_by(by)} ({metric}{_where(PROCESS, where)})"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """A counter, per second."""
    return f"sum{_by(by)} (rate({metric}{_where(PROCESS, where)}[$__rate_interval]))"


def grown(metric: str, by: str = "", where: str = "") -> str:
    """A counter of what is rare: how many in the time that one point of the picture stands for."""
    return f"sum{_by(by)} (increase({metric}{_where(PROCESS, where)}[$__rate_interval]))"


def quantiles(metric: str, by: str = "", where: str = "") -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram."""
    labels = f"{by}, le" if by else "le"
    told = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(",") if label)
    return tuple(
        Query(
            expr=f"histogram_quantile({share}, {rate(f'{metric}_bucket', labels, where)})",
            legend=f"{told} {name}".strip(),
        )
        for share, name in ((0.5, "half"), (0.99, "99 %"))
    )


def one(expr: str, legend: str = "") -> tuple[Query, ...]:
    """A single query."""
    return (Query(expr=expr, legend=legend),)
