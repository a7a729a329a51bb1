"""Every method of the worked examples' services that can be undone, with its undo, for the tests of the contract."""

from collections.abc import Callable

from google.protobuf import message

from services.bank.v1 import bank_pb2 as bank
from services.bank.v1 import bank_pb2_grpc as bank_grpc
from services.expenses.v1 import expenses_pb2 as expenses
from services.expenses.v1 import expenses_pb2_grpc as expenses_grpc
from services.importer.v1 import importer_pb2 as importer
from services.importer.v1 import importer_pb2_grpc as importer_grpc
from services.shop.v1 import shop_pb2 as shop
from services.shop.v1 import shop_pb2_grpc as shop_grpc
from services.travel.v1 import travel_pb2 as travel
from services.travel.v1 import travel_pb2_grpc as travel_grpc
from tests.integration.services.running import Pair


def by(message_type: Callable[..., message.Message], key: str) -> Callable[..., message.Message]:
    """The undo's request: the examples undo by business key alone, so an id from a reply is left out."""

    def build(*, thing_id: str = "", report_id: str = "") -> message.Message:
        del thing_id
        return message_type(**{key: report_id})

    return build


EXAMPLES = (
    Pair(
        program="shop",
        service="stock",
        make="Reserve",
        undo="Release",
        stub=shop_grpc.StockStub,
        request=lambda order_id: shop.ReserveRequest(order_id=order_id, sku="book", quantity=2),
        undo_request=by(shop.ReleaseRequest, "order_id"),
        id_of=lambda reply: str(reply.reservation_id),
        count_of=lambda reply: int(reply.released),
    ),
    Pair(
        program="shop",
        service="payments",
        make="Authorise",
        undo="Void",
        stub=shop_grpc.PaymentsStub,
        request=lambda order_id: shop.AuthoriseRequest(
            order_id=order_id, amount_cents=1_999, card_number="4242424242424242"
        ),
        undo_request=by(shop.VoidRequest, "order_id"),
        id_of=lambda reply: str(reply.authorisation_id),
        count_of=lambda reply: int(reply.voided),
    ),
    Pair(
        program="travel.reservations",
        service="reservations",
        make="Hold",
        undo="Release",
        stub=travel_grpc.ReservationsStub,
        request=lambda trip_id: travel.HoldRequest(trip_id=trip_id, traveller="ada", code="flight/BER-LIS"),
        undo_request=by(travel.ReleaseRequest, "trip_id"),
        id_of=lambda reply: str(reply.hold_id),
        count_of=lambda reply: int(reply.released),
    ),
    Pair(
        program="bank",
        service="accounts",
        make="Debit",
        undo="Reverse",
        stub=bank_grpc.AccountsStub,
        request=lambda transfer_id: bank.DebitRequest(transfer_id=transfer_id, account="alice", amount_cents=500),
        undo_request=by(bank.ReverseRequest, "transfer_id"),
        id_of=lambda reply: str(reply.entry_id),
        count_of=lambda reply: int(reply.reversed),
    ),
    Pair(
        program="bank",
        service="screening",
        make="OpenCase",
        undo="CloseCase",
        stub=bank_grpc.ScreeningStub,
        request=lambda transfer_id: bank.OpenCaseRequest(transfer_id=transfer_id),
        undo_request=by(bank.CloseCaseRequest, "transfer_id"),
        id_of=lambda reply: str(reply.case_id),
        count_of=lambda reply: int(reply.closed),
    ),
    Pair(
        program="bank",
        service="screening",
        make="Review",
        undo="WithdrawReview",
        stub=bank_grpc.ScreeningStub,
        request=lambda transfer_id: bank.ReviewRequest(
            transfer=bank.Transfer(transfer_id=transfer_id, source="alice", destination="casino", amount_cents=500)
        ),
        undo_request=by(bank.WithdrawReviewRequest, "transfer_id"),
        id_of=lambda reply: str(reply.review_id),
        count_of=lambda reply: int(reply.withdrawn),
    ),
    Pair(
        program="expenses",
        service="claims",
        make="Submit",
        undo="Withdraw",
        stub=expenses_grpc.ClaimsStub,
        request=lambda claim_id: expenses.SubmitRequest(
            claim_id=claim_id, claimant="cleo", amount_cents=4_200, purpose="train"
        ),
        undo_request=by(expenses.WithdrawRequest, "claim_id"),
        id_of=lambda reply: str(reply.receipt_id),
        count_of=lambda reply: int(reply.withdrawn),
    ),
    Pair(
        program="importer",
        service="importer",
        make="Insert",
        undo="Remove",
        stub=importer_grpc.CatalogueStub,
        request=lambda row_id: importer.InsertRequest(
            import_id="I1", row=importer.Row(row_id=row_id, name="blue lamp", price_cents=4_500)
        ),
        undo_request=by(importer.RemoveRequest, "row_id"),
        id_of=lambda reply: str(reply.record_id),
        count_of=lambda reply: int(reply.removed),
    ),
)
