"""Every fault knob does what its line in the proto says, and nothing else."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from services.epro.v1 import admin_service_pb2, validator_service_pb2, validator_service_pb2_grpc
from services.faults import FaultServicer
from tests.integration.services.running import ARCHIVE, Client, Running, details_of, fault_flag, reason_of


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Running("archive", tmp_path) as running:
        yield Client(pair=ARCHIVE, running=running)


def code_of(client: Client, *arguments: str, **options: Any) -> grpc.StatusCode:
    try:
        client.make(*arguments, **options)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def given_up(client: Client, holds: Callable[[admin_service_pb2.MethodStats], bool]) -> None:
    """Call, and give up without an answer once a fact holds."""
    call = client.pair.stub(client.running.channel).Store.future(client.pair.request("R1"))
    client.running.wait_until("Store", holds)
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED, "it was not answered"


def test_delay_waits_before_the_work(client: Client) -> None:
    client.running.set_fault(method="Store", delay={"min": "0.05s", "max": "0.06s"})
    started = time.perf_counter()
    assert client.make()
    assert time.perf_counter() - started >= 0.05


def test_a_caller_that_gives_up_during_a_delay_stops_the_work(client: Client) -> None:
    client.running.set_fault(method="Store", delay={"min": "30s"})
    given_up(client, lambda stats: stats.in_flight == 1)
    client.running.wait_until("Store", lambda stats: stats.calls == 1 and stats.in_flight == 0)
    assert client.running.outcomes() == []


def test_ignore_cancellation_lets_the_work_end_after_the_caller_gave_up(client: Client) -> None:
    client.running.set_fault(method="Store", ignoreCancellation={})
    client.running.set_fault(method="Store", delay={"min": "2s"})
    given_up(client, lambda stats: stats.in_flight == 1)
    client.running.wait_until("Store", lambda stats: stats.effects == 1)
    assert client.running.outcomes() == [("Store", 1, "applied")]


def test_status_ends_the_call_before_the_work_with_the_details_asked_for(client: Client) -> None:
    status = {"code": 8, "message": "come back", "retryDelay": "1.5s"}
    client.running.set_fault(method="Store", status=status)
    with pytest.raises(grpc.RpcError) as failed:
        client.make()
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "come back")
    (info,) = details_of(failed.value, error_details_pb2.RetryInfo)
    assert info.retry_delay.ToTimedelta().total_seconds() == 1.5
    assert client.running.outcomes() == []


def test_first_calls_bounds_a_fault(client: Client) -> None:
    client.running.set_fault(method="Store", firstCalls=2, status={"code": 14})
    codes = [code_of(client) for _ in range(4)]
    assert codes == [grpc.StatusCode.UNAVAILABLE] * 2 + [grpc.StatusCode.OK] * 2


def test_report_id_picks_the_calls(client: Client) -> None:
    client.running.set_fault(method="Store", reportId="R2", firstCalls=1, refuse={})
    codes = [code_of(client, report_id) for report_id in ("R1", "R2", "R2")]
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.OK]


def test_refuse_answers_as_an_application(client: Client) -> None:
    client.running.set_fault(method="Store", refuse={})
    with pytest.raises(grpc.RpcError) as refused:
        client.make()
    assert reason_of(refused.value) == "REFUSED_BY_FAULT"
    assert client.running.outcomes() == []


def test_faults_are_per_method(client: Client) -> None:
    client.running.set_fault(method="Withdraw", refuse={})
    assert client.make()


def test_a_dropped_reply_leaves_the_effect_and_the_key_finds_it(client: Client) -> None:
    client.running.set_fault(method="Store", firstCalls=1, dropReply={})
    assert code_of(client, key="k1") is grpc.StatusCode.UNAVAILABLE
    assert client.running.outcomes() == [("Store", 1, "applied")]
    assert client.make(key="k1")
    assert client.running.outcomes() == [("Store", 1, "applied"), ("Store", 0, "replayed")]


def test_a_reply_that_never_comes_leaves_the_effect_too(client: Client) -> None:
    client.running.set_fault(method="Store", dropReply={"neverAnswer": True})
    given_up(client, lambda stats: stats.effects == 1)
    assert client.running.outcomes() == [("Store", 1, "applied")]


def test_a_hanging_call_ends_when_the_faults_are_cleared(client: Client) -> None:
    client.running.set_fault(method="Store", hang={})
    call = client.pair.stub(client.running.channel).Store.future(client.pair.request("R1"))
    client.running.wait_until("Store", lambda stats: stats.in_flight == 1)
    answer = client.running.faults.ClearFaults(admin_service_pb2.ClearFaultsRequest(method="Store"))
    assert (answer.cleared, call.code()) == (1, grpc.StatusCode.UNAVAILABLE)
    assert client.running.outcomes() == []
    assert client.make()


@pytest.mark.parametrize(("after_commit", "effects"), [(False, 1), (True, 2)])
def test_restart_ends_the_process_at_the_nth_call(client: Client, after_commit: bool, effects: int) -> None:
    client.running.set_fault(method="Store", restart={"afterCalls": 2, "afterCommit": after_commit})
    assert client.make()
    assert code_of(client) is grpc.StatusCode.UNAVAILABLE
    assert client.running.process.wait() == 70
    assert sum(entry.effect for entry in client.running.ledger()) == effects


def test_a_probability_strikes_some_calls(tmp_path: Path) -> None:
    with Running(
        "validator", tmp_path, *fault_flag(method="Validate", probability=0.5, status={"code": 14})
    ) as running:
        stub = validator_service_pb2_grpc.ValidatorStub(running.channel)
        calls = [stub.Validate.future(validator_service_pb2.ValidateRequest()) for _ in range(200)]
        struck = sum(call.code() is grpc.StatusCode.UNAVAILABLE for call in calls)
        assert 40 < struck < 160
        assert running.stats("Validate").faulted == struck


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "Nonsense", "refuse": {}},
        {"method": "Store"},
        {"method": "Store", "status": {"code": 0}},
        {"method": "Store", "status": {"code": 99}},
        {"method": "Store", "probability": 1.5, "refuse": {}},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(client: Client, fields: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        client.running.set_fault(**fields)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_stats_tell_the_outcomes_apart(client: Client) -> None:
    client.make(key="k1", saga="s/a")
    client.make(key="k1", saga="s/a")
    client.undo(key="k2", saga="s/b")
    assert code_of(client, key="k3", saga="s/b") is grpc.StatusCode.FAILED_PRECONDITION
    store, withdraw = client.running.stats("Store"), client.running.stats("Withdraw")
    assert (store.calls, store.effects, store.replays, store.refusals, store.in_flight) == (3, 1, 1, 1, 0)
    assert (withdraw.calls, withdraw.nothings) == (1, 1)


class PeerContext:
    """As much of a call as the door looks at."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self.aborted_with: grpc.StatusCode | None = None

    def peer(self) -> str:
        return self._peer

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        self.aborted_with = code


@pytest.mark.parametrize(
    ("peer", "admitted"),
    [
        ("ipv4:127.0.0.1:5", True),
        ("ipv6:[::1]:5", True),
        ("ipv6:%5B::1%5D:5", True),
        ("ipv4:10.0.0.7:5", False),
        ("ipv4:12.70.0.1:5", False),
        ("ipv6:[2001:db8::1]:5", False),
    ],
)
async def test_faults_are_for_loopback_callers_only(peer: str, admitted: bool) -> None:
    context: Any = PeerContext(peer)
    servicer = FaultServicer(domain="archive.epro.example", faults=None, tallies={})  # type: ignore[arg-type]  # not reached
    await servicer.GetStats(admin_service_pb2.GetStatsRequest(), context)
    assert context.aborted_with is (None if admitted else grpc.StatusCode.PERMISSION_DENIED)
