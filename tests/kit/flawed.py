"""A box office in memory that keeps every promise, and one for each way to break one of them.

Each flaw is what a real service does who overlooked one thing; all else of it is right.
"""

import asyncio
import collections
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from orchestrator.participant import (
    ALREADY_COMPENSATED,
    KEY_REUSED,
    NOT_AFTER_PASSED,
    Call,
    Refused,
    answering,
    read_call,
)
from tests.kit.houses import refuse_crowds
from tests.kit.theatre import ListReply, ReleaseReply, Reservation

WORK_S = 0.02
"""What an ordinary call takes: long enough to be cut in its middle."""


@dataclass(slots=True)
class Row:
    """What is kept under a key: a reply, or nothing for a tombstone."""

    reply: Any = None
    digest: bytes = b""


class Sound:
    """Keeps every promise: one key at a time, effect and key in one step."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.reservations: dict[str, list[Any]] = collections.defaultdict(list)
        """By the key of the call that made them."""
        self.locks: dict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)
        self.count = 0

    async def reserve(self, request: Any, context: Any) -> Any:
        async with answering(context, request) as call, self.turn_of(call.key):
            known = self.rows.get(call.key)
            if known is not None:
                self.refuse_another(known, call)
                return self.repeated(known, call)
            self.refuse_late(call)
            refuse_crowds(request)
            await asyncio.sleep(WORK_S)  # poll: nothing, it is the work that takes this long
            return await self.make(request, call, context)

    async def release(self, request: Any, context: Any) -> Any:
        async with answering(context, request) as call, self.turn_of(call.forward_key):
            known = self.rows.get(call.key)
            if known is not None:
                return self.undone_again(known)
            gone = self.take_back(call)
            reply = ReleaseReply(released=gone)
            self.rows[call.key] = Row(reply)
            if call.forward_key not in self.rows:
                self.bury(call)
            return reply

    async def list_(self, request: Any, context: Any) -> Any:
        standing = [each for made in self.reservations.values() for each in made if each.client == request.client]
        return ListReply(reservations=standing)

    # --- what the flawed ones do otherwise ---

    def refuse_late(self, call: Call) -> None:
        if call.not_after_at < time.time():  # noqa: TID251  (what a service's clock says)
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, NOT_AFTER_PASSED, "too late")

    @asynccontextmanager
    async def turn_of(self, key: str) -> AsyncIterator[None]:
        async with self.locks[key]:
            yield

    def refuse_another(self, known: Row, call: Call) -> None:
        if known.digest and known.digest != call.digest:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, KEY_REUSED, "another request's key")

    def repeated(self, known: Row, call: Call) -> Any:
        if known.reply is None:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, ALREADY_COMPENSATED, "its undo came first")
        return known.reply

    async def make(self, request: Any, call: Call, context: Any) -> Any:
        reply = self.effect(request, call)
        self.rows[call.key] = Row(reply, call.digest)
        return reply

    def effect(self, request: Any, call: Call) -> Any:
        self.count += 1
        made = Reservation(reservation_id=f"R{self.count}", client=request.client)
        self.reservations[call.key].append(made)
        return made

    def undone_again(self, known: Row) -> Any:
        return known.reply

    def take_back(self, call: Call) -> int:
        return len(self.reservations.pop(call.forward_key, ()))

    def bury(self, call: Call) -> None:
        self.rows[call.forward_key] = Row()


class RefusesAll(Sound):
    """Nothing can be sold here."""

    async def make(self, request: Any, call: Call, context: Any) -> Any:
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "SOLD_OUT", "every seat is taken")


class TakesAnyRequest(Sound):
    """Does not look whether a key comes with the request it came with before."""

    def refuse_another(self, known: Row, call: Call) -> None:
        pass


class KeepsNoKeys(Sound):
    """Acts whenever it is called."""

    def repeated(self, known: Row, call: Call) -> Any:
        if known.reply is None:
            return super().repeated(known, call)
        return self.effect(known.reply, call)


class RepliesAnew(Sound):
    """Acts once, and makes up another reply for the duplicate."""

    def repeated(self, known: Row, call: Call) -> Any:
        if known.reply is None:
            return super().repeated(known, call)
        self.count += 1
        return Reservation(reservation_id=f"R{self.count}", client=known.reply.client)


class RaisesOnDuplicates(Sound):
    """Has a unique index on the key and nobody who catches its error: gRPC makes UNKNOWN of it."""

    def repeated(self, known: Row, call: Call) -> Any:
        if known.reply is None:
            return super().repeated(known, call)
        raise LookupError("duplicate key value violates unique constraint")


class LooksFirst(Sound):
    """Looks whether it knows the key, then acts: between the two there is room for another call."""

    @asynccontextmanager
    async def turn_of(self, key: str) -> AsyncIterator[None]:
        yield


class KeepsTheKeyApart(Sound):
    """The effect in one transaction, the key in the next."""

    async def make(self, request: Any, call: Call, context: Any) -> Any:
        reply = self.effect(request, call)
        await asyncio.sleep(WORK_S * 4)  # poll: nothing, it is the gap between two commits
        self.rows[call.key] = Row(reply, call.digest)
        return reply


class HurriesWithoutKey(Sound):
    """Where little time is left it spares itself the key."""

    async def reserve(self, request: Any, context: Any) -> Any:
        if context.time_remaining() < 1:
            return self.effect(request, read_call(context, request))
        return await super().reserve(request, context)


class UndoesNothing(Sound):
    """Says that it has undone."""

    def take_back(self, call: Call) -> int:
        return 1


class UndoesOnce(Sound):
    """Refuses to undo what is undone."""

    def undone_again(self, known: Row) -> Any:
        if known.reply.released:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "ALREADY_RELEASED", "it was released before")
        return known.reply


class UndoesTooMuch(Sound):
    """Gives back another reservation of the same client when the undo is repeated."""

    def undone_again(self, known: Row) -> Any:
        if known.reply.released:
            self.reservations["credit"].append(Reservation(reservation_id="credit", client=self.client))
        return known.reply

    async def release(self, request: Any, context: Any) -> Any:
        self.client = request.client
        return await super().release(request, context)


class UndoesOnlyWhatIs(Sound):
    """Has no undo for what it never made."""

    def take_back(self, call: Call) -> int:
        gone = super().take_back(call)
        if not gone:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "NO_SUCH_RESERVATION", "there is nothing to release")
        return gone


class LeavesNoTombstone(Sound):
    """Forgets an undo that found nothing."""

    def bury(self, call: Call) -> None:
        pass


class RefusesWithoutReason(Sound):
    """Refuses the overtaken call, and does not say that this is why."""

    def repeated(self, known: Row, call: Call) -> Any:
        if known.reply is None:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "", "no")
        return known.reply


class IsNeverTooLate(Sound):
    """Does not read saga-not-after."""

    def refuse_late(self, call: Call) -> None:
        pass


class ForgetsOnRefusal(Sound):
    """Its memory of keys goes with what a refusal takes back."""

    def refuse_late(self, call: Call) -> None:
        try:
            super().refuse_late(call)
        except Refused:
            self.rows.clear()
            raise


class KeepsRefusals(Sound):
    """Keeps a refusal under its key as if it were a reply."""

    def refuse_late(self, call: Call) -> None:
        try:
            super().refuse_late(call)
        except Refused:
            self.rows[call.key] = Row("refused")
            raise

    def repeated(self, known: Row, call: Call) -> Any:
        if known.reply == "refused":
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, NOT_AFTER_PASSED, "too late, for ever")
        return super().repeated(known, call)


class ForgetsWithTheUndo(Sound):
    """Deletes the key together with what it made."""

    def take_back(self, call: Call) -> int:
        self.has_found = call.forward_key in self.rows
        if self.has_found:
            del self.rows[call.forward_key]
        return super().take_back(call)

    def bury(self, call: Call) -> None:
        if not self.has_found:
            super().bury(call)
