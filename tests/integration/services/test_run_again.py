"""A step that a person runs again as new has a new key: to the services it is another call."""

from pathlib import Path

import grpc
import pytest

from services.epro.v1 import archive_service_pb2 as pb
from services.epro.v1 import archive_service_pb2_grpc as rpc
from services.epro.v1 import report_pb2
from tests.integration.services.running import Running, reason_of, sent_by


def test_a_demo_step_that_is_run_again_under_a_new_key_is_another_call(tmp_path: Path) -> None:
    request = pb.StoreRequest(report=report_pb2.Report(report_id="R1"))
    undone = sent_by("C1", "S/store", "compensate", {"saga-forward-key": "F1"})
    with Running("archive", tmp_path) as running:
        archive = rpc.ArchiveStub(running.channel)
        archive.Store(request, metadata=sent_by("F1", "S/store", "forward", {}))
        archive.Withdraw(pb.WithdrawRequest(), metadata=undone)
        assert archive.Store(request, metadata=sent_by("F2", "S/store", "forward", {})).record_id
        archive.Withdraw(pb.WithdrawRequest(), metadata=sent_by("C9", "S/store", "compensate", {}))
        with pytest.raises(grpc.RpcError) as refused:
            archive.Store(request, metadata=sent_by("F3", "S/store", "forward", {}))
        assert reason_of(refused.value) == "SAGA_STEP_ALREADY_COMPENSATED", "an undo without a key forbids the step"
