"""One saga, three ways: bare calls, the embedded orchestrator, and the orchestrator's own API."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import grpc

from orchestrator.limits import FORWARD_PARALLEL_MAX
from orchestrator.runtime import Orchestrator, StartRequest, Until
from orchestrator.saga import SagaStatus
from orchestrator.v1 import saga_pb2, saga_service_pb2, saga_service_pb2_grpc
from orchestrator.values import Payload
from services.epro.v1 import (
    archive_service_pb2,
    archive_service_pb2_grpc,
    notifier_service_pb2,
    notifier_service_pb2_grpc,
    report_pb2,
    safety_service_pb2,
    safety_service_pb2_grpc,
    scoring_service_pb2,
    scoring_service_pb2_grpc,
    validator_service_pb2,
    validator_service_pb2_grpc,
)
from tests.benchmarks.stubs import PARKED_PATIENT, REFUSED_PATIENT

Flow = Callable[[], Awaitable[None]]
WAIT_S = 60.0
TIMEOUT_S = 10.0

EPRO, PARKED, SIGNALLED = "epro_bench", "epro_parked", "signal_bench"

DEFINITION = """
saga: epro_bench
input: epro.v1.Report
deadline: {forward: 60s, compensation: 60s}
targets: [epro]
steps:
  validate:
    call: epro/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
    refuse: "!reply.valid"
  score:
    after: [validate]
    call: epro/epro.v1.Scoring/Score
    kind: read
    request: {report: "${input}"}
  archive:
    after: [validate]
    call: epro/epro.v1.Archive/Store
    request: {report: "${input}"}
    compensate:
      call: epro/epro.v1.Archive/Withdraw
      request: {report_id: "${input.report_id}"}
  adverse_event:
    after: [archive]
    when: steps.score.reply.total > 8
    call: epro/epro.v1.Safety/OpenAdverseEvent
    request: {report_id: "${input.report_id}", patient_id: "${input.patient_id}", score: "${steps.score.reply.total}"}
    compensate:
      call: epro/epro.v1.Safety/VoidAdverseEvent
      request: {report_id: "${input.report_id}"}
  notify:
    after: [archive]
    when: steps.score.reply.total > 8
    call: epro/epro.v1.Notifier/SendAlert
    compensate: none
    request:
      report_id: ${input.report_id}
      patient_id: ${input.patient_id}
      text: PHQ-9 ${steps.score.reply.total}
output: {report_id: "${input.report_id}"}
"""
# The same, where nobody answers the archive's call before the bench says so.
PARKED_DEFINITION = (
    DEFINITION.replace("saga: epro_bench", "saga: epro_parked")
    .replace("forward: 60s", "forward: 10m")
    .replace("Archive/Store\n", "Archive/Store\n    timeout: 5m\n")
)
SIGNALLED_DEFINITION = """
saga: signal_bench
input: epro.v1.Report
deadline: {forward: 10m, compensation: 60s}
targets: [epro]
steps:
  asked:
    wait: {signal: go, type: epro.v1.Report, timeout: 5m}
"""
DEFINITIONS = {EPRO: DEFINITION, PARKED: PARKED_DEFINITION, SIGNALLED: SIGNALLED_DEFINITION}


# What a saga costs that has very many steps: each of them is one call of about a kilobyte.
STEPS = 1_000
CHAIN, WIDE = "chain_bench", "wide_bench"


def long_definition(name: str, steps: int = STEPS) -> str:
    """Return a saga of so many reads, one after the other (`CHAIN`) or all at once (`WIDE`)."""
    head = (
        f"saga: {name}\ninput: epro.v1.Report\ndeadline: {{forward: 10m, compensation: 60s}}\ntargets: [epro]\nsteps:\n"
    )
    call = '    call: epro/epro.v1.Scoring/Score\n    kind: read\n    request: {report: "${input}"}\n'
    follows = [f"    after: [s{number - 1}]\n" if number and name == CHAIN else "" for number in range(steps)]
    return head + "".join(f"  s{number}:\n{after}{call}" for number, after in enumerate(follows))


def report(*, failing: bool = False, parked: bool = False) -> report_pb2.Report:
    """Return about one kilobyte of questionnaire."""
    answers = [report_pb2.ItemAnswer(item=item, value=2) for item in range(1, 10)]
    patient = REFUSED_PATIENT if failing else PARKED_PATIENT if parked else "P-0001"
    return report_pb2.Report(report_id="R-0001", patient_id=patient, site="DE-02", visit="v" * 900, answers=answers)


def bare(channel: grpc.aio.Channel, *, failing: bool) -> Flow:
    """Return the calls as somebody without an orchestrator writes them: stubs, and a gather for each pair."""
    validator = validator_service_pb2_grpc.ValidatorStub(channel)
    scoring = scoring_service_pb2_grpc.ScoringStub(channel)
    archive = archive_service_pb2_grpc.ArchiveStub(channel)
    safety = safety_service_pb2_grpc.SafetyStub(channel)
    notifier = notifier_service_pb2_grpc.NotifierStub(channel)
    given = report(failing=failing)

    async def one() -> None:
        checked = await validator.Validate(validator_service_pb2.ValidateRequest(report=given), timeout=TIMEOUT_S)
        assert checked.valid
        scored, _ = await asyncio.gather(
            scoring.Score(scoring_service_pb2.ScoreRequest(report=given), timeout=TIMEOUT_S),
            archive.Store(archive_service_pb2.StoreRequest(report=given), timeout=TIMEOUT_S),
        )
        assert scored.total > 8
        event = safety_service_pb2.OpenAdverseEventRequest(
            report_id=given.report_id, patient_id=given.patient_id, score=scored.total
        )
        alert = notifier_service_pb2.SendAlertRequest(
            report_id=given.report_id, patient_id=given.patient_id, text=f"PHQ-9 {scored.total}"
        )
        _, alerted = await asyncio.gather(
            safety.OpenAdverseEvent(event, timeout=TIMEOUT_S),
            notifier.SendAlert(alert, timeout=TIMEOUT_S),
            return_exceptions=True,
        )
        if failing:
            assert isinstance(alerted, grpc.aio.AioRpcError)
            void = safety_service_pb2.VoidAdverseEventRequest(report_id=given.report_id)
            await safety.VoidAdverseEvent(void, timeout=TIMEOUT_S)
            await archive.Withdraw(archive_service_pb2.WithdrawRequest(report_id=given.report_id), timeout=TIMEOUT_S)

    return one


def bare_long(channel: grpc.aio.Channel, *, definition: str) -> Flow:
    """Return the calls of a saga of very many steps, as somebody without an orchestrator writes them."""
    scoring = scoring_service_pb2_grpc.ScoringStub(channel)
    given = report()

    async def score() -> None:
        scored = await scoring.Score(scoring_service_pb2.ScoreRequest(report=given), timeout=WAIT_S)
        assert scored.total > 8

    async def one() -> None:
        # As many at once as a saga has: of thousands on one connection, gRPC's server cancels some.
        room = asyncio.Semaphore(FORWARD_PARALLEL_MAX)

        async def in_turn() -> None:
            async with room:
                await score()

        if definition == CHAIN:
            for _ in range(STEPS):
                await score()
        else:
            await asyncio.gather(*(in_turn() for _ in range(STEPS)))

    return one


def embedded(orchestrator: Orchestrator, *, failing: bool, definition: str = EPRO) -> Flow:
    """Return a saga started and awaited inside the orchestrator's own process."""
    data = report(failing=failing).SerializeToString()
    wanted = SagaStatus.COMPENSATED if failing else SagaStatus.COMPLETED

    async def one() -> None:
        started = await orchestrator.start(StartRequest(definition=definition, input=Payload("epro.v1.Report", data)))
        ended = await orchestrator.wait(started.saga_id, Until.TERMINAL, 0, WAIT_S)
        assert ended.status is wanted, ended.cause

    return one


def over_api(
    channel: grpc.aio.Channel, *, prefix: str | None = "bench", definition: str = EPRO, waits: bool = True
) -> Flow:
    """Return a saga started, and awaited where wanted, by a client of the gRPC API.

    With a prefix the client names its sagas, so that they lie anywhere; without one a saga begins where it is asked
    for.
    """
    stub = saga_service_pb2_grpc.SagaServiceStub(channel)
    numbers = count()
    given = report(parked=definition == PARKED)
    wait = saga_service_pb2.START_WAIT_TERMINAL if waits else saga_service_pb2.START_WAIT_ACCEPTED

    async def one() -> None:
        request = saga_service_pb2.StartSagaRequest(definition=definition, wait=wait)
        if prefix is not None:
            request.saga_id = f"{prefix}-{next(numbers)}"
        request.typed.Pack(given)
        reply = await stub.StartSaga(request, timeout=WAIT_S)
        assert not waits or reply.saga.status == saga_pb2.SAGA_STATUS_COMPLETED, reply.saga

    return one
