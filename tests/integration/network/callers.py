"""Callers behind a bad network: whatever is not answered is sent again, unchanged, until it is."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random  # noqa: TID251  (seeded: the same callers again)
from typing import TypeVar
from uuid import NAMESPACE_OID, uuid5

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc import aio

from orchestrator.ids import SagaId
from orchestrator.v1.saga_pb2 import SagaStatus
from orchestrator.v1.saga_service_pb2 import (
    CancelSagaRequest,
    SignalSagaRequest,
    StartSagaRequest,
    StartSagaResponse,
    WaitSagaRequest,
    WatchSagaRequest,
)
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from orchestrator.verify import Answers, Watched

Reply = TypeVar("Reply")

CALL_S = 2.0
WAIT_S = 20.0
_UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
_ENDED = {"COMPLETED", "COMPENSATED", "NEEDS_ATTENTION"}


class Callers:
    """What they were told is the third witness."""

    def __init__(self, channel: aio.Channel, seed: str) -> None:
        self._stub = SagaServiceStub(channel)
        self._seed = seed
        self._progress = asyncio.Condition()
        self.ends: dict[SagaId, str] = {}
        """Saga -> what its caller was told: "" for accepted, then how it ended."""
        self._signals: dict[SagaId, list[str]] = {}
        self._cancelled: set[SagaId] = set()
        self._requests: dict[str, SagaId] = {}
        self._watched: list[Watched] = []
        self.wrong: list[str] = []
        """What the API promises and did not keep."""
        self.unexplained: list[SagaId] = []
        """Sagas that need a person and do not say why."""
        self.counts: Counter[str] = Counter()
        self.told = 0
        self.at_work = False

    @property
    def answers(self) -> Answers:
        """Return everything that they were told."""
        return Answers(
            ends=self.ends,
            signals=self._signals,
            cancels=self._cancelled,
            requests=self._requests,
            watched=self._watched,
        )

    async def run(self, first: int, count: int) -> None:
        """Play so many callers at once, each with a saga; return when all have ended."""
        self.at_work = True
        async with asyncio.TaskGroup() as group:
            for number in range(first, first + count):
                group.create_task(self._one(number))
        self.at_work = False
        async with self._progress:
            self._progress.notify_all()

    async def more_answers(self, number: int) -> None:
        """Wait until so many more answers have arrived, or nobody asks any more."""
        until = self.told + number
        async with self._progress:
            await self._progress.wait_for(lambda: self.told >= until or not self.at_work)

    async def _one(self, number: int) -> None:
        luck = Random(f"{self._seed}:{number}")
        is_twice, is_cancelled, is_watched, is_refused, is_named = (
            luck.random() < p for p in (0.3, 0.15, 0.5, 0.35, 0.5)
        )
        name = f"errand-{number}" if is_named else ""
        starts = [self._start(number, name, is_refused=is_refused) for _ in range(1 + is_twice)]
        told = await asyncio.gather(*starts)
        saga = SagaId(told[0])
        if len(set(told)) > 1:
            self.wrong.append(f"request {number} was acknowledged as {told}")
        watching = asyncio.gather(*([self._watch(saga)] if is_watched else []))
        if is_cancelled:
            await self._cancel(saga)
        await self._signal(saga, number)
        await self._wait(saga)
        await watching

    async def _start(self, number: int, name: str, *, is_refused: bool) -> str:
        request = StartSagaRequest(saga_id=name, definition="errand", request_id=_uuid(f"start {number}"))
        request.json.update({"refuse": is_refused})
        tries = 0

        async def ask() -> StartSagaResponse:
            nonlocal tries
            tries += 1
            reply: StartSagaResponse = await self._stub.StartSaga(request, timeout=CALL_S, wait_for_ready=True)
            return reply

        reply = await self._ask(ask)
        if tries > 1:
            # what became of a start whose answer was lost shows only now
            self.counts["ambiguous_not_recorded" if reply.created else "ambiguous_recorded"] += 1
        saga = SagaId(reply.saga.saga_id)
        self.ends.setdefault(saga, "")
        self._requests[request.request_id] = saga
        return str(reply.saga.saga_id)

    async def _signal(self, saga: SagaId, number: int) -> None:
        request = SignalSagaRequest(saga_id=saga, signal="go", request_id=_uuid(f"signal {number}"))
        request.json.update({"number": number})
        try:
            await self._ask(lambda: self._stub.SignalSaga(request, timeout=CALL_S, wait_for_ready=True))
        except aio.AioRpcError as failed:
            self._expect(failed, f"signal to {saga}")
            self.counts["signalled_too_late"] += 1
        else:
            self._signals[saga] = [request.request_id]

    async def _cancel(self, saga: SagaId) -> None:
        request = CancelSagaRequest(saga_id=saga, reason="second thoughts")
        try:
            await self._ask(lambda: self._stub.CancelSaga(request, timeout=CALL_S, wait_for_ready=True))
        except aio.AioRpcError as failed:
            self._expect(failed, f"cancel of {saga}")
        else:
            self._cancelled.add(saga)

    async def _watch(self, saga: SagaId) -> None:
        """Every event once, in order, without a gap, over any number of broken connections (I45)."""
        seen: list[tuple[int, None]] = []
        resumed = -1

        async def follow() -> None:
            nonlocal resumed
            resumed += 1
            last = seen[-1][0] if seen else 0
            request = WatchSagaRequest(saga_id=saga, after_sequence=last, heartbeat_interval=Duration(seconds=1))
            call = self._stub.WatchSaga(request, timeout=CALL_S, wait_for_ready=True)
            async for message in call:
                if message.HasField("event"):
                    seen.append((message.event.sequence, None))  # noqa: PERF401  (kept also where the stream breaks)

        await self._ask(follow)
        self._watched.append(Watched(saga_id=saga, seen=seen, is_whole=True))
        self.counts["watched"] += 1
        self.counts["watches_resumed"] += resumed

    async def _wait(self, saga: SagaId) -> None:
        request = WaitSagaRequest(saga_id=saga)
        request.timeout.FromMilliseconds(1_000)
        while True:
            reply = await self._ask(lambda: self._stub.WaitSaga(request, timeout=CALL_S, wait_for_ready=True))
            status = SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")
            if reply.reached and status in _ENDED:
                break
        self.ends[saga] = "" if status == "NEEDS_ATTENTION" else status
        if status == "NEEDS_ATTENTION" and not reply.saga.attention:
            self.unexplained.append(saga)
        self.counts[status] += 1

    def _expect(self, failed: aio.AioRpcError, what: str) -> None:
        if failed.code() is not grpc.StatusCode.FAILED_PRECONDITION:
            self.wrong.append(f"{what}: {failed.code().name} {failed.details()}")

    async def _ask(self, call: Callable[[], Awaitable[Reply]]) -> Reply:
        while True:
            try:
                reply = await call()
            except aio.AioRpcError as failed:
                if failed.code() not in _UNANSWERED:
                    raise
                self.counts["sent_again"] += 1
                await asyncio.sleep(0.01)  # poll: a broken line is told at once, and would be asked without a pause
                continue
            self.told += 1
            async with self._progress:
                self._progress.notify_all()
            return reply


def _uuid(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, name))
