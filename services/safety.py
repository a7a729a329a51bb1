"""Safety: adverse events for scores that somebody must look at.

`python -m services.safety --data DIR`

It has a reason of its own to say no. A site that was closed (`CLOSED_SITES`) has nobody left who could answer for an
event; those go to the sponsor's safety desk by hand. A service that pretended to have opened one would hide a patient
from the people who look. So it refuses with FAILED_PRECONDITION, reason SITE_CLOSED, and a saga that had already
archived the report takes the record back.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc

from services.epro.v1 import safety_service_pb2 as pb
from services.epro.v1 import safety_service_pb2_grpc as pb_grpc
from services.participant import Make, Participant, Undo
from services.refusal import Refusal, bad_field
from services.server import Program, main
from services.sites import CLOSED_SITES
from services.tally import Tally

SCORE_MAX = 27


class Safety(pb_grpc.SafetyServicer):
    """epro.v1.Safety."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def OpenAdverseEvent(
        self, request: pb.OpenAdverseEventRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.OpenAdverseEventResponse:
        for name in ("report_id", "patient_id", "site"):
            if not getattr(request, name):
                raise bad_field(name, "is empty: an event belongs to a report, a patient and a site")
        if not 0 <= request.score <= SCORE_MAX:
            raise bad_field("score", f"is {request.score}: a PHQ-9 total lies between 0 and {SCORE_MAX}")
        call = Make(
            method="OpenAdverseEvent",
            request=request,
            report_id=request.report_id,
            reply_type=pb.OpenAdverseEventResponse,
            act=lambda _db, event_id: open_event(event_id, request.site),
        )
        return await self._participant.make(call, context)

    async def VoidAdverseEvent(
        self, request: pb.VoidAdverseEventRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.VoidAdverseEventResponse:
        call = Undo(
            method="VoidAdverseEvent",
            undoes="OpenAdverseEvent",
            request=request,
            thing_id=request.event_id,
            report_id=request.report_id,
            reply_with=lambda count: pb.VoidAdverseEventResponse(voided=count),
        )
        return await self._participant.undo(call, context)


def open_event(event_id: str, site: str) -> pb.OpenAdverseEventResponse:
    """Raises Refusal for a site that cannot take care of an event."""
    if site in CLOSED_SITES:
        raise Refusal(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="SITE_CLOSED",
            message=f"site {site} is closed; no event was opened, report it to the sponsor's safety desk",
        )
    return pb.OpenAdverseEventResponse(event_id=event_id)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the files of the safety desk and serve them."""
    participant = Participant(folder=data, service="safety", prefix="ae", tallies=tallies)
    pb_grpc.add_SafetyServicer_to_server(Safety(participant), server)
    return participant


PROGRAM = Program(
    name="safety", owner="epro", descriptors=(pb.DESCRIPTOR.services_by_name["Safety"],), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
