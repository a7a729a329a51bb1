"""I42: one word is in every payload, header and error that a saga can have, and nobody is shown it who did not ask.

The sagas do well, try again, are undone, get stuck, are repaired, fail inside and are quarantined; the process dies and
comes back; a record is damaged. Then every sink is looked through. The store must have the word, and so must the answer
to who asks for payloads: where it is in neither, the test has looked for nothing.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from orchestrator.bootstrap import Node
from orchestrator.ids import StepId
from orchestrator.runtime import actor as actors
from orchestrator.saga import SagaState, check_steps
from orchestrator.telemetry.logs import LogFormat
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_service_pb2 as rpc
from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceStub
from orchestrator.v1.saga_pb2 import SAGA_VIEW_FULL, SagaStatus
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from services.expenses.v1 import expenses_pb2 as pb
from tests.integration.telemetry.sinks import CANARY, WORDS, Clerk, Sinks, clerk, process, shapes, sinks

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLAIM = """
saga: claim
input: expenses.v1.Claim
targets: [claims]
attributes: {purpose: "${input.purpose}"}
steps:
  submit:
    call: claims/expenses.v1.Claims/Submit
    request: {claim_id: "${input.claim_id}", claimant: "${input.claimant}", purpose: "${input.purpose}"}
    retry: {max_attempts: 3, initial_backoff: 10ms}
    compensate:
      call: claims/expenses.v1.Claims/Withdraw
      request: {claim_id: "${input.claim_id}"}
  decision:
    after: [submit]
    wait: {signal: decision, type: expenses.v1.Approval, timeout: 1d}
  check:
    after: [decision]
    call: claims/expenses.v1.Claims/CheckApproval
    kind: read
    request: {claim: "${input}", approval: "${steps.decision.reply}"}
    refuse: "!reply.valid"
output: {receipt: "${steps.submit.reply.receipt_id}", purpose: "${input.purpose}"}
"""
ODD = """
saga: odd
input: expenses.v1.Claim
targets: [claims]
steps:
  submit:
    call: claims/expenses.v1.Claims/Submit
    request: {claim_id: "${input.claim_id}", amount_cents: "${int(input.purpose)}"}
    compensate: none
"""
LOOSE = """
saga: loose
input: google.protobuf.Struct
targets: [claims]
steps:
  submit:
    call: claims/expenses.v1.Claims/Submit
    request: {claim_id: "${input.claim_id}", amount_cents: "${input.amount}"}
    compensate: none
"""
HEADERS = (
    ("authorization", f"Bearer {CANARY}"),
    ("baggage", f"session={CANARY}"),
    ("cookie", CANARY),
    ("x-api-key", CANARY),
    ("traceparent", f"00-{0xABC:032x}-{0xDEF:016x}-01"),
)
CALL_S = 20.0
BEGUN = 2
"""The version of a saga whose first call is open: it is recorded, and the next turn is another one."""


class Desk:
    """What a caller does who puts the word everywhere."""

    def __init__(self, channel: grpc.aio.Channel, sinks: Sinks) -> None:
        self.sagas = SagaServiceStub(channel)
        self.operators = OperatorServiceStub(channel)
        self.sinks = sinks
        self.asked: list[str] = []
        self.store = Path()

    async def start(self, claim_id: str, definition: str = "claim") -> None:
        request = rpc.StartSagaRequest(saga_id=claim_id, definition=definition)
        request.typed.Pack(pb.Claim(claim_id=claim_id, claimant=CANARY, purpose=CANARY, amount_cents=7))
        await self.sagas.StartSaga(request, timeout=CALL_S, metadata=HEADERS)

    async def decide(self, claim_id: str, *, approved: bool = True) -> None:
        name = str(uuid5(NAMESPACE_OID, claim_id))
        request = rpc.SignalSagaRequest(saga_id=claim_id, signal="decision", request_id=name)
        request.typed.Pack(pb.Approval(approver=CANARY, approved=approved, remark=CANARY))
        await self.sagas.SignalSaga(request, timeout=CALL_S, metadata=HEADERS)

    async def ended(self, claim_id: str) -> str:
        """Wait until it has ended or needs somebody; ask for all there is, without showing it to anybody else."""
        request = rpc.WaitSagaRequest(saga_id=claim_id, view=SAGA_VIEW_FULL)
        reply = await self.sagas.WaitSaga(request, timeout=CALL_S, metadata=HEADERS)
        assert reply.reached
        self.asked.append(str(reply.saga))
        return SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")

    async def look(self, claim_id: str) -> None:
        request = rpc.ListSagaEventsRequest(saga_id=claim_id, view=SAGA_VIEW_FULL)
        self.asked.append(str(await self.sagas.ListSagaEvents(request, timeout=CALL_S, metadata=HEADERS)))

    async def refused(self, asking: Awaitable[object]) -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await asking
        return self.sinks.told(failed.value)


async def fails_and_goes_on(desk: Desk, one: Clerk) -> None:
    """Retry, refusal, compensation; a stuck undo and its repair; an expression that fails on the word."""
    one.refuses["Submit", "C-well"] = [grpc.StatusCode.UNAVAILABLE]
    await desk.start("C-well")
    await desk.decide("C-well")
    assert await desk.ended("C-well") == "COMPLETED"

    await desk.start("C-no")
    await desk.decide("C-no", approved=False)
    assert await desk.ended("C-no") == "COMPENSATED"

    one.refuses["Submit", "C-refused"] = [grpc.StatusCode.FAILED_PRECONDITION]
    await desk.start("C-refused")
    assert await desk.ended("C-refused") == "COMPENSATED"

    one.refuses["Withdraw", "C-stuck"] = [grpc.StatusCode.FAILED_PRECONDITION]
    await desk.start("C-stuck")
    await desk.decide("C-stuck", approved=False)
    assert await desk.ended("C-stuck") == "NEEDS_ATTENTION"
    again = op.OverrideStepRequestRequest(saga_id="C-stuck", reason="by hand", step="submit")
    again.typed.Pack(pb.WithdrawRequest(claim_id=CANARY))
    await desk.operators.OverrideStepRequest(again, timeout=CALL_S, metadata=HEADERS)
    assert await desk.ended("C-stuck") == "COMPENSATED"

    await desk.start("C-odd", "odd")
    assert await desk.ended("C-odd") == "COMPENSATED"
    loose = rpc.StartSagaRequest(saga_id="C-loose", definition="loose")
    loose.json.update({"claim_id": "C-loose", "amount": CANARY})
    await desk.sagas.StartSaga(loose, timeout=CALL_S, metadata=HEADERS)
    assert await desk.ended("C-loose") == "COMPENSATED"


async def is_refused(desk: Desk) -> None:
    """Whoever gives the word where it does not belong is told so, and not with the word."""
    wrong = rpc.StartSagaRequest(saga_id="C-wrong", definition="claim")
    wrong.json.update({"claimId": "C-wrong", "amountCents": CANARY})
    assert await desk.refused(desk.sagas.StartSaga(wrong, metadata=HEADERS)) is grpc.StatusCode.INVALID_ARGUMENT
    wrong.json.update({"amountCents": 7, "purpose": {"word": CANARY}})
    assert await desk.refused(desk.sagas.StartSaga(wrong, metadata=HEADERS)) is grpc.StatusCode.INVALID_ARGUMENT
    wrong.typed.Pack(pb.Approval(approver=CANARY))
    assert await desk.refused(desk.sagas.StartSaga(wrong, metadata=HEADERS)) is grpc.StatusCode.INVALID_ARGUMENT
    wrong.typed.Pack(pb.Claim())
    wrong.typed.value = b"\xff" + CANARY.encode()
    assert await desk.refused(desk.sagas.StartSaga(wrong, metadata=HEADERS)) is grpc.StatusCode.INVALID_ARGUMENT
    name = str(uuid5(NAMESPACE_OID, "twice"))
    signal = rpc.SignalSagaRequest(saga_id="C-well", signal="decision", request_id=name)
    signal.json.update({"approved": CANARY})
    assert await desk.refused(desk.sagas.SignalSaga(signal, metadata=HEADERS)) is not grpc.StatusCode.OK


async def is_broken(desk: Desk, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bugs: a turn that fails again and again, and a method that fails inside; each quotes the word."""

    def odd(state: SagaState, touched: Collection[StepId], *, is_draining: bool) -> None:
        if state.saga_id == "C-bug" and state.version > BEGUN:
            raise KeyError(CANARY)
        check_steps(state, touched, is_draining=is_draining)

    async def events(*_: object) -> object:
        try:
            return float(CANARY)
        except ValueError as error:
            raise LookupError(CANARY) from error

    with monkeypatch.context() as bugs:
        bugs.setattr(actors, "check_steps", odd)
        quarantined = asyncio.ensure_future(desk.sinks.log.until("saga C-bug is quarantined"))  # noqa: TID251  # awaited
        await desk.start("C-bug")
        await quarantined
        assert await desk.refused(desk.ended("C-bug")) is grpc.StatusCode.INTERNAL
        bugs.setattr(node.orchestrator, "events", events)
        assert await desk.refused(desk.look("C-well")) is grpc.StatusCode.INTERNAL


def damage(folder: Path, saga_id: str) -> None:
    """Flip a byte of a record that has the word."""
    connection = sqlite3.connect(folder / "saga.sqlite")
    ((key,),) = connection.execute("SELECT id FROM sagas WHERE saga_id = ?", (saga_id,))
    ((body,),) = connection.execute("SELECT body FROM records WHERE saga = ? AND version = 1", (key,))
    connection.execute("UPDATE records SET body = ? WHERE saga = ? AND version = 1", (body[:-1] + b"!", key))
    connection.commit()
    connection.close()


@asynccontextmanager
async def told(folder: Path, log_format: LogFormat) -> AsyncGenerator[tuple[Sinks, Desk]]:
    (folder / "claim.yaml").write_text(CLAIM)
    (folder / "odd.yaml").write_text(ODD)
    (folder / "loose.yaml").write_text(LOOSE)
    with sinks(log_format) as (found, endpoint), pytest.MonkeyPatch.context() as monkeypatch:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        for name, text in environ.items():
            monkeypatch.setenv(name, text)
        async with clerk() as (one, address):
            async with process(folder, address, found, environ) as (node, channel):
                first = Desk(channel, found)
                await fails_and_goes_on(first, one)
                await is_refused(first)
                await is_broken(first, node, monkeypatch)
                await first.start("C-damaged")
                one.held["C-open"] = asyncio.Event()
                await first.start("C-open")
                await one.holds.wait()
            damage(folder, "C-damaged")
            async with process(folder, address, found, environ) as (node, channel):
                second = Desk(channel, found)
                await second.decide("C-open")
                assert await second.ended("C-open") == "COMPLETED"
                assert await second.refused(second.look("C-damaged")) is grpc.StatusCode.DATA_LOSS
                await second.look("C-well")
        first.asked += second.asked
        first.store = folder / "saga.sqlite"
        yield found, first


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=LogFormat)
async def story(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[tuple[Sinks, Desk]]:
    async with told(tmp_path_factory.mktemp("canary"), request.param) as both:
        yield both


@pytest.mark.parametrize("sink", ["log", "spans", "pages", "errors"])
async def test_the_word_is_in_no_sink(story: tuple[Sinks, Desk], sink: str) -> None:
    found = [line[:400] for line in lines(story[0], sink) if any(shape in line for shape in shapes(CANARY))]
    assert found == []


@pytest.mark.parametrize("sink", ["log", "pages"])
async def test_a_services_own_words_are_for_those_who_look_at_its_saga(story: tuple[Sinks, Desk], sink: str) -> None:
    assert [line[:400] for line in lines(story[0], sink) if WORDS in line] == []
    assert any(WORDS in line for line in lines(story[0], "spans"))


async def test_who_asks_for_payloads_gets_them_and_the_store_has_them(story: tuple[Sinks, Desk]) -> None:
    assert any(CANARY in text for text in story[1].asked)
    assert CANARY.encode() in story[1].store.read_bytes()


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ("log", "saga C-bug is quarantined: saga 'C-bug' failed 3 times: KeyError, see the log"),
        ("log", "ListSagaEvents failed inside"),
        ("log", "forward attempt 2 ended OK, REPLIED"),
        ("log", "StepStuck submit"),
        ("spans", "CheckApproval"),
        ("spans", "saga.compensation"),
        ("spans", "int64 is needed, not a text"),
        ("pages", "saga_quarantined_total 1"),
        ("pages", 'saga_id: "C-open"'),
        ("errors", "int64 is needed, not a text"),
        ("errors", "record 1 of saga 'C-damaged' cannot be read"),
        ("errors", "the server failed to answer"),
    ],
)
async def test_every_sink_was_told_of_what_happened(story: tuple[Sinks, Desk], sink: str, said: str) -> None:
    assert any(said in line for line in lines(story[0], sink)), said


def lines(sinks: Sinks, sink: str) -> list[str]:
    return sinks.texts()[sink].splitlines()
