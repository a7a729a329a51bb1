"""Words of a service reach the terminal as words: they forge no line and move no cursor."""

import pytest
from google.protobuf.struct_pb2 import Value

from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga

EVIL = "no\nstatus      COMPLETED\r\x1b[2J\x1b]0;title\x07\x9b2J\u202egood"


@pytest.mark.parametrize(
    "command", [("get", "R-1"), ("list",), ("history", "R-1"), ("trace", "R-1"), ("watch", "R-1")], ids=lambda c: c[0]
)
def test_what_a_service_says_forges_no_line(server: FakeServer, saga: Saga, command: tuple[str, ...]) -> None:
    failed = pb.Saga(
        saga_id="R-1",
        status=pb.SAGA_STATUS_COMPENSATED,
        cause=pb.SagaCause(step="score", message=EVIL),
        attributes={"patient": Value(string_value=EVIL)},
        steps=[pb.SagaStep(step="score", status=pb.STEP_STATUS_NOT_APPLIED, message=EVIL)],
    )
    event = pb.SagaEvent(sequence=1, type="CompensationBegan", summary=f"going backward: {EVIL}", step="score")
    server.answer("GetSaga", rpc.GetSagaResponse(saga=failed))
    server.answer("ListSagas", rpc.ListSagasResponse(sagas=[failed]))
    server.answer("ListSagaEvents", rpc.ListSagaEventsResponse(events=[event]))
    server.answer("WatchSaga", lambda _request, _context: iter([rpc.WatchSagaResponse(event=event)]))
    ended = saga(*command)
    assert ended.code == 0
    assert r"no\nstatus" in ended.out
    assert not any(line.lstrip().startswith("status      COMPLETED") for line in ended.out.splitlines())
    assert all(char.isprintable() or char == "\n" for char in ended.out)
