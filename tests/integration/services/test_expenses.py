"""Expense claims: who may approve what, and payments that happen once."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.expenses.v1 import expenses_pb2 as pb
from services.expenses.v1 import expenses_pb2_grpc as pb_grpc
from tests.integration.services.running import Running, reason_of


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Running]:
    with Running("expenses", tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("approver", "approved", "amount_cents", "problem"),
    [
        ("lea", True, 100_000, ""),
        ("lea", True, 100_001, "lea may approve up to 100000 cents"),
        ("dora", True, 100_001, ""),
        ("cleo", True, 1, "cleo cannot approve a claim of their own"),
        ("stranger", True, 1, "stranger may approve up to 0 cents"),
        ("lea", False, 1, "lea declined: not again"),
    ],
)
def test_an_approval_counts_when_the_approver_may(
    office: Running, approver: str, approved: bool, amount_cents: int, problem: str
) -> None:
    request = pb.CheckApprovalRequest(
        claim=pb.Claim(claim_id="C1", claimant="cleo", amount_cents=amount_cents, purpose="train"),
        approval=pb.Approval(approver=approver, approved=approved, remark="not again"),
    )
    answer = pb_grpc.ClaimsStub(office.channel).CheckApproval(request)
    assert answer.valid == (not problem)
    assert answer.problem.startswith(problem)


def test_a_claim_is_paid_once_and_the_books_know_it(office: Running) -> None:
    payouts = pb_grpc.PayoutsStub(office.channel)
    request = pb.PayRequest(claim_id="C1", claimant="cleo", amount_cents=4_200)
    asked = pb.FindPaymentRequest(claim_id="C1")
    assert not payouts.FindPayment(asked).found
    payment_id = payouts.Pay(request).payment_id
    with pytest.raises(grpc.RpcError) as again:
        payouts.Pay(request)
    assert (again.value.code(), reason_of(again.value)) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_PAID")
    assert payouts.FindPayment(asked).payment.payment_id == payment_id


def test_nobody_is_paid_without_an_account(office: Running) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        pb_grpc.PayoutsStub(office.channel).Pay(pb.PayRequest(claim_id="C1", claimant="newcomer", amount_cents=1))
    assert reason_of(refused.value) == "NO_BANK_ACCOUNT"
    assert office.outcomes() == []
