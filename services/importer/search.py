"""Search: asks for indexes, tells how far they are, and whether readers can see them yet."""

from __future__ import annotations

import sqlite3
import time

from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import empty_pb2

from services.caller import Context
from services.importer import indexing
from services.importer.v1 import importer_pb2 as pb
from services.importer.v1 import importer_pb2_grpc as pb_grpc
from services.participant import Make, Participant, Undo
from services.refusal import bad_field, require

REPLICA_LAG_S = 0.3
"""How long a replica needs to have what the database has; long enough to be asked too early."""


class Search(pb_grpc.SearchServicer):
    """importer.v1.Search."""

    def __init__(self, participant: Participant, indexer: indexing.Indexer) -> None:
        self._participant = participant
        self._indexer = indexer

    async def BuildIndex(self, request: pb.BuildIndexRequest, context: Context) -> operations_pb2.Operation:
        require(request, "import_id")
        if request.rows_per_second < 0:
            raise bad_field("rows_per_second", f"is {request.rows_per_second}: the index would never be built")
        call = Make(
            method="BuildIndex",
            request=request,
            report_id=request.import_id,
            reply_type=operations_pb2.Operation,
            act=lambda db, index_id: indexing.begin(db, index_id, request),
        )
        operation = await self._participant.accept(call, context)
        self._indexer.build(operation.name)
        return operation

    async def DropIndex(self, request: pb.DropIndexRequest, context: Context) -> pb.DropIndexResponse:
        call = Undo(
            method="DropIndex",
            undoes="BuildIndex",
            request=request,
            report_id=request.import_id,
            reply_with=lambda count: pb.DropIndexResponse(dropped=count),
        )
        return await self._participant.undo(call, context)

    async def GetReplica(self, request: pb.GetReplicaRequest, context: Context) -> pb.GetReplicaResponse:
        require(request, "import_id")
        caught_up = await self._participant.ask(lambda db: has_replica(db, request.import_id))
        return pb.GetReplicaResponse(caught_up=caught_up)


class Operations(operations_pb2_grpc.OperationsServicer):  # type: ignore[misc]  # published without types
    """google.longrunning.Operations, as far as a caller needs it who polls: GetOperation and CancelOperation."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def GetOperation(
        self, request: operations_pb2.GetOperationRequest, context: Context
    ) -> operations_pb2.Operation:
        return await self._participant.ask(lambda db: indexing.describe(db, request.name))

    async def CancelOperation(
        self, request: operations_pb2.CancelOperationRequest, context: Context
    ) -> empty_pb2.Empty:
        await self._participant.ask(lambda db: indexing.cancel(db, request.name, self._participant))
        return empty_pb2.Empty()


def has_replica(db: sqlite3.Connection, import_id: str) -> bool:
    """Whether a live index of the import has been there for long enough."""
    query = "SELECT MAX(made_at) FROM things WHERE report_id = ? AND method = 'BuildIndex' AND undone_at IS NULL"
    (made_at,) = db.execute(query, (import_id,)).fetchone()
    return made_at is not None and time.time() - made_at >= REPLICA_LAG_S
