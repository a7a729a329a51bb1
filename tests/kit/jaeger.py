"""A real Jaeger for tests: the one that is named, else one on the path, else one that is built; and what it stored.

`running()` is one of its own on free loopback ports, with storage in memory, gone with the process however that ends.
Version 1 (`all-in-one`) and version 2 (`jaeger`) are told apart by what they say of themselves; both take OTLP and
answer `/api/traces`, which is all that is asked of them. What must hold of every trace is in `trees.py`.
"""

import asyncio
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.kit.figures import keep
from tests.kit.ports import free

VARIABLE = "ORCHESTRATOR_TEST_JAEGER"
"""Names a binary of Jaeger, version 1 or 2."""
MODULE = "github.com/jaegertracing/jaeger/cmd/all-in-one@v1.42.0"
"""The last release that `go install` builds from the module proxy alone; what it lacks is the pages for a browser."""
NAMES = ("jaeger", "jaeger-all-in-one", "all-in-one")
TOOLS = Path(__file__).parents[2] / "build" / "tools"
BUILD_S_MAX = 400.0
"""A minute on two cores that have nothing else to do."""
START_S_MAX = 60.0
STORED_S_MAX = 60.0
"""From the end of a saga until Jaeger has its last span; a second at most where nothing is wrong."""
STARTS_MAX = 3
"""A port that was free may be somebody else's a moment later."""

Value = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A place in a trace that a span names: its parent, or what it is linked to."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A log line of a span, as Jaeger calls it."""

    name: str
    at_us: int
    tags: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span as Jaeger answers it; instants in Unix microseconds, which is as exact as it keeps them."""

    trace_id: str
    span_id: str
    name: str
    service: str
    process: Mapping[str, Value]
    """What the process that sent it says of itself."""
    begin_us: int
    end_us: int
    parents: tuple[Reference, ...]
    links: tuple[Reference, ...]
    tags: Mapping[str, Value]
    events: tuple[Event, ...]
    warnings: tuple[str, ...]
    """What Jaeger itself found wrong."""

    @property
    def kind(self) -> str:
        """client, server or internal."""
        return str(self.tags.get("span.kind", ""))

    @property
    def is_error(self) -> bool:
        """Jaeger shows the red mark."""
        return self.tags.get("error") is True

    def named(self, event: str) -> list[Event]:
        """Return its events of a name."""
        return [each for each in self.events if each.name == event]


Trace = tuple[Span, ...]
"""All spans that Jaeger has of a trace, by their beginning; empty where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jaeger:
    """One that runs."""

    endpoint: str
    """Of its OTLP receiver over gRPC, for OTEL_EXPORTER_OTLP_ENDPOINT."""
    pages: str
    """Where it answers questions, and shows its pages where it has any."""

    async def trace(
        self, trace_id: str, until: Callable[[Trace], bool] = bool, within_s: float = STORED_S_MAX
    ) -> Trace:
        """Return a trace once a fact is true of it; past the time as it is, for assertions to say what is wrong."""
        clock = asyncio.get_running_loop()
        ends_at = clock.time() + within_s
        while True:
            found = await asyncio.to_thread(self.stored, trace_id)
            if until(found) or clock.time() >= ends_at:
                return found
            await asyncio.sleep(0.05)  # poll: Jaeger tells nobody when a span arrives

    def stored(self, trace_id: str) -> Trace:
        """Return a trace as it is stored now."""
        try:
            found = self.asked(f"/api/traces/{trace_id}")
        except urllib.error.HTTPError as failed:
            failed.close()
            if failed.code != 404:
                raise
            return ()
        return _trace(found["data"][0])

    async def search(
        self, service: str, tags: Mapping[str, str], until: Callable[[list[Trace]], bool] = bool
    ) -> list[Trace]:
        """Return what its search page finds by service and tags, once a fact is true of that."""
        asked = {"service": service, "tags": json.dumps(dict(tags)), "limit": "20", "lookback": "2d"}
        clock = asyncio.get_running_loop()
        ends_at = clock.time() + STORED_S_MAX
        while True:
            found = await asyncio.to_thread(self.asked, f"/api/traces?{urllib.parse.urlencode(asked)}")
            traces = [_trace(each) for each in found["data"] or ()]
            if until(traces) or clock.time() >= ends_at:
                return traces
            await asyncio.sleep(0.05)  # poll: as above

    def asked(self, path: str) -> Any:
        """Ask its query API; return the JSON that it answers."""
        with urllib.request.urlopen(self.pages + path, timeout=10) as reply:
            return json.load(reply)


def _trace(found: Mapping[str, Any]) -> Trace:
    spans = (_span(each, found["processes"]) for each in found["spans"])
    return tuple(sorted(spans, key=lambda span: (span.begin_us, -span.end_us)))


def _span(found: Mapping[str, Any], processes: Mapping[str, Any]) -> Span:
    references, process = found["references"], processes[found["processID"]]
    return Span(
        trace_id=found["traceID"],
        span_id=found["spanID"],
        name=found["operationName"],
        service=process["serviceName"],
        process=_tags(process["tags"]),
        begin_us=found["startTime"],
        end_us=found["startTime"] + found["duration"],
        parents=tuple(_reference(each) for each in references if each["refType"] == "CHILD_OF"),
        links=tuple(_reference(each) for each in references if each["refType"] == "FOLLOWS_FROM"),
        tags=_tags(found["tags"]),
        events=tuple(_event(each) for each in found["logs"]),
        warnings=tuple(found["warnings"] or ()),
    )


def _reference(found: Mapping[str, str]) -> Reference:
    return Reference(trace_id=found["traceID"], span_id=found["spanID"])


def _event(found: Mapping[str, Any]) -> Event:
    tags = _tags(found["fields"])
    return Event(name=str(tags.pop("event", "")), at_us=found["timestamp"], tags=tags)


def _tags(found: list[dict[str, Any]]) -> dict[str, Value]:
    return {each["key"]: each["value"] for each in found}


# --- one that runs ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(*more: str) -> AsyncIterator[Jaeger]:
    """Run one while the block runs; `more` are arguments of version 1."""
    found = binary()
    with tempfile.TemporaryDirectory(prefix="saga-jaeger-") as folder:
        log = Path(folder) / "log"
        for _ in range(STARTS_MAX):
            ports = _Ports(otlp=free(), pages=free())
            jaeger = Jaeger(endpoint=f"http://127.0.0.1:{ports.otlp}", pages=f"http://127.0.0.1:{ports.pages}")
            with _spawned([str(found), *_arguments(found, ports, Path(folder)), *more], log) as process:
                if await _answers(jaeger, process):
                    yield jaeger
                    return
        told = log.read_text(errors="replace")[-2_000:]
    pytest.fail(f"{found} did not start within {START_S_MAX:g} s, tried {STARTS_MAX} times; at last it said\n{told}")


@contextmanager
def _spawned(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program while the block runs, and not longer than this process, however that ends."""
    with (
        log.open("wb") as words,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words) as process,
        subprocess.Popen(
            ["sh", "-c", 'read _; kill -KILL "$1"', "reaper", str(process.pid)],
            stdin=subprocess.PIPE,  # it ends with this process
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ),
    ):
        yield process


async def _answers(jaeger: Jaeger, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until it does; return False where it has ended, or takes too long."""
    clock = asyncio.get_running_loop()
    ends_at = clock.time() + START_S_MAX
    while process.poll() is None and clock.time() < ends_at:
        try:
            await asyncio.to_thread(jaeger.asked, "/api/services")
            with socket.create_connection(("127.0.0.1", int(jaeger.endpoint.rpartition(":")[2])), timeout=1):
                return True
        except OSError:
            await asyncio.sleep(0.05)  # poll: its first answer
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ports:
    otlp: int
    pages: int


def _arguments(found: Path, ports: _Ports, folder: Path) -> list[str]:
    """Return how to have it on these ports, and on nobody else's."""
    said = subprocess.run([str(found), "--help"], capture_output=True, text=True, check=False, timeout=START_S_MAX)
    if "--collector.otlp.enabled" in said.stdout + said.stderr:
        known = {"collector.otlp.grpc.": ports.otlp, "query.http-server.": ports.pages}
        addresses = {**dict.fromkeys(_LISTENERS, 0), **known}
        hosts = [f"--{name}host-port=127.0.0.1:{port}" for name, port in addresses.items()]
        return ["--collector.otlp.enabled=true", _IN_ORDER, "--log-level=warn", *hosts]
    settings = folder / "jaeger.json"  # JSON is YAML
    settings.write_text(json.dumps(_second(ports)), encoding="utf-8")
    return ["--config", str(settings)]


_IN_ORDER = "--collector.num-workers=1"
"""Version 1 stores with fifty workers otherwise: a saga's own span, sent last, may be there before those it was sent
after, and whoever waits for it then reads a torn trace."""

_LISTENERS = (
    *("admin.http.", "http-server.", "query.grpc-server.", "collector.otlp.http."),
    *("collector.grpc-server.", "collector.http-server."),
    *(f"processor.{name}.server-" for name in ("jaeger-binary", "jaeger-compact", "zipkin-compact")),
)
"""Of version 1, which offers everybody everything."""


def _second(ports: _Ports) -> dict[str, Any]:
    """Return the configuration of version 2, which listens where it is told to and nowhere else."""
    return {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
        },
        "extensions": {
            "jaeger_query": {
                "storage": {"traces": "kept"},
                "http": {"endpoint": f"127.0.0.1:{ports.pages}"},
                "grpc": {"endpoint": "127.0.0.1:0"},
            },
            "jaeger_storage": {"backends": {"kept": {"memory": {"max_traces": 100_000}}}},
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{ports.otlp}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "kept"}},
    }


# --- where it comes from ---------------------------------------------------------------------------------------------


@cache
def binary() -> Path:
    """Return a Jaeger to run; skip the test, loudly, where there is none and none can be built."""
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            pytest.fail(f"{VARIABLE} names {named}, which is no program; name a binary of Jaeger, or unset it")
        return Path(named)
    try:
        found = ready() or built()
        keep("jaeger", program=found.name)
        return found
    except RuntimeError as failed:
        why = f"there is no Jaeger: {failed}; name one in {VARIABLE}, or put {' or '.join(NAMES)} on the path"
        keep("jaeger", skipped=why)
        print(f"SKIPPED, {why}", file=sys.stderr)
        pytest.skip(why)


def ready() -> Path | None:
    """Return one that is on the path, or was built before."""
    here = next((found for name in NAMES if (found := shutil.which(name))), None)
    made = TOOLS / "all-in-one"
    return Path(here) if here else made if made.exists() else None


def built() -> Path:
    """Build one, once, whoever asks first; raise RuntimeError where that cannot be done."""
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("none is on the path, and without Go none can be built")
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        made = TOOLS / "all-in-one"
        if made.exists():
            return made
        environ = {**os.environ, "GOBIN": str(TOOLS), "GOFLAGS": "-mod=mod"}
        try:
            done = subprocess.run(
                [go, "install", MODULE], env=environ, capture_output=True, text=True, check=False, timeout=BUILD_S_MAX
            )
        except subprocess.TimeoutExpired as late:
            raise RuntimeError(f"go install {MODULE} took over {BUILD_S_MAX:g} s") from late
        if done.returncode:
            raise RuntimeError(f"go install {MODULE} failed: {done.stderr.strip()[-300:]}")
        return made


if __name__ == "__main__":  # for .ci/run: have it before the tests, whose own time is bounded
    try:
        print(f"Jaeger: {ready() or built()}")
    except RuntimeError as impossible:
        print(f"Jaeger: {impossible}; the tests that need it will be skipped")
