"""`orchestrator.v1.OperatorService`: what needs a person, what a person does about it, and who did what.

Every verb is the same four lines: who asks and why, the command, the façade, and the entry that it left in the audit.
"""

from collections.abc import Mapping

from orchestrator import limits
from orchestrator.api import caller, mapping, paging, views
from orchestrator.api.audit import AuditTrail
from orchestrator.api.caller import Context
from orchestrator.api.reading import Reading
from orchestrator.errors import InputInvalid, IntegrityError
from orchestrator.frozen import frozen
from orchestrator.ids import StepId
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import SearchQuery, SearchRow
from orchestrator.ports.plans import JsonInput, Plans
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.runtime.requests import Override, RepairRequest, Resolve
from orchestrator.saga.commands import (
    Audit,
    ForceComplete,
    PauseSaga,
    RerunFromStep,
    ResumeSaga,
    RetryStep,
    SkipStep,
    TerminateSaga,
)
from orchestrator.saga.events import AttentionReason, OperatorActed, Verb
from orchestrator.saga.plan import Outcome
from orchestrator.saga.state import SagaState, SagaStatus
from orchestrator.v1 import operator_service_pb2 as rpc
from orchestrator.v1 import operator_service_pb2_grpc as wire
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.values import Payload

_Verb = (
    rpc.RetryStepRequest
    | rpc.ResolveStepRequest
    | rpc.SkipStepRequest
    | rpc.OverrideStepRequestRequest
    | rpc.ForceCompleteRequest
    | rpc.TerminateSagaRequest
    | rpc.PauseSagaRequest
    | rpc.ResumeSagaRequest
    | rpc.RerunFromStepRequest
)
"""What every verb's request has: saga_id, reason, etag, validate_only, view."""

_RESOLVED: Mapping[int, Outcome] = {
    pb.STEP_OUTCOME_APPLIED: Outcome.APPLIED,
    pb.STEP_OUTCOME_NOT_APPLIED: Outcome.NOT_APPLIED,
}


@frozen
class _Done:
    """What a verb left: the saga, and the audit's entry where there is one."""

    saga: pb.Saga
    entry: pb.AuditEntry | None


class OperatorService(wire.OperatorServiceServicer):
    """Repair on the wire."""

    def __init__(self, *, orchestrator: Orchestrator, plans: Plans, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._reading = Reading(orchestrator=orchestrator, plans=plans)
        self._audit = AuditTrail(orchestrator)
        self._clock = clock

    async def ListAttention(self, request: rpc.ListAttentionRequest, context: Context) -> rpc.ListAttentionResponse:
        size = min(paging.page_size(request.page_size), limits.API_ATTENTION_PAGE_MAX)
        if request.reason and request.reason not in set(AttentionReason):
            raise InputInvalid("reason", f"{request.reason[:64]!r} is not one of {', '.join(AttentionReason)}")
        asked = ("ListAttention", request.reason, request.definition)
        seen = paging.after(request.page_token, (float, str), *asked)
        query = SearchQuery(
            statuses=frozenset({SagaStatus.NEEDS_ATTENTION}),
            definition=request.definition,
            order_by="started_at",
            descending=False,
            limit=limits.API_ATTENTION_ROWS_MAX if request.reason else size + 1,
            after=None if seen is None else (seen[0], str(seen[1])),
        )
        rows = await self._orchestrator.list(query)
        found = [row for row in rows if not request.reason or request.reason in row.attention.split(",")]
        page = found[:size]
        shown = [await self._attention(row) for row in page]
        count = paging.fitting(shown, pb.Saga.ByteSize)
        answer = rpc.ListAttentionResponse(sagas=[rpc.AttentionSaga(saga=saga) for saga in shown[:count]])
        last = page[count - 1] if count < len(page) or len(found) > size else rows[-1] if rows else None
        if last is not None and (count < len(found) or len(rows) == query.limit):
            answer.next_page_token = paging.token((last.started_at, last.saga_id), *asked)
        return answer

    async def _attention(self, row: SearchRow) -> pb.Saga:
        try:
            return await self._reading.shown(await self._orchestrator.get(row.saga_id), pb.SAGA_VIEW_BASIC)
        except IntegrityError:  # its records cannot be read, and somebody looks for it here most of all
            return views.listed(row)

    async def ListAuditEntries(
        self, request: rpc.ListAuditEntriesRequest, context: Context
    ) -> rpc.ListAuditEntriesResponse:
        size = paging.page_size(request.page_size)
        seen = paging.after(request.page_token, (int,), "ListAuditEntries", request.saga_id)
        before = None if seen is None else int(seen[0])
        if request.saga_id:
            saga_id = mapping.saga_id(request.saga_id)
            if before is None:
                before = (await self._orchestrator.get(saga_id)).version + 1
            page = await self._audit.of_saga(saga_id, before, size)
        else:
            page = await self._audit.of_all(before, size)
        answer = rpc.ListAuditEntriesResponse(entries=page.entries)
        if page.before is not None:
            answer.next_page_token = paging.token((page.before,), "ListAuditEntries", request.saga_id)
        return answer

    async def RetryStep(self, request: rpc.RetryStepRequest, context: Context) -> rpc.RetryStepResponse:
        audit, step = _audit(request, context), mapping.step_path(request.step)
        done = await self._do(request, RetryStep(audit=audit, step=step, as_new=request.as_new), Verb.RETRY)
        return rpc.RetryStepResponse(saga=done.saga, audit_entry=done.entry)

    async def ResolveStep(self, request: rpc.ResolveStepRequest, context: Context) -> rpc.ResolveStepResponse:
        audit, step = _audit(request, context), mapping.step_path(request.step)
        if request.outcome not in _RESOLVED:
            raise InputInvalid("outcome", "is required: APPLIED or NOT_APPLIED")
        outcome = _RESOLVED[request.outcome]
        reply: Payload | JsonInput | None = None
        match request.WhichOneof("reply"):
            case "typed":
                reply = mapping.unpacked(request.typed, "reply")
            case "json":
                reply = JsonInput(mapping.struct_values(request.json, "reply"))
            case _:
                pass
        if reply is not None and outcome is not Outcome.APPLIED:
            raise InputInvalid("reply", "goes with APPLIED; a call that did not take place gave none")
        done = await self._do(request, Resolve(audit=audit, step=step, outcome=outcome, reply=reply), Verb.RESOLVE)
        return rpc.ResolveStepResponse(saga=done.saga, audit_entry=done.entry)

    async def SkipStep(self, request: rpc.SkipStepRequest, context: Context) -> rpc.SkipStepResponse:
        audit, step = _audit(request, context), mapping.step_path(request.step)
        done = await self._do(request, SkipStep(audit=audit, step=step), Verb.SKIP)
        return rpc.SkipStepResponse(saga=done.saga, audit_entry=done.entry)

    async def OverrideStepRequest(
        self, request: rpc.OverrideStepRequestRequest, context: Context
    ) -> rpc.OverrideStepRequestResponse:
        audit, step = _audit(request, context), mapping.step_path(request.step)
        match request.WhichOneof("request"):
            case "typed":
                given: Payload | JsonInput = mapping.unpacked(request.typed, "request")
            case "json":
                given = JsonInput(mapping.struct_values(request.json, "request"))
            case _:
                raise InputInvalid("request", "is required: what to send instead, typed or as JSON")
        done = await self._do(request, Override(audit=audit, step=step, request=given), Verb.OVERRIDE_REQUEST)
        return rpc.OverrideStepRequestResponse(saga=done.saga, audit_entry=done.entry)

    async def ForceComplete(self, request: rpc.ForceCompleteRequest, context: Context) -> rpc.ForceCompleteResponse:
        done = await self._do(request, ForceComplete(audit=_audit(request, context)), Verb.FORCE_COMPLETE)
        return rpc.ForceCompleteResponse(saga=done.saga, audit_entry=done.entry)

    async def TerminateSaga(self, request: rpc.TerminateSagaRequest, context: Context) -> rpc.TerminateSagaResponse:
        done = await self._do(request, TerminateSaga(audit=_audit(request, context)), Verb.TERMINATE)
        return rpc.TerminateSagaResponse(saga=done.saga, audit_entry=done.entry)

    async def PauseSaga(self, request: rpc.PauseSagaRequest, context: Context) -> rpc.PauseSagaResponse:
        done = await self._do(request, PauseSaga(audit=_audit(request, context)), Verb.PAUSE)
        return rpc.PauseSagaResponse(saga=done.saga, audit_entry=done.entry)

    async def ResumeSaga(self, request: rpc.ResumeSagaRequest, context: Context) -> rpc.ResumeSagaResponse:
        done = await self._do(request, ResumeSaga(audit=_audit(request, context)), Verb.RESUME)
        return rpc.ResumeSagaResponse(saga=done.saga, audit_entry=done.entry)

    async def RerunFromStep(self, request: rpc.RerunFromStepRequest, context: Context) -> rpc.RerunFromStepResponse:
        audit, step = _audit(request, context), mapping.step_path(request.step)
        done = await self._do(request, RerunFromStep(audit=audit, step=step), Verb.RERUN)
        return rpc.RerunFromStepResponse(saga=done.saga, audit_entry=done.entry)

    async def _do(self, request: _Verb, command: RepairRequest, verb: Verb) -> _Done:
        view, saga_id = mapping.view(request.view), mapping.saga_id(request.saga_id)
        before = await self._orchestrator.get(saga_id)
        state = await self._orchestrator.repair(saga_id, command, validate_only=request.validate_only)
        step = getattr(command, "step", None)
        if request.validate_only:
            entry = self._would_be(state, command.audit, verb, step)
        else:
            entry = await self._audit.of_verb(saga_id, before.version, state.version, verb, step)
        return _Done(saga=await self._reading.shown(state, view), entry=entry)

    def _would_be(self, state: SagaState, audit: Audit, verb: Verb, step: StepId | None) -> pb.AuditEntry | None:
        if state.is_paused is (verb is Verb.PAUSE) and verb in {Verb.PAUSE, Verb.RESUME}:
            return None
        acted = OperatorActed(at=self._clock.now(), verb=verb, by=audit.by, reason=audit.reason, step=step)
        return views.audit_entry(state.saga_id, 0, acted)


def _audit(request: _Verb, context: Context) -> Audit:
    return Audit(
        by=caller.operator(context),
        reason=mapping.reason(request.reason),
        if_version=mapping.if_version(request.etag),
        trace=caller.trace_of(context),
    )
