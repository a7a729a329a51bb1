"""Catalogue: rows, one product each. A row that makes no sense is refused; what its neighbours do is their affair."""

from __future__ import annotations

import sqlite3

from services.caller import Context
from services.importer.v1 import importer_pb2 as pb
from services.importer.v1 import importer_pb2_grpc as pb_grpc
from services.participant import Make, Participant, Undo
from services.refusal import bad_field, require

SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
  id         TEXT PRIMARY KEY,  -- the thing's
  import_id  TEXT NOT NULL,
  name       TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rows_by_name ON rows (import_id, name);
"""


class Catalogue(pb_grpc.CatalogueServicer):
    """importer.v1.Catalogue."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Insert(self, request: pb.InsertRequest, context: Context) -> pb.InsertResponse:
        require(request, "import_id")
        require(request.row, "row_id", "name")
        if request.row.price_cents < 0:
            raise bad_field("row.price_cents", f"is {request.row.price_cents}: nobody is paid for taking it")
        call = Make(
            method="Insert",
            request=request,
            report_id=request.row.row_id,
            reply_type=pb.InsertResponse,
            act=lambda db, record_id: insert(db, record_id, request),
        )
        return await self._participant.make(call, context)

    async def Remove(self, request: pb.RemoveRequest, context: Context) -> pb.RemoveResponse:
        call = Undo(
            method="Remove",
            undoes="Insert",
            request=request,
            report_id=request.row_id,
            reply_with=lambda count: pb.RemoveResponse(removed=count),
        )
        return await self._participant.undo(call, context)

    async def Count(self, request: pb.CountRequest, context: Context) -> pb.CountResponse:
        return pb.CountResponse(rows=await self._participant.ask(lambda db: count(db, request.import_id)))


def insert(db: sqlite3.Connection, record_id: str, request: pb.InsertRequest) -> pb.InsertResponse:
    """Write the row."""
    db.execute("INSERT INTO rows VALUES (?, ?, ?)", (record_id, request.import_id, request.row.name))
    return pb.InsertResponse(record_id=record_id)


def count(db: sqlite3.Connection, import_id: str) -> int:
    """How many rows of an import are live."""
    query = "SELECT COUNT(*) FROM rows JOIN things USING (id) WHERE import_id = ? AND undone_at IS NULL"
    return int(db.execute(query, (import_id,)).fetchone()[0])
