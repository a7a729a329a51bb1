"""Sagas that depend on time in every way, a clock that is set under them, and what may not come of it."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.bootstrap import open_records
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.journal import SearchQuery
from orchestrator.saga.events import AttemptOpened, Event, RetryScheduled, StepBegan, StepSettled
from orchestrator.verify import Findings, Ledgers, verify
from tests.integration.network.depot import Depot, described

HOUR_S = 3_600.0
DAY_S = 86_400.0
SHORT_S = 1.2
SLEWED = 1.01
"""A clock that was set goes so much faster or slower at most."""
LATE_S = 25.0
"""Half a second between two sweeps, and a machine that has other work; what was misled is late by an hour."""
ENDS: Mapping[str, str] = {
    "short_nap": "COMPLETED",
    "hung": "COMPENSATED",
    "tired": "COMPLETED",
    "long_nap": "COMPLETED",
    "patience": "COMPENSATED",
    "deadline": "COMPENSATED",
}
"""Definition -> how its saga ends."""
SHORT = ("short_nap", "hung", "tired")
LONG = ("long_nap", "patience", "deadline")
"""Nothing of them is due before an hour has passed."""
SLEEPING = {"nap", "go"}
"""Steps in which a saga sleeps or waits."""
_HEAD = """
saga: {name}
input: json
targets: [depot]
"""
_PUT = """
  put:
    after: [{after}]
    call: depot/depot.v1.Depot/Put
    compensate: {{call: depot/depot.v1.Depot/Take}}
"""
_FIRST = _PUT.replace("\n    after: [{after}]", "")
_BODIES = {
    "short_nap": f"steps:\n  nap: {{{{sleep: {SHORT_S}s}}}}" + _PUT.replace("{after}", "nap"),
    "hung": "steps:" + _FIRST + "  hang: {{after: [put], kind: read, call: depot/depot.v1.Depot/Refuse, "
    f"request: {{{{id: nobody asks}}}}, timeout: {SHORT_S}s, retry: {{{{max_attempts: 1}}}}}}}}",
    "tired": "steps:\n  tire: {{kind: read, call: depot/depot.v1.Depot/Tire, retry: {{initial_backoff: 300ms}}}}",
    "long_nap": "deadline: {{forward: 30d}}\nsteps:\n  nap: {{sleep: 1h}}" + _PUT.replace("{after}", "nap"),
    "patience": "steps:" + _FIRST + "  go: {{after: [put], wait: {{signal: go, type: json, timeout: 1h}}}}",
    "deadline": "deadline: {{forward: 1h}}\nsteps:"
    + _FIRST
    + "  go: {{after: [put], wait: {{signal: go, type: json}}}}",
}


def values(folder: Path, far: Depot) -> dict[str, object]:
    """Return a configuration, and write what it names."""
    definitions = folder / "definitions"
    definitions.mkdir(parents=True)
    (folder / "depot.binpb").write_bytes(described())
    for name, body in _BODIES.items():
        (definitions / f"{name}.yaml").write_text((_HEAD + body).format(name=name))
    return {
        "api": {"port": 0},
        "http": {"port": 0},
        "store": f"sqlite:{folder / 'saga.sqlite'}",
        "definitions": [str(definitions)],
        "targets": {"depot": {"address": far.address, "descriptors": {"set": str(folder / "depot.binpb")}}},
    }


class Machine:
    """A wall clock that is set, and sleeps that only the clock of the time since boot counts."""

    def __init__(self, at: float | None = None, drift: float = 0.0) -> None:
        """`at`: what the wall clock says now; `drift`: seconds that it gains in each second."""
        self._drift = drift
        self._began_s = real_s()
        self._wall_s = 0.0 if at is None else at - time.time()  # noqa: TID251  (a clock)
        self._asleep_s = 0.0

    def wall(self) -> float:
        drifted_s = (real_s() - self._began_s) * self._drift
        return time.time() + self._wall_s + drifted_s  # noqa: TID251  (a clock)

    def elapsed(self) -> float:
        return real_s() + self._asleep_s

    def set_by(self, seconds: float) -> None:
        """Set the wall clock."""
        self._wall_s += seconds

    def sleeps(self, seconds: float) -> None:
        """Be suspended for so long: the wall clock goes on, and nothing runs."""
        self._wall_s += seconds
        self._asleep_s += seconds


def is_asleep(events: Iterable[Event]) -> bool:
    """Return whether a saga has come to the step that it sleeps or waits in."""
    return any(isinstance(event, StepBegan) and event.step in SLEEPING for event in events)


def real_s() -> float:
    """Return seconds that truly pass."""
    return time.monotonic()  # noqa: TID251  (what is measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What became of a case."""

    findings: Findings
    wrong: list[str]
    timers: int
    """That fired."""


async def judge(folder: Path, far: Depot, answers: Mapping[SagaId, str]) -> Told:
    """Hold everything that is recorded against the rules, and against the times in it."""
    wrong: list[str] = []
    timers = 0
    async with open_records(folder / "saga.sqlite") as (journal, plans):
        rows = await journal.search(SearchQuery(limit=1_000))
        mine = [line for line in far.lines if line.saga_id in {row.saga_id for row in rows}]
        findings = await verify(
            journal,
            plans,
            ledgers=Ledgers(mine),
            answers=answers,
            knows_targets=True,  # they declare nothing
            frontier_is_complete=True,
            in_order=True,
        )
        for row in rows:
            events = [record.event for record in await journal.read(row.saga_id, 0, 1_000)]
            wrong += [f"{row.saga_id}: {lie}" for lie in _lies(row.definition, events)]
            timers += sum(isinstance(event, RetryScheduled) for event in events) + (row.definition in LONG)
            if answers.get(row.saga_id) != ENDS[row.definition]:
                wrong.append(f"{row.saga_id} ended {answers.get(row.saga_id)}")
    return Told(findings=findings, wrong=wrong, timers=timers)


def _lies(definition: str, events: list[Event]) -> Iterator[str]:
    settled = Counter(event.step for event in events if isinstance(event, StepSettled))
    yield from (f"{step} settled {times} times" for step, times in settled.items() if times > 1)
    waits_s = {"short_nap": ("nap", SHORT_S), "long_nap": ("nap", HOUR_S), "patience": ("go", HOUR_S)}
    if definition in waits_s:
        name, least_s = waits_s[definition]
        began = next(event.at for event in events if isinstance(event, StepBegan) and event.step == StepId(name))
        ended = next(event.at for event in events if isinstance(event, StepSettled) and event.step == StepId(name))
        if ended - began < least_s:
            yield f"{name} was over {least_s - (ended - began):.3f} s early, by the process's own clock"
    due_at = 0.0
    for event in events:
        if isinstance(event, RetryScheduled):
            due_at = event.due_at
        elif isinstance(event, AttemptOpened) and event.at < due_at:
            yield f"{event.step} was tried again {due_at - event.at:.3f} s early"
