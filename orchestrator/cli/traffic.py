"""The demo's client: streams reports at bounded concurrency, and keeps a record of what it was told.

It is written as a careful caller would be: the report's id is the saga's id, so a start whose answer was lost is sent
again unchanged, and a wait that broke off is simply asked again. That is all a client needs to come through a crash.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import grpc
from google.protobuf.json_format import ParseDict

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.ledgers import Answer
from orchestrator.cli.mesh import DEFINITION
from orchestrator.cli.session import channel_options
from orchestrator.limits import (
    CLI_CALL_S,
    CLI_POLL_S,
    DEMO_POLL_MARGIN_S,
    DEMO_RECONNECT_S_MAX,
    DEMO_RETRY_S,
    DEMO_SILENCE_S_MAX,
    DEMO_SILENCE_TOLD_S,
)
from orchestrator.v1.saga_pb2 import SAGA_VIEW_STEPS, STEP_STATUS_APPLIED, Saga, SagaEvent, SagaStatus
from orchestrator.v1.saga_service_pb2 import (
    ListSagaEventsRequest,
    ListSagasRequest,
    StartSagaRequest,
    WaitSagaRequest,
)
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from orchestrator.v1.saga_service_pb2_grpc import SagaServiceAsyncStub

Reply = TypeVar("Reply")
Report = dict[str, object]

_BALANCED: list[tuple[str, str | int]] = [
    ("grpc.lb_policy_name", "round_robin"),  # a name may stand for several orchestrators: ask those that are there
    ("grpc.initial_reconnect_backoff_ms", int(DEMO_RETRY_S * 1000)),
    ("grpc.max_reconnect_backoff_ms", int(DEMO_RECONNECT_S_MAX * 1000)),
]
# Nobody has answered. DEADLINE_EXCEEDED: where a whole machine goes, nothing tells the caller that nobody is there.
_UNANSWERED = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED},
)


@dataclass(slots=True, kw_only=True)
class Client:
    """One connection to the orchestrator, and the answers it gave."""

    stub: "SagaServiceAsyncStub"
    every_s: float = 0.0
    """A report is sent so long after the one before, or later where too many are under way; 0: as soon as it may be."""
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    in_flight: set[str] = field(default_factory=set[str])
    retries: int = 0
    """Calls that were sent again because nobody had answered."""
    on_silence: Callable[[], None] | None = None
    """Called where nobody has answered for some seconds; once until somebody does."""
    is_silent: bool = False

    async def send_all(self, reports: Sequence[Report], concurrency: int, on_done: Callable[[Answer], None]) -> None:
        """Take every report in, so many at a time; call back with each as it ends."""
        began = time.monotonic()  # noqa: TID251  (paces what is sent)
        waiting = iter([(report, began + number * self.every_s) for number, report in enumerate(reports)])
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(concurrency, len(reports))):
                workers.create_task(self._work(waiting, on_done))

    async def events(self, saga_id: str) -> list[SagaEvent]:
        """Return all events of a saga."""
        found: list[SagaEvent] = []
        request = ListSagaEventsRequest(saga_id=saga_id, page_size=1_000)
        while True:
            page = await self._ask(lambda: self.stub.ListSagaEvents(request, timeout=CLI_CALL_S))
            found += page.events
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def statuses(self) -> dict[str, str]:
        """Return every saga of the orchestrator with its status, read anew."""
        found: dict[str, str] = {}
        request = ListSagasRequest(page_size=1_000)
        while True:
            page = await self._ask(lambda: self.stub.ListSagas(request, timeout=CLI_CALL_S))
            found.update({saga.saga_id: status_word(saga) for saga in page.sagas})
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token

    async def _work(self, waiting: Iterator[tuple[Report, float]], on_done: Callable[[Answer], None]) -> None:
        for report, due_at in waiting:
            if self.every_s:
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))  # noqa: TID251  (paces what is sent)
            answer = Answer(saga_id=str(report["reportId"]))
            self.answers[answer.saga_id] = answer
            self.in_flight.add(answer.saga_id)
            await self._take_in(report, answer)
            self.in_flight.discard(answer.saga_id)
            on_done(answer)

    async def _take_in(self, report: Report, answer: Answer) -> None:
        began = time.monotonic()  # noqa: TID251  (measures the client's own wait)
        start = StartSagaRequest(saga_id=answer.saga_id, definition=DEFINITION)
        ParseDict(report, start.json)
        await self._ask(lambda: self.stub.StartSaga(start, timeout=CLI_CALL_S))
        answer.is_acknowledged = True
        wait = WaitSagaRequest(saga_id=answer.saga_id, view=SAGA_VIEW_STEPS)
        wait.timeout.FromSeconds(int(CLI_POLL_S))
        patience_s = CLI_POLL_S + DEMO_POLL_MARGIN_S
        while True:
            told = await self._ask(lambda: self.stub.WaitSaga(wait, timeout=patience_s), patience_s)
            if told.reached:
                break
        answer.took_s = time.monotonic() - began  # noqa: TID251  (the same)
        answer.status = status_word(told.saga)
        answer.failed_step = told.saga.cause.step
        answer.applied = tuple(step.step for step in told.saga.steps if step.status == STEP_STATUS_APPLIED)

    async def _ask(self, call: Callable[[], Awaitable[Reply]], takes_s: float = 0.0) -> Reply:
        """Ask until somebody answers; what is asked may be asked again, that is the API's promise.

        `takes_s` is for how long no answer is no silence.
        """
        silent_since = time.monotonic()  # noqa: TID251  (how long the server has been away)
        later = asyncio.get_running_loop().call_later
        telling = later(takes_s + DEMO_SILENCE_TOLD_S, self._tell_silence)
        retries = 0
        try:
            while True:
                try:
                    answer = await call()
                except grpc.aio.AioRpcError as failed:
                    if failed.code() not in _UNANSWERED:
                        raise Failure(f"the orchestrator answered {failed.code().name}: {failed.details()}") from failed
                    if time.monotonic() - silent_since > DEMO_SILENCE_S_MAX:  # noqa: TID251  (the same)
                        silence = f"the orchestrator has not answered for {DEMO_SILENCE_S_MAX:.0f} s"
                        raise Failure(f"{silence}: {failed.details()}", Exit.UNAVAILABLE) from failed
                    if takes_s and not retries:  # it has gone: what comes now is silence, however long an answer takes
                        telling.cancel()
                        telling = later(DEMO_SILENCE_TOLD_S, self._tell_silence)
                    retries += 1
                    self.retries += 1
                    await asyncio.sleep(DEMO_RETRY_S)
                else:
                    self.is_silent = False
                    return answer
        finally:
            telling.cancel()

    def _tell_silence(self) -> None:
        if self.on_silence is not None and not self.is_silent:
            self.on_silence()
        self.is_silent = True


@asynccontextmanager
async def connect(server: str) -> "AsyncIterator[Client]":
    """Give a client of the server; it connects again by itself."""
    options = [*channel_options(server), *_BALANCED]
    async with grpc.aio.insecure_channel(server, options=options) as channel:
        yield Client(stub=SagaServiceStub(channel))


def read_reports(lines: Iterator[str], count: int, prefix: str = "") -> list[Report]:
    """Return so many reports, their ids behind a prefix; past the end of the file they come again under new ids."""
    shipped: list[Report] = [json.loads(line) for line in lines if line.strip()]
    reports: list[Report] = []
    for number in range(count):
        round_, at = divmod(number, len(shipped))
        report = {**shipped[at], "reportId": f"{prefix}{shipped[at]['reportId']}"}
        if round_:
            report["reportId"] = f"{report['reportId']}-{round_ + 1}"
        reports.append(report)
    return reports


def status_word(saga: Saga) -> str:
    """Return `COMPLETED` for `SAGA_STATUS_COMPLETED`."""
    return SagaStatus.Name(saga.status).removeprefix("SAGA_STATUS_")
