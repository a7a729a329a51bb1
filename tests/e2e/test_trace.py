"""One tree, from the caller's span to the services' own and back through the compensation; also after a kill."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID

import grpc
from google.protobuf.json_format import ParseDict
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from orchestrator import ids
from orchestrator.ids import StepId
from orchestrator.v1.saga_pb2 import Saga, SagaStatus
from orchestrator.v1.saga_service_pb2 import StartSagaRequest, WaitSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.integration.telemetry.collector import Received, attributes, grpc_collector
from tests.kit.mesh import Mesh, channel, in_order, reports

CALLER = "take in a form"
ALERTED = {**reports()[0], "site": "PL-01"}
AT_A_CLOSED_SITE = {**reports()[0], "site": "DE-03"}

FORWARD = {
    "saga epro_intake > saga.start",
    "saga epro_intake > step validate > epro.v1.Validator/Validate > epro.v1.Validator/Validate",
    "saga epro_intake > step score > epro.v1.Scoring/Score > epro.v1.Scoring/Score",
    "saga epro_intake > step archive > epro.v1.Archive/Store > epro.v1.Archive/Store",
    "saga epro_intake > step adverse_event > epro.v1.Safety/OpenAdverseEvent > epro.v1.Safety/OpenAdverseEvent",
}
ALERT = "saga epro_intake > step notify > epro.v1.Notifier/SendAlert > epro.v1.Notifier/SendAlert"
UNDO = "saga epro_intake > saga.compensation > undo archive > epro.v1.Archive/Withdraw > epro.v1.Archive/Withdraw"


class Traced:
    """A mesh whose every process tells one receiver."""

    def __init__(self, mesh: Mesh, received: Received, endpoint: str) -> None:
        self.mesh = mesh
        self.received = received
        self._provider = TracerProvider(resource=Resource.create({"service.name": "clinic"}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=True)))

    @contextmanager
    def caller(self) -> Iterator[dict[str, str]]:
        """The caller's own span, and the metadata that carries it."""
        with self._provider.get_tracer("clinic").start_as_current_span(CALLER):
            carrier: dict[str, str] = {}
            TraceContextTextMapPropagator().inject(carrier)
            yield carrier

    async def start(self, saga_id: str, report: Mapping[str, object], carrier: Mapping[str, str]) -> Saga:
        request = StartSagaRequest(saga_id=saga_id, definition="epro_intake")
        ParseDict(dict(report), request.json)
        async with channel(self.mesh.orchestrator.address) as connection:
            stub = SagaServiceStub(connection)
            metadata = grpc.aio.Metadata(*carrier.items())
            return (await stub.StartSaga(request, metadata=metadata, wait_for_ready=True, timeout=20)).saga

    async def end(self, saga_id: str) -> str:
        async with channel(self.mesh.orchestrator.address) as connection:
            stub = SagaServiceStub(connection)
            reply = await stub.WaitSaga(WaitSagaRequest(saga_id=saga_id), wait_for_ready=True, timeout=40)
            return SagaStatus.Name(reply.saga.status).removeprefix("SAGA_STATUS_")

    async def stop(self) -> None:
        """Stop every process politely: each hands over its last spans."""
        await asyncio.to_thread(self._provider.shutdown)
        for program in (self.mesh.orchestrator, *self.mesh.services.values()):
            program.signal()
        for program in (self.mesh.orchestrator, *self.mesh.services.values()):
            assert await program.ended(within_s=20) == 0

    def tree(self, carrier: Mapping[str, str]) -> dict[str, list[Span]]:
        """The caller's trace as path -> spans; asserts that it is one tree, and that no two spans share an id."""
        trace_id = bytes.fromhex(carrier["traceparent"].split("-")[1])
        spans = {key: span for key, span in self.received.distinct().items() if span.trace_id == trace_id}
        roots = [span.name for span in spans.values() if not span.parent_span_id]
        assert roots == [CALLER]
        lost = [span.name for span in spans.values() if span.parent_span_id and span.parent_span_id not in spans]
        assert lost == [], "every parent is there"
        tree: dict[str, list[Span]] = {}
        for span in spans.values():
            if not span.parent_span_id:
                continue
            path, at = span.name, span
            while at.parent_span_id:
                at = spans[at.parent_span_id]
                path = f"{at.name} > {path}"
            tree.setdefault(path.removeprefix(f"{CALLER} > "), []).append(span)
        return tree


@asynccontextmanager
async def traced(folder: Path) -> AsyncIterator[Traced]:
    with grpc_collector() as (endpoint, received):
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        async with Mesh(folder, environ, definitions=[str(in_order(folder))]) as mesh:
            await mesh.start()
            yield Traced(mesh, received, endpoint)


def leaves(tree: Mapping[str, object]) -> set[str]:
    return {path for path in tree if not any(other.startswith(f"{path} > ") for other in tree)}


def only(spans: list[Span]) -> Span:
    assert len(spans) == 1
    return spans[0]


async def test_a_happy_and_a_compensated_saga_are_one_tree_each_with_the_services_own_spans(tmp_path: Path) -> None:
    async with traced(tmp_path) as world:
        with world.caller() as happy:
            await world.start("happy", ALERTED, happy)
            assert await world.end("happy") == "COMPLETED"
        with world.caller() as undone:
            uid = UUID((await world.start("undone", AT_A_CLOSED_SITE, undone)).uid)
            assert await world.end("undone") == "COMPENSATED"
        await world.stop()
        assert leaves(world.tree(happy)) == {*FORWARD, ALERT}
        tree = world.tree(undone)
        assert leaves(tree) == {*FORWARD, UNDO}
    undo = only(tree["saga epro_intake > saga.compensation > undo archive"])
    forward = only(tree["saga epro_intake > step archive > epro.v1.Archive/Store"])
    assert [link.span_id for link in undo.links] == [forward.span_id], "an undo names what it undoes (T6)"
    archive = StepId("archive")
    expected = {
        "saga epro_intake": ids.root_span_id(uid),
        "saga epro_intake > saga.compensation": ids.compensation_span_id(uid),
        "saga epro_intake > step archive": ids.operation_span_id(uid, archive, "forward"),
        "saga epro_intake > step archive > epro.v1.Archive/Store": ids.attempt_span_id(uid, archive, "forward", 1),
    }
    assert {path: int.from_bytes(only(tree[path]).span_id) for path in expected} == expected, (
        "T1: anyone can derive them"
    )
    service = only(tree["saga epro_intake > step archive > epro.v1.Archive/Store > epro.v1.Archive/Store"])
    assert service.kind == Span.SPAN_KIND_SERVER
    assert attributes(service)["saga.id"] == "undone"


async def test_a_saga_that_was_killed_in_the_middle_is_still_one_tree(tmp_path: Path) -> None:
    async with traced(tmp_path) as world:
        await world.mesh.set_fault("archive", method="Store", dropReply={"neverAnswer": True}, firstCalls=1)
        await world.mesh.set_fault("scoring", method="Score", hang={}, firstCalls=1)  # so the refusal comes later
        with world.caller() as carrier:
            uid = UUID((await world.start("cut", AT_A_CLOSED_SITE, carrier)).uid)
            await world.mesh.calls_in_flight("archive", "Store")
            await world.mesh.calls_in_flight("scoring", "Score")
            await received_span(world.received, ids.start_span_id(uid))  # T4: findable while it runs
            await world.mesh.orchestrator.kill()
            await world.mesh.orchestrator.start()
            assert await world.end("cut") == "COMPENSATED"
        await world.stop()
        tree = world.tree(carrier)
    assert UNDO in tree
    root = only(tree["saga epro_intake"])
    step = "saga epro_intake > step archive > epro.v1.Archive/Store"
    lost = [span for span in tree[step] if attributes(span).get("saga.call.lost")]
    assert [int.from_bytes(span.span_id) for span in lost] == [
        ids.attempt_span_id(uid, StepId("archive"), "forward", 1)
    ], "the attempt that nobody saw the end of is told by the successor"
    served = tree[f"{step} > epro.v1.Archive/Store"]
    assert only(lost).span_id in {span.parent_span_id for span in served}, "and the service's own span hangs on it"
    inside = [span for path, spans in tree.items() if path.startswith("saga epro_intake > step") for span in spans]
    ours = [span for span in inside if span.kind != Span.SPAN_KIND_SERVER]
    assert all(root.start_time_unix_nano <= span.start_time_unix_nano for span in ours)
    assert all(span.end_time_unix_nano <= root.end_time_unix_nano for span in ours)


async def test_a_trace_that_the_caller_does_not_sample_is_told_by_nobody(tmp_path: Path) -> None:
    async with traced(tmp_path) as world:
        unsampled = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
        await world.start("unseen", ALERTED, unsampled)
        assert await world.end("unseen") == "COMPLETED"
        with world.caller() as carrier:
            await world.start("seen", ALERTED, carrier)
            assert await world.end("seen") == "COMPLETED"
        await world.stop()
        trace_ids = {span.trace_id for span in world.received.distinct().values()}
    assert trace_ids == {bytes.fromhex(carrier["traceparent"].split("-")[1])}


async def received_span(received: Received, span_id: int) -> None:
    while all(int.from_bytes(span.span_id) != span_id for span in list(received.spans)):  # noqa: ASYNC110  (threads)
        await asyncio.sleep(0.01)  # poll: the receiver's threads know no event loop
