"""Runs the published test vectors of the participant's barrier against a box office, over gRPC as a saga would call it.

What is run knows the server by its address and its reflected types alone, so it may be written in anything.
"""

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from tests.kit import theatre

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs/participants/vectors.json").read_text(encoding="utf-8")
)["vectors"]
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
SEATS = {"ordinary": 2, "other": 3, "refused": theatre.SEATS_MAX + 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    code: str
    reason: str = ""
    reply: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """Plays vectors, each with keys, a saga and a client of its own."""

    channel: aio.Channel
    run: str = field(default_factory=lambda: uuid.uuid4().hex)  # noqa: TID251  (a test's own luck)

    async def play(self, vector: dict[str, Any]) -> None:
        replies: list[bytes | None] = []
        for at, call in enumerate(vector["calls"]):
            expect = call["expect"]
            where = f"{vector['name']}, call {at}: {call}"
            seen = await asyncio.gather(*(self._call(call) for _ in range(call.get("times", 1))))
            good = [each for each in seen if each.code == expect["code"]]
            assert good, f"{where}: {seen}"
            assert all(each.code in {expect["code"], *expect.get("or", ())} for each in seen), f"{where}: {seen}"
            if "reason" in expect:
                assert {each.reason for each in good} == {expect["reason"]}, where
            assert len({each.reply for each in good}) == 1, f"{where}: replies differ: {good}"
            replies.append(good[0].reply)
            if "same_reply_as" in expect:
                assert replies[-1] == replies[expect["same_reply_as"]], where
            assert await self._effects() == expect["effects"], where

    async def _call(self, call: dict[str, Any]) -> Seen:
        if call["op"] == "forward":
            request = theatre.ReserveRequest(client=self.run, seats=SEATS[call.get("request", "ordinary")])
            return await self._send("Reserve", request, self._metadata(call))
        return await self._send("Release", theatre.ReleaseRequest(client=self.run), self._metadata(call))

    def _metadata(self, call: dict[str, Any]) -> tuple[tuple[str, str], ...]:
        not_after = f"{time.time() + call.get('not_after_s', 60):.3f}"  # noqa: TID251  (what a caller's clock says)
        pairs = [
            ("idempotency-key", f"{self.run}-{call['key']}"),
            ("saga-id", self.run),
            ("saga-step", "reserve"),
            ("saga-op", call["op"]),
            ("saga-attempt", "1"),
            ("saga-not-after", not_after),
        ]
        if "forward_key" in call:
            pairs.append(("saga-forward-key", f"{self.run}-{call['forward_key']}"))
        return tuple(pairs)

    async def _send(self, method: str, request: Message, metadata: tuple[tuple[str, str], ...]) -> Seen:
        send: Any = self.channel.unary_unary(f"/{theatre.SERVICE}/{method}")
        try:
            reply = await send(request.SerializeToString(), metadata=metadata, timeout=20)
        except aio.AioRpcError as error:
            return Seen(code=error.code().name, reason=reason_of(error))
        return Seen(code="OK", reply=reply)

    async def _effects(self) -> int:
        send: Any = self.channel.unary_unary(
            f"/{theatre.SERVICE}/List", response_deserializer=theatre.ListReply.FromString
        )
        reply = await send(theatre.ListRequest(client=self.run).SerializeToString(), timeout=20)
        return len(reply.reservations)


def reason_of(error: aio.AioRpcError) -> str:
    """ErrorInfo's reason, read from what stands on the wire."""
    data = next((value for key, value in error.trailing_metadata() or () if key == "grpc-status-details-bin"), b"")
    assert isinstance(data, bytes)
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(data).details:
        if detail.Unpack(info):
            return str(info.reason)
    return ""


async def play(address: str, vector: dict[str, Any]) -> None:
    async with aio.insecure_channel(address) as channel:
        await Player(channel=channel).play(vector)
