"""Services that were written without the kit: the demo's, held against the same rules."""

import asyncio
from pathlib import Path

import pytest

from orchestrator.bootstrap import SystemClock
from orchestrator.invoker import TargetConfig
from orchestrator.proving import RULES, Asked, prove
from tests.integration.services.running import Running

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

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
