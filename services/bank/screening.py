"""Screening: is this transfer what it seems?

A machine gives its opinion first. Where the risk is high it may not decide alone, and a person looks. Exactly one of
the two is responsible at any time: the machine while it has an open case, the person once that case was closed. That is
why the case must be *undone* before the review, and not merely forgotten.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import grpc

from services.bank.v1 import bank_pb2 as pb
from services.bank.v1 import bank_pb2_grpc as pb_grpc
from services.caller import Context
from services.participant import Make, Participant, Undo
from services.refusal import Refusal, require
from services.tally import Tally

LARGE_CENTS = 500_000
"""From here on an amount is a sign."""

WATCHED = frozenset({"casino"})
"""Destinations that are one."""

REVIEW_CENTS_MAX = 2_000_000
"""What a reviewer may let pass; more is for the courts."""

REVIEWER = "r.hersh"


class Screening(pb_grpc.ScreeningServicer):
    """bank.v1.Screening."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def OpenCase(self, request: pb.OpenCaseRequest, context: Context) -> pb.OpenCaseResponse:
        require(request, "transfer_id")
        call = Make(
            method="OpenCase",
            request=request,
            report_id=request.transfer_id,
            reply_type=pb.OpenCaseResponse,
            act=lambda db, case_id: open_case(db, case_id, request),
        )
        return await self._participant.make(call, context)

    async def CloseCase(self, request: pb.CloseCaseRequest, context: Context) -> pb.CloseCaseResponse:
        call = Undo(
            method="CloseCase",
            undoes="OpenCase",
            request=request,
            report_id=request.transfer_id,
            reply_with=lambda count: pb.CloseCaseResponse(closed=count),
        )
        return await self._participant.undo(call, context)

    async def Assess(self, request: pb.AssessRequest, context: Context) -> pb.AssessResponse:
        require(request.transfer, "transfer_id", "source", "destination")
        return assess(request.transfer)

    async def Review(self, request: pb.ReviewRequest, context: Context) -> pb.ReviewResponse:
        require(request.transfer, "transfer_id", "source", "destination")
        call = Make(
            method="Review",
            request=request,
            report_id=request.transfer.transfer_id,
            reply_type=pb.ReviewResponse,
            act=lambda db, review_id: review(db, review_id, request.transfer),
        )
        return await self._participant.make(call, context)

    async def WithdrawReview(self, request: pb.WithdrawReviewRequest, context: Context) -> pb.WithdrawReviewResponse:
        call = Undo(
            method="WithdrawReview",
            undoes="Review",
            request=request,
            report_id=request.transfer_id,
            reply_with=lambda count: pb.WithdrawReviewResponse(withdrawn=count),
        )
        return await self._participant.undo(call, context)


def open_case(db: sqlite3.Connection, case_id: str, request: pb.OpenCaseRequest) -> pb.OpenCaseResponse:
    """Make the machine responsible; raises Refusal when it is already."""
    refuse_if_case_open(db, request.transfer_id)
    return pb.OpenCaseResponse(case_id=case_id)


def assess(transfer: pb.Transfer) -> pb.AssessResponse:
    """Add up the signs."""
    signs = []
    risk = 0
    if transfer.amount_cents >= LARGE_CENTS:
        signs.append("a large amount")
        risk += 50
    if transfer.amount_cents % 100_000 == 0:
        signs.append("a round amount")
        risk += 20
    if transfer.destination in WATCHED:
        signs.append(f"{transfer.destination} is watched")
        risk += 80
    return pb.AssessResponse(risk=min(risk, 100), signs=signs)


def review(db: sqlite3.Connection, review_id: str, transfer: pb.Transfer) -> pb.ReviewResponse:
    """Let a person decide; raises Refusal when the person says no, or is not the one to ask."""
    refuse_if_case_open(db, transfer.transfer_id)
    if transfer.amount_cents > REVIEW_CENTS_MAX:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="REVIEW_DECLINED",
            message=f"{REVIEWER} did not let transfer {transfer.transfer_id} of {transfer.amount_cents} cents pass",
        )
    return pb.ReviewResponse(review_id=review_id, reviewer=REVIEWER)


def refuse_if_case_open(db: sqlite3.Connection, transfer_id: str) -> None:
    """Raises Refusal while the machine is responsible."""
    query = "SELECT id FROM things WHERE report_id = ? AND method = 'OpenCase' AND undone_at IS NULL"
    row = db.execute(query, (transfer_id,)).fetchone()
    if row is not None:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="CASE_OPEN",
            message=f"case {row[0]} of transfer {transfer_id} is open; close it first",
        )


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the desk's files and serve them."""
    participant = Participant(folder=data, service="screening", prefix="scr", tallies=tallies)
    pb_grpc.add_ScreeningServicer_to_server(Screening(participant), server)
    return participant
