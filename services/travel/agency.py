"""Agency: sells journeys that others provide, and mails the traveller what was booked.

`python -m services.travel.agency --data DIR`
"""

from __future__ import annotations

import sys
from pathlib import Path

import grpc

from services.caller import Context
from services.participant import Make, Participant
from services.refusal import require
from services.server import Program, main
from services.tally import Tally
from services.travel.v1 import travel_pb2 as pb
from services.travel.v1 import travel_pb2_grpc as pb_grpc


class Agency(pb_grpc.AgencyServicer):
    """travel.v1.Agency."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def SendItinerary(self, request: pb.SendItineraryRequest, context: Context) -> pb.SendItineraryResponse:
        require(request, "trip_id", "traveller", "flight_booking_id", "hotel_booking_id", "car_booking_id")
        call = Make(
            method="SendItinerary",
            request=request,
            report_id=request.trip_id,
            reply_type=pb.SendItineraryResponse,
            act=lambda _db, mail_id: pb.SendItineraryResponse(mail_id=mail_id),
        )
        return await self._participant.make(call, context)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the agency's files and serve them."""
    participant = Participant(folder=data, service="agency", prefix="mail", tallies=tallies)
    pb_grpc.add_AgencyServicer_to_server(Agency(participant), server)
    return participant


PROGRAM = Program(
    name="travel.agency", owner="demo", descriptors=(pb.DESCRIPTOR.services_by_name["Agency"],), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
