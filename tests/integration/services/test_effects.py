"""Key, barrier and ledger of the three stateful services, over real gRPC, across crashes."""

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from services.epro.v1 import safety_service_pb2, safety_service_pb2_grpc
from services.ledger import net_effects
from tests.integration.services.examples import EXAMPLES
from tests.integration.services.running import (
    ARCHIVE,
    NOTIFIER,
    ROOT,
    SAFETY,
    Client,
    Pair,
    Running,
    fault_flag,
    reason_of,
)

PAIRS = [pytest.param(pair, id=f"{pair.service}.{pair.make}") for pair in (ARCHIVE, SAFETY, NOTIFIER, *EXAMPLES)]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Running("archive", tmp_path) as running:
        yield Client(pair=ARCHIVE, running=running)


@pytest.mark.parametrize("pair", PAIRS)
def test_every_stateful_service_keeps_the_whole_contract(pair: Pair, tmp_path: Path) -> None:
    with Running(pair.program or pair.service, tmp_path) as running:
        client = Client(pair=pair, running=running)
        made = client.make(key="k1", saga="s/step")
        assert client.make(key="k1", saga="s/step") == made
        assert client.undo(key="k2", saga="s/step", thing_id=made) == 1
        assert client.undo(key="k2", saga="s/step", thing_id=made) == 1
        assert client.make(key="k1", saga="s/step") == made
        with pytest.raises(grpc.RpcError) as refused:
            client.make(key="k3", saga="s/step")
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refused.value) == "SAGA_STEP_ALREADY_COMPENSATED"
        assert running.outcomes() == [
            (pair.make, 1, "applied"),
            (pair.make, 0, "replayed"),
            (pair.undo, 1, "applied"),
            (pair.undo, 0, "replayed"),
            (pair.make, 0, "replayed"),
        ]
        assert net_effects(running.ledger()) == {("s", "step", pair.service): 0}


@pytest.mark.parametrize("pair", PAIRS)
def test_an_undo_that_comes_first_forbids_its_forward_call(pair: Pair, tmp_path: Path) -> None:
    with Running(pair.program or pair.service, tmp_path) as running:
        client = Client(pair=pair, running=running)
        assert client.undo(key="k2", saga="s/step") == 0
        with pytest.raises(grpc.RpcError) as refused:
            client.make(key="k1", saga="s/step")
        assert reason_of(refused.value) == "SAGA_STEP_ALREADY_COMPENSATED"
        assert client.make(key="k3", saga="s/other")
        assert running.outcomes() == [(pair.undo, 0, "nothing"), (pair.make, 1, "applied")]


def test_an_undo_finds_its_thing_without_knowing_the_reply(client: Client) -> None:
    client.make("R1", key="k1", saga="s/step")
    assert client.undo(key="k2", saga="s/step", report_id="R1") == 1


def test_an_undo_reaches_only_what_its_own_step_made(client: Client) -> None:
    kept = client.make("R1", key="k1", saga="s/step")
    client.make("R1", key="k2", saga="t/step")
    assert client.undo(key="k3", saga="t/step", report_id="R1") == 1
    assert client.undo(thing_id=kept) == 1


def test_an_undo_with_an_id_of_another_step_is_refused(client: Client) -> None:
    other = client.make("R1", key="k1", saga="s/step")
    client.make("R2", key="k2", saga="t/step")
    with pytest.raises(grpc.RpcError) as refused:
        client.undo(key="k3", saga="t/step", thing_id=other)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_undo_outside_a_saga_goes_by_report_or_id(client: Client) -> None:
    client.make("R1")
    client.make("R1")
    third = client.make("R2")
    assert client.undo(report_id="R1") == 2
    assert client.undo(report_id="R1") == 0
    assert client.undo(thing_id=third) == 1
    assert client.undo(thing_id="rec-unknown") == 0
    with pytest.raises(grpc.RpcError) as refused:
        client.undo()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert sum(entry.effect for entry in client.running.ledger()) == 6  # an undo of two has two lines
    assert set(net_effects(client.running.ledger()).values()) == {0}


def test_without_a_key_every_call_has_its_own_effect(client: Client) -> None:
    assert client.make() != client.make()


def test_a_key_used_for_another_request_is_a_bug_of_the_caller(client: Client) -> None:
    client.make("R1", key="k1")
    with pytest.raises(grpc.RpcError) as refused:
        client.make("R2", key="k1")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(refused.value) == "IDEMPOTENCY_KEY_REUSED"


def test_a_call_past_not_after_does_nothing_unless_its_answer_stands(client: Client) -> None:
    made = client.make(key="k1", saga="s/a", not_after=now() + 60)
    past = now() - 0.001
    assert client.make(key="k1", saga="s/a", not_after=past) == made
    with pytest.raises(grpc.RpcError) as refused:
        client.make(key="k2", saga="s/b", not_after=past)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(refused.value) == "SAGA_NOT_AFTER_PASSED"
    assert [outcome for *_, outcome in client.running.outcomes()] == ["applied", "replayed"]


def now() -> float:
    return time.time()  # noqa: TID251  (the services have the machine's clock and no other)


def test_fifty_calls_at_once_with_one_key_have_one_effect(client: Client) -> None:
    with ThreadPoolExecutor(50) as threads:
        made = set(threads.map(lambda _: client.make(key="k1"), range(50)))
    assert len(made) == 1
    assert sum(entry.effect for entry in client.running.ledger()) == 1


def test_a_refused_site_leaves_no_trace_and_may_be_undone(tmp_path: Path) -> None:
    with Running("safety", tmp_path) as running:
        stub = safety_service_pb2_grpc.SafetyStub(running.channel)
        request = safety_service_pb2.OpenAdverseEventRequest(report_id="R1", patient_id="P1", site="IT-01", score=12)
        with pytest.raises(grpc.RpcError) as refused:
            stub.OpenAdverseEvent(request)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(refused.value) == "SITE_CLOSED"
        assert running.outcomes() == []
        assert stub.VoidAdverseEvent(safety_service_pb2.VoidAdverseEventRequest(report_id="R1")).voided == 0


def test_replies_tombstones_and_ledger_survive_a_kill(tmp_path: Path) -> None:
    with Running("archive", tmp_path) as running:
        client = Client(pair=ARCHIVE, running=running)
        made = client.make(key="k1", saga="s/a")
        client.undo(key="k2", saga="s/b")
        before = running.ledger()
        running.kill()
    with Running("archive", tmp_path) as running:
        client = Client(pair=ARCHIVE, running=running)
        assert running.ledger() == before
        assert client.make(key="k1", saga="s/a") == made
        with pytest.raises(grpc.RpcError):
            client.make(key="k3", saga="s/b")
        seqs = [entry.seq for entry in running.ledger()]
        assert seqs == sorted(set(seqs))


@pytest.mark.parametrize("bytes_lost", [1, 40, 10_000])
def test_lines_that_a_crash_kept_from_the_ledger_are_added_on_start(tmp_path: Path, bytes_lost: int) -> None:
    """Commit first, ledger second: a kill between the two leaves the file exactly as it is cut here."""
    path = tmp_path / "archive.ledger.jsonl"
    with Running("archive", tmp_path) as running:
        Client(pair=ARCHIVE, running=running).make(key="k1", saga="s/a")
        before = running.ledger()
        running.kill()
    content = path.read_bytes()
    path.write_bytes(content[: max(0, len(content) - bytes_lost)])
    with Running("archive", tmp_path) as running:
        assert running.ledger() == before


def test_processes_that_end_at_every_third_call_lose_and_double_nothing(tmp_path: Path) -> None:
    """It ends before or after the commit in turn; the caller repeats with the same key."""
    pending = [f"k{number}" for number in range(24)]
    made: dict[str, str] = {}
    for after_commit in itertools.cycle((True, False)):
        flag = fault_flag(method="Store", restart={"afterCalls": 3, "afterCommit": after_commit})
        with Running("archive", tmp_path, *flag) as running:
            client = Client(pair=ARCHIVE, running=running)
            while pending:
                try:
                    made[pending[-1]] = client.make(key=pending[-1], saga=f"s{pending[-1]}/a")
                except grpc.RpcError:
                    assert running.process.wait() == 70
                    break
                pending.pop()
            if not pending:
                break
    with Running("archive", tmp_path) as running:
        client = Client(pair=ARCHIVE, running=running)
        assert {key: client.make(key=key, saga=f"s{key}/a") for key in made} == made
        assert set(net_effects(running.ledger()).values()) == {1}
        assert len(net_effects(running.ledger())) == 24


def test_a_second_process_on_the_same_folder_is_refused(client: Client) -> None:
    command = [sys.executable, "-m", "services.archive", "--data", str(client.running.data)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (1, "")
    assert "in use by another process" in second.stderr
