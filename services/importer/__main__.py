"""Serve the catalogue, its search, and the operations of the search."""

import sys
from contextlib import ExitStack
from pathlib import Path

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc

from services.importer import catalogue, indexing, search
from services.importer.v1 import importer_pb2 as pb
from services.importer.v1 import importer_pb2_grpc as pb_grpc
from services.participant import Participant
from services.server import Program, main
from services.tally import Tally


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> ExitStack:
    """Open the files, go on with what was being built, and serve."""
    schema = catalogue.SCHEMA + indexing.SCHEMA
    participant = Participant(folder=data, service="importer", prefix="im", tallies=tallies, schema=schema)
    indexer = indexing.Indexer(participant)
    pb_grpc.add_CatalogueServicer_to_server(catalogue.Catalogue(participant), server)
    pb_grpc.add_SearchServicer_to_server(search.Search(participant, indexer), server)
    operations_pb2_grpc.add_OperationsServicer_to_server(search.Operations(participant), server)
    files = ExitStack()
    files.callback(participant.close)
    files.callback(indexer.close)
    return files


PROGRAM = Program(
    name="importer",
    owner="demo",
    descriptors=(
        *pb.DESCRIPTOR.services_by_name.values(),
        operations_pb2.DESCRIPTOR.services_by_name["Operations"],
    ),
    register=register,
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
