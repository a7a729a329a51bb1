"""The importer: an operation that goes on behind its call, across a restart, and leaves all of its index or nothing."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import code_pb2

from services.importer.v1 import importer_pb2 as pb
from services.importer.v1 import importer_pb2_grpc as pb_grpc
from services.ledger import net_effects
from tests.integration.services.running import Running, reason_of, sent_by

NAMES = ("blue lamp", "red lamp", "grand piano")


@pytest.fixture
def importer(tmp_path: Path) -> Iterator[Running]:
    with Running("importer", tmp_path) as running:
        yield running


def insert(importer: Running, *names: str) -> None:
    stub = pb_grpc.CatalogueStub(importer.channel)
    for number, name in enumerate(names):
        stub.Insert(pb.InsertRequest(import_id="I1", row=pb.Row(row_id=f"R{number}", name=name)))


def build(importer: Running, rows_per_second: int = 0) -> str:
    """Begin an index as step `index` of saga `s`; the operation's name."""
    request = pb.BuildIndexRequest(import_id="I1", rows_per_second=rows_per_second)
    metadata = sent_by("k1", "s/index", "forward", {})
    return str(pb_grpc.SearchStub(importer.channel).BuildIndex(request, metadata=metadata).name)


def get(importer: Running, name: str) -> operations_pb2.Operation:
    stub = operations_pb2_grpc.OperationsStub(importer.channel)
    return stub.GetOperation(operations_pb2.GetOperationRequest(name=name))


def wait_until(
    importer: Running, name: str, holds: Callable[[operations_pb2.Operation], bool]
) -> operations_pb2.Operation:
    while not holds(operation := get(importer, name)):
        time.sleep(0.005)  # noqa: TID251  (poll: that is how operations are waited for)
    return operation


def progress(operation: operations_pb2.Operation) -> int:
    unpacked = pb.IndexProgress()
    assert operation.metadata.Unpack(unpacked)
    return unpacked.rows_done


def drop(importer: Running) -> int:
    metadata = sent_by("k2", "s/index", "compensate", {})
    return int(
        pb_grpc.SearchStub(importer.channel).DropIndex(pb.DropIndexRequest(import_id="I1"), metadata=metadata).dropped
    )


def index_effects(importer: Running) -> int:
    return net_effects(importer.ledger())["s", "index", "importer"]


def test_an_index_is_built_behind_its_call_and_dropped_by_its_undo(importer: Running) -> None:
    insert(importer, *NAMES)
    name = build(importer)
    assert build(importer) == name
    ended = wait_until(importer, name, lambda operation: operation.done)
    index = pb.Index()
    assert ended.response.Unpack(index)
    assert (index.rows, index.words) == (3, 5)
    assert index_effects(importer) == 1
    assert drop(importer) == 1
    assert index_effects(importer) == 0


def test_an_index_that_is_being_built_is_in_no_ledger(importer: Running) -> None:
    insert(importer, *NAMES)
    name = build(importer, rows_per_second=1)
    wait_until(importer, name, lambda operation: progress(operation) == 1)
    assert index_effects(importer) == 0


def cancel(importer: Running, name: str) -> None:
    request = operations_pb2.CancelOperationRequest(name=name)
    operations_pb2_grpc.OperationsStub(importer.channel).CancelOperation(request)


def test_a_cancelled_operation_leaves_no_index(importer: Running) -> None:
    insert(importer, *NAMES)
    name = build(importer, rows_per_second=1)
    cancel(importer, name)
    assert get(importer, name).error.code == code_pb2.CANCELLED
    assert (drop(importer), index_effects(importer)) == (0, 0)


def test_an_operation_that_has_ended_stays_as_it_is_when_it_is_cancelled(importer: Running) -> None:
    insert(importer, *NAMES)
    name = build(importer)
    ended = wait_until(importer, name, lambda operation: operation.done)
    cancel(importer, name)
    assert get(importer, name) == ended


def test_an_undo_that_comes_first_ends_the_building(importer: Running) -> None:
    insert(importer, *NAMES)
    name = build(importer, rows_per_second=5)
    assert drop(importer) == 0
    assert wait_until(importer, name, lambda operation: operation.done).error.code == code_pb2.CANCELLED
    assert index_effects(importer) == 0


def test_an_index_whose_undo_came_before_it_is_not_begun(importer: Running) -> None:
    assert drop(importer) == 0
    with pytest.raises(grpc.RpcError) as refused:
        build(importer)
    assert reason_of(refused.value) == "SAGA_STEP_ALREADY_COMPENSATED"


def test_two_rows_of_one_name_fail_the_operation_and_leave_no_index(importer: Running) -> None:
    insert(importer, *NAMES, "red lamp")
    ended = wait_until(importer, build(importer), lambda operation: operation.done)
    assert ended.error.code == code_pb2.FAILED_PRECONDITION
    assert "'red lamp'" in ended.error.message
    assert index_effects(importer) == 0


def test_building_goes_on_after_a_kill(tmp_path: Path) -> None:
    with Running("importer", tmp_path) as importer:
        insert(importer, *NAMES)
        name = build(importer, rows_per_second=2)
        wait_until(importer, name, lambda operation: progress(operation) == 1)
        importer.kill()
    with Running("importer", tmp_path) as importer:
        ended = wait_until(importer, name, lambda operation: operation.done)
        assert progress(ended) == 3
        assert index_effects(importer) == 1


def test_a_replica_has_the_index_a_moment_later_and_none_that_was_dropped(importer: Running) -> None:
    search = pb_grpc.SearchStub(importer.channel)
    asked = pb.GetReplicaRequest(import_id="I1")
    insert(importer, *NAMES)
    assert not search.GetReplica(asked).caught_up
    build(importer)
    while not search.GetReplica(asked).caught_up:
        time.sleep(0.005)  # noqa: TID251  (poll: the replica tells nothing by itself)
    drop(importer)
    assert not search.GetReplica(asked).caught_up


def test_a_row_that_makes_no_sense_is_refused(importer: Running) -> None:
    stub = pb_grpc.CatalogueStub(importer.channel)
    for row in (pb.Row(row_id="R1"), pb.Row(row_id="R1", name="lamp", price_cents=-1), pb.Row(name="lamp")):
        with pytest.raises(grpc.RpcError) as refused:
            stub.Insert(pb.InsertRequest(import_id="I1", row=row))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert stub.Count(pb.CountRequest(import_id="I1")).rows == 0


def test_an_operation_that_nobody_began_is_not_found(importer: Running) -> None:
    with pytest.raises(grpc.RpcError) as unknown:
        get(importer, "operations/none")
    assert (unknown.value.code(), reason_of(unknown.value)) == (grpc.StatusCode.NOT_FOUND, "OPERATION_UNKNOWN")
