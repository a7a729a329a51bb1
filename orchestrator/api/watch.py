"""One saga's events as a stream: in order, each once, resumable, alive while nothing happens.

The façade gives batches of records after a version and ends after the saga's last one, so nothing is kept here but the
number of the last event sent. That number is the resume token: every error this stream ends with carries it, and a
reader that has lost the error has the number of the last event it received, which is as good.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from orchestrator import limits
from orchestrator.api.admission import Admission
from orchestrator.api.events import event
from orchestrator.api.mapping import instant
from orchestrator.errors import BusyError, Draining, InputInvalid
from orchestrator.ports.clock import Clock
from orchestrator.ports.journal import Record
from orchestrator.ports.plans import Plans
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.v1 import saga_service_pb2 as rpc

AGE = "stream_age_s"
"""The fact of a `Draining` that tells a stream which is old from a process that stops."""


class Watch:
    """How this server lets sagas be watched."""

    def __init__(self, *, orchestrator: Orchestrator, admission: Admission, clock: Clock) -> None:
        self._orchestrator = orchestrator
        self._admission = admission
        self._clock = clock

    async def messages(
        self, saga_id: str, after_version: int, heartbeat_s: float, plans: Plans | None
    ) -> AsyncIterator[rpc.WatchSagaResponse]:
        """Yield events, and heartbeats in between; with payloads where `plans` is given, which can read them.

        Raise `Draining` when the server drains or the stream is old, and whatever the façade raises.
        """
        state = await self._orchestrator.get(saga_id)
        if after_version > state.version:
            raise InputInvalid("after_sequence", f"is {after_version}; the saga's last event is {state.version}")
        if plans is not None:
            await plans.plan(state.plan.definition, state.plan.revision)  # its types may have left memory
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + limits.API_STREAM_S_MAX
        last = after_version
        batches = self._orchestrator.watch(saga_id, after_version)
        coming = loop.create_task(_next(batches))
        try:
            while True:
                silence_s = min(heartbeat_s, max(0.0, ends_at - loop.time()))
                with suppress(TimeoutError):
                    async with self._admission.patience(silence_s):
                        await asyncio.wait({coming})
                if coming.done():
                    records = coming.result()
                    if records is None:
                        return
                    # Always one batch ahead, so that cancelling `coming` closes the façade's iterator when we stop.
                    coming = loop.create_task(_next(batches))
                    for record in records:
                        last = record.version
                        yield rpc.WatchSagaResponse(event=event(record, state.plan, plans))
                elif self._admission.is_closed:
                    raise Draining(f"the server drains; watch again after sequence {last}")
                elif loop.time() >= ends_at:
                    age = f"{limits.API_STREAM_S_MAX:g}"
                    raise Draining(f"the stream is {age} s old; watch again after sequence {last}", **{AGE: age})
                else:
                    beat = rpc.WatchHeartbeat(sequence=last, heartbeat_time=instant(self._clock.now()))
                    yield rpc.WatchSagaResponse(heartbeat=beat)
        except BusyError as busy:  # ours, the façade's, or the slow reader's, thrown in at a yield
            busy.metadata["after_sequence"] = str(last)
            raise
        finally:
            coming.cancel()
            await asyncio.wait({coming})


async def _next(batches: AsyncIterator[Sequence[Record]]) -> Sequence[Record] | None:
    return await anext(batches, None)
