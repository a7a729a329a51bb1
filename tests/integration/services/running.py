"""A demo service as a real process on a port of its own, and the calls that the tests make to it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf import json_format, message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from services.epro.v1 import admin_service_pb2, admin_service_pb2_grpc, report_pb2
from services.epro.v1 import archive_service_pb2 as archive
from services.epro.v1 import archive_service_pb2_grpc as archive_grpc
from services.epro.v1 import notifier_service_pb2 as notifier
from services.epro.v1 import notifier_service_pb2_grpc as notifier_grpc
from services.epro.v1 import safety_service_pb2 as safety
from services.epro.v1 import safety_service_pb2_grpc as safety_grpc
from services.ledger import Entry, read_directory

ROOT = Path(__file__).parents[3]


class Running:
    """One process; as a context it is killed at the end, whatever happened."""

    def __init__(self, name: str, data: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", f"services.{name}", "--data", str(data), *flags]
        environment = {**os.environ, **(environ or {})}
        self.data = data
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        assert self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{name} did not start: {self.process.stderr.read()}")
        self.address = line.removeprefix("listening ").strip()
        self.channel = grpc.insecure_channel(self.address)
        self.faults = admin_service_pb2_grpc.FaultServiceStub(self.channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.process.kill()
        self.process.communicate()

    def kill(self) -> None:
        """As a power cut would, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def set_fault(self, **fields: Any) -> None:
        fault = json_format.ParseDict(fields, admin_service_pb2.Fault())
        self.faults.SetFault(admin_service_pb2.SetFaultRequest(fault=fault))

    def stats(self, method: str) -> admin_service_pb2.MethodStats:
        answer = self.faults.GetStats(admin_service_pb2.GetStatsRequest())
        return next(each for each in answer.methods if each.method == method)

    def wait_until(self, method: str, holds: Callable[[admin_service_pb2.MethodStats], bool]) -> None:
        """Wait for a fact in the method's stats; the test's own time limit bounds it."""
        while not holds(self.stats(method)):
            time.sleep(0.005)  # noqa: TID251  (poll: the stats are all that the process tells)

    def ledger(self) -> list[Entry]:
        return list(read_directory(self.data))

    def outcomes(self) -> list[tuple[str, int, str]]:
        return [(each.method, each.effect, each.outcome) for each in self.ledger()]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A stateful service's forward method and its undo, so that one test holds for all of them."""

    program: str = ""
    """The module below `services`; "" where it is called as its one service is."""
    service: str
    """As its ledger names it."""
    make: str
    undo: str
    stub: Callable[[grpc.Channel], Any]
    request: Callable[[str], message.Message]
    """Given a report id."""
    undo_request: Callable[..., message.Message]
    """Given `id=` or `report_id=` or nothing."""
    id_of: Callable[[Any], str]
    count_of: Callable[[Any], int]


def undo_request_of(message_type: Callable[..., message.Message], id_field: str) -> Callable[..., message.Message]:
    def build(*, thing_id: str = "", report_id: str = "") -> message.Message:
        return message_type(**{id_field: thing_id, "report_id": report_id})

    return build


ARCHIVE = Pair(
    service="archive",
    make="Store",
    undo="Withdraw",
    stub=archive_grpc.ArchiveStub,
    request=lambda report_id: archive.StoreRequest(report=report_pb2.Report(report_id=report_id)),
    undo_request=undo_request_of(archive.WithdrawRequest, "record_id"),
    id_of=lambda reply: str(reply.record_id),
    count_of=lambda reply: int(reply.withdrawn),
)
SAFETY = Pair(
    service="safety",
    make="OpenAdverseEvent",
    undo="VoidAdverseEvent",
    stub=safety_grpc.SafetyStub,
    request=lambda report_id: safety.OpenAdverseEventRequest(
        report_id=report_id, patient_id="P1", site="DE-01", score=12
    ),
    undo_request=undo_request_of(safety.VoidAdverseEventRequest, "event_id"),
    id_of=lambda reply: str(reply.event_id),
    count_of=lambda reply: int(reply.voided),
)
NOTIFIER = Pair(
    service="notifier",
    make="SendAlert",
    undo="RecallAlert",
    stub=notifier_grpc.NotifierStub,
    request=lambda report_id: notifier.SendAlertRequest(report_id=report_id, patient_id="P1", text="PHQ-9 total 12"),
    undo_request=undo_request_of(notifier.RecallAlertRequest, "alert_id"),
    id_of=lambda reply: str(reply.alert_id),
    count_of=lambda reply: int(reply.recalled),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Calls one stateful service as a saga would, or as nobody in particular."""

    pair: Pair
    running: Running

    def make(
        self, report_id: str = "R1", *, key: str = "", saga: str = "", not_after: float | None = None, **options: Any
    ) -> str:
        call = getattr(self.pair.stub(self.running.channel), self.pair.make)
        limit = {} if not_after is None else {"saga-not-after": str(not_after)}
        metadata = sent_by(key, saga, "forward", limit)
        return self.pair.id_of(call(self.pair.request(report_id), metadata=metadata, **options))

    def undo(self, *, key: str = "", saga: str = "", thing_id: str = "", report_id: str = "") -> int:
        call = getattr(self.pair.stub(self.running.channel), self.pair.undo)
        request = self.pair.undo_request(thing_id=thing_id, report_id=report_id)
        return self.pair.count_of(call(request, metadata=sent_by(key, saga, "compensate", {})))


def sent_by(key: str, saga: str, op: str, more: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The metadata of a call; `saga` is "saga-id/step"."""
    fields = dict(more)
    if key:
        fields["idempotency-key"] = key
    if saga:
        saga_id, step = saga.split("/")
        fields |= {"saga-id": saga_id, "saga-step": step, "saga-op": op, "saga-attempt": "1"}
    return tuple(fields.items())


def reason_of(error: grpc.RpcError) -> str:
    """The ErrorInfo reason of a failed call; "" when it has none."""
    return next((each.reason for each in details_of(error, error_details_pb2.ErrorInfo)), "")


def details_of(error: Any, kind: type[Any]) -> Iterator[Any]:
    status = rpc_status.from_call(error)
    for packed in status.details if status else ():
        found = kind()
        if packed.Unpack(found):
            yield found


def fault_flag(**fields: Any) -> tuple[str, str]:
    return "--fault", json.dumps(fields)
