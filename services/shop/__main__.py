"""Serve the shop."""

import sys
from contextlib import ExitStack
from pathlib import Path

import grpc

from services.server import Program, main
from services.shop import payments, shipping, stock
from services.shop.v1 import shop_pb2 as pb
from services.tally import Tally


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> ExitStack:
    """Open the files of the three and serve them."""
    files = ExitStack()
    for each in (stock, payments, shipping):
        files.callback(each.register(server, data, tallies).close)
    return files


PROGRAM = Program(
    name="shop", owner="demo", descriptors=tuple(pb.DESCRIPTOR.services_by_name.values()), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
