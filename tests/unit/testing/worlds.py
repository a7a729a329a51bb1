"""Parts of a simulated world, one at a time: on a loop of its own, with the faults of a tape."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation, Plan
from orchestrator.testing import Fates, read_tape
from orchestrator.testing.clocks import BEGIN_AT, SimulatedClock, WallClock
from orchestrator.testing.fates import Faults
from orchestrator.testing.loop import Life, SimulatedLoop
from orchestrator.testing.network import Network, SimulatedInvoker
from orchestrator.testing.services import Replies, Services, shorthand_reply
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload, TraceContext

T = TypeVar("T")

TIMEOUT_S = 10.0
KEPT = plan(*(step(name, idempotent=True) for name in "abcd"))
BARE = plan(step("a"))
BARRED = plan(step("a", idempotent=True, barrier=True))


def told(story: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a story on a loop of its own; an error that nobody caught fails it."""
    loop = SimulatedLoop()  # type: ignore[abstract]  # of asyncio's interface it has what can be had
    result = loop.run(story())
    assert loop.errors == []
    return result


async def passes(delay_s: float) -> None:
    """Let virtual time pass: nothing is hoped for, the next timer is jumped to."""
    await asyncio.sleep(delay_s)  # poll: not at all; time here passes when a test says so


def faults_of(*tape: str, seed: int = 1) -> Faults:
    """The faults of a tape, and none but these."""
    return Faults(Fates(seed), tape=read_tape("\n".join(tape)))


def call(
    operation: Operation = Operation.FORWARD,
    *,
    step: str = "a",
    attempt: int = 1,
    epoch: str = "",
    left_s: float = TIMEOUT_S,
    target: str = "service",
) -> CallRequest:
    """A call of saga `s1`; `epoch` tells keys apart that a person's hand made different."""
    forward = f"s1/{step}{epoch}"
    return CallRequest(
        target=target,
        method=f"test.Service/{step}",
        request=Payload("Do", b"s1"),
        reply_type="Reply",
        deadline_at=BEGIN_AT + left_s,
        key=forward if operation is not Operation.COMPENSATE else f"{forward}/undo",
        saga_id=SagaId("s1"),
        uid=UUID(int=1),
        step=StepId(step),
        operation=operation,
        attempt=attempt,
        epoch=1,
        forward_key=forward,
        trace=TraceContext(trace_id=1, span_id=1, sampled=False),
    )


def services_of(given: Plan | None, *tape: str, seed: int = 1, replies: Replies = shorthand_reply) -> Services:
    """Services of which a plan declares what is declared."""
    return Services(lambda _saga: given, replies, faults_of(*tape, seed=seed))


@dataclass(slots=True)
class Line:
    """One process's line to the services, and what it has heard; the loop must be running."""

    given: Plan | None
    tape: Sequence[str]
    seed: int = 1
    heard: list[tuple[float, Report]] = field(default_factory=list)
    services: Services = field(init=False)
    life: Life = field(init=False)
    invoker: SimulatedInvoker = field(init=False)

    def __post_init__(self) -> None:
        faults = faults_of(*self.tape, seed=self.seed)
        self.services = Services(lambda _saga: self.given, shorthand_reply, faults)
        network = Network(self.services, faults, contextvars.copy_context())
        self.life = Life("life-1")
        self.invoker = SimulatedInvoker(network, self.life, SimulatedClock(WallClock(), faults.fates, "life-1"))

    def begin(self, request: CallRequest) -> "Awaitable[None]":
        """Begin a call; what it gives is awaited for its report."""
        ended = asyncio.get_running_loop().create_future()

        def on_report(report: Report) -> None:
            self.heard.append((asyncio.get_running_loop().time(), report))
            ended.set_result(None)

        self.invoker.begin(request, on_report)
        return ended

    @property
    def effects(self) -> list[int]:
        """How often each line of the ledger took effect."""
        return [line.count for line in self.services.ledger]

    @property
    def codes(self) -> list[tuple[str, str]]:
        """Code and phase of each report."""
        return [(report.code, report.phase.value) for _, report in self.heard]
