"""The bank: entries that add up, and exactly one who is responsible for a doubtful transfer."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.bank.v1 import bank_pb2 as pb
from services.bank.v1 import bank_pb2_grpc as pb_grpc
from tests.integration.services.running import Running, reason_of


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Running]:
    with Running("bank", tmp_path) as running:
        yield running


def debit(bank: Running, transfer_id: str, amount_cents: int, account: str = "bob") -> str:
    request = pb.DebitRequest(transfer_id=transfer_id, account=account, amount_cents=amount_cents)
    return str(pb_grpc.AccountsStub(bank.channel).Debit(request).entry_id)


def credit(bank: Running, transfer_id: str, account: str = "carol") -> str:
    request = pb.CreditRequest(transfer_id=transfer_id, account=account, amount_cents=40_000)
    return str(pb_grpc.AccountsStub(bank.channel).Credit(request).entry_id)


def balance(bank: Running, account: str) -> int:
    return int(pb_grpc.AccountsStub(bank.channel).GetBalance(pb.GetBalanceRequest(account=account)).balance_cents)


def transfer(amount_cents: int, destination: str = "carol") -> pb.Transfer:
    return pb.Transfer(transfer_id="T1", source="alice", destination=destination, amount_cents=amount_cents)


def test_a_balance_is_what_is_live_and_a_reversed_debit_is_not(bank: Running) -> None:
    debit(bank, "T1", 60_000)
    assert balance(bank, "bob") == 40_000
    with pytest.raises(grpc.RpcError) as refused:
        debit(bank, "T2", 40_001)
    assert reason_of(refused.value) == "NOT_ENOUGH_MONEY"
    assert pb_grpc.AccountsStub(bank.channel).Reverse(pb.ReverseRequest(transfer_id="T1")).reversed == 1
    assert balance(bank, "bob") == 100_000
    assert debit(bank, "T2", 40_001)


def test_a_transfer_is_credited_once_and_the_books_know_it(bank: Running) -> None:
    accounts = pb_grpc.AccountsStub(bank.channel)
    asked = pb.FindCreditRequest(transfer_id="T1")
    debit(bank, "T1", 40_000)
    assert not accounts.FindCredit(asked).found
    entry_id = credit(bank, "T1")
    with pytest.raises(grpc.RpcError) as again:
        credit(bank, "T1")
    assert (again.value.code(), reason_of(again.value)) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_CREDITED")
    assert accounts.FindCredit(asked).credit.entry_id == entry_id
    assert balance(bank, "carol") == 40_000


@pytest.mark.parametrize(
    ("account", "reason"), [("dave", "ACCOUNT_CLOSED"), ("nobody", "ACCOUNT_UNKNOWN")], ids=["closed", "unknown"]
)
def test_an_account_that_takes_nothing_is_not_credited(bank: Running, account: str, reason: str) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        credit(bank, "T1", account)
    assert reason_of(refused.value) == reason
    assert bank.outcomes() == []


@pytest.mark.parametrize(
    ("amount_cents", "destination", "risk"),
    [
        (499_999, "carol", 0),
        (550_000, "carol", 50),
        (600_000, "carol", 70),
        (500, "casino", 80),
        (900_000, "casino", 100),
    ],
)
def test_the_risk_adds_up(bank: Running, amount_cents: int, destination: str, risk: int) -> None:
    request = pb.AssessRequest(transfer=transfer(amount_cents, destination))
    answer = pb_grpc.ScreeningStub(bank.channel).Assess(request)
    assert answer.risk == risk
    assert bool(answer.signs) == (risk > 0)


def test_a_person_reviews_only_what_the_machine_has_let_go(bank: Running) -> None:
    screening = pb_grpc.ScreeningStub(bank.channel)
    request = pb.ReviewRequest(transfer=transfer(600_000))
    screening.OpenCase(pb.OpenCaseRequest(transfer_id="T1"))
    for call in (lambda: screening.Review(request), lambda: screening.OpenCase(pb.OpenCaseRequest(transfer_id="T1"))):
        with pytest.raises(grpc.RpcError) as refused:
            call()
        assert reason_of(refused.value) == "CASE_OPEN"
    screening.CloseCase(pb.CloseCaseRequest(transfer_id="T1"))
    assert screening.Review(request).reviewer


def test_a_reviewer_declines_what_is_too_much(bank: Running) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        pb_grpc.ScreeningStub(bank.channel).Review(pb.ReviewRequest(transfer=transfer(2_000_001)))
    assert reason_of(refused.value) == "REVIEW_DECLINED"
