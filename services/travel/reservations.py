"""Reservations: the system of one company.

`python -m services.travel.reservations --data DIR`

Two phases: a hold keeps a place, a confirmation makes it a booking. A hold counts against the places until it is
released, whether it was confirmed or not; so a cancelled booking falls back to its hold, and both undos can be sent one
after the other, latest first.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import grpc

from services.caller import Context
from services.participant import Make, Participant, Undo
from services.refusal import Refusal, require
from services.server import Program, main
from services.tally import Tally
from services.travel.v1 import travel_pb2 as pb
from services.travel.v1 import travel_pb2_grpc as pb_grpc

PLACES = {
    "flight/BER-LIS": 180,
    "flight/BER-OPO": 2,
    "hotel/alfama": 12,
    "hotel/belem": 1,
    "car/compact": 40,
    "car/cabriolet": 1,
    "car/vintage": 0,
    "standby": 1_000_000,
}
"""What can be booked, and how often. The last car was sold out before the demo began; nobody counts who stands by."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS holds (
  id       TEXT PRIMARY KEY,  -- the thing's
  trip_id  TEXT NOT NULL,
  code     TEXT NOT NULL
) WITHOUT ROWID;
"""


class Reservations(pb_grpc.ReservationsServicer):
    """travel.v1.Reservations."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Hold(self, request: pb.HoldRequest, context: Context) -> pb.HoldResponse:
        require(request, "trip_id", "traveller", "code")
        call = Make(
            method="Hold",
            request=request,
            report_id=request.trip_id,
            reply_type=pb.HoldResponse,
            act=lambda db, hold_id: hold(db, hold_id, request),
        )
        return await self._participant.make(call, context)

    async def Release(self, request: pb.ReleaseRequest, context: Context) -> pb.ReleaseResponse:
        call = Undo(
            method="Release",
            undoes="Hold",
            request=request,
            report_id=request.trip_id,
            reply_with=lambda count: pb.ReleaseResponse(released=count),
        )
        return await self._participant.undo(call, context)

    async def Confirm(self, request: pb.ConfirmRequest, context: Context) -> pb.ConfirmResponse:
        require(request, "trip_id", "hold_id")
        call = Make(
            method="Confirm",
            request=request,
            report_id=request.trip_id,
            reply_type=pb.ConfirmResponse,
            act=lambda db, booking_id: confirm(db, booking_id, request),
        )
        return await self._participant.make(call, context)

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.CancelResponse:
        call = Undo(
            method="Cancel",
            undoes="Confirm",
            request=request,
            report_id=request.trip_id,
            reply_with=lambda count: pb.CancelResponse(cancelled=count),
        )
        return await self._participant.undo(call, context)

    async def GetFree(self, request: pb.GetFreeRequest, context: Context) -> pb.GetFreeResponse:
        return pb.GetFreeResponse(free=await self._participant.ask(lambda db: free(db, request.code)))


def hold(db: sqlite3.Connection, hold_id: str, request: pb.HoldRequest) -> pb.HoldResponse:
    """Keep a place, or raise Refusal when none is left."""
    if free(db, request.code) < 1:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="SOLD_OUT",
            message=f"{request.code} is sold out; nothing was kept for trip {request.trip_id}",
        )
    db.execute("INSERT INTO holds VALUES (?, ?, ?)", (hold_id, request.trip_id, request.code))
    return pb.HoldResponse(hold_id=hold_id)


def free(db: sqlite3.Connection, code: str) -> int:
    """How many places are left; raises Refusal for what is not sold here."""
    if code not in PLACES:
        raise Refusal(
            code=grpc.StatusCode.NOT_FOUND,
            reason="CODE_UNKNOWN",
            message=f"{code} is not sold here; there are {', '.join(PLACES)}",
        )
    query = "SELECT COUNT(*) FROM holds JOIN things USING (id) WHERE code = ? AND undone_at IS NULL"
    (taken,) = db.execute(query, (code,)).fetchone()
    return PLACES[code] - int(taken)


def confirm(db: sqlite3.Connection, booking_id: str, request: pb.ConfirmRequest) -> pb.ConfirmResponse:
    """Book what is on hold, or raise Refusal when it is not (any more)."""
    query = "SELECT 1 FROM holds JOIN things USING (id) WHERE id = ? AND trip_id = ? AND undone_at IS NULL"
    if not db.execute(query, (request.hold_id, request.trip_id)).fetchone():
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="NOT_HELD",
            message=f"{request.hold_id} is not on hold for trip {request.trip_id}; nothing was booked",
        )
    return pb.ConfirmResponse(booking_id=booking_id)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the company's files and serve them."""
    participant = Participant(folder=data, service="reservations", prefix="tr", tallies=tallies, schema=SCHEMA)
    pb_grpc.add_ReservationsServicer_to_server(Reservations(participant), server)
    return participant


PROGRAM = Program(
    name="travel.reservations",
    owner="demo",
    descriptors=(pb.DESCRIPTOR.services_by_name["Reservations"],),
    register=register,
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
