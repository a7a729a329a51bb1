"""Many callers at once who remember what they were told: the third witness.

They do what the API promises is enough: a call whose answer was lost is sent again unchanged.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count, cycle
from random import Random  # noqa: TID251  (seeded: the same crowd again)
from typing import TypeVar

import grpc
from google.protobuf.json_format import ParseDict

from orchestrator.ids import SagaId
from orchestrator.v1.saga_pb2 import SagaStatus
from orchestrator.v1.saga_service_pb2 import (
    CancelSagaRequest,
    StartSagaRequest,
    StartSagaResponse,
    WaitSagaRequest,
    WatchSagaRequest,
)
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.kit.mesh import reports

Reply = TypeVar("Reply")

CALL_S = 20.0
_UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}


class Crowd:
    """Starts sagas until told to stop, then waits for every one of them to end."""

    def __init__(self, channel: grpc.aio.Channel, luck: Random) -> None:
        self._stub = SagaServiceStub(channel)
        self._luck = luck
        self._reports = cycle(reports())
        self._numbers = count(1)
        self._stopped = False
        self._changed = asyncio.Condition()
        self.answers: dict[SagaId, str] = {}
        """Saga -> what its caller was told: "" for accepted, then how it ended."""
        self.uids: dict[SagaId, str] = {}
        self.counts: Counter[str] = Counter()
        self.told = 0
        """Answers that arrived."""

    async def run(self, callers: int) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(callers):
                tasks.create_task(self._call())

    def stop(self) -> None:
        """Start no more; `run` ends when everything started has ended."""
        self._stopped = True

    async def more_answers(self, number: int) -> None:
        """Wait until so many more answers have arrived."""
        until = self.told + number
        async with self._changed:
            await self._changed.wait_for(lambda: self.told >= until)

    async def _call(self) -> None:
        while not self._stopped:
            report = next(self._reports)
            await self._one(SagaId(f"{report['reportId']}-{next(self._numbers)}"), report)

    async def _one(self, saga_id: SagaId, report: dict[str, object]) -> None:
        is_twice, is_cancelled, is_watched = (self._luck.random() < p for p in (0.1, 0.1, 0.15))
        await asyncio.gather(*(self._start(saga_id, report) for _ in range(2 if is_twice else 1)))
        if is_cancelled:
            await self._cancel(saga_id)
        if is_watched:
            await self._watch(saga_id)
        await self._wait(saga_id)

    async def _start(self, saga_id: SagaId, report: dict[str, object]) -> None:
        request = StartSagaRequest(saga_id=saga_id, definition="epro_intake")
        ParseDict(report, request.json)
        tries = 0

        async def ask() -> StartSagaResponse:
            nonlocal tries
            tries += 1
            reply: StartSagaResponse = await self._stub.StartSaga(request, timeout=CALL_S, wait_for_ready=True)
            return reply

        reply = await self._ask(ask)
        uid = self.uids.setdefault(saga_id, reply.saga.uid)
        assert reply.saga.uid == uid, f"{saga_id} was acknowledged as {uid} and as {reply.saga.uid}"
        if tries > 1:
            # what became of the call whose answer was lost shows only now
            self.counts["ambiguous, and recorded" if not reply.created else "ambiguous, and not recorded"] += 1
        self.answers.setdefault(saga_id, "")

    async def _cancel(self, saga_id: SagaId) -> None:
        request = CancelSagaRequest(saga_id=saga_id, reason="the patient withdrew")
        try:
            await self._ask(lambda: self._stub.CancelSaga(request, timeout=CALL_S, wait_for_ready=True))
        except grpc.aio.AioRpcError as failed:
            assert failed.code() is grpc.StatusCode.FAILED_PRECONDITION, failed  # noqa: PT017  (it has ended)
            self.counts["cancelled too late"] += 1
        else:
            self.counts["cancelled"] += 1

    async def _watch(self, saga_id: SagaId) -> None:
        """Every event once, in order, without a gap, over any number of restarts (I45)."""
        seen = 0

        async def follow() -> None:
            nonlocal seen
            call = self._stub.WatchSaga(WatchSagaRequest(saga_id=saga_id, after_sequence=seen), wait_for_ready=True)
            async for message in call:
                if message.HasField("event"):
                    assert message.event.sequence == seen + 1
                    seen += 1

        await self._ask(follow)
        self.counts["watched to the end"] += 1

    async def _wait(self, saga_id: SagaId) -> None:
        request = WaitSagaRequest(saga_id=saga_id)
        request.timeout.FromSeconds(int(CALL_S))
        while True:
            reply = await self._ask(lambda: self._stub.WaitSaga(request, timeout=CALL_S + 5, wait_for_ready=True))
            status = SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")
            if status in {"COMPLETED", "COMPENSATED"}:
                break
        assert reply.saga.uid == self.uids[saga_id]
        self.answers[saga_id] = status
        self.counts[status] += 1

    async def _ask(self, call: Callable[[], Awaitable[Reply]]) -> Reply:
        while True:
            try:
                reply = await call()
            except grpc.aio.AioRpcError as failed:
                if failed.code() not in _UNANSWERED:
                    raise
                self.counts["calls sent again"] += 1
                await asyncio.sleep(0.02)  # poll: a server that drains refuses at once until it is gone
                continue
            self.told += 1
            async with self._changed:
                self._changed.notify_all()
            return reply
