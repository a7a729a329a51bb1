"""Calls: admit, connect, send, classify, report. See the package's essay for the picture."""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final, TypeAlias

import grpc
from grpc import aio

from orchestrator.invoker.channels import Channel, Channels
from orchestrator.invoker.classify import classify
from orchestrator.invoker.governor import Governor, Held, Trials
from orchestrator.invoker.metadata import Given, headers
from orchestrator.invoker.methods import GrpcMethods
from orchestrator.invoker.targets import TargetConfig
from orchestrator.limits import (
    CALL_OVERDUE_S,
    CALL_TIMEOUT_S_MAX,
    MESSAGE_CHARS_MAX,
    PAYLOAD_BYTES_MAX,
    TARGET_PAUSE_S_MAX,
    TARGET_TRIAL_WAIT_S,
)
from orchestrator.ports.clock import Clock
from orchestrator.ports.diagnostics import CallFacts
from orchestrator.ports.invoker import CallRequest, OnReport, OpenCall
from orchestrator.saga.events import Phase, Report
from orchestrator.values import Payload

logger = logging.getLogger("orchestrator.invoker")

Rpc: TypeAlias = "aio.UnaryUnaryCall[bytes, bytes]"

_REPLIED: Final = Phase.REPLIED  # named once: looking up a member of an enumeration costs as much as ten comparisons
_DO_NOT_RETRY = -1.0
_FORGOTTEN = ("DEADLINE_EXCEEDED", "the deadline passed and gRPC reported no end")


class GrpcInvoker:
    """The hands: `ports.invoker.Invoker` over grpc.aio. Belongs to one event loop; made outside it at will."""

    def __init__(self, targets: Mapping[str, TargetConfig], clock: Clock) -> None:
        """Check the targets (`ConfigError`); nothing is connected before the first call."""
        self._channels = Channels(targets)
        self.methods = GrpcMethods(self._channels)
        """`ports.methods.Methods` over the same channels."""
        self._clock = clock
        self._governor = Governor()
        self._open: set[_Call] = set()
        """Held strongly until reported: gRPC cancels a call that nobody holds (R-2)."""
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._closing = False
        self._idle: asyncio.Event | None = None
        self._sweep: asyncio.TimerHandle | None = None

    def begin(self, call: CallRequest, on_report: OnReport) -> OpenCall:
        """Begin a call. The report comes later, on the loop, once; never from within `begin` or `abort`."""
        now = self._clock.now()
        opened = _Call(call, on_report, self._end, now)
        self._open.add(opened)
        self._counts[call.target] += 1
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(CALL_OVERDUE_S, self._end_overdue)
        channel = self._admit(opened, now)
        if not isinstance(channel, Channel):
            asyncio.get_running_loop().call_soon(opened.settle, channel)
        elif channel.is_ready():
            self._send(opened, channel, now)
        else:
            self._wait(opened, channel, now)
        return opened

    def in_flight(self) -> Mapping[str, int]:
        return {target: count for target, count in self._counts.items() if count}

    def waiting(self) -> Mapping[str, int]:
        """Return how many of these calls wait for a connection, by target; where none does, the target is absent."""
        return Counter(opened.call.target for opened in self._open if opened.is_waiting)

    def calls(self) -> Iterator[CallFacts]:
        """Yield what is under way, which makes this `ports.diagnostics.Calling`."""
        for opened in tuple(self._open):
            if opened in self._open:
                yield opened.facts()

    def paused(self) -> Mapping[str, tuple[str, float]]:
        """Return what R7 holds back: scope -> (answered code, until when); see `Governor.paused`."""
        return self._governor.paused()

    async def close(self, grace_s: float) -> None:
        self._closing = True
        if self._open:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
            except TimeoutError:
                for opened in tuple(self._open):
                    opened.abort()
                await self._idle.wait()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        await self._channels.close()

    def _admit(self, opened: "_Call", now: float) -> Channel | Report:
        """Return the call's channel, or the report of a call that is not even tried."""
        call = opened.call
        if self._closing:
            return _held("this process is draining and makes no new calls", TARGET_TRIAL_WAIT_S, now)
        channel = self._channels.get(call.target)
        if channel is None:
            why = f"target {call.target!r} is not configured; add it to targets and restart"
            return _held(why, TARGET_PAUSE_S_MAX, now)
        if now >= call.deadline_at:
            return _unsent("DEADLINE_EXCEEDED", "the deadline had passed before the call could be sent", now)
        if call.request.size_bytes > PAYLOAD_BYTES_MAX:
            why = f"the request is {call.request.size_bytes} bytes, more than the limit of {PAYLOAD_BYTES_MAX}"
            return _unsent("RESOURCE_EXHAUSTED", why, now, retry_after_s=_DO_NOT_RETRY)
        verdict = self._governor.admit(call.target, call.method, now)
        if isinstance(verdict, Held):
            why = f"{verdict.scope} is paused because it answered {verdict.code}; mend the service or its configuration"
            return _held(why, verdict.retry_after_s, now)
        opened.trials = verdict
        return channel

    def _wait(self, opened: "_Call", channel: Channel, now: float) -> None:
        """Send once there is a connection; until then nothing has left this process."""
        loop = asyncio.get_running_loop()
        target = channel.target

        def settled(why: str | None) -> None:
            opened.stop_waiting()
            if why is None:
                self._send(opened, channel, self._clock.now())
            else:
                message = f"no connection to target {target.name!r} at {target.address}: {why}"
                opened.settle(_unsent("UNAVAILABLE", message, self._clock.now()))

        def expired() -> None:
            opened.stop_waiting()
            message = f"no connection to target {target.name!r} at {target.address} before the deadline"
            opened.settle(_unsent("DEADLINE_EXCEEDED", message, self._clock.now()))

        def aborted() -> None:
            opened.stop_waiting()
            report = _unsent("CANCELLED", "aborted before it was sent", self._clock.now())
            loop.call_soon(opened.settle, report)

        withdraw = channel.when_settled(settled)
        timer = loop.call_later(_remaining_s(opened.call, now), expired)
        opened.wait_until(withdraw, timer, aborted)

    def _send(self, opened: "_Call", channel: Channel, now: float) -> None:
        loop = asyncio.get_running_loop()
        call = opened.call
        remaining_s = _remaining_s(call, now)
        if remaining_s <= 0:  # to gRPC, a timeout of zero means none
            message = "the deadline had passed before the call could be sent"
            loop.call_soon(opened.settle, _unsent("DEADLINE_EXCEEDED", message, now))
            return
        metadata = Given(headers(call, self._clock.off_s()))
        rpc = channel.stub(call.method)(call.request.data, timeout=remaining_s, metadata=metadata)
        opened.sent(rpc, now, loop.time() + remaining_s + CALL_OVERDUE_S)
        rpc.add_done_callback(partial(self._over, opened))
        self.methods.learn(call.target)

    def _over(self, opened: "_Call", rpc: Rpc) -> None:
        """Hear that gRPC has the status: one turn later its own task has the reply, and no task of ours is needed."""
        asyncio.get_running_loop().call_soon(self._collect, opened, rpc)

    def _collect(self, opened: "_Call", rpc: Rpc) -> None:
        """Take what an ended RPC brought: its awaitable is over, so it gives its value or error on the first step."""
        if opened.cause is not None:
            code, why = opened.cause
            opened.settle(self._ended(opened, code, why))
            return
        awaiting = rpc.__await__()
        try:
            awaiting.send(None)
        except StopIteration as over:
            opened.settle(self._replied(opened, over.value))
        except aio.AioRpcError as error:
            report = classify(
                code=error.code().name,
                details=error.details() or "",
                trailing=error.trailing_metadata() or (),
                sent_at=opened.sent_at,
                ended_at=self._clock.now(),
            )
            opened.settle(report)
        except KeyError:  # grpcio 1.80 looks the status number up and does not find it
            opened.settle(self._ended(opened, "UNKNOWN", "the peer sent a number that is no gRPC status"))
        except asyncio.CancelledError:  # not by us: the loop is being torn down, or the channel was
            opened.settle(self._ended(opened, "CANCELLED", "the connection was closed on our side"))
        else:
            awaiting.close()
            asyncio.get_running_loop().call_soon(self._collect, opened, rpc)

    def _replied(self, opened: "_Call", data: bytes | None) -> Report:
        call = opened.call
        if data is None or not self.methods.decodes(call.target, call.reply_type, data):
            what = "no message" if data is None else f"{len(data)} bytes that are not a {call.reply_type}"
            why = f"target {call.target!r} answered OK to {call.method} with {what}; the effect may have happened"
            return self._ended(opened, "INTERNAL", why, _REPLIED)
        return Report(
            code="OK",
            phase=_REPLIED,
            reply=Payload(call.reply_type, data),
            sent_at=opened.sent_at,
            ended_at=self._clock.now(),
        )

    def _ended(self, opened: "_Call", code: str, message: str, phase: Phase = Phase.SENT) -> Report:
        return Report(
            code=code,
            phase=phase,
            message=message[:MESSAGE_CHARS_MAX],
            sent_at=opened.sent_at,
            ended_at=self._clock.now(),
        )

    def _end(self, opened: "_Call", report: Report) -> None:
        """Close the books on a call, then tell; whoever is told may begin the next."""
        call = opened.call
        self._open.discard(opened)
        self._counts[call.target] -= 1
        if opened.trials is not None:
            assert report.ended_at is not None  # every report of ours says when
            scopes = self._governor.answered(call.target, call.method, report.code, report.ended_at, opened.trials)
            for scope in scopes:
                self._tell_turned(scope, report.code)
        if self._idle is not None and not self._open:
            self._idle.set()
        opened.on_report(report)

    def _tell_turned(self, scope: str, code: str) -> None:
        """Tell the operator, once when a pause begins and once when it ends: only a person can mend the cause (R7)."""
        if scope in self._governor.paused():
            logger.warning("%s is paused, it answered %s: mend the service or its configuration", scope, code)
        else:
            logger.info("%s is no longer paused, it answered %s", scope, code)

    def _end_overdue(self) -> None:
        """Report calls that gRPC forgot: a saga must not wait for ever because of a defect below us."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for opened in tuple(self._open):
            if opened.overdue_at < now and not opened.give_up():
                opened.settle(self._ended(opened, *_FORGOTTEN))
        self._sweep = loop.call_later(CALL_OVERDUE_S, self._end_overdue) if self._open else None


class _Call:
    """One open call: waiting for a connection, then sent, then settled; it settles once."""

    __slots__ = (
        "_aborted",
        "_end",
        "_rpc",
        "_settled",
        "_timer",
        "_withdraw",
        "begun_at",
        "call",
        "cause",
        "on_report",
        "overdue_at",
        "sent_at",
        "trials",
    )

    def __init__(
        self, call: CallRequest, on_report: OnReport, end: Callable[["_Call", Report], None], begun_at: float
    ) -> None:
        self.call = call
        self.on_report = on_report
        self.cause: tuple[str, str] | None = None
        """Code and text, where the end is our doing (R-4: never read back from gRPC's words)."""
        self.trials: Trials | None = None
        """None: the governor was not asked, or held the call back."""
        self.begun_at = begun_at
        self.sent_at: float | None = None
        self.overdue_at = float("inf")
        self._end = end
        self._rpc: Rpc | None = None
        self._withdraw: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._aborted: Callable[[], None] | None = None
        self._settled = False

    @property
    def is_waiting(self) -> bool:
        """Return whether it waits for a connection."""
        return self._withdraw is not None

    def facts(self) -> CallFacts:
        """Return what a person is shown who asks for the open calls."""
        call = self.call
        return CallFacts(
            saga_id=call.saga_id,
            step=call.step,
            operation=call.operation.value,
            attempt=call.attempt,
            target=call.target,
            method=call.method,
            phase="aborting" if self.cause is not None else "connecting" if self._rpc is None else "sent",
            begun_at=self.begun_at,
            deadline_at=call.deadline_at,
        )

    def abort(self) -> None:
        if self._rpc is not None:
            self._cancel("CANCELLED", "aborted")
        elif self._aborted is not None:
            self._aborted()

    def give_up(self) -> bool:
        """End a call that is long past its deadline without a word from gRPC; False where gRPC thinks it has ended."""
        return self._cancel(*_FORGOTTEN)

    def wait_until(self, withdraw: Callable[[], None], timer: asyncio.TimerHandle, aborted: Callable[[], None]) -> None:
        """Remember how to stop waiting for the connection."""
        self._withdraw, self._timer, self._aborted = withdraw, timer, aborted

    def stop_waiting(self) -> None:
        """Forget the wait, however it ended."""
        if self._withdraw is not None:
            self._withdraw()
        if self._timer is not None:
            self._timer.cancel()
        self._withdraw = self._timer = self._aborted = None

    def sent(self, rpc: Rpc, sent_at: float, overdue_at: float) -> None:
        """Remember the RPC; from here on the peer may have the request."""
        self._rpc, self.sent_at, self.overdue_at = rpc, sent_at, overdue_at

    def settle(self, report: Report) -> None:
        """Report; a second time is nothing."""
        if not self._settled:
            self._settled = True
            self._rpc = None
            self._end(self, report)

    def _cancel(self, code: str, why: str) -> bool:
        if self._rpc is None or not self._rpc.cancel():
            return False
        self.cause = (code, why)
        return True


def _remaining_s(call: CallRequest, now: float) -> float:
    return min(call.deadline_at - now, CALL_TIMEOUT_S_MAX)


def _unsent(code: str, message: str, now: float, retry_after_s: float | None = None) -> Report:
    return Report(
        code=code,
        phase=Phase.NOT_SENT,
        message=message[:MESSAGE_CHARS_MAX],
        retry_after_s=retry_after_s,
        ended_at=now,
    )


def _held(message: str, retry_after_s: float, now: float) -> Report:
    return Report(
        code=grpc.StatusCode.UNAVAILABLE.name,
        phase=Phase.NOT_SENT,
        message=message,
        retry_after_s=retry_after_s,
        parked=True,
        ended_at=now,
    )
