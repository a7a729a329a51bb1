"""A real Prometheus that scrapes what a test runs, every second, under the rules that are shipped."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.ports import free
from tests.kit.rules import ABSENT, PROMETHEUS, RULES

START_S_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prometheus:
    """Its HTTP API."""

    address: str

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """Return what an expression has now; raise `AssertionError` where Prometheus does not take it."""
        found = await self.get("query", query=expr)
        assert found["resultType"] == "vector", f"{expr}: {found['resultType']}"
        return list(found["result"])

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the data of one answer."""
        address = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        return await asyncio.to_thread(_got, address)


def _got(address: str) -> Any:
    try:
        with urllib.request.urlopen(address, timeout=10) as reply:
            return json.load(reply)["data"]
    except urllib.error.HTTPError as refused:
        with refused:
            raise AssertionError(f"{urllib.parse.unquote_plus(address)}: {refused.read().decode()}") from None


@asynccontextmanager
async def scraping(folder: Path, targets: Sequence[str]) -> AsyncIterator[Prometheus]:
    """Run one of its own on free ports, gone when the context is left; skip the test, loudly, where there is none."""
    if PROMETHEUS is None:
        pytest.skip(f"NOT TESTED on a real Prometheus: {ABSENT.format('prometheus')}")
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in RULES],
        "scrape_configs": [{"job_name": "saga", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    port = free()
    options = ("--config.file=prometheus.yaml", "--storage.tsdb.path=tsdb", f"--web.listen-address=127.0.0.1:{port}")
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(PROMETHEUS, *options, "--enable-feature=exemplar-storage"),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        prometheus = Prometheus(address=f"127.0.0.1:{port}")
        await _ready(prometheus, process)
        yield prometheus
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _ready(prometheus: Prometheus, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(START_S_MAX):
        while True:
            try:
                await prometheus.query("vector(1)")
            except (urllib.error.URLError, AssertionError):
                assert process.returncode is None, "it ended; its log is beside its settings"
                await asyncio.sleep(0.05)  # poll: it says nowhere else that it is ready
            else:
                return
