"""Services that were written without the kit: the demo's, held against the same rules."""

import asyncio
from pathlib import Path

import grpc
import pytest

from orchestrator.bootstrap import SystemClock
from orchestrator.invoker import TargetConfig
from orchestrator.proving import RULES, Asked, prove
from services.epro.v1 import archive_service_pb2 as pb
from services.epro.v1 import archive_service_pb2_grpc as rpc
from services.epro.v1 import report_pb2
from tests.integration.services.running import Running, reason_of, sent_by

DEMO = {
    "archive": Asked(
        forward="epro.v1.Archive/Store",
        compensate="epro.v1.Archive/Withdraw",
        request={"report": {"report_id": "R-{unique}"}},
        undo_request={"record_id": "{reply.record_id}", "report_id": "{request.report.report_id}"},
    ),
    "safety": Asked(
        forward="epro.v1.Safety/OpenAdverseEvent",
        compensate="epro.v1.Safety/VoidAdverseEvent",
        request={"report_id": "R-{unique}", "patient_id": "P1", "site": "DE-01", "score": 12},
        undo_request={"event_id": "{reply.event_id}"},
    ),
    "notifier": Asked(
        forward="epro.v1.Notifier/SendAlert",
        compensate="epro.v1.Notifier/RecallAlert",
        request={"report_id": "R-{unique}", "patient_id": "P1", "text": "PHQ-9 total 12"},
        undo_request={},
    ),
}


@pytest.mark.parametrize("service", DEMO)
async def test_the_demos_services_keep_every_rule_that_replies_can_show(service: str, tmp_path: Path) -> None:
    with await asyncio.to_thread(Running, service, tmp_path) as running:
        target = TargetConfig(name=service, address=running.address)
        report = await prove(target, DEMO[service], SystemClock(), timeout_s=5, parallel=8)
    found = {finding.rule: str(finding.verdict) for finding in report.findings}
    blind = dict.fromkeys(("cut", "slow", "undo"), "NOT_JUDGED")
    assert found == {**dict.fromkeys(RULES, "HOLDS"), **blind}
    made = sum(entry.effect for entry in running.ledger() if entry.op == "forward")
    undone = sum(entry.effect for entry in running.ledger() if entry.op == "compensate")
    assert made == undone > len(RULES), "what was done for the sake of the proof is undone"


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
