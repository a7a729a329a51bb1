"""Claims: who asks for money, who has to agree, and who was told.

Whether an approval counts is a rule of the house and no matter of record: `CheckApproval` reads nothing and writes
nothing. Its "no" is an answer, and the claimant is told why.
"""

from __future__ import annotations

from pathlib import Path

import grpc

from services.caller import Context
from services.expenses.v1 import expenses_pb2 as pb
from services.expenses.v1 import expenses_pb2_grpc as pb_grpc
from services.participant import Make, Participant, Undo
from services.refusal import bad_field, require
from services.tally import Tally

LIMIT_CENTS = {"lea": 100_000, "dora": 1_000_000}
"""Who may approve, and how much: the team's lead, and the director above her."""


class Claims(pb_grpc.ClaimsServicer):
    """expenses.v1.Claims."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.SubmitResponse:
        require(request, "claim_id", "claimant", "purpose")
        if request.amount_cents < 1:
            raise bad_field("amount_cents", f"is {request.amount_cents}: nothing was spent")
        call = Make(
            method="Submit",
            request=request,
            report_id=request.claim_id,
            reply_type=pb.SubmitResponse,
            act=lambda _db, receipt_id: pb.SubmitResponse(receipt_id=receipt_id),
        )
        return await self._participant.make(call, context)

    async def Withdraw(self, request: pb.WithdrawRequest, context: Context) -> pb.WithdrawResponse:
        call = Undo(
            method="Withdraw",
            undoes="Submit",
            request=request,
            report_id=request.claim_id,
            reply_with=lambda count: pb.WithdrawResponse(withdrawn=count),
        )
        return await self._participant.undo(call, context)

    async def Escalate(self, request: pb.EscalateRequest, context: Context) -> pb.EscalateResponse:
        require(request, "claim_id")
        call = Make(
            method="Escalate",
            request=request,
            report_id=request.claim_id,
            reply_type=pb.EscalateResponse,
            act=lambda _db, escalation_id: pb.EscalateResponse(escalation_id=escalation_id),
        )
        return await self._participant.make(call, context)

    async def CheckApproval(self, request: pb.CheckApprovalRequest, context: Context) -> pb.CheckApprovalResponse:
        problem = problem_of(request.claim, request.approval)
        return pb.CheckApprovalResponse(valid=not problem, problem=problem)

    async def Notify(self, request: pb.NotifyRequest, context: Context) -> pb.NotifyResponse:
        require(request, "claim_id", "claimant", "text")
        call = Make(
            method="Notify",
            request=request,
            report_id=request.claim_id,
            reply_type=pb.NotifyResponse,
            act=lambda _db, message_id: pb.NotifyResponse(message_id=message_id),
        )
        return await self._participant.make(call, context)


def problem_of(claim: pb.Claim, approval: pb.Approval) -> str:
    """Why this approval does not let this claim pass; "" when it does."""
    who = approval.approver
    if not approval.approved:
        return f"{who or 'somebody'} declined: {approval.remark or 'no reason given'}"
    if who == claim.claimant:
        return f"{who} cannot approve a claim of their own"
    if claim.amount_cents > LIMIT_CENTS.get(who, 0):
        return f"{who} may approve up to {LIMIT_CENTS.get(who, 0)} cents, the claim is about {claim.amount_cents}"
    return ""


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the desk's files and serve them."""
    participant = Participant(folder=data, service="claims", prefix="cl", tallies=tallies)
    pb_grpc.add_ClaimsServicer_to_server(Claims(participant), server)
    return participant
