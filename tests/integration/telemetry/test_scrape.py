"""A whole process is scraped over HTTP, and its page is read by those who have to read it."""

import asyncio
import gzip
import shutil
import subprocess
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample

import orchestrator
from orchestrator import ids
from orchestrator.api import HttpServer
from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.telemetry.exposition import OPENMETRICS, TEXT_OLD
from orchestrator.values import TraceContext
from tests.integration.api.rig import Listen
from tests.integration.test_bootstrap import DEFINITION, validator
from tests.kit.postgres import schema

CALLER = TraceContext(trace_id=0xABC, span_id=0xDEF, sampled=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the HTTP side said."""

    headers: dict[str, str]
    body: bytes


async def scrape(port: int, *headers: str) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = ["GET /metrics HTTP/1.1", "host: here", "connection: close", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *rest = head.decode().split("\r\n")
    assert first.split()[1] == "200"
    return Answer(headers=dict(line.lower().split(": ", 1) for line in rest), body=body)


@asynccontextmanager
async def scraped(tmp_path: Path) -> AsyncGenerator[tuple[Node, int]]:
    """A node on SQLite that has run one saga, traced by its caller, and the port of its figures."""
    (tmp_path / "probe.yaml").write_text(DEFINITION)
    async with validator() as address:
        settings = Settings.model_validate(
            {
                "store": f"sqlite:{tmp_path / 'journal.db'}",
                "targets": {"validator": {"address": address}},
                "definitions": [str(tmp_path / "probe.yaml")],
            }
        )
        async with open_node(settings, environ={}) as node:
            http = HttpServer(node.orchestrator, node.metrics.render, Listen(port=0))
            port = await http.start()
            start = StartRequest(definition="probe", input=JsonInput({"reportId": "R-1"}), saga_id="s", trace=CALLER)
            await node.orchestrator.start(start)
            await node.orchestrator.wait("s", Until.TERMINAL, 0, 30.0)
            try:
                yield node, port
            finally:
                await http.stop()


def samples_of(answer: Answer) -> Iterator[Sample]:
    read = read_openmetrics if answer.headers["content-type"] == OPENMETRICS else read_text
    for family in read(answer.body.decode()):
        yield from family.samples


async def test_both_formats_are_read_by_their_readers_and_one_leads_to_traces(tmp_path: Path) -> None:
    async with scraped(tmp_path) as (node, port):
        text = await scrape(port)
        openmetrics = await scrape(port, "accept: application/openmetrics-text;version=1.0.0", "accept: */*;q=0.1")
        uid = (await node.orchestrator.get("s")).uid
    assert text.headers["content-type"] == TEXT_OLD
    assert openmetrics.headers["content-type"] == OPENMETRICS
    names = [(sample.name, sample.labels) for sample in samples_of(text)]
    assert names == [(sample.name, sample.labels) for sample in samples_of(openmetrics)]
    told = {sample.name: sample.exemplar.labels for sample in samples_of(openmetrics) if sample.exemplar}
    root = {"trace_id": f"{CALLER.trace_id:032x}", "span_id": f"{ids.root_span_id(uid):016x}"}
    assert told["saga_duration_seconds_bucket"] == root
    assert told["saga_call_duration_seconds_bucket"]["trace_id"] == root["trace_id"]
    assert told["saga_call_duration_seconds_bucket"]["span_id"] in {
        f"{ids.attempt_span_id(uid, ids.StepId(step), 'forward', 1):016x}" for step in ("first", "second")
    }


async def test_a_page_is_packed_for_who_takes_it_packed(tmp_path: Path) -> None:
    async with scraped(tmp_path) as (_node, port):
        packed = await scrape(port, "accept-encoding: deflate, gzip;q=0.5")
        plain = await scrape(port, "accept-encoding: gzip;q=0, identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) == int(packed.headers["content-length"]) < len(plain.body) / 2
    assert "content-encoding" not in plain.headers
    named = {sample.name for sample in samples_of(plain)}
    assert {
        sample.name for sample in samples_of(Answer(headers=packed.headers, body=gzip.decompress(packed.body)))
    } == named


async def test_what_runs_here_is_on_the_page(tmp_path: Path) -> None:
    async with scraped(tmp_path) as (_node, port):
        samples = list(samples_of(await scrape(port)))
    found = {sample.name: sample for sample in samples}
    assert found["saga_build_info"].labels["version"] == orchestrator.__version__
    assert found["saga_build_info"].labels["store"] == "sqlite"
    assert 0 < found["saga_journal_size_bytes"].value <= (tmp_path / "journal.db").stat().st_size
    assert found["saga_journal_wal_bytes"].value > 0
    assert found["saga_revisions_loaded"].value == 1
    for name in ("saga_target_in_flight", "saga_target_waiting"):
        assert (found[name].labels, found[name].value) == ({"target": "validator"}, 0)
    assert found["saga_cluster_shards"].value == 1
    assert found["saga_orphaned_total"].value == 0
    assert not [name for name in found if name.startswith("saga_store_pool")], "there is no pool"
    assert found["process_open_fds"].value > 0


async def test_on_postgres_the_pools_are_on_the_page() -> None:
    with schema() as dsn:
        settings = Settings.model_validate({"store": dsn, "cluster": {"port": 0}})
        async with open_node(settings, environ={}) as node:
            found = {sample.name: sample for sample in samples_of(rendered(node))}
    assert found["saga_build_info"].labels["store"] == "postgres"
    assert found["saga_store_pool_size"].value > 0
    assert found["saga_store_pool_in_use"].value >= 0
    assert "saga_journal_size_bytes" not in found, "how large the database is, it says itself"


def rendered(node: Node) -> Answer:
    content_type, body = node.metrics.render()
    return Answer(headers={"content-type": content_type}, body=body)


async def test_prometheus_own_checker_has_nothing_to_say(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NOT TESTED, the page: there is no promtool on this machine (Debian: apt install prometheus)")
    async with scraped(tmp_path) as (_node, port):
        page = (await scrape(port)).body
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, check=False)  # noqa: ASYNC221  # nothing else runs meanwhile
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
