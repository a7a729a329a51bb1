"""Five demo services and the orchestrator as real processes, started, killed and asked by tests.

Nothing here sleeps: a program is ready when it says so on standard output, and has ended when the system says so.
"""

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import grpc
from google.protobuf import json_format

from services.epro.v1 import admin_service_pb2, admin_service_pb2_grpc
from tests.kit.ports import free

Reply = TypeVar("Reply")

ROOT = Path(__file__).parents[2]
SERVICES = ("validator", "scoring", "archive", "safety", "notifier")
DEFINITION = ROOT / "compose" / "definitions" / "epro_intake.yaml"
REPORTS = ROOT / "services" / "data" / "reports.jsonl"
START_S_MAX = 60.0
_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]


class NotStarted(AssertionError):
    """A program ended, or stayed silent, instead of listening."""


@dataclass(slots=True, kw_only=True)
class Program:
    """One program; it keeps its port, its folder and its log over restarts."""

    name: str
    module: str
    arguments: Sequence[str]
    folder: Path
    environ: Mapping[str, str] = field(default_factory=dict[str, str])
    process: Process | None = None
    address: str = ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def http(self) -> str:
        """The address of an orchestrator's HTTP side, as its log names it."""
        return str(re.findall(r"health and metrics on ([0-9.:]+)", self.log)[-1])

    async def spawn(self) -> Process:
        """Let the process begin, ready or not."""
        port = self.address.rpartition(":")[2] or str(free())  # nobody takes it while it is away
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", self.module, *self.arguments, "--port", port),
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=log,
                cwd=self.folder,
                env={**_inherited(), **self.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            )
        return self.process

    async def ready(self) -> str:
        """Wait until it listens; return its address."""
        assert self.process is not None
        assert self.process.stdout is not None
        async with asyncio.timeout(START_S_MAX):
            line = (await self.process.stdout.readline()).decode()
        if not line.startswith("listening "):
            raise NotStarted(f"{self.name} did not start ({await self.process.wait()}):\n{self.log[-2000:]}")
        self.address = line.split()[1]
        return self.address

    async def start(self) -> str:
        """Start it, again on the same port, and wait until it listens."""
        await self.spawn()
        return await self.ready()

    async def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self, within_s: float) -> int:
        """Return the exit code; a process that is late fails the test."""
        assert self.process is not None
        async with asyncio.timeout(within_s):
            return await self.process.wait()


def _inherited() -> dict[str, str]:
    """Return what a program is told of this process's environment: what is said to the tests is no setting of it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_TEST_")}


class Mesh:
    """All programs of one test; leaving the context kills what still runs."""

    def __init__(
        self, folder: Path, environ: Mapping[str, str] | None = None, *, is_declared: bool = True, **settings: Any
    ) -> None:
        """`settings` are added to the orchestrator's configuration; `environ` reaches every process.

        The services keep keys and the barrier contract; `is_declared` says whether the configuration says so.
        """
        self.folder = folder
        self.data = folder / "data"
        self.journal = folder / "saga.sqlite"
        self._is_declared = is_declared
        self._settings = settings
        self._environ = dict(environ or {})
        self.services = {
            name: self._program(name, f"services.{name}", "--data", str(self.data), "--grace", "1") for name in SERVICES
        }
        self.orchestrator = self._program("orchestrator", "orchestrator", "serve", "--config", "saga.yaml")

    async def __aenter__(self) -> Self:
        self.data.mkdir()
        return self

    async def __aexit__(self, *_: object) -> None:
        for program in (self.orchestrator, *self.services.values()):
            await program.kill()

    async def start(self) -> None:
        """Start the services, then the orchestrator on them."""
        async with asyncio.TaskGroup() as starting:
            for service in self.services.values():
                starting.create_task(service.start())
        self.configure()
        await self.orchestrator.start()

    def configure(self, **settings: Any) -> None:
        """Write the orchestrator's configuration; JSON is YAML."""
        targets = {
            name: {"address": service.address, "idempotent": self._is_declared, "barrier": self._is_declared}
            for name, service in self.services.items()
        }
        values = {
            "api": {"port": 0},
            "http": {"port": 0},
            "store": f"sqlite:{self.journal}",
            "definitions": [str(DEFINITION)],
            "targets": targets,
            **self._settings,
            **settings,
        }
        (self.folder / "saga.yaml").write_text(json.dumps(values), encoding="utf-8")

    def page(self, path: str) -> str:
        """Return a page of the orchestrator's HTTP side."""
        with urllib.request.urlopen(f"http://{self.orchestrator.http}{path}", timeout=10) as reply:
            return str(reply.read().decode())

    async def set_fault(self, service: str, **fault: Any) -> None:
        """Set an epro.v1.Fault, by its JSON names."""
        await set_fault(self.services[service].address, **fault)

    async def clear_faults(self) -> None:
        for service in self.services.values():
            await clear_faults(service.address)

    async def calls_in_flight(self, service: str, method: str, count: int = 1) -> None:
        """Wait until a service works on so many calls of a method."""
        await counted(self.services[service].address, method, lambda stats: stats.in_flight >= count)

    def _program(self, name: str, module: str, *arguments: str) -> Program:
        return Program(name=name, module=module, arguments=arguments, folder=self.folder, environ=self._environ)


def in_order(folder: Path) -> Path:
    """Write the demo's definition anew: nothing is refused before there is something to undo; return its path."""
    text = DEFINITION.read_text(encoding="utf-8")
    assert text.count(_REFUSED) == 1
    path = folder / DEFINITION.name
    path.write_text(text.replace(_REFUSED, f"{_REFUSED}    after: [archive]\n"), encoding="utf-8")
    return path


_REFUSED = "  adverse_event:\n"


def channel(address: str) -> grpc.aio.Channel:
    """Return a client's channel that is back soon after a server is."""
    return grpc.aio.insecure_channel(address, options=_RECONNECT)


async def set_fault(address: str, **fault: Any) -> None:
    """Set an epro.v1.Fault, by its JSON names, at the program that listens there."""
    request = admin_service_pb2.SetFaultRequest(fault=json_format.ParseDict(fault, admin_service_pb2.Fault()))
    async with channel(address) as connection:
        stub = admin_service_pb2_grpc.FaultServiceStub(connection)
        await insisted(lambda: stub.SetFault(request, wait_for_ready=True, timeout=20))


async def clear_faults(address: str) -> None:
    """Take away all faults of the program that listens there."""
    async with channel(address) as connection:
        stub = admin_service_pb2_grpc.FaultServiceStub(connection)
        request = admin_service_pb2.ClearFaultsRequest()
        await insisted(lambda: stub.ClearFaults(request, wait_for_ready=True, timeout=20))


async def insisted(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """Call until there is an answer: a program may die at that very moment, and come back, or its store be slow."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as failed:
            if failed.code() is not grpc.StatusCode.UNAVAILABLE:
                raise


async def counted(address: str, method: str, holds: Callable[[admin_service_pb2.MethodStats], bool]) -> None:
    """Wait for a fact in the counters of a method; the test's own time limit bounds it."""
    async with channel(address) as connection:
        stub = admin_service_pb2_grpc.FaultServiceStub(connection)
        while True:
            stats = await stub.GetStats(admin_service_pb2.GetStatsRequest(), timeout=10)
            if any(each.method == method and holds(each) for each in stats.methods):
                return
            await asyncio.sleep(0.01)  # poll: the stats are all that the program tells


async def calls_of(address: str, method: str) -> int:
    """Return how often a method was called since its program started."""
    async with channel(address) as connection:
        stub = admin_service_pb2_grpc.FaultServiceStub(connection)
        stats = await stub.GetStats(admin_service_pb2.GetStatsRequest(), timeout=10)
    return next(each.calls for each in stats.methods if each.method == method)


def reports() -> list[dict[str, object]]:
    """Return the shipped reports."""
    return [json.loads(line) for line in REPORTS.read_text(encoding="utf-8").splitlines()]
