"""What `/metrics` costs: the processor time of a page, its size, and what an observation costs a saga.

The page is that of 100 definitions whose sagas came to every end, over ten targets of twenty methods, with everything
else a process tells; and the largest that a page can become. `scrape` in whole is a request over HTTP, packed, from a
client on the same event loop, so both sides of it count.
"""

import asyncio
import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from orchestrator import limits
from orchestrator.api import HttpServer
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Append
from orchestrator.ports.observer import Observer, Silence
from orchestrator.saga import SagaState
from orchestrator.saga.events import Phase, Report
from orchestrator.telemetry import Metrics
from orchestrator.telemetry.exposition import OPENMETRICS
from orchestrator.values import TraceContext
from tests.benchmarks.shown import table
from tests.integration.api.rig import Listen, running
from tests.unit.telemetry.histories import CALLER, UNSAMPLED, Teller
from tests.unit.telemetry.many import brimming, calls, filled

TIMES = 15
SAGAS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What observers are told of one saga."""

    state: SagaState
    appends: tuple[Append, ...]
    calls: tuple[CallRequest, ...]

    @classmethod
    def of(cls, trace: TraceContext) -> "Told":
        """Return a saga of five calls, all well, in a trace."""
        teller = Teller(1, trace)
        appends = tuple(teller.run())
        return cls(state=teller.state, appends=appends, calls=tuple(calls(trace))[:5])


async def measure() -> dict[str, Any]:
    """Measure pages, a request, and what a saga's observations cost."""
    pages = [page_figures("100 definitions", filled()), page_figures("largest", brimming())]
    pages[0]["http_ms"] = round(await over_http(filled()), 2)
    return {"pages": pages, "saga_us": of_a_saga()}


def shown(figures: dict[str, Any]) -> str:
    """Return the tables."""
    pages = table(
        ("page", "samples", "text ms", "KB", "OpenMetrics ms", "KB", "packed ms", "KB"),
        [
            (
                page["page"], f"{page['samples']:,}",
                *(
                    cell
                    for form in ("text", "openmetrics", "gzip")
                    for cell in (f"{page[f'{form}_ms']:.1f}", f"{page[f'{form}_bytes'] / 1e3:,.0f}")
                ),
            )
            for page in figures["pages"]
        ],
    )  # fmt: skip
    told = ", ".join(f"{cost:.0f} us where it is {name}" for name, cost in figures["saga_us"].items())
    whole = f"A request in whole, over HTTP and packed: {figures['pages'][0]['http_ms']:.1f} ms for the first page."
    return f"{pages}\n\n{whole} What is told of a saga of five calls costs {told}."


def page_figures(name: str, metrics: Metrics) -> dict[str, Any]:
    """Return milliseconds of processor time, the best of several, and bytes."""
    text_ms, page = best(lambda: metrics.render("")[1])
    openmetrics_ms, told = best(lambda: metrics.render(OPENMETRICS)[1])
    gzip_ms, packed = best(lambda: gzip.compress(told, limits.HTTP_GZIP_LEVEL))
    return {
        "page": name,
        "samples": sum(not line.startswith(b"#") for line in page.splitlines()),
        "text_ms": round(text_ms, 2),
        "text_bytes": len(page),
        "openmetrics_ms": round(openmetrics_ms, 2),
        "openmetrics_bytes": len(told),
        "gzip_ms": round(gzip_ms, 2),
        "gzip_bytes": len(packed),
    }


def best(work: Callable[[], bytes]) -> tuple[float, bytes]:
    """Return the least processor time of several runs, in milliseconds, and what it gave."""
    least, gave = float("inf"), b""
    for _ in range(TIMES):
        begun = time.process_time()
        gave = work()
        least = min(least, time.process_time() - begun)
    return least * 1e3, gave


async def over_http(metrics: Metrics) -> float:
    """Return the least time of a whole scrape, in milliseconds, as Prometheus asks for it."""
    async with running() as rig:
        http = HttpServer(rig.orchestrator, metrics.render, Listen())
        port = await http.start()
        least = float("inf")
        for _ in range(TIMES):
            begun = time.perf_counter()
            await scrape(port)
            least = min(least, time.perf_counter() - begun)
        await http.stop()
    return least * 1e3


async def scrape(port: int) -> bytes:
    """Return the answer to a scrape."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = f"GET /metrics HTTP/1.1\r\nhost: h\r\nconnection: close\r\naccept: {OPENMETRICS}\r\n"
    writer.write(f"{asked}accept-encoding: gzip\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


def of_a_saga() -> dict[str, float]:
    """Return the processor time of all that is told of a saga of five calls, in microseconds."""
    sagas = {"not sampled": Told.of(UNSAMPLED), "sampled": Told.of(CALLER)}
    costs: dict[str, float] = dict.fromkeys(sagas, float("inf"))
    nothing = float("inf")
    for _ in range(TIMES):  # in turns, so that a neighbour on the machine is everybody's
        nothing = min(nothing, observed(Silence(), sagas["sampled"]))
        for name, told in sagas.items():
            costs[name] = min(costs[name], observed(Metrics(), told))
    return {name: round((cost - nothing) * 1e6 / SAGAS, 3) for name, cost in costs.items()}


def observed(observer: Observer, told: Told) -> float:
    """Return the processor time of telling an observer of so many sagas, in seconds."""
    begun = time.process_time()
    for number in range(SAGAS):
        at = 1e9 + number / 1_000
        for append in told.appends:
            observer.mailbox(1)
            observer.recorded(told.state, append.records)
        for call in told.calls:
            observer.called(call, Report(code="OK", phase=Phase.REPLIED, sent_at=at, ended_at=at + 0.003))
        observer.activated(2)
        observer.committed(3, 5, 0.001)
    return time.process_time() - begun
