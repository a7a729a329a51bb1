"""The people and programs that start sagas: they ask again until they are answered, and remember every answer.

What they remember is the third witness: which saga was acknowledged, how it was said to have ended, which signals were
taken, and what a watcher was shown.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

from orchestrator.errors import Draining, JournalUnavailable, Overloaded, RequestError
from orchestrator.frozen import frozen
from orchestrator.ids import SagaId, StepId
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import Orchestrator, Started, StartRequest, Until
from orchestrator.saga.events import Event
from orchestrator.saga.plan import Plan, Wait
from orchestrator.saga.state import SagaState, SagaStatus
from orchestrator.testing.fates import Faults, Kind
from orchestrator.testing.process import ConnectionLost
from orchestrator.values import Payload
from orchestrator.verify.answers import Answers, Watched

T = TypeVar("T")

_PAUSE_S = 0.3
_WAIT_S = 30.0
SPREAD_S = 2.0
"""Within which sagas are started: so that they meet."""
_WATCHED = 0.2
"""Share of the sagas that somebody watches, record by record."""
_STAYS = 0.5
"""Share of the callers who wait for the end. Asking for a saga takes it up: of the others recovery alone takes care."""
_THOUGHT_S = 5.0
"""Within which a signal comes."""
_THOUGHT_MS = 500
"""After which a person thinks better of it, on average: most sagas are under way then."""
AGAIN = (ConnectionLost, Draining, JournalUnavailable, Overloaded)
"""What is asked again, unchanged."""


@frozen
class Begin:
    """A saga that somebody starts."""

    definition: str
    input: Payload | JsonInput


@dataclass(slots=True)
class Remembered:
    """What callers were told: every answer that arrived."""

    ends: dict[SagaId, str] = field(default_factory=dict[SagaId, str])
    """Saga -> its end, "" where it was only accepted."""
    signals: dict[SagaId, set[str]] = field(default_factory=dict[SagaId, set[str]])
    cancelled: set[SagaId] = field(default_factory=set[SagaId])
    uids: dict[SagaId, str] = field(default_factory=dict[SagaId, str])
    watched: dict[SagaId, list[tuple[int, Event | None]]] = field(
        default_factory=dict[SagaId, list[tuple[int, Event | None]]]
    )
    """What a watcher was handed, over however many streams."""
    watched_whole: set[SagaId] = field(default_factory=set[SagaId])
    """Of whom a watcher was told that nothing more comes."""
    contradictions: list[str] = field(default_factory=list[str])
    """Two answers that cannot both be true."""
    asked_again: int = 0

    def as_witness(self) -> Answers:
        """Return it as the checker takes it."""
        return Answers(
            ends=self.ends,
            signals=self.signals,
            cancels=self.cancelled,
            requests={f"start-{saga}": saga for saga in self.ends},
            refused=(),
            watched=[
                Watched(saga_id=saga, seen=seen, is_whole=saga in self.watched_whole)
                for saga, seen in self.watched.items()
            ],
        )


Ask = Callable[[Callable[[Orchestrator], Coroutine[None, None, T]], str], Awaitable[T]]
"""Puts work to some process, under the name of its request; none where it has no name."""


class Caller:
    """Starts one saga and stays with it to its end."""

    def __init__(
        self,
        saga: SagaId,
        begin: Begin,
        plan: Plan,
        *,
        ask: Ask[SagaState],
        answers: Remembered,
        faults: Faults,
        spread_s: float = SPREAD_S,
    ) -> None:
        """Take the saga's name, and what it shares with the others; it begins within `spread_s` of the run's begin."""
        self._spread_s = spread_s
        self.saga = saga
        self._begin = begin
        self._plan = plan
        self._ask = ask
        self._answers = answers
        self._faults = faults

    async def run(self) -> None:
        """Start, perhaps signal, cancel and watch, and wait for the end."""
        draw, name = self._faults.fates.draw, self.saga
        if self._faults.strike(Kind.ABSENT, name):
            return
        await asyncio.sleep(self._spread_s * draw(f"starts/{name}"))
        async with asyncio.TaskGroup() as beside:
            if self._faults.strike(Kind.REPEATED, f"{name}/start"):
                beside.create_task(self._start(), name="start again")
            await self._start()
            for step in self._plan.steps.values():
                if isinstance(step.body, Wait):
                    beside.create_task(self._signal(step.id, step.body), name="signal")
            if (after_ms := self._faults.pass_of(Kind.CANCEL, name, _THOUGHT_MS)) is not None:
                beside.create_task(self._cancel(after_ms), name="cancel")
            if draw(f"watches/{name}") < _WATCHED:
                beside.create_task(self._watch(), name="watch")
            if draw(f"stays/{name}") < _STAYS:
                await self._wait()

    async def _start(self) -> None:
        request = StartRequest(
            definition=self._begin.definition,
            input=self._begin.input,
            saga_id=self.saga,
            request_id=f"start-{self.saga}",
        )

        async def start(orchestrator: Orchestrator) -> SagaState:
            started: Started = await orchestrator.start(request)
            return started.state

        state = await self._insist(start, request.request_id)
        self._answers.ends.setdefault(self.saga, "")
        self._same_uid(state)

    async def _wait(self) -> None:
        while True:
            state = await self._insist(lambda o: o.wait(self.saga, Until.TERMINAL, 0, _WAIT_S))
            self._same_uid(state)
            if state.is_terminal or state.status is SagaStatus.NEEDS_ATTENTION:
                self._answers.ends[self.saga] = state.status.value
                return

    async def _signal(self, step: StepId, body: Wait) -> None:
        """Send what a step waits for; steps that wait for signals of one name get one each."""
        site = f"{self.saga}/{step}"
        await asyncio.sleep(_THOUGHT_S * self._faults.fates.draw(f"signal/{site}"))
        request_id, payload = f"signal-{site}", Payload(body.type_name, b"")
        for _ in range(2 if self._faults.strike(Kind.REPEATED, site) else 1):
            try:
                await self._insist(lambda o: o.signal(self.saga, body.signal, payload, request_id), request_id)
            except RequestError:
                return  # the saga has ended, or goes backward
            self._answers.signals.setdefault(self.saga, set()).add(request_id)

    async def _cancel(self, after_ms: int) -> None:
        await asyncio.sleep(after_ms / 1_000)
        if self._faults.is_over:
            return
        self._faults.note(Kind.CANCEL, self.saga, after_ms)
        try:
            await self._insist(lambda o: o.cancel(self.saga, "on second thoughts"))
        except RequestError:
            return  # it has ended, or is past its pivot
        self._answers.cancelled.add(self.saga)

    async def _watch(self) -> None:
        """Look at every record, over restarts, from where the last look ended."""
        seen = self._answers.watched.setdefault(self.saga, [])

        async def look(orchestrator: Orchestrator) -> SagaState:
            async for records in orchestrator.watch(self.saga, seen[-1][0] if seen else 0):
                seen.extend((record.version, record.event) for record in records)
            self._answers.watched_whole.add(self.saga)
            return await orchestrator.get(self.saga)

        looking = asyncio.get_running_loop().create_task(self._insist(look), name="look")
        waiting = asyncio.get_running_loop().create_task(self._wait(), name="watcher waits")
        await waiting
        if self._answers.ends[self.saga] == SagaStatus.NEEDS_ATTENTION.value:
            looking.cancel()  # it would be watched for ever
        else:
            await looking

    async def _insist(
        self, work: Callable[[Orchestrator], Coroutine[None, None, SagaState]], request_id: str = ""
    ) -> SagaState:
        """Ask until there is an answer."""
        while True:
            try:
                return await self._ask(work, request_id)
            except AGAIN:
                self._answers.asked_again += 1
            await asyncio.sleep(_PAUSE_S)

    def _same_uid(self, state: SagaState) -> None:
        """I9: one request is one saga."""
        before = self._answers.uids.setdefault(self.saga, str(state.uid))
        if before != str(state.uid):
            self._answers.contradictions.append(f"{self.saga} was acknowledged as {before} and as {state.uid}")
