"""`orchestrator.v1.SagaService`: each method is one verb of the façade, with the caller's words put into ours.

Methods raise; what an error looks like on the wire is `interceptor.py`'s and `status.py`'s concern.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

import grpc.aio

from orchestrator import limits, tracecontext
from orchestrator.api import events, filters, mapping, paging
from orchestrator.api.admission import Admission
from orchestrator.api.watch import Watch
from orchestrator.errors import Draining, InputInvalid, Rejected
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.ports.plans import Plans
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.runtime.requests import Until
from orchestrator.saga.plan import Plan
from orchestrator.saga.state import SagaState
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.v1 import saga_service_pb2_grpc as wire
from orchestrator.values import TraceContext

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# What an answer adds around a saga or an event.
_ENVELOPE_BYTES = 64
# gRPC says "no deadline" as a very large number of seconds (grpc/grpc issue 26236).
_NO_DEADLINE_S = 10 * 366 * 86_400.0


class SagaService(wire.SagaServiceServicer):
    """The façade on the wire."""

    def __init__(self, *, orchestrator: Orchestrator, plans: Plans, admission: Admission, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._plans = plans
        self._admission = admission
        self._watch = Watch(orchestrator=orchestrator, admission=admission, clock=clock)

    async def StartSaga(self, request: rpc.StartSagaRequest, context: Context) -> rpc.StartSagaResponse:
        view = _view(request.view)
        if request.wait not in rpc.StartWait.values():
            raise InputInvalid("wait", f"{request.wait} is not a value this server knows")
        started = await self._orchestrator.start(mapping.start_request(request, _trace(context)))
        state = started.state
        if request.wait == rpc.START_WAIT_TERMINAL:
            with suppress(Draining):  # the start stands; the caller has its handle
                state = await self._settled(started.saga_id, Until.TERMINAL, 0, _wait_s(context, limits.API_WAIT_S_MAX))
        return rpc.StartSagaResponse(saga=await self._shown(state, view), created=started.created)

    async def GetSaga(self, request: rpc.GetSagaRequest, context: Context) -> rpc.GetSagaResponse:
        view = _view(request.view)
        state = await self._orchestrator.get(mapping.saga_id(request.saga_id))
        return rpc.GetSagaResponse(saga=await self._shown(state, view))

    async def WaitSaga(self, request: rpc.WaitSagaRequest, context: Context) -> rpc.WaitSagaResponse:
        view = _view(request.view)
        until = mapping.known(mapping.UNTIL, request.until, "until")
        after = _after(request.after_sequence)
        asked_s = limits.API_WAIT_S_MAX
        if request.HasField("timeout"):
            asked_s = mapping.duration_s(request.timeout, "timeout", least_s=0.0, most_s=limits.API_DEADLINE_S_MAX)
        saga_id = mapping.saga_id(request.saga_id)
        state = await self._settled(saga_id, until, after, _wait_s(context, asked_s))
        return rpc.WaitSagaResponse(saga=await self._shown(state, view), reached=until.is_reached(state, after))

    def WatchSaga(self, request: rpc.WatchSagaRequest, context: Context) -> AsyncIterator[rpc.WatchSagaResponse]:
        heartbeat_s = limits.API_HEARTBEAT_S_DEFAULT
        if request.HasField("heartbeat_interval"):
            heartbeat_s = mapping.duration_s(
                request.heartbeat_interval,
                "heartbeat_interval",
                least_s=limits.API_HEARTBEAT_S_MIN,
                most_s=limits.API_HEARTBEAT_S_MAX,
            )
        plans = self._plans if _view(request.view) == pb.SAGA_VIEW_FULL else None
        saga_id = mapping.saga_id(request.saga_id)
        return self._watch.messages(saga_id, _after(request.after_sequence), heartbeat_s, plans)

    async def ListSagas(self, request: rpc.ListSagasRequest, context: Context) -> rpc.ListSagasResponse:
        size = paging.page_size(request.page_size)
        query = filters.ordered(filters.parse(request.filter), request.order_by)
        asked = ("ListSagas", request.filter, query.order_by, str(query.descending))
        shape = (str if query.order_by == "saga_id" else float, str)
        seen = paging.after(request.page_token, shape, *asked)
        rows = await self._orchestrator.list(replace(query, limit=size + 1, after=_keyset(seen)))
        shown = [mapping.listed(row) for row in rows[:size]]
        count = paging.fitting(shown, pb.Saga.ByteSize)
        answer = rpc.ListSagasResponse(sagas=shown[:count])
        if len(rows) > count:
            answer.next_page_token = paging.token(_key(rows[count - 1], query.order_by), *asked)
        return answer

    async def CountSagas(self, request: rpc.CountSagasRequest, context: Context) -> rpc.CountSagasResponse:
        group = filters.group_by(request.group_by)
        counts = await self._orchestrator.count(filters.parse(request.filter), group)
        return rpc.CountSagasResponse(total=sum(counts.values()), counts=counts if group else {})

    async def CancelSaga(self, request: rpc.CancelSagaRequest, context: Context) -> rpc.CancelSagaResponse:
        view = _view(request.view)
        if len(request.reason) > limits.MESSAGE_CHARS_MAX:
            raise InputInvalid("reason", f"has {len(request.reason)} characters, more than {limits.MESSAGE_CHARS_MAX}")
        state = await self._orchestrator.cancel(mapping.saga_id(request.saga_id), request.reason)
        return rpc.CancelSagaResponse(saga=await self._shown(state, view))

    async def ListSagaEvents(self, request: rpc.ListSagaEventsRequest, context: Context) -> rpc.ListSagaEventsResponse:
        view = _view(request.view)
        size = paging.page_size(request.page_size)
        saga_id = mapping.saga_id(request.saga_id)
        seen = paging.after(request.page_token, (int,), "ListSagaEvents", saga_id)
        after = int(seen[0]) if seen else 0
        plan = (await self._orchestrator.get(saga_id)).plan
        records = await self._orchestrator.events(saga_id, after, size + 1)
        plans = await self._readable(plan) if view == pb.SAGA_VIEW_FULL else None
        shown = _events(records[:size], plan, plans)
        answer = rpc.ListSagaEventsResponse(events=shown)
        if len(records) > len(shown):
            answer.next_page_token = paging.token((shown[-1].sequence,), "ListSagaEvents", saga_id)
        return answer

    async def _settled(self, saga_id: str, until: Until, after: int, timeout_s: float) -> SagaState:
        """Wait, and return the saga as it stands at the end of the wait, whatever ended it."""
        try:
            async with self._admission.patience(timeout_s):
                return await self._orchestrator.wait(saga_id, until, after, timeout_s)
        except (TimeoutError, Draining):
            return await self._orchestrator.get(saga_id)

    async def _readable(self, plan: Plan) -> Plans:
        """Return what reads the plan's payloads, which may have left memory."""
        await self._plans.plan(plan.definition, plan.revision)
        return self._plans

    async def _shown(self, state: SagaState, view: int) -> pb.Saga:
        if view == pb.SAGA_VIEW_FULL:
            await self._readable(state.plan)
        saga = mapping.saga(state, view, self._plans)
        if view == pb.SAGA_VIEW_FULL and saga.ByteSize() > limits.API_MESSAGE_BYTES_MAX - _ENVELOPE_BYTES:
            raise Rejected(
                "RESPONSE_TOO_LARGE",
                f"saga {state.saga_id} with all its payloads has {saga.ByteSize()} bytes, more than a message may have"
                f" ({limits.API_MESSAGE_BYTES_MAX}); ask for view STEPS, and ListSagaEvents for the payloads",
                saga_id=state.saga_id,
            )
        return saga


def _trace(context: Context) -> TraceContext | None:
    found = dict.fromkeys((tracecontext.TRACEPARENT, tracecontext.TRACESTATE), "")
    for key, value in context.invocation_metadata() or ():
        if key in found and isinstance(value, str):
            # A list may come in several headers (section 3.3.1 of the W3C text); a second parent is none of ours.
            found[key] = f"{found[key]},{value}" if found[key] else value
    return tracecontext.parse(found[tracecontext.TRACEPARENT], found[tracecontext.TRACESTATE])


def _view(view: int) -> int:
    if view not in pb.SagaView.values():
        raise InputInvalid("view", f"{view} is not a value this server knows")
    return view


def _after(sequence: int) -> int:
    if sequence < 0:
        raise InputInvalid("after_sequence", f"{sequence} is below 0, which is before the first event")
    return sequence


def _wait_s(context: Context, asked_s: float) -> float:
    """Return how long to wait, so that the answer still arrives within the caller's deadline."""
    remaining_s = context.time_remaining()
    most_s = min(asked_s, limits.API_WAIT_S_MAX)
    if remaining_s is None or remaining_s > _NO_DEADLINE_S:  # type: ignore[redundant-expr]  # the stubs forget None
        return most_s
    # A short deadline keeps most of its time for waiting.
    margin_s = min(limits.API_WAIT_MARGIN_S, remaining_s / 4)
    return max(0.0, min(most_s, remaining_s - margin_s))


def _key(row: SearchRow, order_by: str) -> paging.Key:
    match order_by:
        case "started_at":
            return (row.started_at, row.saga_id)
        case "updated_at":
            return (row.updated_at, row.saga_id)
        case _:
            return (row.saga_id, row.saga_id)


def _keyset(key: paging.Key | None) -> tuple[float | str, str] | None:
    return None if key is None else (key[0], str(key[1]))


def _events(records: Sequence[Record], plan: Plan, plans: Plans | None) -> list[pb.SagaEvent]:
    """As many events as one answer holds; at least one."""
    shown: list[pb.SagaEvent] = []
    room = limits.API_MESSAGE_BYTES_MAX
    for record in records:
        message = events.event(record, plan, plans)
        room -= message.ByteSize() + _ENVELOPE_BYTES
        if room < 0 and shown:
            break
        shown.append(message)
    return shown
