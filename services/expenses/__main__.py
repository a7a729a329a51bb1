"""Serve the claims' desk and the pay office."""

import sys
from contextlib import ExitStack
from pathlib import Path

import grpc

from services.expenses import claims, payouts
from services.expenses.v1 import expenses_pb2 as pb
from services.server import Program, main
from services.tally import Tally


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> ExitStack:
    """Open the files of both and serve them."""
    files = ExitStack()
    for each in (claims, payouts):
        files.callback(each.register(server, data, tallies).close)
    return files


PROGRAM = Program(
    name="expenses", owner="demo", descriptors=tuple(pb.DESCRIPTOR.services_by_name.values()), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
