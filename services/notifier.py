"""Notifier: tells the study nurse.

`python -m services.notifier --data DIR`

No message leaves the machine: the alert is kept where a mail queue would be. What matters is that it is one alert,
once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc

from services.epro.v1 import notifier_service_pb2 as pb
from services.epro.v1 import notifier_service_pb2_grpc as pb_grpc
from services.participant import Make, Participant, Undo
from services.refusal import bad_field
from services.server import Program, main
from services.tally import Tally


class Notifier(pb_grpc.NotifierServicer):
    """epro.v1.Notifier."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def SendAlert(
        self, request: pb.SendAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SendAlertResponse:
        for name in ("report_id", "patient_id", "text"):
            if not getattr(request, name):
                raise bad_field(name, "is empty: an alert says what happened, in which report, to whom")
        call = Make(
            method="SendAlert",
            request=request,
            report_id=request.report_id,
            reply_type=pb.SendAlertResponse,
            act=lambda _db, alert_id: pb.SendAlertResponse(alert_id=alert_id),
        )
        return await self._participant.make(call, context)

    async def RecallAlert(
        self, request: pb.RecallAlertRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.RecallAlertResponse:
        call = Undo(
            method="RecallAlert",
            undoes="SendAlert",
            request=request,
            thing_id=request.alert_id,
            report_id=request.report_id,
            reply_with=lambda count: pb.RecallAlertResponse(recalled=count),
        )
        return await self._participant.undo(call, context)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the alert queue and serve it."""
    participant = Participant(folder=data, service="notifier", prefix="al", tallies=tallies)
    pb_grpc.add_NotifierServicer_to_server(Notifier(participant), server)
    return participant


PROGRAM = Program(
    name="notifier", owner="epro", descriptors=(pb.DESCRIPTOR.services_by_name["Notifier"],), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
