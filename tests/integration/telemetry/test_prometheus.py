"""A real Prometheus scrapes a real orchestrator at work: it takes every rule, panel and trigger, and has an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, cycle
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict

from orchestrator.v1.saga_service_pb2 import StartSagaRequest, WaitSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.telemetry.collector import grpc_collector
from tests.kit.mesh import Mesh, channel, reports
from tests.kit.prometheus import Prometheus, scraping
from tests.kit.rules import BOARDS, ROOT, loaded, panels, rules

GRAFANAS = {
    "$__rate_interval": "5s",
    "$__interval": "5s",
    "$job": "saga",
    "$instance": ".*",
    "$definition": ".*",
    "$target": ".*",
}
WITHIN_S = 40.0
# Panels of what does not happen to reports on one file while all is well.
QUIET = {
    "Firing": "no alert fires",
    "What people did, by verb": "nobody has to do anything",
    "Asked for a person, by reason": "the same",
    "Undone in part, by step": "the reports' definition has no scope",
    "Items, by step and result": "nor a list",
    "Signals": "nor a wait",
    "Forgotten": "everything is kept",
    "Asked whether it is done": "no step polls",
    "What probes found": "nor is there a probe",
    "Paused": "every target is set up well",
    "Turned away": "nobody is",
    "Trust left": "a process that has its file to itself trusts for ever",
    "Requests for other processes": "it is alone",
    "Connections to PostgreSQL": "there is no PostgreSQL",
    "Questions that wait for a connection": "the same",
}


def filled(expr: str) -> str:
    """A panel's query with everything chosen."""
    for name, value in GRAFANAS.items():
        expr = expr.replace(name, value)
    return expr


def asked_by_panels() -> Iterator[tuple[str, str]]:
    for board in BOARDS:
        for panel in panels(board):
            for target in panel["targets"]:
                yield panel["title"], filled(target["expr"])


def asked_by_autoscalers() -> list[str]:
    keda, adapter = (loaded(ROOT / f"compose/autoscaling/{name}.yaml") for name in ("keda", "adapter"))
    triggers = [trigger["metadata"]["query"] for trigger in keda["spec"]["triggers"]]
    assert triggers == [rule["metricsQuery"] for rule in adapter["externalRules"]], "both scale by the same"
    return triggers


@asynccontextmanager
async def at_work(mesh: Mesh) -> AsyncIterator[None]:
    """Take in reports, one after the other, as long as the context lasts; at one site in five all is undone."""
    await mesh.set_fault("notifier", method="SendAlert", status={"code": 14}, probability=0.3)

    async def work() -> None:
        async with channel(mesh.orchestrator.address) as connection:
            stub = SagaServiceStub(connection)
            for number, report in zip(count(), cycle(reports())):
                given = {**report, "site": "DE-03" if number % 5 == 0 else "PL-01"}
                request = StartSagaRequest(saga_id=f"report-{number}", definition="epro_intake")
                ParseDict(given, request.json)
                await stub.StartSaga(request, timeout=20)
                await stub.WaitSaga(WaitSagaRequest(saga_id=request.saga_id), timeout=20)

    working = asyncio.get_running_loop().create_task(work())
    try:
        yield
    finally:
        assert not working.done(), working.result()
        working.cancel()


async def test_every_query_is_taken_and_has_an_answer_while_sagas_run(tmp_path: Path) -> None:
    with grpc_collector() as (endpoint, _):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with Mesh(tmp_path, environ) as mesh:
            await mesh.start()
            async with scraping(tmp_path, [mesh.http]) as prometheus, at_work(mesh):
                await rules_are_well(prometheus)
                await until_answered(prometheus)
                assert await points_of(prometheus, "saga_duration_seconds_bucket") != []
                assert await points_of(prometheus, "saga_call_duration_seconds_bucket") != []
                assert (await prometheus.query("up"))[0]["value"][1] == "1"


async def rules_are_well(prometheus: Prometheus) -> None:
    """Wait until each rule was evaluated, and hold that none failed."""
    while True:
        groups = (await prometheus.get("rules"))["groups"]
        found = [rule for group in groups for rule in group["rules"]]
        if all(rule["health"] != "unknown" for rule in found):
            break
        await asyncio.sleep(0.1)  # poll: Prometheus' own round
    assert len(found) == len(rules())
    assert [(rule["name"], rule["lastError"]) for rule in found if rule["health"] != "ok"] == []


async def until_answered(prometheus: Prometheus) -> None:
    """Wait until every panel has data but those of what does not happen, which are only taken."""
    queries = [*asked_by_panels(), *(("autoscaling", expr) for expr in asked_by_autoscalers())]
    assert set(QUIET) <= {title for title, _ in queries}, "a quiet panel is gone"
    for title, expr in queries:
        if title in QUIET:
            await prometheus.query(expr)
    silent = ""
    try:
        async with asyncio.timeout(WITHIN_S):
            for title, expr in queries:
                while title not in QUIET and not has_numbers(await prometheus.query(expr)):
                    silent = f"{title}: {expr}"
                    await asyncio.sleep(0.1)  # poll: Prometheus' next scrape
    except TimeoutError:
        raise AssertionError(f"no data for {silent}") from None


def has_numbers(result: list[dict[str, Any]]) -> bool:
    return any(each["value"][1] != "NaN" for each in result)


async def points_of(prometheus: Prometheus, name: str) -> list[str]:
    """The trace ids that Grafana would show beside a picture of this metric."""
    series = await prometheus.get("query_exemplars", query=name, start="0", end="4102444800")
    return [point["labels"]["trace_id"] for each in series for point in each["exemplars"]]
