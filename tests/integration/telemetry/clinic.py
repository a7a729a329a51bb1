"""A clinic whose every process tells one Jaeger: the services, an orchestrator, and who starts and signals sagas."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import grpc
from google.protobuf.json_format import ParseDict
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orchestrator.v1.operator_service_pb2 import RetryStepRequest
from orchestrator.v1.operator_service_pb2_grpc import OperatorServiceStub
from orchestrator.v1.saga_pb2 import Saga, SagaStatus
from orchestrator.v1.saga_service_pb2 import (
    CancelSagaRequest,
    SignalSagaRequest,
    StartSagaRequest,
    StartSagaResponse,
    WaitSagaRequest,
)
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.kit.jaeger import Jaeger, Reference, Trace
from tests.kit.mesh import Mesh, channel, in_order, insisted, reports
from tests.kit.trees import has_ended

CALLER = "clinic"
OPEN_SITE, CLOSED_SITE, FAR_SITE = "PL-01", "DE-03", "XX-99"

VISIT = """
saga: visit
description: Take in a report as a saga of its own, and go on only where the site is near.
input: epro.v1.Report
targets: [validator]
steps:
  intake: {saga: epro_intake, input: "${input}", compensate: undo}
  travel:
    after: [intake]
    call: validator/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
    refuse: input.site == "XX-99"
    reason: nobody can go there
"""
FOLLOW_UP = """
saga: follow_up
description: Keep a report; once the nurse has called the patient, wait a little, and alert.
input: epro.v1.Report
deadline: {forward: 7d, compensation: 5m}
targets: [archive, notifier]
steps:
  archive:
    call: archive/epro.v1.Archive/Store
    request: {report: "${input}"}
    compensate:
      call: archive/epro.v1.Archive/Withdraw
      request: {report_id: "${input.report_id}"}
  called:
    after: [archive]
    wait: {signal: called, type: epro.v1.Report, timeout: 3d}
  pause:
    after: [called]
    sleep: 1h
  notify:
    after: [pause]
    call: notifier/epro.v1.Notifier/SendAlert
    request: {report_id: "${input.report_id}", patient_id: "${input.patient_id}", text: please see to it}
    compensate: none
"""


def report(name: str, site: str = OPEN_SITE) -> dict[str, object]:
    """A report whose score raises the alarm; faults are aimed at it by its name."""
    return {**reports()[0], "reportId": name, "site": site}


class Clinic:
    """Whoever starts a saga, signals it and reads its trace; the programs belong to somebody else."""

    def __init__(self, jaeger: Jaeger, door: str) -> None:
        """`door` is the address of an orchestrator."""
        self.jaeger = jaeger
        self.door = door
        self._provider = TracerProvider(resource=Resource.create({"service.name": CALLER}), shutdown_on_exit=False)
        # One by one: a caller's span is there when its block ends.
        self._provider.add_span_processor(
            SimpleSpanProcessor(OTLPSpanExporter(endpoint=jaeger.endpoint, insecure=True))
        )

    @contextmanager
    def traced(self, name: str) -> Iterator["Carrier"]:
        """Do something as a span of the clinic's own, in a trace of its own."""
        with self._provider.get_tracer(CALLER).start_as_current_span(name, context=Context()) as span:
            headers: dict[str, str] = {}
            TraceContextTextMapPropagator().inject(headers, set_span_in_context(span))
            yield Carrier(headers=headers)

    async def start(
        self, name: str, given: Mapping[str, object], carrier: "Carrier", definition: str = "epro_intake"
    ) -> Saga:
        again = str(uuid5(NAMESPACE_OID, f"start {name}"))  # so that it is known for the same
        request = StartSagaRequest(saga_id=name, definition=definition, request_id=again)
        ParseDict(dict(given), request.json)
        async with channel(self.door) as connection:
            stub = SagaServiceStub(connection)
            reply: StartSagaResponse = await insisted(
                lambda: stub.StartSaga(request, metadata=carrier.metadata, wait_for_ready=True, timeout=20)
            )
        return reply.saga

    async def signal(self, name: str, signal: str, carrier: "Carrier") -> None:
        request = SignalSagaRequest(saga_id=name, signal=signal, request_id=str(uuid5(NAMESPACE_OID, name)))
        request.json.SetInParent()
        async with channel(self.door) as connection:
            await SagaServiceStub(connection).SignalSaga(request, metadata=carrier.metadata, timeout=20)

    async def cancel(self, name: str, carrier: "Carrier") -> None:
        request = CancelSagaRequest(saga_id=name, reason="the patient has withdrawn")
        async with channel(self.door) as connection:
            await SagaServiceStub(connection).CancelSaga(request, metadata=carrier.metadata, timeout=20)

    async def retry(self, name: str, step: str, carrier: "Carrier") -> None:
        """Have a step tried again, as the person on duty."""
        request = RetryStepRequest(saga_id=name, step=step, reason="the archive is back")
        async with channel(self.door) as connection:
            await OperatorServiceStub(connection).RetryStep(request, metadata=carrier.metadata, timeout=20)

    async def end(self, name: str) -> str:
        """Wait for a saga's end; return how it ended."""
        async with channel(self.door) as connection:
            request = WaitSagaRequest(saga_id=name)
            reply = await SagaServiceStub(connection).WaitSaga(request, wait_for_ready=True, timeout=40)
        assert reply.reached
        return SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")

    async def run(self, name: str, given: Mapping[str, object]) -> tuple[str, Trace]:
        """Start the demo's saga and wait for its end; return how it ended, and its trace."""
        with self.traced("take in a form") as carrier:
            await self.start(name, given, carrier)
            status = await self.end(name)
        return status, await self.trace(carrier)

    async def trace(self, carrier: "Carrier", until: Callable[[Trace], bool] = has_ended) -> Trace:
        """Return the trace that a saga was started in, once all of it is there, the caller's own span included."""
        return await self.jaeger.trace(
            carrier.trace_id, lambda trace: until(trace) and any(span.span_id == carrier.span_id for span in trace)
        )

    def close(self) -> None:
        self._provider.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A place in a trace, as headers."""

    headers: Mapping[str, str]

    @property
    def metadata(self) -> grpc.aio.Metadata:
        return grpc.aio.Metadata(*self.headers.items())

    @property
    def trace_id(self) -> str:
        return self.headers["traceparent"].split("-")[1]

    @property
    def span_id(self) -> str:
        return self.headers["traceparent"].split("-")[2]

    @property
    def reference(self) -> Reference:
        return Reference(trace_id=self.trace_id, span_id=self.span_id)


def telling(jaeger: Jaeger) -> dict[str, str]:
    """The environment of a program that tells it."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": jaeger.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def definitions(folder: Path, pause: str = "1h") -> list[str]:
    """Write the definitions of these tests; return the paths of all, the demo's first."""
    paths = {folder / "visit.yaml": VISIT, folder / "follow_up.yaml": FOLLOW_UP.replace("sleep: 1h", f"sleep: {pause}")}
    for path, text in paths.items():
        path.write_text(text, encoding="utf-8")
    return [str(in_order(folder)), *map(str, paths)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A clinic with programs of its own."""

    clinic: Clinic
    mesh: Mesh

    async def set_fault(self, service: str, name: str, **fault: Any) -> None:
        """Set a fault that strikes calls about one report only."""
        await self.mesh.set_fault(service, reportId=name, **fault)

    async def killed(self) -> None:
        """End the orchestrator as by a power cut, and start it again."""
        await self.mesh.orchestrator.kill()
        await self.mesh.orchestrator.start()


@asynccontextmanager
async def opened(folder: Path, jaeger: Jaeger, **settings: Any) -> AsyncGenerator[Open]:
    """Run everything while the block runs; its ends are polite."""
    async with Mesh(folder, telling(jaeger), definitions=definitions(folder, pause="10ms"), **settings) as mesh:
        await mesh.start()
        clinic = Clinic(jaeger, mesh.orchestrator.address)
        yield Open(clinic=clinic, mesh=mesh)
        await asyncio.to_thread(clinic.close)
        for program in (mesh.orchestrator, *mesh.services.values()):
            program.signal()
        for program in (mesh.orchestrator, *mesh.services.values()):
            assert await program.ended(within_s=20) == 0
