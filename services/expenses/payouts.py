"""Payouts: the pay office. Money that was paid out stays paid; `FindPayment` tells whether it was."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import grpc

from services.caller import Context
from services.expenses.v1 import expenses_pb2 as pb
from services.expenses.v1 import expenses_pb2_grpc as pb_grpc
from services.participant import Make, Participant
from services.refusal import Refusal, bad_field, require
from services.tally import Tally

WITHOUT_ACCOUNT = frozenset({"newcomer"})
"""Claimants who never told the pay office where to send money."""


class Payouts(pb_grpc.PayoutsServicer):
    """expenses.v1.Payouts."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Pay(self, request: pb.PayRequest, context: Context) -> pb.PayResponse:
        require(request, "claim_id", "claimant")
        if request.amount_cents < 1:
            raise bad_field("amount_cents", f"is {request.amount_cents}: there is nothing to pay")
        call = Make(
            method="Pay",
            request=request,
            report_id=request.claim_id,
            reply_type=pb.PayResponse,
            act=lambda db, payment_id: pay(db, payment_id, request),
        )
        return await self._participant.make(call, context)

    async def FindPayment(self, request: pb.FindPaymentRequest, context: Context) -> pb.FindPaymentResponse:
        require(request, "claim_id")
        found = await self._participant.ask(lambda db: payment_of(db, request.claim_id))
        return pb.FindPaymentResponse(found=found is not None, payment=found)


def pay(db: sqlite3.Connection, payment_id: str, request: pb.PayRequest) -> pb.PayResponse:
    """Pay a claim. Raises Refusal when nobody knows where to, or when it was paid before."""
    if request.claimant in WITHOUT_ACCOUNT:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="NO_BANK_ACCOUNT",
            message=f"{request.claimant} has named no bank account; nothing was paid",
        )
    before = payment_of(db, request.claim_id)
    if before is not None:
        raise Refusal(
            code=grpc.StatusCode.ALREADY_EXISTS,
            reason="ALREADY_PAID",
            message=f"claim {request.claim_id} was paid by {before.payment_id}; nothing was paid again",
        )
    return pb.PayResponse(payment_id=payment_id)


def payment_of(db: sqlite3.Connection, claim_id: str) -> pb.PayResponse | None:
    """What Pay answered for a claim; None when it was not paid."""
    row = db.execute("SELECT id FROM things WHERE report_id = ? AND method = 'Pay'", (claim_id,)).fetchone()
    return pb.PayResponse(payment_id=row[0]) if row else None


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the pay office's books and serve them."""
    participant = Participant(folder=data, service="payouts", prefix="po", tallies=tallies)
    pb_grpc.add_PayoutsServicer_to_server(Payouts(participant), server)
    return participant
