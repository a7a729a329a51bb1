"""A collector, a clock and plans that tests steer."""

import threading
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from orchestrator.errors import PlanMissing
from orchestrator.ports.plans import JsonInput
from orchestrator.saga.plan import Plan
from orchestrator.telemetry.spandata import SpanData
from orchestrator.values import Payload
from tests.unit.telemetry.histories import BEGIN_AT, PLAN, uid_of


class FakeClock:
    def __init__(self) -> None:
        self.wall = BEGIN_AT
        self.ticks = 0.0

    def now(self) -> float:
        return self.wall

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return self.ticks

    def entropy(self) -> float:
        return 0.5

    def new_uid(self) -> UUID:
        return uid_of(0)


class FakePlans:
    def __init__(self, plan: Plan = PLAN) -> None:
        self._plan = plan

    async def plan(self, definition: str, revision: str = "") -> Plan:
        if (definition, revision) != (self._plan.definition, self._plan.revision):
            raise PlanMissing(f"no plan {definition} {revision}")
        return self._plan

    def input(self, plan: Plan, given: Payload | JsonInput) -> Payload:
        raise NotImplementedError

    def payload(self, plan: Plan, type_name: str, given: Payload | JsonInput, path: str) -> Payload:
        raise NotImplementedError

    def to_json(self, plan: Plan, payload: Payload) -> Mapping[str, object]:
        raise NotImplementedError


class FakeSender:
    """Takes every batch, unless `failure` says why not; while `gate` is shut it hangs."""

    def __init__(self) -> None:
        self.batches: list[list[SpanData]] = []
        self.failure: str | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.tries = 0
        self.is_closed = False
        self.on_send: Callable[[], None] = lambda: None

    @property
    def spans(self) -> list[SpanData]:
        return [span for batch in self.batches for span in batch]

    def send(self, spans: Sequence[SpanData]) -> str | None:
        self.tries += 1
        self.on_send()
        self.gate.wait()
        if self.failure is None:
            self.batches.append(list(spans))
        return self.failure

    def close(self) -> None:
        self.is_closed = True


class FakeMeter:
    def __init__(self) -> None:
        self.exported = self.dropped = self.waiting = 0

    def spans_exported(self, count: int) -> None:
        self.exported += count

    def spans_dropped(self, count: int) -> None:
        self.dropped += count

    def spans_waiting(self, count: int) -> None:
        self.waiting = count
