"""The processes of a comparison, each started in one way, all gone when it is over."""

import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.database import Database
from tests.benchmarks.programs import Listening, Worker, cpu_s, program
from tests.benchmarks.rounds import Run
from tests.benchmarks.sagas import configured
from tests.kit import postgres


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where sides are made; `services` answer all of them."""

    services: Listening
    _stack: ExitStack

    def bare(self) -> Worker:
        """Start the bare client."""
        return self._worker("bare", self.services.address)

    def embedded(self, store: str = "", collector: str = "", **settings: Any) -> Worker:
        """Start an orchestrator inside a program, on a fresh store or a given one."""
        return self._worker("embedded", str(self.configured(store, **settings)), *filter(None, [collector]))

    def client(self) -> Worker:
        """Start a client of the gRPC API."""
        return self._worker("clients")

    def server(self, store: str = "", **settings: Any) -> Listening:
        """Start `saga serve`."""
        return self.program("orchestrator", "serve", "--config", str(self.configured(store, **settings)))

    def collector(self, *options: str) -> Listening:
        """Start an OTLP receiver."""
        return self.program("tests.benchmarks.collector", *options)

    def database(self) -> Database:
        """Start a PostgreSQL with an empty database."""
        server = self._stack.enter_context(postgres.struck_server())
        return self._stack.enter_context(closing(Database(server)))

    def program(self, module: str, *arguments: str) -> Listening:
        """Start what listens."""
        return self._stack.enter_context(program(module, *arguments))

    def configured(self, store: str = "", **settings: Any) -> Path:
        """Write a configuration into a folder of its own."""
        return configured(self.services.address, self.folder(), store, **settings)

    def folder(self) -> Path:
        """Make a folder."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR"))))

    def meter(self, **pids: int) -> dict[str, Callable[[], float]]:
        """Return what reads the processor time of the services, and of processes by name."""
        return {f"{name}_cpu_s": partial(cpu_s, pid) for name, pid in {"services": self.services.pid, **pids}.items()}

    def _worker(self, module: str, *arguments: str) -> Worker:
        return self._stack.enter_context(closing(Worker(f"tests.benchmarks.{module}", *arguments)))


@contextmanager
def stage() -> Generator[Stage]:
    """Give a stage with the five services."""
    with ExitStack() as stack:
        yield Stage(services=stack.enter_context(program("tests.benchmarks.stubs")), _stack=stack)


def of_client(answer: Any) -> Run:
    """Return the round that a client of the API told."""
    assert not answer["refused"], answer["refused"]
    ended: Sequence[float] = answer["ended"]
    took_s = max(ended) - answer["began"]
    return Run(len(ended) / took_s, answer["cpu_s"] / len(ended) * 1e3, answer["took_ms"])
