"""Any process answers: what it may not do itself is done by the saga's owner, and its caller does not notice.

::

    NotOwner ──► ask the owner over gRPC ─► its answer, word for word
       ▲              │ not its any more, or it cannot be reached
       │              ▼
       └── pause, have the leases looked at, try here again (it may be ours by now)
                      │ half a second without an answer
                      ▼
            leave it in the store: whoever owns the shard then does it, and leaves the answer there

A request is repeated, or left in the store, only where twice is the same as once: a start or a signal has a request id
(one without is given one here, before it leaves), and a second cancellation changes nothing. A repair is sent while it
is certain that it has not arrived; whoever asked is told where that is not so.

A start that waits for the saga's end is forwarded without its wait, which is done here: so it outlives the owner. Here
nobody hears of the end before the next look, so the owner is asked first, shortly: most sagas that are waited for end
within that. Whatever comes of it, the wait goes on here.
"""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

from orchestrator import limits
from orchestrator.api import caller, status
from orchestrator.api.admission import Admission
from orchestrator.api.caller import Context
from orchestrator.api.desk import OWNER_KEY
from orchestrator.errors import Draining, JournalUnavailable, NotOwner, Pending
from orchestrator.frozen import frozen
from orchestrator.ports.clock import Clock
from orchestrator.ports.observer import Observer
from orchestrator.ports.peers import Errand, Letters, Missed, Peers
from orchestrator.ports.posts import Answer
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc

Behaviour = Callable[[Any, Context], Awaitable[Any]]
"""A method of a service: message and context to message."""
Wait = Callable[[rpc.WaitSagaRequest, Context], Awaitable[rpc.WaitSagaResponse]]

_PEER, _POST = "peer", "post"
_WAIT = "/orchestrator.v1.SagaService/WaitSaga"
# What the receiver refuses before it has done anything, and another one may not.
_ELSEWHERE = frozenset({NotOwner.reason, Draining.reason})
# What the receiver says of a request that it gave up on the way.
_SILENT = "CANCELLED"
_Starting = rpc.StartSagaRequest | rpc.SignalWithStartRequest


class Refused(Exception):
    """The owner refused the request with this status, which goes to the caller as it is. Private to this package."""

    def __init__(self, details: bytes) -> None:
        """Take a serialised `google.rpc.Status`."""
        super().__init__()
        self.details = details


@frozen
class _Quest:
    """One request on its way to its owner."""

    errand: Errand
    is_repeatable: bool
    """Done twice it is the same as done once."""
    may_be_left: bool
    """It may be done when its caller has gone."""
    until_at: float
    """The end of patience, by the monotonic clock."""
    post_at: float


class Forwarding:
    """How this process has requests done by their owners."""

    def __init__(
        self,
        *,
        peers: Peers,
        letters: Letters,
        admission: Admission,
        clock: Clock,
        observer: Observer,
        look: Callable[[], None],
        moved: Callable[[int, str], Awaitable[None]],
        away: Callable[[], str],
        wait: Wait,
    ) -> None:
        """`look` has the leases looked at soon; `wait` is this process's own `WaitSaga`.

        `moved` waits until a shard is no more the process's at an address; `away` says why nothing can be recorded.
        """
        self._moved = moved
        self._away = away
        self._peers = peers
        self._letters = letters
        self._admission = admission
        self._clock = clock
        self._observer = observer
        self._look = look
        self._wait = wait
        self._asking = 0
        """Callers whose saga's end an owner is asked for now."""

    async def forward(
        self,
        method: str,
        request: Message,
        context: Context,
        behaviour: Behaviour,
        elsewhere: NotOwner,
    ) -> Any:  # noqa: ANN401
        """Have a request answered that this process refused as not its own; return the message, or its bytes.

        Raise `Refused` with the owner's status; `NotOwner` where no owner was found in time, or, of a repair, where
        nobody knows whether it was done; `Pending` where it is left in the store without an answer yet.
        """
        sent = self._named(request)
        quest = self._quest(method, sent, context)
        answer, owner = await self._search(quest, sent, context, behaviour, elsewhere)
        if isinstance(answer, Answer) and answer.status:
            raise Refused(answer.status)
        if not isinstance(request, _Starting) or not isinstance(sent, _Starting):
            return answer.response if isinstance(answer, Answer) else answer
        started = _started(sent, answer.response) if isinstance(answer, Answer) else answer
        if isinstance(request, rpc.StartSagaRequest) and not request.request_id:
            # The id is ours and new: whoever answered, the first time or a later one, we began the saga that has it.
            started.created = started.saga.request_id == _start_of(sent).request_id
        if _start_of(request).wait == rpc.START_WAIT_TERMINAL:
            await self._wait_for_end(started.saga, _start_of(request).view, context, owner)
        return started

    def _named(self, request: Message) -> Message:
        """Return the request as it may be sent, done twice and left alone: with a request id, without a wait."""
        if not isinstance(request, _Starting):
            return request
        named = copy.deepcopy(request)
        start = _start_of(named)
        start.wait = rpc.START_WAIT_ACCEPTED
        if isinstance(named, rpc.StartSagaRequest) and not start.request_id:
            start.request_id = str(self._clock.new_uid())
        return named

    def _quest(self, method: str, request: Message, context: Context) -> _Quest:
        is_only_tried = getattr(request, "validate_only", False)
        match request:
            case rpc.StartSagaRequest() | rpc.SignalWithStartRequest() | rpc.SignalSagaRequest():
                is_durable = True
            case rpc.CancelSagaRequest():
                # With an etag the second one is refused, though the first was done.
                is_durable = not is_only_tried and not request.etag
            case _:
                is_durable = False
        now = self._clock.monotonic()
        return _Quest(
            errand=Errand(method=method, request=request.SerializeToString(), facts=caller.carried(context)),
            is_repeatable=is_durable or is_only_tried,
            may_be_left=is_durable,
            until_at=now + caller.wait_s(context, limits.FORWARD_S_MAX),
            post_at=now + limits.FORWARD_POST_AFTER_S,
        )

    async def _search(
        self,
        quest: _Quest,
        request: Message,
        context: Context,
        behaviour: Behaviour,
        elsewhere: NotOwner,
    ) -> tuple[Any, str]:
        """Return the owner's answer, or our own where the saga has become ours; and where an owner is that is awake."""
        pause_s, denied = limits.FORWARD_PAUSE_S_INITIAL, ""
        while True:
            hint = ""
            if elsewhere.owner and elsewhere.owner != denied:
                answer = await self._asked(quest, elsewhere)
                if isinstance(answer, Answer):
                    is_awake = self._clock.monotonic() < quest.post_at
                    return answer, elsewhere.owner if is_awake else ""
                hint = answer
            denied = elsewhere.owner if hint else ""
            if quest.may_be_left and self._clock.monotonic() >= quest.post_at:
                return await self._left(quest, elsewhere.shard), ""
            if away := self._away():
                raise JournalUnavailable(
                    f"nothing can be recorded now: {away}; ask again in a moment, with the same request id"
                )
            self._look()
            await self._pause(quest, pause_s, elsewhere)
            pause_s = min(2 * pause_s, limits.FORWARD_PAUSE_S_MAX)
            try:
                return await behaviour(request, context), ""
            except NotOwner as again:
                # Where our own view still names the one that denied it, that one knows better.
                owner = hint if hint and again.owner == denied else again.owner
                elsewhere = NotOwner(again.message, shard=again.shard, owner=owner)

    async def _asked(self, quest: _Quest, elsewhere: NotOwner) -> Answer | str:
        """Ask the owner once; return its answer, or who it says is the owner (empty where nobody said).

        What may be left in the store does not wait for an owner that is silent: both ways are open then, and the first
        answer counts.
        """
        timeout_s = max(0.0, quest.until_at - self._clock.monotonic())
        asking = asyncio.get_running_loop().create_task(self._peers.ask(elsewhere.owner, quest.errand, timeout_s))
        try:
            if quest.may_be_left:
                await asyncio.wait({asking}, timeout=max(0.0, quest.post_at - self._clock.monotonic()))
                if not asking.done():
                    return await self._first(quest, asking, elsewhere.shard)
            elif await self._has_moved(asking, elsewhere):
                missed = Missed(why="the saga has another owner meanwhile", is_sent=True)
                return self._heard(quest, missed, elsewhere.shard)
            return self._heard(quest, await asking, elsewhere.shard)
        finally:
            await _ended(asking)

    async def _has_moved(self, asking: "asyncio.Task[Answer | Missed]", elsewhere: NotOwner) -> bool:
        """Wait for the answer; return whether the one that was asked lost the shard, and still did not answer."""
        moving = asyncio.ensure_future(self._moved(elsewhere.shard, elsewhere.owner))  # noqa: TID251  # ended below
        try:
            await asyncio.wait({asking, moving}, return_when=asyncio.FIRST_COMPLETED)
            # One that hands the shard over in good order says so at about the time at which it is seen here.
            await asyncio.wait({asking}, timeout=limits.FORWARD_PAUSE_S_MAX)
            return not asking.done()
        finally:
            await _ended(moving)

    async def _first(self, quest: _Quest, asking: "asyncio.Task[Answer | Missed]", shard: int) -> Answer:
        """Leave the request in the store, too, and return whichever answer comes first."""
        leaving = asyncio.get_running_loop().create_task(self._left(quest, shard))
        try:
            await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
            # The store may be away for us, and not for the owner.
            if asking.done() or leaving.exception() is not None:
                heard = self._heard(quest, await asking, shard)
                if isinstance(heard, Answer):
                    return heard
            return await leaving
        finally:
            await _ended(leaving)

    def _heard(self, quest: _Quest, answer: Answer | Missed, shard: int) -> Answer | str:
        """Return an answer that counts, or who is said to be the owner; raise where nobody knows what was done."""
        if isinstance(answer, Answer):
            info = status.info_of(answer.status)
            if info.reason in _ELSEWHERE:
                self._observer.forwarded(_PEER, "elsewhere")
                return str(info.metadata.get(OWNER_KEY, ""))
            if info.reason != _SILENT:
                self._observer.forwarded(_PEER, "refused" if answer.status else "done")
                return answer
            answer = Missed(why="it gave the request up before it was done", is_sent=True)
        self._observer.forwarded(_PEER, "silent" if answer.is_sent else "unreachable")
        if answer.is_sent and not quest.is_repeatable:
            raise NotOwner(
                f"the saga's owner was asked and did not answer: {answer.why}. What was asked may have been done: "
                "look at the saga before you ask again",
                shard=shard,
            )
        return ""

    async def _left(self, quest: _Quest, shard: int) -> Answer:
        """Leave the request in the store for the shard's owner, and wait for the answer."""
        number = await self._letters.leave(shard, quest.errand)
        answer: Answer | None = None
        try:
            async with self._admission.patience(max(0.0, quest.until_at - self._clock.monotonic())):
                answer = await self._letters.answer(number)
        except TimeoutError:
            self._observer.forwarded(_POST, "pending")
            raise Pending(
                "the saga's owner cannot be reached; the request is durable, and its owner does it as soon as there is"
                " one. Ask again with the same request id to learn what came of it, or look at the saga",
                shard=str(shard),
            ) from None
        self._observer.forwarded(_POST, "refused" if answer.status else "done")
        return answer

    async def _pause(self, quest: _Quest, pause_s: float, elsewhere: NotOwner) -> None:
        """Wait a little, by luck; raise what stands in the way where that is the end of patience."""
        pause_s *= (1 + self._clock.entropy()) / 2
        if quest.may_be_left:
            pause_s = min(pause_s, max(0.0, quest.post_at - self._clock.monotonic()))
        if self._clock.monotonic() + pause_s >= quest.until_at or self._admission.is_closed:
            done = "" if quest.is_repeatable else ", and nothing was done"
            raise NotOwner(
                f"{elsewhere.message}; its owner could not be reached in time{done}: ask again", shard=elsewhere.shard
            )
        await asyncio.sleep(pause_s)

    async def _wait_for_end(self, saga: pb.Saga, view: int, context: Context, owner: str) -> None:
        """Make the saga of an answer what it is at its end, or shortly before the deadline."""
        until = rpc.WaitSagaRequest(saga_id=saga.saga_id, until=rpc.WAIT_UNTIL_TERMINAL)
        until.view = view  # type: ignore[assignment]  # it was in the request
        until_at = self._clock.monotonic() + caller.wait_s(context, limits.API_WAIT_S_MAX)
        ended = await self._told(owner, until, context) if owner else None
        if ended is None:
            # What is left of the wait, no more: its margin before the deadline is for the answer.
            until.timeout.FromMicroseconds(int(max(0.0, until_at - self._clock.monotonic()) * 1e6))
            ended = (await self._wait(until, context)).saga
        saga.CopyFrom(ended)

    async def _told(self, owner: str, until: rpc.WaitSagaRequest, context: Context) -> pb.Saga | None:
        """Return the saga where its owner says soon that it has ended; None: nobody knows, or too many ask already."""
        if self._asking >= limits.FORWARD_WAITS_MAX:
            return None
        self._asking += 1
        try:
            return await self._asked_for_end(owner, until, context)
        finally:
            self._asking -= 1

    async def _asked_for_end(self, owner: str, until: rpc.WaitSagaRequest, context: Context) -> pb.Saga | None:
        within_s = caller.wait_s(context, limits.FORWARD_WAIT_S)
        errand = Errand(method=_WAIT, request=until.SerializeToString(), facts=caller.carried(context))
        try:
            async with self._admission.patience(within_s):
                answer = await self._peers.ask(owner, errand, within_s)
        except TimeoutError:
            return None
        if isinstance(answer, Missed) or answer.status:
            return None
        waited = rpc.WaitSagaResponse.FromString(answer.response)
        return waited.saga if waited.reached else None


async def _ended(task: "asyncio.Future[Any]") -> None:
    """Cancel a task that may still run, and wait until it has ended."""
    task.cancel()
    await asyncio.wait({task})


def _started(sent: _Starting, response: bytes) -> rpc.StartSagaResponse | rpc.SignalWithStartResponse:
    kind = rpc.StartSagaResponse if isinstance(sent, rpc.StartSagaRequest) else rpc.SignalWithStartResponse
    return kind.FromString(response)


def _start_of(request: _Starting) -> rpc.StartSagaRequest:
    return request if isinstance(request, rpc.StartSagaRequest) else request.start
