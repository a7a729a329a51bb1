"""One trial's conversation: an invented saga's one step, called over the wire as the orchestrator would call it."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from google.protobuf.message import DecodeError, Message
from grpc import aio

from orchestrator.frozen import changed, frozen
from orchestrator.ids import StepId, idempotency_key, saga_id
from orchestrator.invoker.channels import Channel
from orchestrator.invoker.classify import classify
from orchestrator.invoker.metadata import headers
from orchestrator.limits import CALL_TIMEOUT_S_DEFAULT, PROVING_AGAIN_MAX, PROVING_PAUSE_S
from orchestrator.participant import NOTHING_TO_UNDO
from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import CallRequest
from orchestrator.proving.rules import Exchange
from orchestrator.proving.subject import Method, Subject, Unfit, plain
from orchestrator.saga.outcome import NEVER_FROM_THE_LIBRARY
from orchestrator.saga.plan import Operation
from orchestrator.values import Payload, TraceContext

STEP: Final = StepId("proving")
LATE_S: Final = 3_600.0
"""How long ago a late call's `saga-not-after` was: beyond any difference of clocks."""
NO_ANSWER: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED"})
"""Codes that gRPC makes itself: nothing is known of what the service would have said."""
_REFUSALS: Final = NEVER_FROM_THE_LIBRARY | {"UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED"}
"""Codes of a call that did nothing."""


@frozen
class Bench:
    """What all trials share."""

    subject: Subject
    channel: Channel
    clock: Clock
    timeout_s: float = CALL_TIMEOUT_S_DEFAULT
    parallel: int


@dataclass(slots=True, kw_only=True, eq=False)
class Case:
    """A saga of one step that exists for one trial only, and the evidence of what was said."""

    bench: Bench
    unique: str
    evidence: list[Exchange]
    uid: UUID
    reply: Message | None = None
    """The forward call's, the first one there was."""
    is_standing: bool = False
    """It was called, it may have acted, and no undo of it has succeeded."""
    _attempts: dict[Operation, int] = field(default_factory=dict)

    async def forward(
        self, *, cut_after_s: float | None = None, deadline_s: float | None = None, is_late: bool = False
    ) -> Exchange:
        """Send the forward call; cut the connection after a while, or give it a deadline of its own, or come late."""
        subject, clock = self.bench.subject, self.bench.clock
        timeout_s = self.bench.timeout_s if deadline_s is None else deadline_s
        not_after_at = clock.now() + (-LATE_S if is_late else timeout_s)
        request = subject.forward_request(self.unique)
        sent = self._word("forward", Operation.FORWARD)
        if cut_after_s is not None:
            sent += f", cut after {cut_after_s * 1e3:.1f} ms"
        elif deadline_s is not None:
            sent += f", deadline {deadline_s * 1e3:.1f} ms"
        elif is_late:
            sent += f", {LATE_S:.0f} s too late"
        metadata = self._metadata(Operation.FORWARD, subject.forward, not_after_at)
        exchange, reply = await self._send(sent, subject.forward, request, metadata, timeout_s, cut_after_s=cut_after_s)
        self.reply = self.reply or reply
        self.is_standing = self.is_standing or exchange.code not in _REFUSALS
        return exchange

    async def forward_until_answered(self) -> Exchange:
        """Send it again while it is told to come again."""
        exchange = await self.forward()
        for _ in range(PROVING_AGAIN_MAX):
            if exchange.code != "ABORTED":
                break
            await asyncio.sleep(PROVING_PAUSE_S)
            exchange = await self.forward()
        return exchange

    async def undo(self, *, epoch: int = 0) -> Exchange:
        """Send the undo; with another epoch it is another undo of the same call, under another key (R11)."""
        subject = self.bench.subject
        not_after_at = self.bench.clock.now() + self.bench.timeout_s
        exchange, _ = await self._send(
            self._word("undo", Operation.COMPENSATE),
            subject.compensate,
            subject.undo_request(self.unique, self.reply),
            self._metadata(Operation.COMPENSATE, subject.compensate, not_after_at, epoch),
            self.bench.timeout_s,
        )
        if has_undone(exchange):
            self.is_standing = False
        return exchange

    async def effects(self) -> int | None:
        """Return how many effects the probe sees; None where there is no probe. Raise `Unfit` where it fails."""
        subject = self.bench.subject
        request = subject.probe_request(self.unique, self.reply)
        if subject.probe is None or request is None:
            return None
        exchange, reply = await self._send("probe", subject.probe, request, {}, self.bench.timeout_s)
        if reply is None:
            raise Unfit(f"the probe {subject.probe.name} answered {exchange.code}: {exchange.message}")
        count = subject.effects(reply)
        self.evidence[-1] = changed(exchange, effects=count)
        return count

    async def close(self) -> bool:
        """Take back what may stand; return whether it is gone. Not evidence: a broken undo has its own rule."""
        if self.is_standing:
            kept = len(self.evidence)
            await self.undo(epoch=1)  # the trial's own undo may have been answered before the call acted
            del self.evidence[kept:]
        return not self.is_standing

    def _word(self, name: str, operation: Operation) -> str:
        self._attempts[operation] = self._attempts.get(operation, 0) + 1
        return name if self._attempts[operation] == 1 else f"{name} again"

    def _metadata(self, operation: Operation, method: Method, not_after_at: float, epoch: int = 0) -> Mapping[str, str]:
        """Return what the orchestrator would send, by the code that sends it."""
        call = CallRequest(
            target=self.bench.channel.target.name,
            method=method.name,
            request=Payload(method.request.DESCRIPTOR.full_name, b""),
            reply_type=method.reply.DESCRIPTOR.full_name,
            deadline_at=not_after_at,
            key=idempotency_key(self.uid, STEP, operation.value, epoch),
            saga_id=saga_id(f"proving-{self.uid}"),
            uid=self.uid,
            step=STEP,
            operation=operation,
            attempt=self._attempts[operation],
            epoch=1,
            forward_key=idempotency_key(self.uid, STEP, Operation.FORWARD.value),
            trace=TraceContext(trace_id=0, span_id=0, sampled=False),
        )
        return dict(headers(call, self.bench.clock.off_s()))

    async def _send(
        self,
        sent: str,
        method: Method,
        request: Message,
        metadata: Mapping[str, str],
        timeout_s: float,
        *,
        cut_after_s: float | None = None,
    ) -> tuple[Exchange, Message | None]:
        began = self.bench.clock.monotonic()
        stub: Any = self.bench.channel.stub(method.name)
        call = stub(request.SerializeToString(), metadata=tuple(metadata.items()), timeout=timeout_s)
        reply: Message | None = None
        code, reason, message, data = "OK", "", "", None
        try:
            async with asyncio.timeout(cut_after_s):
                data = await call
            reply = method.reply.FromString(data)
        except TimeoutError:
            call.cancel()
            code = "CUT"
        except aio.AioRpcError as error:
            trailing = [(name, value) for name, value in error.trailing_metadata() or ()]
            report = classify(
                code=error.code().name, details=error.details() or "", trailing=trailing, sent_at=None, ended_at=0.0
            )
            code, reason, message = report.code, report.error_reason, report.message
        except DecodeError as error:
            code, message = "INTERNAL", f"the reply is not a {method.reply.DESCRIPTOR.full_name}: {error}"
        exchange = Exchange(
            sent=sent,
            method=method.name,
            metadata=metadata,
            request=plain(request),
            code=code,
            reason=reason,
            message=message,
            reply="" if reply is None else plain(reply),
            data=None if reply is None else reply.SerializeToString(deterministic=True),
            took_s=self.bench.clock.monotonic() - began,
        )
        self.evidence.append(exchange)
        return exchange, reply


def has_undone(exchange: Exchange) -> bool:
    """Return whether an undo succeeded: OK, or nothing to undo (R10)."""
    return exchange.code in {"OK", "NOT_FOUND"} or exchange.reason == NOTHING_TO_UNDO


def same(exchanges: Sequence[Exchange]) -> bool:
    """Return whether all replies are the same, byte for byte once written in one order."""
    return len({exchange.data for exchange in exchanges}) == 1
