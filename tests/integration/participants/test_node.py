"""A service in another language, written as its team would: a saga drives it, and it never learns of it."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from orchestrator.bootstrap import Node, open_node
from orchestrator.config import Settings
from orchestrator.ids import StepId
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga import SagaState, SagaStatus
from orchestrator.saga.state import StepStatus

HERE = Path(__file__).parent


def settings(hotel: str, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "store": f"sqlite:{folder / 'saga.sqlite'}",
            "targets": {"hotel": {"address": hotel}},
            "definitions": [str(HERE / "stay.yaml")],
        }
    )


async def stay(node: Node, name: str, nights: int) -> SagaState:
    given = JsonInput({"guest": name, "nights": nights})
    await node.orchestrator.start(StartRequest(definition="stay", input=given, saga_id=name))
    return await node.orchestrator.wait(name, Until.TERMINAL, 0, timeout_s=30)


def bookings(hotel: str) -> list[tuple[str, str]]:
    """Booking id and guest as the service itself lists them, told by a client that knows its types by reflection."""
    with grpc.insecure_channel(hotel) as channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        reply_type: Any = GetMessageClass(pool.FindMessageTypeByName("hotel.v1.ListReply"))
        ask: Any = channel.unary_unary("/hotel.v1.Hotel/List", response_deserializer=reply_type.FromString)
        return [(booking.booking_id, booking.guest) for booking in ask(b"", timeout=10).bookings]


@pytest.mark.node
async def test_a_saga_drives_a_service_that_has_never_heard_of_it(hotel: str, tmp_path: Path) -> None:
    async with open_node(settings(hotel, tmp_path), environ={}) as node:
        happy = await stay(node, "ada", nights=2)
        assert happy.status is SagaStatus.COMPLETED, happy.cause
        assert happy.output is not None
        output = node.revisions.to_json(happy.plan, happy.output)
        [(booking_id, guest)] = await asyncio.to_thread(bookings, hotel)
        assert guest == "ada"
        assert output == {"receipt": f"{booking_id}/200"}


@pytest.mark.node
async def test_what_it_did_is_undone_when_it_refuses_the_rest(hotel: str, tmp_path: Path) -> None:
    before = await asyncio.to_thread(bookings, hotel)
    async with open_node(settings(hotel, tmp_path), environ={}) as node:
        refused = await stay(node, "bob", nights=9)
    assert refused.status is SagaStatus.COMPENSATED
    assert refused.cause is not None
    assert (refused.cause.step, refused.cause.code) == ("charge", "FAILED_PRECONDITION")
    assert "900 is over the credit of 500" in refused.cause.message
    book = refused.steps[StepId("book")]
    assert book.status is StepStatus.UNDONE
    assert book.reply is not None, "it was booked"
    assert await asyncio.to_thread(bookings, hotel) == before, "and is no more"
