"""Writes docs/dashboards.md and the files of compose/grafana/dashboards from the panels beside this module."""

from collections.abc import Callable, Iterator
from functools import partial

from docs.dashboards.flow import OF_ONE_DEFINITION, OVERVIEW
from docs.dashboards.inside import OF_ONE_PROCESS, OF_ONE_TARGET
from docs.dashboards.model import Dashboard, rendered

DASHBOARDS = (OVERVIEW, OF_ONE_DEFINITION, OF_ONE_TARGET, OF_ONE_PROCESS)
HEAD = """\
# Dashboards

<!-- Written by docs/dashboards/page.py from the panels beside it: change those, then run `make docs`. -->

Four pages for Grafana, in [`compose/grafana/dashboards`](../compose/grafana/dashboards). They lead to each other: a
click on a series opens the page of its definition or target, with the same time and the same choice.

| page | for the question |
|---|---|
{pages}
`docker compose up` brings them along. Into another Grafana (11 or later) import the files; they ask for their data
source. They are written to Grafana's documented model, and a test tries every query of theirs against a real Prometheus
that scrapes a real orchestrator. In a real Grafana they have not been opened yet.

![Six panels of the first page over two minutes](dashboards/overview.svg)

The picture is drawn by `docs/dashboards/picture.py` from what a real Prometheus answered to six panels of the first
page, not by Grafana. The mesh takes in reports; a service fails half of its calls, which are tried again; then the
orchestrator is killed and started again.

* **Store (job)** is one Prometheus job: one store, with all the processes over it. Two stores are two jobs.
* **Process** narrows what each process counts of itself. What is counted in the store does not change with it: every
  process shows all of it, so the largest is taken and not the sum.
* A dashed line is where an [alert](alerts.md) begins; it is read from the alert's own rule.
* In pictures of time, a point is one saga or call that was traced (an exemplar), and leads to its trace in Jaeger.
  Prometheus keeps exemplars with `--enable-feature=exemplar-storage`, and the data source has to name the label
  `trace_id` and the data source of Jaeger.
* A blue mark is a process that was started again.
* Some panels ask for the [recorded rules](alerts.md#recorded-rules); without them they are empty.
"""


def page() -> str:
    """Return the page: what each panel shows, and what to do when it moves."""
    pages = "".join(f"| [{each.title}](#{_slug(each.title)}) | {each.tells} |\n" for each in DASHBOARDS)
    return HEAD.format(pages=pages) + "".join(line for each in DASHBOARDS for line in _section(each))


def files() -> dict[str, Callable[[], str]]:
    """Return what writes each dashboard, by its path from docs/."""
    return {f"../compose/grafana/dashboards/{each.uid}.json": partial(rendered, each) for each in DASHBOARDS}


def _section(dashboard: Dashboard) -> Iterator[str]:
    yield f"\n## {dashboard.title}\n\n{dashboard.tells}\n"
    for row in dashboard.rows:
        yield f"\n**{row.title}**\n\n| panel | what it shows, and what to do when it moves |\n|---|---|\n"
        for panel in row.panels:
            alert = f" Alert: [{panel.alert}](alerts.md#{panel.alert.lower()})." if panel.alert else ""
            yield f"| {panel.title} | {panel.tells}{alert} |\n"


def _slug(title: str) -> str:
    return title.lower().replace(":", "").replace(" ", "-")
