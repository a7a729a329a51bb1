"""An invoker under test, a clock that can be put forward, and one call at a time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4  # noqa: TID251  # the clock below deals in them

from orchestrator.ids import SagaId, StepId
from orchestrator.invoker import GrpcInvoker, TargetConfig
from orchestrator.ports.invoker import CallRequest, OpenCall
from orchestrator.saga.events import Report
from orchestrator.saga.plan import Operation
from orchestrator.values import Payload, TraceContext
from tests.integration.invoker.peers import SERVICE


class AheadClock:
    """The real time plus what a test has put it forward by."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> float:
        return time.time() + self.ahead_s  # noqa: TID251  # this is a clock

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return time.monotonic()  # noqa: TID251  # this is a clock

    def entropy(self) -> float:
        return 0.5

    def new_uid(self) -> UUID:
        return uuid4()


class Caller:
    """One invoker and what is asked of it."""

    def __init__(self, *targets: TargetConfig) -> None:
        self.clock = AheadClock()
        self.invoker = GrpcInvoker({target.name: target for target in targets}, self.clock)

    def request(
        self, method: str = "Buy", data: bytes = b"", *, timeout_s: float = 20.0, target: str = "shop"
    ) -> CallRequest:
        return CallRequest(
            target=target,
            method=method if "/" in method else f"{SERVICE}/{method}",
            request=Payload("shop.v1.Order", data),
            reply_type="shop.v1.Receipt",
            deadline_at=self.clock.now() + timeout_s,
            key="7d1c3a52-0000-5000-8000-000000000001",
            saga_id=SagaId("order-1"),
            uid=UUID(int=1),
            step=StepId("buy"),
            operation=Operation.FORWARD,
            attempt=1,
            epoch=3,
            forward_key="7d1c3a52-0000-5000-8000-000000000001",
            trace=TraceContext(trace_id=0xABC, span_id=0xDEF, sampled=True),
        )

    def begin(self, request: CallRequest) -> tuple[OpenCall, asyncio.Future[Report]]:
        """Begin a call; a second report of it would fail the test through the loop's exception handler."""
        reported: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        return self.invoker.begin(request, reported.set_result), reported

    async def call(
        self, method: str = "Buy", data: bytes = b"", *, timeout_s: float = 20.0, target: str = "shop"
    ) -> Report:
        return await self.begin(self.request(method, data, timeout_s=timeout_s, target=target))[1]


@contextlib.asynccontextmanager
async def calling(*targets: TargetConfig | str) -> AsyncIterator[Caller]:
    """Give a caller for targets; a plain address is a plaintext target `shop`."""
    caller = Caller(*(TargetConfig(name="shop", address=one) if isinstance(one, str) else one for one in targets))
    complaints: list[object] = []

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        # gRPC's poller also wakes the closed loops of other files' tests
        if "PollerCompletionQueue._handle_events" not in str(context.get("message")):
            complaints.append(context)

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(complain)
    try:
        yield caller
    finally:
        await caller.invoker.close(0)
        loop.set_exception_handler(None)
        assert not complaints, complaints
