"""Validator: may this report enter the study's data?

`python -m services.validator --data DIR`

Keeps nothing. Its "no" is an OK reply with `valid` false and every problem at once, so that the site can mend them all;
a saga reads that field and counts the step as refused. See `services/reports.py` for the rules.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc

from services import reports
from services.epro.v1 import validator_service_pb2 as pb
from services.epro.v1 import validator_service_pb2_grpc as pb_grpc
from services.server import Program, main
from services.tally import Tally


class Validator(pb_grpc.ValidatorServicer):
    """epro.v1.Validator."""

    async def Validate(
        self, request: pb.ValidateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ValidateResponse:
        problems = reports.problems(request.report)
        return pb.ValidateResponse(valid=not problems, problems=problems)


def register(server: grpc.aio.Server, _data: Path, _tallies: dict[str, Tally]) -> None:
    """Nothing is kept, so the data folder stays as it is."""
    pb_grpc.add_ValidatorServicer_to_server(Validator(), server)


PROGRAM = Program(
    name="validator", owner="epro", descriptors=(pb.DESCRIPTOR.services_by_name["Validator"],), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
