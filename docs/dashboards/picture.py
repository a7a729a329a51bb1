"""The picture of dashboards.md: what panels of the first page show of a real mesh that has a bad two minutes.

::

    python docs/dashboards/picture.py

The demo's services and an orchestrator are run, with a Prometheus (Debian: `prometheus`) that scrapes every second.
Reports are taken in all the while; then a service fails half of its calls, then the orchestrator is killed and
started again. The panels' own queries are asked for the whole time, and drawn as Grafana would, plainly.
"""

import asyncio
import math
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from html import escape
from itertools import count, cycle
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import grpc.aio
from google.protobuf.json_format import ParseDict

from docs.dashboards.flow import OVERVIEW
from docs.dashboards.model import Panel
from orchestrator.v1.saga_service_pb2 import StartSagaRequest, WaitSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.kit.mesh import Mesh, channel, reports
from tests.kit.prometheus import Prometheus, scraping

FILE = Path(__file__).with_name("overview.svg")
SHOWN = (
    *("Started, by definition", "Ended, by how", "Turned back, by cause"),
    *("Calls that failed, by target", "Tried again, by target", "Time on the wire, 99th percentile"),
)
AT_ONCE = 6
CALM_S, FAILING_S, AWAY_S = 30.0, 30.0, 4.0
UNAVAILABLE = 14
CHOSEN = {"$__rate_interval": "5s", "$job": "saga", "$instance": ".*"}
COLOURS = ("#1f5fa8", "#d9822b", "#3d8b3d", "#b03a2e", "#7d3c98", "#117a8b")
WIDE, HIGH, COLUMNS, LEFT, LEGEND = 380, 150, 3, 46, 46

Series = tuple[str, Sequence[tuple[float, float]]]


async def _lived(folder: Path) -> tuple[dict[str, list[Series]], Mapping[str, float], float]:
    """Play the two minutes; return each panel's series, what happened when, and how long it was, in seconds."""
    async with Mesh(folder) as mesh:
        await mesh.start()
        address = mesh.orchestrator.http
        mesh.configure(http={"port": int(address.rpartition(":")[2])})  # the same after a restart
        async with scraping(folder, [address]) as prometheus:
            crowd = [asyncio.get_running_loop().create_task(_works(mesh, number)) for number in range(AT_ONCE)]
            await asyncio.sleep(CALM_S / 3)  # what came before the picture begins
            began = await _now(prometheus)
            await asyncio.sleep(CALM_S)
            marks = {"archive fails half of its calls": await _now(prometheus) - began}
            await mesh.set_fault("archive", method="Store", status={"code": UNAVAILABLE}, probability=0.5)
            await asyncio.sleep(FAILING_S)
            marks["archive is well"] = await _now(prometheus) - began
            await mesh.clear_faults()
            await asyncio.sleep(CALM_S / 2)
            marks["orchestrator killed"] = await _now(prometheus) - began
            await mesh.orchestrator.kill()
            await asyncio.sleep(AWAY_S)
            await mesh.orchestrator.start()
            await asyncio.sleep(CALM_S / 2)
            for task in crowd:
                task.cancel()
            await asyncio.wait(crowd)
            until = await _now(prometheus)
            panels = {panel.title: panel for row in OVERVIEW.rows for panel in row.panels}
            found = {title: await _asked(prometheus, panels[title], began, until) for title in SHOWN}
            return found, marks, until - began


async def _works(mesh: Mesh, worker: int) -> None:
    """Take in reports, one after the other; one in ten is of a closed site, where all is undone."""
    async with channel(mesh.orchestrator.address) as connection:
        stub = SagaServiceStub(connection)
        for number, report in zip(count(), cycle(reports())):
            request = StartSagaRequest(saga_id=f"report-{worker}-{number}", definition="epro_intake")
            ParseDict({**report, "site": "DE-03" if number % 10 == 0 else "PL-01"}, request.json)
            with suppress(grpc.aio.AioRpcError):  # the orchestrator is killed in between
                await stub.StartSaga(request, wait_for_ready=True, timeout=20)
                await stub.WaitSaga(WaitSagaRequest(saga_id=request.saga_id), wait_for_ready=True, timeout=20)


async def _now(prometheus: Prometheus) -> float:
    """Return the time as Prometheus tells it, in Unix seconds."""
    return float((await prometheus.get("query", query="time()"))["result"][1])


async def _asked(prometheus: Prometheus, panel: Panel, began: float, until: float) -> list[Series]:
    found: list[Series] = []
    for query in panel.queries:
        expr = query.expr
        for name, value in CHOSEN.items():
            expr = expr.replace(name, value)
        answer = await prometheus.get("query_range", query=expr, start=str(began), end=str(until), step="1")
        for series in answer["result"]:
            values = [(float(at) - began, float(value)) for at, value in series["values"]]
            found.append((_named(query.legend, series["metric"]), [each for each in values if math.isfinite(each[1])]))
    return found


def _named(legend: str, labels: Mapping[str, Any]) -> str:
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", "" if label == "instance" else value)
    return legend.strip()


def _picture(found: Mapping[str, Sequence[Series]], marks: Mapping[str, float], whole_s: float) -> str:
    """Return the panels as one SVG, and below them what happened when."""
    rows = -(-len(found) // COLUMNS)
    tall = rows * (HIGH + LEGEND) + 24
    style = 'font-family="sans-serif" font-size="10"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * WIDE} {tall}" {style}>']
    parts.append(f'<rect width="{COLUMNS * WIDE}" height="{tall}" fill="white"/>')
    for number, (title, series) in enumerate(found.items()):
        x, y = number % COLUMNS * WIDE, number // COLUMNS * (HIGH + LEGEND)
        parts.append(f'<g transform="translate({x},{y})">')
        parts += _panel(title, series, marks, whole_s)
        parts.append("</g>")
    told = "; ".join(f"{at:.0f} s: {what}" for what, at in marks.items())
    parts.append(f'<text x="10" y="{tall - 8}" fill="#c33">{escape(told)}</text></svg>')
    return "\n".join(parts) + "\n"


def _panel(title: str, series: Sequence[Series], marks: Mapping[str, float], whole_s: float) -> Iterator[str]:
    highest = max((value for _, values in series for _, value in values), default=0.0) or 1.0
    across, up, floor = (WIDE - LEFT - 10) / whole_s, HIGH - 44, HIGH - 16
    yield f'<text x="{LEFT}" y="16" font-size="12" font-weight="bold">{escape(title)}</text>'
    yield f'<path d="M{LEFT},{floor}H{WIDE - 10}M{LEFT},{floor - up}H{WIDE - 10}" stroke="#ddd"/>'
    yield f'<text x="{LEFT - 4}" y="{floor - up + 4}" text-anchor="end">{highest:.3g}</text>'
    yield f'<text x="{LEFT - 4}" y="{floor}" text-anchor="end">0</text>'
    for at in marks.values():
        x = LEFT + at * across
        yield f'<path d="M{x:.0f},{floor - up}V{floor}" stroke="#c33" stroke-dasharray="2 3"/>'
    for number, (name, values) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        pen, before, path = "M", -2.0, ""
        for at, value in values:
            pen = "L" if at - before < 2 else "M"  # noqa: PLR2004  (a gap is a gap: nothing was scraped)
            path, before = f"{path}{pen}{LEFT + at * across:.0f},{floor - value / highest * up:.0f}", at
        yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
        left, below = LEFT + number % 2 * 170, floor + 14 + number // 2 * 12
        yield f'<text x="{left}" y="{below}" fill="{colour}">{escape(name)}</text>'


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="saga-picture-") as name:
        FILE.write_text(_picture(*asyncio.run(_lived(Path(name)))), encoding="utf-8")
