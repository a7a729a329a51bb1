"""The example `approval`: a saga that waits for people, for as long as it was told to."""

from collections.abc import AsyncIterator
from uuid import NAMESPACE_OID, uuid5

import pytest
import pytest_asyncio

from orchestrator.v1.saga_service_pb2 import SignalSagaRequest, SignalWithStartRequest, StartSagaRequest
from services.expenses.v1 import expenses_pb2 as pb
from tests.kit.examples import APPROVAL, CALL_S, Stage, judged_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")

HURRIED = {"timeout: 1d": "timeout: 2s", "timeout: 2d": "timeout: 10s", "sleep: 1h": "sleep: 100ms"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with judged_stage(tmp_path_factory.mktemp("hasty"), APPROVAL, HURRIED) as stage:
        yield stage


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def patient(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with judged_stage(tmp_path_factory.mktemp("patient"), APPROVAL) as stage:
        yield stage


def claim(claim_id: str, amount_cents: int = 4_200) -> pb.Claim:
    return pb.Claim(claim_id=claim_id, claimant="cleo", amount_cents=amount_cents, purpose="a train to Lisbon")


def decision(claim_id: str, approver: str, *, approved: bool = True) -> SignalSagaRequest:
    request = SignalSagaRequest(signal="decision", request_id=str(uuid5(NAMESPACE_OID, f"{claim_id} by {approver}")))
    request.typed.Pack(pb.Approval(approver=approver, approved=approved, remark="too dear"))
    return request


async def decide(stage: Stage, claim_id: str, approver: str, *, approved: bool = True) -> None:
    """Send the decision, twice, as a caller does who is not sure that it arrived."""
    request = decision(claim_id, approver, approved=approved)
    request.saga_id = claim_id
    for _ in range(2):
        await stage.sagas.SignalSaga(request, timeout=CALL_S)


async def test_a_claim_that_comes_with_its_approval_is_paid(hasty: Stage) -> None:
    start = StartSagaRequest(saga_id="C-paid", definition="approval")
    start.typed.Pack(claim("C-paid"))
    request = SignalWithStartRequest(start=start, signal=decision("C-paid", "lea"))
    await hasty.sagas.SignalWithStart(request, timeout=CALL_S)
    told = await hasty.ended("C-paid")
    assert told.status == "COMPLETED"
    assert told.output["escalated"] is False
    assert hasty.effects("C-paid") == ["Submit", "Pay", "Notify"]


async def test_a_claim_that_nobody_looks_at_is_escalated_and_the_late_decision_counts(hasty: Stage) -> None:
    await hasty.start("C-late", claim("C-late", 200_000))
    await hasty.until("C-late", lambda told: told.steps["escalate"] == "APPLIED")
    await decide(hasty, "C-late", "dora")
    told = await hasty.ended("C-late")
    assert told.status == "COMPLETED"
    assert told.output["escalated"] is True
    assert hasty.effects("C-late") == ["Submit", "Escalate", "Pay", "Notify"]


async def test_a_claim_that_nobody_ever_decides_is_withdrawn(hasty: Stage) -> None:
    told = await hasty.run("C-forgotten", claim("C-forgotten"))
    assert told.status == "COMPENSATED"
    assert hasty.effects("C-forgotten") == ["Submit", "Escalate", "Withdraw"]


async def test_a_payment_whose_answer_was_lost_is_found_in_the_books(hasty: Stage) -> None:
    await hasty.set_fault("payouts", method="Pay", reportId="C-lost", dropReply={})
    await hasty.start("C-lost", claim("C-lost"))
    await decide(hasty, "C-lost", "lea")
    told = await hasty.ended("C-lost")
    assert told.status == "COMPLETED"
    assert told.output["payment_id"]
    assert hasty.effects("C-lost").count("Pay") == 1


@pytest.mark.parametrize(
    ("name", "approver", "approved", "why"),
    [
        ("C-declined", "lea", False, "lea declined: too dear"),
        ("C-too-much", "lea", True, "lea may approve up to 100000 cents"),
        ("C-own", "cleo", True, "cleo cannot approve a claim of their own"),
    ],
)
async def test_a_decision_that_does_not_count_withdraws_the_claim(
    patient: Stage, name: str, approver: str, approved: bool, why: str
) -> None:
    await patient.start(name, claim(name, 200_000))
    await decide(patient, name, approver, approved=approved)
    told = await patient.ended(name)
    assert told.status == "COMPENSATED"
    assert why in told.why
    assert patient.effects(name) == ["Submit", "Withdraw"]


async def test_a_claim_can_be_cancelled_while_its_saga_sleeps(patient: Stage) -> None:
    await patient.start("C-regretted", claim("C-regretted"))
    await decide(patient, "C-regretted", "lea")
    await patient.until("C-regretted", lambda told: told.steps["check"] == "APPLIED")
    await patient.cancel("C-regretted")
    told = await patient.ended("C-regretted")
    assert told.status == "COMPENSATED"
    assert patient.effects("C-regretted") == ["Submit", "Withdraw"]


async def test_a_saga_that_waits_goes_on_after_a_kill(patient: Stage) -> None:
    await patient.start("C-killed", claim("C-killed", 200_000))
    await patient.until("C-killed", lambda told: told.steps["submit"] == "APPLIED")
    await patient.orchestrator.kill()
    await patient.orchestrator.start()
    await decide(patient, "C-killed", "lea", approved=False)
    told = await patient.ended("C-killed")
    assert told.status == "COMPENSATED"
    assert patient.effects("C-killed") == ["Submit", "Withdraw"]
