"""Stock: goods on a shelf, and which of them are promised to somebody.

What is free is counted from the reservations that are live, so an undone one gives its goods back by itself.
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

ON_SHELF = {"book": 10_000, "lamp": 5, "piano": 1}
"""How many of each there are. Nobody restocks a demo."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS reservations (
  id        TEXT PRIMARY KEY,  -- the thing's
  sku       TEXT NOT NULL,
  quantity  INTEGER NOT NULL
) WITHOUT ROWID;
"""


class Stock(pb_grpc.StockServicer):
    """shop.v1.Stock."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Reserve(self, request: pb.ReserveRequest, context: Context) -> pb.ReserveResponse:
        require(request, "order_id", "sku")
        if request.quantity < 1:
            raise bad_field("quantity", f"is {request.quantity}: nobody orders less than one")
        call = Make(
            method="Reserve",
            request=request,
            report_id=request.order_id,
            reply_type=pb.ReserveResponse,
            act=lambda db, reservation_id: reserve(db, reservation_id, request),
        )
        return await self._participant.make(call, context)

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        call = Undo(
            method="Release",
            undoes="Reserve",
            request=request,
            report_id=request.order_id,
            reply_with=lambda count: pb.ReleaseResponse(released=count),
        )
        return await self._participant.undo(call, context)

    async def GetFree(self, request: pb.GetFreeRequest, context: Context) -> pb.GetFreeResponse:
        return pb.GetFreeResponse(free=await self._participant.ask(lambda db: free(db, request.sku)))


def reserve(db: sqlite3.Connection, reservation_id: str, request: pb.ReserveRequest) -> pb.ReserveResponse:
    """Keep goods back, or raise Refusal when fewer are free than are wanted."""
    left = free(db, request.sku)
    if request.quantity > left:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="OUT_OF_STOCK",
            message=f"{request.quantity} of {request.sku} are wanted and {left} are free; nothing was reserved",
        )
    db.execute("INSERT INTO reservations VALUES (?, ?, ?)", (reservation_id, request.sku, request.quantity))
    return pb.ReserveResponse(reservation_id=reservation_id)


def free(db: sqlite3.Connection, sku: str) -> int:
    """How many can still be promised; raises Refusal for what the shop does not have."""
    if sku not in ON_SHELF:
        raise Refusal(
            code=grpc.StatusCode.NOT_FOUND,
            reason="SKU_UNKNOWN",
            message=f"{sku} is not sold here; there are {', '.join(ON_SHELF)}",
        )
    (promised,) = db.execute(
        "SELECT COALESCE(SUM(quantity), 0) FROM reservations JOIN things USING (id)"
        " WHERE sku = ? AND undone_at IS NULL",
        (sku,),
    ).fetchone()
    return ON_SHELF[sku] - int(promised)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the stock's files and serve them."""
    participant = Participant(folder=data, service="stock", prefix="res", tallies=tallies, schema=SCHEMA)
    pb_grpc.add_StockServicer_to_server(Stock(participant), server)
    return participant
