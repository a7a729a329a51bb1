"""The example `order`: undone before the money is taken, fulfilled after, and never guessed about in between."""

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from services.shop.v1 import shop_pb2 as pb
from services.shop.v1 import shop_pb2_grpc as pb_grpc
from tests.integration.services.running import reason_of
from tests.kit.examples import ORDER, Stage, judged_stage
from tests.kit.mesh import channel

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with judged_stage(tmp_path_factory.mktemp("order"), ORDER) as stage:
        yield stage


def order(order_id: str, sku: str = "book", quantity: int = 2, card_number: str = "4242424242424242") -> pb.Order:
    return pb.Order(
        order_id=order_id,
        email="ada@example.com",
        sku=sku,
        quantity=quantity,
        amount_cents=3_998,
        card_number=card_number,
    )


async def captured(stage: Stage, order_id: str) -> str:
    """The capture that the books have; "" where they have none."""
    async with channel(stage.address("payments")) as connection:
        reply = await pb_grpc.PaymentsStub(connection).FindCapture(pb.FindCaptureRequest(order_id=order_id))
    return str(reply.capture.capture_id)


async def test_an_order_is_reserved_paid_and_sent(stage: Stage) -> None:
    told = await stage.run("O-paid", order("O-paid"))
    assert told.status == "COMPLETED"
    assert stage.effects("O-paid")[:3] == ["Reserve", "Authorise", "Capture"]
    assert set(stage.effects("O-paid")[3:]) == {"Ship", "SendReceipt"}
    assert told.output["capture_id"] == await captured(stage, "O-paid")
    assert told.output["tracking_id"]


async def test_nothing_is_undone_where_nothing_was_free(stage: Stage) -> None:
    told = await stage.run("O-short", order("O-short", sku="lamp", quantity=6))
    assert told.status == "COMPENSATED"
    assert told.why == "6 of lamp are wanted and 5 are free; nothing was reserved"
    assert stage.effects("O-short") == []


async def test_a_declined_card_gives_the_goods_back(stage: Stage) -> None:
    told = await stage.run("O-declined", order("O-declined", card_number="4000000000000002"))
    assert told.status == "COMPENSATED"
    assert told.why.startswith("the bank declined the card")
    assert stage.effects("O-declined") == ["Reserve", "Release"]


async def test_a_capture_whose_answer_was_lost_is_found_in_the_books(stage: Stage) -> None:
    await stage.set_fault("payments", method="Capture", reportId="O-lost", dropReply={})
    told = await stage.run("O-lost", order("O-lost"))
    assert told.status == "COMPLETED"
    assert stage.effects("O-lost").count("Capture") == 1
    assert told.output["capture_id"] == await captured(stage, "O-lost") != ""


async def test_a_capture_that_the_books_do_not_have_is_undone(stage: Stage) -> None:
    await stage.set_fault("payments", method="Capture", reportId="O-never", status={"code": 14})
    told = await stage.run("O-never", order("O-never"))
    assert told.status == "COMPENSATED"
    assert stage.effects("O-never") == ["Reserve", "Authorise", "Void", "Release"]
    assert await captured(stage, "O-never") == ""


async def test_a_paid_order_is_sent_however_long_it_takes_and_cannot_be_cancelled(stage: Stage) -> None:
    await stage.set_fault("shipping", method="Ship", reportId="O-slow", status={"code": 14})
    await stage.start("O-slow", order("O-slow"))
    await stage.counted("shipping", "Ship", lambda stats: stats.faulted >= 3)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stage.cancel("O-slow")
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refused.value) == "PAST_PIVOT"
    await stage.clear_faults("shipping")
    told = await stage.ended("O-slow")
    assert told.status == "COMPLETED"
    assert stage.effects("O-slow").count("Ship") == 1
