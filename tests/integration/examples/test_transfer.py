"""The example `transfer`: a check that fails is undone alone, and money is never in two places."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.bank.v1 import bank_pb2 as pb
from services.bank.v1 import bank_pb2_grpc as pb_grpc
from tests.kit.examples import TRANSFER, Stage, judged_stage
from tests.kit.mesh import channel

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with judged_stage(tmp_path_factory.mktemp("transfer"), TRANSFER) as stage:
        yield stage


def transfer(transfer_id: str, amount_cents: int, destination: str = "carol") -> pb.Transfer:
    return pb.Transfer(transfer_id=transfer_id, source="alice", destination=destination, amount_cents=amount_cents)


async def balance(stage: Stage, account: str) -> int:
    async with channel(stage.address("accounts")) as connection:
        reply = await pb_grpc.AccountsStub(connection).GetBalance(pb.GetBalanceRequest(account=account))
    return int(reply.balance_cents)


async def test_a_harmless_transfer_is_let_pass_by_the_machine(stage: Stage) -> None:
    before = await balance(stage, "carol")
    told = await stage.run("X-small", transfer("X-small", 12_345))
    assert told.status == "COMPLETED"
    assert stage.effects("X-small") == ["Debit", "OpenCase", "Credit", "SendStatement"]
    assert await balance(stage, "carol") == before + 12_345


async def test_a_doubtful_transfer_is_reviewed_by_a_person_once_its_case_is_closed(stage: Stage) -> None:
    told = await stage.run("X-casino", transfer("X-casino", 50_001, "casino"))
    assert told.status == "COMPLETED"
    assert stage.effects("X-casino") == ["Debit", "OpenCase", "CloseCase", "Review", "Credit", "SendStatement"]
    assert (told.steps["fraud_check"], told.steps["open_case"], told.steps["review"]) == (
        "APPLIED",
        "UNDONE",
        "APPLIED",
    )
    assert set(stage.standing("X-casino")) == {"debit", "review", "credit", "statement"}


async def test_a_declined_transfer_gives_the_money_back(stage: Stage) -> None:
    before = await balance(stage, "alice")
    told = await stage.run("X-large", transfer("X-large", 2_500_001, "casino"))
    assert told.status == "COMPENSATED"
    assert "did not let transfer X-large" in told.why
    assert stage.effects("X-large") == ["Debit", "OpenCase", "CloseCase", "Reverse"]
    assert await balance(stage, "alice") == before


async def test_a_closed_destination_undoes_the_check_before_the_debit(stage: Stage) -> None:
    told = await stage.run("X-closed", transfer("X-closed", 12_345, "dave"))
    assert told.status == "COMPENSATED"
    assert told.why == "the account dave is closed; nothing was changed"
    assert stage.effects("X-closed") == ["Debit", "OpenCase", "CloseCase", "Reverse"]


async def test_a_credit_whose_answer_was_lost_is_found_in_the_books(stage: Stage) -> None:
    await stage.set_fault("accounts", method="Credit", reportId="X-lost", dropReply={"neverAnswer": True})
    before = await balance(stage, "carol")
    told = await stage.run("X-lost", transfer("X-lost", 777))
    assert told.status == "COMPLETED"
    assert told.output["entry_id"]
    assert await balance(stage, "carol") == before + 777


async def test_a_credit_that_the_books_do_not_have_gives_the_money_back(stage: Stage) -> None:
    await stage.set_fault("accounts", method="Credit", reportId="X-never", status={"code": 14})
    before = await balance(stage, "alice")
    told = await stage.run("X-never", transfer("X-never", 778))
    assert told.status == "COMPENSATED"
    assert await balance(stage, "alice") == before
    assert stage.standing("X-never") == {}
