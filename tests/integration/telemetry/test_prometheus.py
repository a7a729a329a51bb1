"""A real Prometheus scrapes a real orchestrator at work: it takes every rule, panel and trigger, and has an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import grpc.aio
import pytest
from google.protobuf.json_format import ParseDict

from orchestrator.limits import SHARDS_DEFAULT
from orchestrator.v1.saga_service_pb2 import StartSagaRequest, WaitSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.telemetry.collector import grpc_collector
from tests.kit.mesh import Mesh, Program, channel, insisted, reports
from tests.kit.postgres import database
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
WITHIN_S = 120.0
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
async def at_work(mesh: Mesh, *others: Program) -> AsyncIterator[None]:
    """Take in reports, one after the other, as long as the context lasts; at one site in five all is undone."""
    await mesh.set_fault("notifier", method="SendAlert", status={"code": 14}, probability=0.3)

    async def work(doors: Sequence[grpc.aio.Channel]) -> None:
        for number, report, door in zip(count(), cycle(reports()), cycle(doors)):
            stub = SagaServiceStub(door)
            given = {**report, "site": "DE-03" if number % 5 == 0 else "PL-01"}
            start, wait = started(f"report-{number}", given), WaitSagaRequest(saga_id=f"report-{number}")
            await insisted(partial(stub.StartSaga, start, timeout=20))
            await insisted(partial(stub.WaitSaga, wait, timeout=20))

    async with AsyncExitStack() as stack:
        addresses = [each.address for each in (mesh.orchestrator, *others)]
        doors = [await stack.enter_async_context(channel(address)) for address in addresses]
        working = asyncio.get_running_loop().create_task(work(doors))
        try:
            yield
        finally:
            assert not working.done(), working.result()
            working.cancel()
            await asyncio.wait([working])


def started(saga_id: str, report: Mapping[str, object]) -> StartSagaRequest:
    again = str(uuid5(NAMESPACE_OID, saga_id))  # so that it is known for the same
    request = StartSagaRequest(saga_id=saga_id, definition="epro_intake", request_id=again)
    ParseDict(dict(report), request.json)
    return request


async def test_every_query_is_taken_and_has_an_answer_while_sagas_run(tmp_path: Path) -> None:
    with grpc_collector() as (endpoint, _):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with Mesh(tmp_path, environ) as mesh:
            await mesh.start()
            async with scraping(tmp_path, [mesh.orchestrator.http]) as prometheus, at_work(mesh):
                await rules_are_well(prometheus)
                await until_answered(prometheus)
                cancelled = 'method="orchestrator.v1.SagaService/CancelSaga",code="UNAVAILABLE"'
                await becomes(prometheus, f"saga_api_requests_total{{{cancelled}}} == 0", 1)
                await becomes(prometheus, 'saga_ended_total{definition="epro_intake",status="TERMINATED"} == 0', 1)
                assert await points_of(prometheus, "saga_duration_seconds_bucket") != []
                assert await points_of(prometheus, "saga_call_duration_seconds_bucket") != []
                await becomes(prometheus, "up == 1", 1)


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
        else:
            await becomes(prometheus, expr)


def has_numbers(result: list[dict[str, Any]]) -> bool:
    return any(each["value"][1] != "NaN" for each in result)


async def points_of(prometheus: Prometheus, name: str) -> list[str]:
    """The trace ids that Grafana would show beside a picture of this metric."""
    series = await prometheus.get("query_exemplars", query=name, start="0", end="4102444800")
    return [point["labels"]["trace_id"] for each in series for point in each["exemplars"]]


@pytest.fixture
def dsn() -> Iterator[str]:
    with database() as dsn:
        yield dsn


async def test_of_two_processes_the_store_is_counted_once_and_a_death_is_seen(tmp_path: Path, dsn: str) -> None:
    settings = {"lease_s": 6, "port": 0}  # so long some have no owner: Prometheus looks every second
    async with AsyncExitStack() as stack:
        mesh = await stack.enter_async_context(Mesh(tmp_path, store=dsn, cluster={**settings, "name": "one"}))
        await mesh.start()
        mesh.configure(cluster={**settings, "name": "two"})
        two = Program(name="two", module="orchestrator", arguments=("serve", "--config", "saga.yaml"), folder=tmp_path)
        stack.push_async_callback(two.kill)
        await two.start()
        prometheus = await stack.enter_async_context(scraping(tmp_path, [mesh.orchestrator.http, two.http]))
        async with at_work(mesh, two):
            await two_share_the_store(prometheus)
            await what_two_have_is_shown(prometheus)
        await one_saga_under_way_is_one(prometheus, mesh)
        await mesh.orchestrator.kill()
        await the_other_has_all(prometheus, mesh.orchestrator.http)


async def two_share_the_store(prometheus: Prometheus) -> None:
    await becomes(prometheus, f"sum(saga_cluster_shards) == {SHARDS_DEFAULT}", 1)
    await becomes(prometheus, "saga_cluster_shards > 0", 2)
    await becomes(prometheus, "job:saga_cluster_shards_unowned:max == 0", 1)


async def what_two_have_is_shown(prometheus: Prometheus) -> None:
    of_two = {"Trust left", "Requests for other processes", "Connections to PostgreSQL"}
    for title, expr in asked_by_panels():
        if title in of_two:
            await becomes(prometheus, expr)


async def one_saga_under_way_is_one(prometheus: Prometheus, mesh: Mesh) -> None:
    """Start one that does not end, and wait until both processes show it: added up they would be two."""
    await mesh.set_fault("scoring", method="Score", hang={}, reportId=reports()[0]["reportId"])
    async with channel(mesh.orchestrator.address) as connection:
        stub = SagaServiceStub(connection)
        await insisted(lambda: stub.StartSaga(started("long", reports()[0]), timeout=20))
    await becomes(prometheus, 'saga_live{status="RUNNING"} == 1', 2)
    (under_way,) = [expr for title, expr in asked_by_panels() if title == "Sagas under way"]
    assert [each["value"][1] for each in await prometheus.query(under_way)] == ["1"]


async def the_other_has_all(prometheus: Prometheus, dead: str) -> None:
    """Wait until the survivor has all shards; meanwhile some had no owner, for less long than wakes a person."""
    await becomes(prometheus, f'ALERTS{{alertname="SagaProcessDown", alertstate="pending", instance="{dead}"}}', 1)
    await becomes(prometheus, f"sum(saga_cluster_shards) == {SHARDS_DEFAULT}", 1)
    await becomes(prometheus, "max_over_time(job:saga_cluster_shards_unowned:max[1m]) > 0", 1)
    await becomes(prometheus, "job:saga_cluster_shards_unowned:max == 0", 1)
    assert await prometheus.query('ALERTS{alertstate="firing"}') == []


async def becomes(prometheus: Prometheus, expr: str, count: int | None = None) -> None:
    """Wait until an expression has so many results, or any."""
    found: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(WITHIN_S):
            while not (has_numbers(found) if count is None else len(found) == count):
                await asyncio.sleep(0.1)  # poll: Prometheus' next scrape
                found = await prometheus.query(expr)
    except TimeoutError:
        raise AssertionError(f"{expr} has {found}") from None
