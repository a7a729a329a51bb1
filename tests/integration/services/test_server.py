"""How every service starts, shows itself, tells its spans, and stops."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.epro.v1 import report_pb2
from services.epro.v1 import scoring_service_pb2 as scoring
from services.epro.v1 import scoring_service_pb2_grpc as scoring_grpc
from services.epro.v1 import validator_service_pb2 as validator
from services.epro.v1 import validator_service_pb2_grpc as validator_grpc
from tests.integration.services.running import ARCHIVE, ROOT, Client, Running, fault_flag

SERVICES = [
    ("validator", "epro.v1.Validator"),
    ("scoring", "epro.v1.Scoring"),
    ("archive", "epro.v1.Archive"),
    ("safety", "epro.v1.Safety"),
    ("notifier", "epro.v1.Notifier"),
    ("shop", "shop.v1.Payments"),
    ("travel.reservations", "travel.v1.Reservations"),
    ("travel.agency", "travel.v1.Agency"),
    ("bank", "bank.v1.Screening"),
    ("expenses", "expenses.v1.Payouts"),
    ("importer", "google.longrunning.Operations"),
]


@pytest.mark.parametrize(("name", "full_name"), SERVICES)
def test_every_service_is_healthy_and_reflects_itself(name: str, full_name: str, tmp_path: Path) -> None:
    with Running(name, tmp_path) as running:
        health: Any = health_pb2_grpc.HealthStub(running.channel)
        for asked in ("", full_name):
            answer = health.Check(health_pb2.HealthCheckRequest(service=asked))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        for version in ("v1", "v1alpha"):
            reflect = reflection(running.channel, version)
            listed = {each.name for each in reflect(list_services="").list_services_response.service}
            assert {full_name, "epro.v1.FaultService", "grpc.health.v1.Health"} <= listed
            for each in listed:  # whatever is listed can be described
                files = reflect(file_containing_symbol=each).file_descriptor_response.file_descriptor_proto
                parsed = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]
                names = {f"{file.package}.{service.name}" for file in parsed for service in file.service}
                assert each in names


def reflection(channel: grpc.Channel, version: str) -> Callable[..., reflection_pb2.ServerReflectionResponse]:
    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return lambda **fields: next(iter(call(iter([reflection_pb2.ServerReflectionRequest(**fields)]))))


def report(*values: int) -> report_pb2.Report:
    made = report_pb2.Report(
        report_id="R1",
        patient_id="P1",
        site="DE-01",
        visit="BASELINE",
        language="de",
        instrument=report_pb2.INSTRUMENT_PHQ9,
        answers=[report_pb2.ItemAnswer(item=item, value=value) for item, value in enumerate(values, start=1)],
    )
    made.submitted_at.FromSeconds(1)
    return made


def test_the_validator_says_no_in_an_ok_reply(tmp_path: Path) -> None:
    with Running("validator", tmp_path) as running:
        stub = validator_grpc.ValidatorStub(running.channel)
        good = stub.Validate(validator.ValidateRequest(report=report(*[1] * 9)))
        assert (good.valid, list(good.problems)) == (True, [])
        bad = stub.Validate(validator.ValidateRequest(report=report(7, 0, 0)))
        assert not bad.valid
        assert [problem.split(":")[0] for problem in bad.problems] == [
            "item 1 is answered with 7",
            "6 items are missing",
        ]


def test_scoring_scores_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    with Running("scoring", tmp_path) as running:
        stub = scoring_grpc.ScoringStub(running.channel)
        assert stub.Score(scoring.ScoreRequest(report=report(3, 3, 3, 0, 0, 0, 0, 1))) == scoring.ScoreResponse(
            total=11, severity=scoring.SEVERITY_MODERATE, prorated=True, answered=8
        )
        with pytest.raises(grpc.RpcError) as refused:
            stub.Score(scoring.ScoreRequest(report=report(1, 2, 3)))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_sigterm_lets_an_open_call_end_and_exits_with_0(tmp_path: Path) -> None:
    with Running("archive", tmp_path, *fault_flag(method="Store", delay={"min": "0.3s"})) as running:
        call = ARCHIVE.stub(running.channel).Store.future(ARCHIVE.request("R1"))
        running.wait_until("Store", lambda stats: stats.in_flight == 1)
        running.process.send_signal(signal.SIGTERM)
        assert call.result().record_id
        assert running.process.wait() == 0
        assert running.process.stdout
        assert running.process.stdout.read() == ""  # the ready line was the only one


def test_a_second_signal_ends_the_grace(tmp_path: Path) -> None:
    flags = (*fault_flag(method="Store", hang={}), "--grace", "3600")
    with Running("archive", tmp_path, *flags) as running:
        call = ARCHIVE.stub(running.channel).Store.future(ARCHIVE.request("R1"))
        running.wait_until("Store", lambda stats: stats.in_flight == 1)
        health: Any = health_pb2_grpc.HealthStub(running.channel)
        states = health.Watch(health_pb2.HealthCheckRequest())
        assert next(states).status == health_pb2.HealthCheckResponse.SERVING
        running.process.send_signal(signal.SIGTERM)
        assert next(states).status == health_pb2.HealthCheckResponse.NOT_SERVING
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait() == 0
        assert call.code() is not grpc.StatusCode.OK


def refused_start(*flags: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "services.scoring", *flags]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


def test_a_port_in_use_is_refused_and_not_shared(tmp_path: Path) -> None:
    with Running("validator", tmp_path) as running:
        code, said = refused_start("--data", str(tmp_path), "--port", running.address.rpartition(":")[2])
    assert code == 1
    assert "cannot start" in said


def test_a_fault_flag_that_is_no_fault_is_refused(tmp_path: Path) -> None:
    assert refused_start("--data", str(tmp_path), "--fault", '{"methud": "Score"}')[0] == 2
    code, said = refused_start("--data", str(tmp_path), "--fault", '{"method": "Scare", "refuse": {}}')
    assert code == 1
    assert "this service has Score" in said


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP endpoint that hands on what it gets."""

    def __init__(self) -> None:
        self.spans: SimpleQueue[tuple[str, Any]] = SimpleQueue()

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  (gRPC's name)
        for resource_spans in request.resource_spans:
            resource = {each.key: each.value.string_value for each in resource_spans.resource.attributes}
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    self.spans.put((resource["service.name"], span))
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[tuple[Receiver, str]]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    receiving = Receiver()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiving, server)  # type: ignore[no-untyped-call]  # has no stubs
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield receiving, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def test_every_call_is_a_span_under_the_callers_and_none_is_lost_at_sigterm(
    tmp_path: Path, receiver: tuple[Receiver, str]
) -> None:
    receiving, endpoint = receiver
    trace_id, parent_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    about = (("saga-id", "s"), ("saga-step", "archive"), ("saga-op", "forward"), ("saga-attempt", "2"))
    traced = (("traceparent", f"00-{trace_id}-{parent_id}-01"), *about)
    with Running("archive", tmp_path, environ={"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}) as running:
        running.set_fault(method="Withdraw", dropReply={})
        stub = ARCHIVE.stub(running.channel)
        stub.Store(ARCHIVE.request("R1"), metadata=traced)
        with pytest.raises(grpc.RpcError):
            stub.Withdraw(ARCHIVE.undo_request(report_id="R1"), metadata=traced)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait() == 0
    stored, withdrawn = (receiving.spans.get(timeout=30) for _ in range(2))
    assert receiving.spans.empty()  # health, reflection and the admin's calls have none
    for service_name, span in (stored, withdrawn):
        assert (service_name, span.trace_id.hex(), span.parent_span_id.hex()) == ("archive", trace_id, parent_id)
        assert span.kind == span.SPAN_KIND_SERVER
    assert [span.name for _, span in (stored, withdrawn)] == ["epro.v1.Archive/Store", "epro.v1.Archive/Withdraw"]
    assert [span.status.code for _, span in (stored, withdrawn)] == [0, 2]
    attributes = {each.key: each.value for each in stored[1].attributes}
    said = {name: attributes.pop(name).string_value for name in ("saga.id", "saga.step", "saga.operation")}
    assert said == {"saga.id": "s", "saga.step": "archive", "saga.operation": "forward"}
    assert attributes.pop("saga.attempt").int_value == 2
    assert {name: value.string_value for name, value in attributes.items()} == {
        "rpc.system.name": "grpc",
        "rpc.method": "epro.v1.Archive/Store",
        "rpc.response.status_code": "OK",
    }
    failed = {each.key: each.value.string_value for each in withdrawn[1].attributes}
    assert failed["rpc.response.status_code"] == failed["error.type"] == "UNAVAILABLE"


def test_a_collector_that_is_not_there_harms_no_call_and_no_stop(tmp_path: Path) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with Running("archive", tmp_path, environ=environ) as running:
        client = Client(pair=ARCHIVE, running=running)
        for number in range(20):
            client.make(f"R{number}")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) == 0
