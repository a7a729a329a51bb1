"""Archive: the study's record of every report taken in.

`python -m services.archive --data DIR`

A record that is withdrawn keeps its place with the time of its withdrawal: study data is marked, never erased. All the
promises (key, barrier, ledger) are kept by `services/participant.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc

from services.epro.v1 import archive_service_pb2 as pb
from services.epro.v1 import archive_service_pb2_grpc as pb_grpc
from services.participant import Make, Participant, Undo
from services.refusal import bad_field
from services.server import Program, main
from services.tally import Tally


class Archive(pb_grpc.ArchiveServicer):
    """epro.v1.Archive."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Store(self, request: pb.StoreRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.StoreResponse:
        report_id = request.report.report_id
        if not report_id:
            raise bad_field("report.report_id", "is empty: a record nobody can name could never be withdrawn")
        call = Make(
            method="Store",
            request=request,
            report_id=report_id,
            reply_type=pb.StoreResponse,
            act=lambda _db, record_id: pb.StoreResponse(record_id=record_id),
        )
        return await self._participant.make(call, context)

    async def Withdraw(
        self, request: pb.WithdrawRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.WithdrawResponse:
        call = Undo(
            method="Withdraw",
            undoes="Store",
            request=request,
            thing_id=request.record_id,
            report_id=request.report_id,
            reply_with=lambda count: pb.WithdrawResponse(withdrawn=count),
        )
        return await self._participant.undo(call, context)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the archive's files and serve them."""
    participant = Participant(folder=data, service="archive", prefix="rec", tallies=tallies)
    pb_grpc.add_ArchiveServicer_to_server(Archive(participant), server)
    return participant


PROGRAM = Program(
    name="archive", owner="epro", descriptors=(pb.DESCRIPTOR.services_by_name["Archive"],), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
