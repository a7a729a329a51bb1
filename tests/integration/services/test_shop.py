"""The shop: goods that are promised once, money that is taken once, and books that can be asked."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.shop.v1 import shop_pb2 as pb
from services.shop.v1 import shop_pb2_grpc as pb_grpc
from tests.integration.services.running import Running, reason_of, sent_by

CARD = "4242424242424242"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Running]:
    with Running("shop", tmp_path) as running:
        yield running


def reserve(shop: Running, order_id: str, quantity: int = 1, sku: str = "lamp") -> str:
    request = pb.ReserveRequest(order_id=order_id, sku=sku, quantity=quantity)
    return str(pb_grpc.StockStub(shop.channel).Reserve(request).reservation_id)


def free(shop: Running, sku: str = "lamp") -> int:
    return int(pb_grpc.StockStub(shop.channel).GetFree(pb.GetFreeRequest(sku=sku)).free)


def authorise(shop: Running, order_id: str, card_number: str = CARD) -> str:
    request = pb.AuthoriseRequest(order_id=order_id, amount_cents=4_500, card_number=card_number)
    return str(pb_grpc.PaymentsStub(shop.channel).Authorise(request).authorisation_id)


def test_goods_are_promised_to_one_order_and_free_again_when_it_is_undone(shop: Running) -> None:
    reserve(shop, "O1", 4)
    with pytest.raises(grpc.RpcError) as refused:
        reserve(shop, "O2", 2)
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK")
    assert free(shop) == 1
    assert pb_grpc.StockStub(shop.channel).Release(pb.ReleaseRequest(order_id="O1")).released == 1
    assert free(shop) == 5
    assert reserve(shop, "O2", 2)


def test_a_sku_that_nobody_sells_is_not_found(shop: Running) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        reserve(shop, "O1", sku="unicorn")
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.NOT_FOUND, "SKU_UNKNOWN")


def test_a_declined_card_leaves_nothing_behind(shop: Running) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        authorise(shop, "O1", "4000000000000002")
    assert reason_of(refused.value) == "CARD_DECLINED"
    assert shop.outcomes() == []


def test_money_is_taken_once_whatever_the_key_and_never_without_an_authorisation(shop: Running) -> None:
    payments = pb_grpc.PaymentsStub(shop.channel)
    request = pb.CaptureRequest(order_id="O1", authorisation_id=authorise(shop, "O1"))
    taken = payments.Capture(request, metadata=sent_by("k1", "s/capture", "forward", {}))
    assert taken.amount_cents == 4_500
    assert payments.Capture(request, metadata=sent_by("k1", "s/capture", "forward", {})) == taken
    with pytest.raises(grpc.RpcError) as again:
        payments.Capture(request, metadata=sent_by("k2", "s/capture", "forward", {}))
    assert (again.value.code(), reason_of(again.value)) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_CAPTURED")
    with pytest.raises(grpc.RpcError) as stranger:
        payments.Capture(pb.CaptureRequest(order_id="O2", authorisation_id=request.authorisation_id))
    assert reason_of(stranger.value) == "NOT_AUTHORISED"


def test_a_voided_authorisation_cannot_be_captured_nor_a_captured_one_voided(shop: Running) -> None:
    payments = pb_grpc.PaymentsStub(shop.channel)
    authorisation_id = authorise(shop, "O1")
    assert payments.Void(pb.VoidRequest(order_id="O1")).voided == 1
    with pytest.raises(grpc.RpcError) as gone:
        payments.Capture(pb.CaptureRequest(order_id="O1", authorisation_id=authorisation_id))
    assert reason_of(gone.value) == "NOT_AUTHORISED"
    payments.Capture(pb.CaptureRequest(order_id="O2", authorisation_id=authorise(shop, "O2")))
    with pytest.raises(grpc.RpcError) as taken:
        payments.Void(pb.VoidRequest(order_id="O2"))
    assert (taken.value.code(), reason_of(taken.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_CAPTURED")


def test_the_books_tell_whether_money_was_taken_when_the_answer_was_lost(shop: Running) -> None:
    payments = pb_grpc.PaymentsStub(shop.channel)
    asked = pb.FindCaptureRequest(order_id="O1")
    request = pb.CaptureRequest(order_id="O1", authorisation_id=authorise(shop, "O1"))
    assert not payments.FindCapture(asked).found
    shop.set_fault(method="Capture", dropReply={})
    with pytest.raises(grpc.RpcError) as lost:
        payments.Capture(request)
    assert lost.value.code() is grpc.StatusCode.UNAVAILABLE
    found = payments.FindCapture(asked)
    assert (found.found, found.capture.amount_cents) == (True, 4_500)
    assert found.capture.capture_id


def test_a_fault_finds_its_call_by_the_order(shop: Running) -> None:
    shop.set_fault(method="Reserve", reportId="O2", refuse={})
    assert reserve(shop, "O1")
    with pytest.raises(grpc.RpcError) as refused:
        reserve(shop, "O2")
    assert reason_of(refused.value) == "REFUSED_BY_FAULT"


def test_a_parcel_and_a_receipt_leave_once(shop: Running) -> None:
    shipping = pb_grpc.ShippingStub(shop.channel)
    parcel = pb.ShipRequest(order_id="O1", sku="lamp", quantity=1)
    receipt = pb.SendReceiptRequest(order_id="O1", email="ada@example.com", capture_id="pay-1")
    for _ in range(2):
        assert shipping.Ship(parcel, metadata=sent_by("k1", "s/ship", "forward", {})).tracking_id
        assert shipping.SendReceipt(receipt, metadata=sent_by("k2", "s/receipt", "forward", {})).mail_id
    assert shop.outcomes() == [
        ("Ship", 1, "applied"),
        ("SendReceipt", 1, "applied"),
        ("Ship", 0, "replayed"),
        ("SendReceipt", 0, "replayed"),
    ]
