"""Scoring: the PHQ-9 total of a report and what it means.

`python -m services.scoring --data DIR`

Keeps nothing. A report that cannot be scored is INVALID_ARGUMENT: whoever asks should have asked the validator first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc

from services import phq9, reports
from services.epro.v1 import report_pb2
from services.epro.v1 import scoring_service_pb2 as pb
from services.epro.v1 import scoring_service_pb2_grpc as pb_grpc
from services.refusal import bad_field
from services.server import Program, main
from services.tally import Tally


class Scoring(pb_grpc.ScoringServicer):
    """epro.v1.Scoring."""

    async def Score(self, request: pb.ScoreRequest, context: grpc.aio.ServicerContext[Any, Any]) -> pb.ScoreResponse:
        if request.report.instrument != report_pb2.INSTRUMENT_PHQ9:
            raise bad_field("report.instrument", "is not INSTRUMENT_PHQ9, the only one scored here")
        try:
            score = phq9.score(reports.answers(request.report))
        except phq9.UnscorableError as exc:
            raise bad_field("report.answers", f"cannot be scored: {exc}") from exc
        return pb.ScoreResponse(
            total=score.total,
            severity=pb.Severity.Value(f"SEVERITY_{score.severity.name}"),
            safety_flag=score.safety_flag,
            prorated=score.prorated,
            answered=score.answered,
        )


def register(server: grpc.aio.Server, _data: Path, _tallies: dict[str, Tally]) -> None:
    """Nothing is kept, so the data folder stays as it is."""
    pb_grpc.add_ScoringServicer_to_server(Scoring(), server)


PROGRAM = Program(
    name="scoring", owner="epro", descriptors=(pb.DESCRIPTOR.services_by_name["Scoring"],), register=register
)

if __name__ == "__main__":
    sys.exit(main(PROGRAM))
