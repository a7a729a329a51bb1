"""Payments: money in two steps, as every card network has them.

To authorise sets an amount aside; that can be taken back. To capture takes it; that cannot. It makes the capture a
*pivot*: before it the order can be undone, after it the order must be fulfilled.

`FindCapture` answers from the books whether an order was paid. A caller who lost the answer of `Capture` asks it
instead of guessing, since both wrong guesses are bad: a paid order that is cancelled, and an unpaid one that is sent.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import grpc

from services.caller import Context
from services.participant import Make, Participant, Undo
from services.refusal import Refusal, bad_field, require
from services.shop.v1 import shop_pb2 as pb
from services.shop.v1 import shop_pb2_grpc as pb_grpc
from services.tally import Tally

DECLINED_SUFFIX = "0002"
"""Cards that end so have nothing left; payment gateways keep such numbers for tests."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS authorisations (
  id            TEXT PRIMARY KEY,  -- the thing's
  order_id      TEXT NOT NULL,
  amount_cents  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS captures (
  id            TEXT PRIMARY KEY,  -- the thing's
  order_id      TEXT NOT NULL UNIQUE,
  amount_cents  INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Payments(pb_grpc.PaymentsServicer):
    """shop.v1.Payments."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Authorise(self, request: pb.AuthoriseRequest, context: Context) -> pb.AuthoriseResponse:
        require(request, "order_id", "card_number")
        if request.amount_cents < 1:
            raise bad_field("amount_cents", f"is {request.amount_cents}: there is nothing to pay")
        call = Make(
            method="Authorise",
            request=request,
            report_id=request.order_id,
            reply_type=pb.AuthoriseResponse,
            act=lambda db, authorisation_id: authorise(db, authorisation_id, request),
        )
        return await self._participant.make(call, context)

    async def Void(self, request: pb.VoidRequest, context: Context) -> pb.VoidResponse:
        call = Undo(
            method="Void",
            undoes="Authorise",
            request=request,
            report_id=request.order_id,
            reply_with=lambda count: pb.VoidResponse(voided=count),
            judge=lambda db: refuse_if_captured(db, request.order_id, grpc.StatusCode.FAILED_PRECONDITION),
        )
        return await self._participant.undo(call, context)

    async def Capture(self, request: pb.CaptureRequest, context: Context) -> pb.CaptureResponse:
        require(request, "order_id", "authorisation_id")
        call = Make(
            method="Capture",
            request=request,
            report_id=request.order_id,
            reply_type=pb.CaptureResponse,
            act=lambda db, capture_id: capture(db, capture_id, request),
        )
        return await self._participant.make(call, context)

    async def FindCapture(self, request: pb.FindCaptureRequest, context: Context) -> pb.FindCaptureResponse:
        require(request, "order_id")
        found = await self._participant.ask(lambda db: capture_of(db, request.order_id))
        return pb.FindCaptureResponse(found=found is not None, capture=found)


def authorise(db: sqlite3.Connection, authorisation_id: str, request: pb.AuthoriseRequest) -> pb.AuthoriseResponse:
    """Set the amount aside, or raise Refusal when the card's bank will not."""
    if request.card_number.endswith(DECLINED_SUFFIX):
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="CARD_DECLINED",
            message=f"the bank declined the card …{request.card_number[-4:]}; nothing was set aside",
        )
    db.execute(
        "INSERT INTO authorisations VALUES (?, ?, ?)", (authorisation_id, request.order_id, request.amount_cents)
    )
    return pb.AuthoriseResponse(authorisation_id=authorisation_id)


def capture(db: sqlite3.Connection, capture_id: str, request: pb.CaptureRequest) -> pb.CaptureResponse:
    """Take what is set aside. Raises Refusal when that is nothing, or was taken before."""
    refuse_if_captured(db, request.order_id, grpc.StatusCode.ALREADY_EXISTS)
    row = db.execute(
        "SELECT amount_cents FROM authorisations JOIN things USING (id)"
        " WHERE id = ? AND order_id = ? AND undone_at IS NULL",
        (request.authorisation_id, request.order_id),
    ).fetchone()
    if row is None:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="NOT_AUTHORISED",
            message=f"no live authorisation {request.authorisation_id} of order {request.order_id}; nothing was taken",
        )
    db.execute("INSERT INTO captures VALUES (?, ?, ?)", (capture_id, request.order_id, *row))
    return pb.CaptureResponse(capture_id=capture_id, amount_cents=row[0])


def refuse_if_captured(db: sqlite3.Connection, order_id: str, code: grpc.StatusCode) -> None:
    """Raises Refusal once the money of an order has been taken."""
    taken = capture_of(db, order_id)
    if taken is not None:
        raise Refusal(
            code=code,
            reason="ALREADY_CAPTURED",
            message=f"the money of order {order_id} was taken by {taken.capture_id}; nothing was changed",
        )


def capture_of(db: sqlite3.Connection, order_id: str) -> pb.CaptureResponse | None:
    """What Capture answered for an order; None when its money was not taken."""
    row = db.execute("SELECT id, amount_cents FROM captures WHERE order_id = ?", (order_id,)).fetchone()
    return pb.CaptureResponse(capture_id=row[0], amount_cents=row[1]) if row else None


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the books and serve them."""
    participant = Participant(folder=data, service="payments", prefix="pay", tallies=tallies, schema=SCHEMA)
    pb_grpc.add_PaymentsServicer_to_server(Payments(participant), server)
    return participant
