"""The orchestrator of a bench: its configuration on a store, and one that runs in this process."""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from tests.benchmarks import flows


def configured(services: str, folder: Path, store: str = "", **more: Any) -> Path:
    """Write the configuration of an orchestrator on a fresh store, and its definitions; `more` are settings."""
    for name, text in flows.DEFINITIONS.items():
        (folder / f"{name}.yaml").write_text(text)
    values = {
        "api": {"port": 0},
        "http": {"port": 0},
        **({"cluster": {"port": 0}} if store.startswith("postgres") else {}),
        "store": store or f"sqlite:{folder / 'saga.sqlite'}",
        "targets": {"epro": {"address": services, "idempotent": True, "barrier": True}},
        "definitions": [str(folder / f"{name}.yaml") for name in flows.DEFINITIONS],
        "log": {"level": "warning"},
        **more,
    }
    file = folder / "orchestrator.yaml"
    file.write_text(json.dumps(values))
    return file


@asynccontextmanager
async def node(file: Path, collector: str) -> AsyncGenerator[Node]:
    """Run an embedded orchestrator, traced where a collector is given."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector}"} if collector else {}
    os.environ.update(environ)  # the exporter reads the process's own
    settings = Settings.model_validate(json.loads(file.read_text()))  # noqa: ASYNC240  # before anything is measured
    try:
        async with open_node(settings, environ=environ) as running:
            if running.sharing is not None:
                await running.sharing.membership.joined()
            yield running
    finally:
        for name in environ:
            del os.environ[name]
