"""Shipping: what leaves the house. A parcel on its way and a mail that was sent cannot be called back.

Neither ever says no to an order that was paid; it may only take them a while. That is what a *retriable* step asks for.
"""

from __future__ import annotations

from pathlib import Path

import grpc

from services.caller import Context
from services.participant import Make, Participant
from services.refusal import require
from services.shop.v1 import shop_pb2 as pb
from services.shop.v1 import shop_pb2_grpc as pb_grpc
from services.tally import Tally


class Shipping(pb_grpc.ShippingServicer):
    """shop.v1.Shipping."""

    def __init__(self, participant: Participant) -> None:
        self._participant = participant

    async def Ship(self, request: pb.ShipRequest, context: Context) -> pb.ShipResponse:
        require(request, "order_id", "sku", "quantity")
        call = Make(
            method="Ship",
            request=request,
            report_id=request.order_id,
            reply_type=pb.ShipResponse,
            act=lambda _db, tracking_id: pb.ShipResponse(tracking_id=tracking_id),
        )
        return await self._participant.make(call, context)

    async def SendReceipt(self, request: pb.SendReceiptRequest, context: Context) -> pb.SendReceiptResponse:
        require(request, "order_id", "email", "capture_id")
        call = Make(
            method="SendReceipt",
            request=request,
            report_id=request.order_id,
            reply_type=pb.SendReceiptResponse,
            act=lambda _db, mail_id: pb.SendReceiptResponse(mail_id=mail_id),
        )
        return await self._participant.make(call, context)


def register(server: grpc.aio.Server, data: Path, tallies: dict[str, Tally]) -> Participant:
    """Open the outbox and serve it."""
    participant = Participant(folder=data, service="shipping", prefix="out", tallies=tallies)
    pb_grpc.add_ShippingServicer_to_server(Shipping(participant), server)
    return participant
