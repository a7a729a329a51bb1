"""A seeded network that is never well for long, around a real server process: on the services' side and the callers'.

NETWORK_ROUNDS=300 NETWORK_SEED=7 make test ARGS=tests/integration/network/test_bad_days.py
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251  (seeded: the same network again)

import pytest
from grpc import aio

from orchestrator.config import load
from tests.integration.network.callers import Callers
from tests.integration.network.depot import Depot, depot, described
from tests.integration.network.judging import Verdict, judge
from tests.kit.faults import Fault, Request, What, When
from tests.kit.figures import keep
from tests.kit.mesh import Program
from tests.kit.proxy import Proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

SEED = os.environ.get("NETWORK_SEED", "2026")
ROUNDS = int(os.environ.get("NETWORK_ROUNDS", "1"))
CALLERS = 48
STRUCK = 0.06
"""Of all calls; most faults take the connection, and whoever else is on it."""
EVENTS_A_ROUND = 8
EVENT_S = 0.3
"""Of a line that is down; somebody's call is meant to meet it, nobody's whole budget."""
NOBODY = "127.0.0.1:1"
_DEFINITION = """
saga: errand
input: json
deadline: {forward: 2m, compensation: 2m}
targets: [kept, bare]
steps:
  put:
    call: kept/depot.v1.Depot/Put
    timeout: 700ms
    compensate: {call: kept/depot.v1.Depot/Take, timeout: 700ms, retry: {max_backoff: 300ms}}
  build:
    after: [put]
    call: kept/depot.v1.Depot/Build
    response: depot.v1.Note
    poll: 20ms
    timeout: 700ms
    compensate: {call: kept/depot.v1.Depot/Take, timeout: 700ms, retry: {max_backoff: 300ms}}
  leave:
    after: [put]
    call: bare/depot.v1.Depot/Put
    timeout: 700ms
    compensate: {call: bare/depot.v1.Depot/Take, timeout: 700ms, retry: {max_backoff: 300ms}}
  lend:
    after: [put]
    call: bare/depot.v1.Depot/Put
    timeout: 700ms
    probe: {call: bare/depot.v1.Depot/Find, applied: "${reply.found}", timeout: 700ms}
    compensate: {call: bare/depot.v1.Depot/Take, timeout: 700ms, retry: {max_backoff: 300ms}}
  go:
    after: [build, leave, lend]
    wait: {signal: go, type: json}
  refuse:
    after: [go]
    when: ${input.refuse}
    call: kept/depot.v1.Depot/Refuse
    kind: read
    timeout: 700ms
"""


@dataclass(slots=True, kw_only=True)
class Weather:
    """What befalls a line: calls by their names and the seed, the whole line by `blow`."""

    seed: str
    struck: Counter[str] = field(default_factory=Counter[str])

    def of_call(self, request: Request) -> Fault | None:
        """Choose for an attempt of a saga: the same in every run of one seed."""
        return self._fault(Random(f"{self.seed}:{request.attempt}")) if "saga-id" in request.told else None

    def of_caller(self, request: Request) -> Fault | None:
        """Choose for a call of the API."""
        return self._fault(Random(f"{self.seed}:{request.path}:{sum(self.struck.values())}:{request.stream}"))

    def _fault(self, luck: Random) -> Fault | None:
        if luck.random() >= STRUCK:
            return None
        what = luck.choice(list(What))
        when = luck.choice([When.BEFORE, When.SENT] if what in {What.REFUSE, What.DISOWN, What.AGE} else list(When))
        if what in {What.PAUSE, What.TRICKLE} and when in {When.SENT, When.ANSWERED}:
            when = When.LOST
        pause_s = {What.PAUSE: 0.1, What.TRICKLE: 0.001}.get(what, 0.0)
        self.struck[what.name.lower()] += 1
        return Fault(when=when, what=what, pause_s=pause_s, messages=luck.randrange(3))


@dataclass(slots=True, kw_only=True)
class Place:
    """A server process, its services, and the three lines between everybody."""

    server: Program
    kept: Depot
    bare: Depot
    lines: dict[str, Proxy]
    weather: Weather
    gone: set[str]
    events: Counter[str] = field(default_factory=Counter[str])

    async def blow(self, luck: Random) -> None:
        """Let a whole line, or what is behind it, be away for a moment."""
        name, event = luck.choice(list(self.lines)), luck.choice(("cut", "refused", "mute", "gone"))
        line = self.lines[name]
        self.events[event] += 1
        match event:
            case "refused":
                await line.refuse()
            case "mute":
                line.is_mute = True
                line.cut()
            case "gone":
                self.gone.add(name)
                line.cut()
            case _:
                line.cut()
        service = {"kept": self.kept, "bare": self.bare}.get(name)
        if event == "gone" and service is not None:
            await service.stop()
            await service.start()
        await asyncio.sleep(EVENT_S)  # poll: nothing; so long is the line down
        self.gone.discard(name)
        if line.is_mute:
            line.is_mute = False
            line.cut()
        await line.listen()


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """Start everything; in the end what still runs is killed."""
    server = Program(
        name="orchestrator", module="orchestrator", arguments=("serve", "--config", "saga.yaml"), folder=folder
    )
    weather, gone = Weather(seed=SEED), set[str]()
    async with AsyncExitStack() as opened:
        kept = await opened.enter_async_context(depot(keeps=True))
        bare = await opened.enter_async_context(depot(keeps=False))
        ways = {
            "kept": Proxy(lambda: NOBODY if "kept" in gone else kept.address, weather.of_call),
            "bare": Proxy(lambda: NOBODY if "bare" in gone else bare.address, weather.of_call),
            "api": Proxy(lambda: NOBODY if "api" in gone else server.address, weather.of_caller),
        }
        lines = {name: await opened.enter_async_context(line) for name, line in ways.items()}
        configure(folder, lines)
        await server.start()
        opened.push_async_callback(server.kill)
        yield Place(server=server, kept=kept, bare=bare, lines=lines, weather=weather, gone=gone)


def configure(folder: Path, lines: dict[str, Proxy]) -> None:
    """Write the server's configuration; JSON is YAML."""
    (folder / "depot.binpb").write_bytes(described())
    (folder / "errand.yaml").write_text(_DEFINITION)
    targets = {
        name: {
            "address": lines[name].address,
            "descriptors": {"set": "depot.binpb"},
            "idempotent": name == "kept",
            "barrier": name == "kept",
        }
        for name in ("kept", "bare")
    }
    surfaces = {"api": {"port": 0}, "http": {"port": 0}, "store": "sqlite:saga.sqlite"}
    values = {**surfaces, "targets": targets, "definitions": ["errand.yaml"]}
    (folder / "saga.yaml").write_text(json.dumps(values), encoding="utf-8")


async def bad_days(at: Place, callers: Callers) -> None:
    """Let callers work in rounds while the weather is bad, until every saga has ended."""
    luck = Random(SEED)

    async def storm() -> None:
        for _ in range(EVENTS_A_ROUND):
            await callers.more_answers(luck.randint(5, 15))
            if not callers.at_work:
                return
            await at.blow(luck)

    for number in range(ROUNDS):
        async with asyncio.TaskGroup() as group:
            group.create_task(callers.run(number * CALLERS, CALLERS))
            group.create_task(storm())


async def judged(at: Place, callers: Callers, folder: Path) -> Verdict:
    at.server.signal()
    assert await at.server.ended(within_s=30) == 0
    assert "Traceback" not in at.server.log
    passed = [request for name in ("kept", "bare") for request in at.lines[name].passed]
    lines = at.kept.lines + at.bare.lines
    return await judge(load(folder / "saga.yaml", {}).settings, lines, passed, callers.answers)


@pytest.mark.timeout(300 + 30 * ROUNDS)
async def test_a_bad_network_on_both_sides_loses_doubles_and_misjudges_nothing(tmp_path: Path) -> None:
    began = time.monotonic()  # noqa: TID251  (told in the figures)
    async with place(tmp_path) as at:
        options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
        async with aio.insecure_channel(at.lines["api"].address, options=[*options, ("grpc.enable_retries", 0)]) as way:
            callers = Callers(way, SEED)
            await bad_days(at, callers)
        verdict = await judged(at, callers, tmp_path)
    findings = verdict.findings
    keep(
        "network",
        seed=SEED,
        sagas=findings.sagas,
        acknowledged=len(callers.ends),
        calls_struck=sum(at.weather.struck.values()),
        lines_down=at.events.total(),
        attempts=verdict.attempts,
        effects=findings.effects,
        lost=findings.by_invariant["I7"] + findings.by_invariant["I29"],
        doubled=findings.by_invariant["I13"],
        misjudged=len(verdict.lies),
        violations=findings.violation_count,
        seconds=round(time.monotonic() - began, 1),  # noqa: TID251  (the same)
        **{f"attempts_{phase.lower()}": count for phase, count in verdict.phases.items()},
        **{name.lower(): count for name, count in sorted(callers.counts.items())},
    )
    assert callers.wrong == []
    assert callers.unexplained == []
    assert verdict.lies == []
    assert findings.violations == []
    assert {"I7", "I10", "I13", "I24"}.isdisjoint(findings.not_checked), "all three witnesses were heard"
    assert findings.sagas == CALLERS * ROUNDS == len(callers.ends), "exactly one saga for each request"
    assert callers.counts["watched"] > 0 < callers.counts["sent_again"]
    assert at.events.total() >= ROUNDS, "whole lines were down"
    assert min(callers.counts["COMPLETED"], callers.counts["COMPENSATED"]) > 0
    assert min(verdict.phases["NOT_SENT"], verdict.phases["SENT"]) > 0
