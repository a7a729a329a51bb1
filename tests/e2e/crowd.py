"""Many callers at once who remember what they were told: the third witness.

They do what the API promises is enough: a call whose answer was lost is sent again unchanged.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count
from random import Random  # noqa: TID251  (seeded: the same crowd again)
from typing import TYPE_CHECKING, TypeVar
from uuid import NAMESPACE_OID, uuid5

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from orchestrator.ids import SagaId
from orchestrator.v1.saga_pb2 import SagaStatus
from orchestrator.v1.saga_service_pb2 import (
    WAIT_UNTIL_CHANGE,
    CancelSagaRequest,
    ExplainSagaRequest,
    GetSagaRequest,
    ListSagasRequest,
    SignalSagaRequest,
    SignalWithStartRequest,
    SignalWithStartResponse,
    StartSagaRequest,
    StartSagaResponse,
    WaitSagaRequest,
    WatchSagaRequest,
)
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from orchestrator.verify import Answers, Listed, Watched
from tests.e2e.errands import Errand, of_the_demo

if TYPE_CHECKING:  # a name of the stubs, for types only
    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceAsyncStub

Reply = TypeVar("Reply")

CALL_S = 20.0
PAGE_ROWS = 200
_UNANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}


class Crowd:
    """Starts sagas until told to stop, then waits for every one of them to end."""

    def __init__(
        self,
        channels: Sequence[grpc.aio.Channel],
        luck: Random,
        errands: Iterator[Errand] | None = None,
        *,
        call_s: float = CALL_S,
    ) -> None:
        """`channels`: to any node of the same store; each call goes to one of them, and is sent again to any."""
        self._stubs: list[SagaServiceAsyncStub] = [SagaServiceStub(channel) for channel in channels]
        self._call_s = call_s
        self._waits = len(self._stubs) == 1
        self._luck = luck
        self._errands = errands or of_the_demo()
        self._numbers = count(1)
        self._stopped = False
        self._changed = asyncio.Condition()
        self.ends: dict[SagaId, str] = {}
        """Saga -> what its caller was told: "" for accepted, then how it ended."""
        self.uids: dict[SagaId, str] = {}
        self.signals: dict[SagaId, set[str]] = {}
        """Saga -> request ids of signals whose sender was told that they are recorded."""
        self.cancelled: set[SagaId] = set()
        """Sagas whose cancel was acknowledged."""
        self.requests: dict[str, SagaId] = {}
        """Request id of a start -> the saga that its sender was told."""
        self.refused: set[SagaId] = set()
        """Sagas that nobody could start."""
        self.watched: list[Watched] = []
        self.listed: list[Listed] = []
        self.definitions: dict[SagaId, str] = {}
        """Saga -> what it is one of, once it has ended."""
        self.counts: Counter[str] = Counter()
        self.told = 0
        """Answers that arrived."""

    @property
    def _stub(self) -> "SagaServiceAsyncStub":
        """Any node; where there are several, one that is not there is not waited for."""
        return self._luck.choice(self._stubs)

    @property
    def answers(self) -> Answers:
        """Everything that the callers were told."""
        return Answers(
            ends=self.ends,
            signals=self.signals,
            cancels=self.cancelled,
            requests=self.requests,
            refused_sagas=self.refused,
            watched=self.watched,
            listed=self.listed,
        )

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
            errand = next(self._errands)
            number = next(self._numbers)
            await self._one(errand)
            if number % 40 == 0:
                await self._start_nonsense(SagaId(f"{errand.saga_id}-nonsense"))
            if number % 160 == 80:
                await self._list()

    async def _one(self, errand: Errand) -> None:
        is_twice, is_cancelled, is_watched, is_got = (self._luck.random() < p for p in (0.1, 0.1, 0.15, 0.2))
        await asyncio.gather(*(self._start(errand) for _ in range(2 if is_twice else 1)))
        if is_got:
            await self._get(errand.saga_id)
        if is_cancelled:
            await self._comes_past(errand.saga_id, sequence=self._luck.randint(0, 12))
            await self._cancel(errand.saga_id)
        if errand.decision is not None:
            await self._decide(errand)
        if is_watched:
            await self._watch(errand.saga_id)
        await self._wait(errand)

    async def _start(self, errand: Errand) -> None:
        start = StartSagaRequest(
            saga_id=errand.saga_id, definition=errand.definition, request_id=str(uuid5(NAMESPACE_OID, errand.saga_id))
        )
        ParseDict(errand.given, start.json)
        is_decided = errand.decision is not None and errand.is_decided_at_start
        both = SignalWithStartRequest(start=start, signal=decision(errand)) if is_decided else None
        tries = 0

        async def ask() -> StartSagaResponse | SignalWithStartResponse:
            nonlocal tries
            tries += 1
            if both is None:
                return await self._stub.StartSaga(start, timeout=self._call_s, wait_for_ready=self._waits)
            # one piece: its signal cannot come too late, however often it is sent again
            return await self._stub.SignalWithStart(both, timeout=self._call_s, wait_for_ready=self._waits)

        reply = await self._ask(ask)
        if both is not None:
            self._signalled(errand.saga_id, both.signal.request_id)
        uid = self.uids.setdefault(errand.saga_id, reply.saga.uid)
        assert reply.saga.uid == uid, f"{errand.saga_id} was acknowledged as {uid} and as {reply.saga.uid}"
        if tries > 1:
            # what became of the call whose answer was lost shows only now
            self.counts["ambiguous, and recorded" if not reply.created else "ambiguous, and not recorded"] += 1
        self.requests[start.request_id] = errand.saga_id
        self.ends.setdefault(errand.saga_id, "")

    async def _get(self, saga_id: SagaId) -> None:
        """Whoever was told that it is there finds it, wherever they ask, and never older than before."""
        sequence = 0
        for _ in range(2):
            reply = await self._ask(
                lambda: self._stub.GetSaga(
                    GetSagaRequest(saga_id=saga_id), timeout=self._call_s, wait_for_ready=self._waits
                )
            )
            assert reply.saga.uid == self.uids[saga_id]
            assert reply.saga.sequence >= sequence, f"{saga_id} was at {sequence}, and then at {reply.saga.sequence}"
            sequence = reply.saga.sequence
            self.counts["looked at"] += 1

    async def _start_nonsense(self, saga_id: SagaId) -> None:
        """Ask for what there is none of: a refusal is an answer, and leaves nothing behind."""
        request = StartSagaRequest(saga_id=saga_id, definition="nonsense")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self._ask(lambda: self._stub.StartSaga(request, timeout=self._call_s, wait_for_ready=self._waits))
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND
        self.refused.add(saga_id)
        self.counts["refused"] += 1

    async def _list(self) -> None:
        """Walk over all pages, over restarts, while sagas come and change."""
        known, shown = frozenset(self.ends), list[SagaId]()
        request = ListSagasRequest(order_by="saga_id", page_size=PAGE_ROWS)
        while True:
            page = await self._ask(
                lambda: self._stub.ListSagas(request, timeout=self._call_s, wait_for_ready=self._waits)
            )
            shown += [SagaId(saga.saga_id) for saga in page.sagas]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        self.listed.append(Listed(saga_ids=shown, known=known))
        self.counts["lists walked"] += 1

    async def _comes_past(self, saga_id: SagaId, sequence: int) -> None:
        """Let it come some way, or to its end, so that it is cancelled anywhere; but do not wait for long."""
        request = WaitSagaRequest(saga_id=saga_id, until=WAIT_UNTIL_CHANGE, after_sequence=sequence)
        request.timeout.FromMilliseconds(500)
        await self._ask(lambda: self._stub.WaitSaga(request, timeout=self._call_s, wait_for_ready=self._waits))

    async def _cancel(self, saga_id: SagaId) -> None:
        request = CancelSagaRequest(saga_id=saga_id, reason="the patient withdrew")
        if await self._is_taken(
            lambda: self._stub.CancelSaga(request, timeout=self._call_s, wait_for_ready=self._waits)
        ):
            self.cancelled.add(saga_id)
            self.counts["cancelled"] += 1
        else:
            self.counts["cancelled too late"] += 1

    async def _decide(self, errand: Errand) -> None:
        """Say it twice, as people do who are not sure that they were heard."""
        request = decision(errand)
        request.saga_id = errand.saga_id
        for _ in range(2):
            if await self._is_taken(
                lambda: self._stub.SignalSaga(request, timeout=self._call_s, wait_for_ready=self._waits)
            ):
                self._signalled(errand.saga_id, request.request_id)
            else:
                self.counts["signalled too late"] += 1

    def _signalled(self, saga_id: SagaId, request_id: str) -> None:
        self.signals.setdefault(saga_id, set()).add(request_id)
        self.counts["signals acknowledged"] += 1

    async def _is_taken(self, call: Callable[[], Awaitable[object]]) -> bool:
        """False where it came too late for this saga, which is an answer as well."""
        try:
            await self._ask(call)
        except grpc.aio.AioRpcError as failed:
            assert failed.code() is grpc.StatusCode.FAILED_PRECONDITION, failed  # noqa: PT017  (it has ended, or turned)
            return False
        return True

    async def _watch(self, saga_id: SagaId) -> None:
        """Every event once, in order, without a gap, over any number of restarts (I45)."""
        seen: list[tuple[int, None]] = []

        async def follow() -> None:
            after = seen[-1][0] if seen else 0
            call = self._stub.WatchSaga(
                WatchSagaRequest(saga_id=saga_id, after_sequence=after), wait_for_ready=self._waits
            )
            async for message in call:
                seen.extend([(message.event.sequence, None)] * message.HasField("event"))  # and no heartbeat

        await self._ask(follow)
        self.watched.append(Watched(saga_id=saga_id, seen=seen, is_whole=True))
        self.counts["watched to the end"] += 1

    async def _wait(self, errand: Errand) -> None:
        request = WaitSagaRequest(saga_id=errand.saga_id)
        request.timeout.FromMilliseconds(int(self._call_s * 1000))
        while True:
            reply = await self._ask(
                lambda: self._stub.WaitSaga(request, timeout=self._call_s + 5, wait_for_ready=self._waits)
            )
            if reply.reached:
                break
        status = SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")
        assert status in {"COMPLETED", "COMPENSATED"}, await self._why(errand.saga_id)
        assert reply.saga.uid == self.uids[errand.saga_id]
        self.ends[errand.saga_id] = status
        self.counts[status] += 1
        self.definitions[errand.saga_id] = errand.definition

    async def _why(self, saga_id: SagaId) -> str:
        reply = await self._stub.ExplainSaga(
            ExplainSagaRequest(saga_id=saga_id), timeout=self._call_s, wait_for_ready=self._waits
        )
        return f"{saga_id} asks a person: {reply}"

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


def decision(errand: Errand) -> SignalSagaRequest:
    """What a person says about an errand, under the id that only this has."""
    assert errand.decision is not None
    request = SignalSagaRequest(signal="decision", request_id=str(uuid5(NAMESPACE_OID, errand.saga_id)))
    ParseDict(errand.decision, request.json)
    return request
