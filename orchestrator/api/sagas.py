"""`orchestrator.v1.SagaService`: each method is one verb of the façade, with the caller's words put into ours.

Methods raise; what an error looks like on the wire is `edge.py`'s and `status.py`'s concern.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from orchestrator import limits
from orchestrator.api import caller, events, filters, mapping, paging, views
from orchestrator.api.admission import Admission
from orchestrator.api.audit import AuditTrail
from orchestrator.api.caller import Context
from orchestrator.api.reading import Reading
from orchestrator.api.watch import Watch
from orchestrator.errors import Draining, InputInvalid, Rejected, RequestError
from orchestrator.ids import StepId, item_of, item_path
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Record, SearchRow
from orchestrator.ports.plans import Plans
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.runtime.requests import Until
from orchestrator.saga.events import Verb
from orchestrator.saga.explain import explain
from orchestrator.saga.plan import Plan
from orchestrator.saga.sentences import instant
from orchestrator.saga.state import SagaState, StepState
from orchestrator.saga.undoplan import undo_plan
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.v1 import saga_service_pb2_grpc as wire

# What an answer adds around an event.
_ENVELOPE_BYTES = 64


class SagaService(wire.SagaServiceServicer):
    """The façade on the wire."""

    def __init__(self, *, orchestrator: Orchestrator, plans: Plans, admission: Admission, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._plans = plans
        self._reading = Reading(orchestrator=orchestrator, plans=plans)
        self._audit = AuditTrail(orchestrator)
        self._admission = admission
        self._clock = clock
        self._watch = Watch(orchestrator=orchestrator, admission=admission, clock=clock)

    async def StartSaga(self, request: rpc.StartSagaRequest, context: Context) -> rpc.StartSagaResponse:
        view = mapping.view(request.view)
        waits = _waits(request)
        started = await self._orchestrator.start(mapping.start_request(request, *caller.context_of(context)))
        state = await self._ended(started.saga_id, started.state, context) if waits else started.state
        return rpc.StartSagaResponse(saga=await self._reading.shown(state, view), created=started.created)

    async def GetSaga(self, request: rpc.GetSagaRequest, context: Context) -> rpc.GetSagaResponse:
        view = mapping.view(request.view)
        state = await self._orchestrator.get(mapping.saga_id(request.saga_id))
        return rpc.GetSagaResponse(saga=await self._reading.shown(state, view))

    async def WaitSaga(self, request: rpc.WaitSagaRequest, context: Context) -> rpc.WaitSagaResponse:
        view = mapping.view(request.view)
        until = mapping.known(mapping.UNTIL, request.until, "until")
        after = _after(request.after_sequence)
        asked_s = limits.API_WAIT_S_MAX
        if request.HasField("timeout"):
            asked_s = mapping.duration_s(request.timeout, "timeout", least_s=0.0, most_s=limits.API_DEADLINE_S_MAX)
        saga_id = mapping.saga_id(request.saga_id)
        state = await self._settled(saga_id, until, after, caller.wait_s(context, asked_s))
        return rpc.WaitSagaResponse(saga=await self._reading.shown(state, view), reached=until.is_reached(state, after))

    def WatchSaga(self, request: rpc.WatchSagaRequest, context: Context) -> AsyncIterator[rpc.WatchSagaResponse]:
        heartbeat_s = limits.API_HEARTBEAT_S_DEFAULT
        if request.HasField("heartbeat_interval"):
            heartbeat_s = mapping.duration_s(
                request.heartbeat_interval,
                "heartbeat_interval",
                least_s=limits.API_HEARTBEAT_S_MIN,
                most_s=limits.API_HEARTBEAT_S_MAX,
            )
        plans = self._plans if mapping.view(request.view) == pb.SAGA_VIEW_FULL else None
        saga_id = mapping.saga_id(request.saga_id)
        return self._watch.messages(saga_id, _after(request.after_sequence), heartbeat_s, plans)

    async def ListSagas(self, request: rpc.ListSagasRequest, context: Context) -> rpc.ListSagasResponse:
        size = paging.page_size(request.page_size)
        query = filters.ordered(filters.parse(request.filter), request.order_by)
        asked = ("ListSagas", request.filter, query.order_by, str(query.descending))
        shape = (str if query.order_by == "saga_id" else float, str)
        seen = paging.after(request.page_token, shape, *asked)
        rows = await self._orchestrator.list(replace(query, limit=size + 1, after=_keyset(seen)))
        shown = [views.listed(row) for row in rows[:size]]
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
        view = mapping.view(request.view)
        state = await self._orchestrator.cancel(
            mapping.saga_id(request.saga_id),
            mapping.bounded_reason(request.reason),
            if_version=mapping.if_version(request.etag),
            trace=caller.trace_of(context),
            validate_only=request.validate_only,
        )
        plan = await self._undo_plan(state, view) if request.validate_only else None
        return rpc.CancelSagaResponse(saga=await self._reading.shown(state, view), undo_plan=plan)

    async def SignalSaga(self, request: rpc.SignalSagaRequest, context: Context) -> rpc.SignalSagaResponse:
        view = mapping.view(request.view)
        state = await self._orchestrator.signal(
            mapping.saga_id(request.saga_id),
            mapping.signal_name(request.signal),
            mapping.signal_payload(request),
            mapping.request_id(mapping.required(request.request_id, "request_id")),
            trace=caller.trace_of(context),
        )
        return rpc.SignalSagaResponse(saga=await self._reading.shown(state, view))

    async def SignalWithStart(
        self, request: rpc.SignalWithStartRequest, context: Context
    ) -> rpc.SignalWithStartResponse:
        signal, view = request.signal, mapping.view(request.start.view)
        for name in ("saga_id", "view"):
            if getattr(signal, name):
                raise InputInvalid(f"signal.{name}", f"is to be left empty; it is `start.{name}` that counts")
        if request.start.id_conflict_policy not in _EITHER:
            raise InputInvalid("start.id_conflict_policy", "is to be left empty: an existing saga takes the signal")
        mapping.saga_id(request.start.saga_id)
        waits = _waits(request.start)
        started = await self._orchestrator.signal_with_start(
            mapping.start_request(request.start, *caller.context_of(context)),
            mapping.signal_name(signal.signal),
            mapping.signal_payload(signal),
            mapping.request_id(mapping.required(signal.request_id, "signal.request_id")),
        )
        state = await self._ended(started.saga_id, started.state, context) if waits else started.state
        return rpc.SignalWithStartResponse(saga=await self._reading.shown(state, view), created=started.created)

    async def PreviewCompensation(
        self, request: rpc.PreviewCompensationRequest, context: Context
    ) -> rpc.PreviewCompensationResponse:
        view = mapping.view(request.view)
        state = await self._orchestrator.get(mapping.saga_id(request.saga_id))
        return rpc.PreviewCompensationResponse(undo_plan=await self._undo_plan(state, view))

    async def ExplainSaga(self, request: rpc.ExplainSagaRequest, context: Context) -> rpc.ExplainSagaResponse:
        saga_id = mapping.saga_id(request.saga_id)
        state = await self._orchestrator.get(saga_id)
        found = explain(state, self._clock.now())
        if state.is_paused:
            paused = await self._audit.of_verb(saga_id, 0, state.version, Verb.PAUSE, None)
            if paused is not None:
                when = instant(mapping.instant_at(paused.event_time))
                remark = f"paused by {paused.by} at {when}: {paused.reason}"
                found = replace(found, remarks=(remark, *found.remarks))
        return rpc.ExplainSagaResponse(explanation=views.explanation(state, found))

    async def ListSagaItems(self, request: rpc.ListSagaItemsRequest, context: Context) -> rpc.ListSagaItemsResponse:
        size, view = paging.page_size(request.page_size), mapping.view(request.view)
        wanted = None
        if request.status != pb.STEP_STATUS_UNSPECIFIED:
            wanted = mapping.known(
                {number: word for word, number in mapping.STEP_STATUS.items()}, request.status, "status"
            )
        saga_id, step = mapping.saga_id(request.saga_id), mapping.step_path(request.step)
        asked = ("ListSagaItems", saga_id, step, str(request.status))
        seen = paging.after(request.page_token, (int,), *asked)
        state = await self._orchestrator.get(saga_id)
        begun = _begun_items(state, step)
        start = max(0, int(seen[0]) + 1) if seen else 0
        found: list[StepState] = []
        index = start
        for index in range(start, min(begun, start + limits.API_ITEMS_LOOKED_AT_MAX)):
            item = state.items[item_path(step, index)]
            if wanted is None or item.status is wanted:
                found.append(item)
            if len(found) == size:
                break
        plans = await self._reading.readable(state.plan) if view == pb.SAGA_VIEW_FULL else None
        children = await self._reading.children(state, found)
        shown = views.items(state, found, plans, children)
        count = paging.fitting(shown, pb.SagaStep.ByteSize)
        if count < len(shown):
            index = _index(shown[count - 1].step)
        answer = rpc.ListSagaItemsResponse(items=shown[:count])
        if index + 1 < begun:
            answer.next_page_token = paging.token((index,), *asked)
        return answer

    async def ListSagaEvents(self, request: rpc.ListSagaEventsRequest, context: Context) -> rpc.ListSagaEventsResponse:
        view = mapping.view(request.view)
        size = paging.page_size(request.page_size)
        saga_id = mapping.saga_id(request.saga_id)
        seen = paging.after(request.page_token, (int,), "ListSagaEvents", saga_id)
        after = int(seen[0]) if seen else 0
        plan = (await self._orchestrator.get(saga_id)).plan
        records = await self._orchestrator.events(saga_id, after, size + 1)
        plans = await self._reading.readable(plan) if view == pb.SAGA_VIEW_FULL else None
        shown = _events(records[:size], plan, plans)
        answer = rpc.ListSagaEventsResponse(events=shown)
        if len(records) > len(shown):
            answer.next_page_token = paging.token((shown[-1].sequence,), "ListSagaEvents", saga_id)
        return answer

    async def _ended(self, saga_id: str, state: SagaState, context: Context) -> SagaState:
        """Return the saga's end, or the saga as it stands shortly before the call's deadline."""
        with suppress(Draining):  # the start stands; the caller has its handle
            return await self._settled(saga_id, Until.TERMINAL, 0, caller.wait_s(context, limits.API_WAIT_S_MAX))
        return state

    async def _settled(self, saga_id: str, until: Until, after: int, timeout_s: float) -> SagaState:
        """Wait, and return the saga as it stands at the end of the wait, whatever ended it."""
        try:
            async with self._admission.patience(timeout_s):
                return await self._orchestrator.wait(saga_id, until, after, timeout_s)
        except (TimeoutError, Draining):
            return await self._orchestrator.get(saga_id)

    async def _undo_plan(self, state: SagaState, view: int) -> pb.UndoPlan:
        found = undo_plan(state, self._clock.now())
        if isinstance(found, RequestError):
            raise found
        plans = await self._reading.readable(state.plan) if view == pb.SAGA_VIEW_FULL else None
        shown = views.undo_plan(state, found, plans)
        size = shown.ByteSize()
        if size > limits.API_MESSAGE_BYTES_MAX // 2:
            message = f"the undo plan of saga {state.saga_id} has {size} bytes with its requests; ask for view BASIC"
            raise Rejected("RESPONSE_TOO_LARGE", message, saga_id=state.saga_id)
        return shown


_STARTS = frozenset(rpc.StartWait.values())
_EITHER = frozenset({rpc.ID_CONFLICT_POLICY_UNSPECIFIED, rpc.ID_CONFLICT_POLICY_USE_EXISTING})


def _waits(request: rpc.StartSagaRequest) -> bool:
    if request.wait not in _STARTS:
        raise InputInvalid("wait", f"{request.wait} is not a value this server knows")
    return request.wait == rpc.START_WAIT_TERMINAL


def _begun_items(state: SagaState, step: StepId) -> int:
    """Return how many items of a `for_each` step have begun."""
    if step not in state.plan.steps:
        known = ", ".join(islice(state.plan.steps, limits.EXPLAINED_MAX))
        message = f"saga {state.saga_id!r} has no step {step!r}; its steps: {known}"
        raise Rejected("STEP_UNKNOWN", message, saga_id=state.saga_id, step=step)
    if state.plan.steps[step].for_each is None:
        raise InputInvalid("step", f"step {step} has no items: it is no `for_each` step")
    items = state.steps[step].items
    return 0 if items is None else items.began


def _index(path: str) -> int:
    _, index = item_of(StepId(path))
    assert index is not None  # it is an item's
    return index


def _after(sequence: int) -> int:
    if sequence < 0:
        raise InputInvalid("after_sequence", f"{sequence} is below 0, which is before the first event")
    return sequence


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
