"""The reservation system: a hold keeps a place, a confirmation books it, and both can be taken back."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from services.travel.v1 import travel_pb2 as pb
from services.travel.v1 import travel_pb2_grpc as pb_grpc
from tests.integration.services.running import Running, reason_of, sent_by

CODE = "car/cabriolet"


@pytest.fixture
def company(tmp_path: Path) -> Iterator[Running]:
    with Running("travel.reservations", tmp_path) as running:
        yield running


def hold(company: Running, trip_id: str, code: str = CODE) -> str:
    request = pb.HoldRequest(trip_id=trip_id, traveller="ada", code=code)
    return str(pb_grpc.ReservationsStub(company.channel).Hold(request).hold_id)


def free(company: Running) -> int:
    return int(pb_grpc.ReservationsStub(company.channel).GetFree(pb.GetFreeRequest(code=CODE)).free)


def test_a_place_on_hold_is_nobody_elses(company: Running) -> None:
    hold(company, "T1")
    with pytest.raises(grpc.RpcError) as refused:
        hold(company, "T2")
    assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.FAILED_PRECONDITION, "SOLD_OUT")
    assert pb_grpc.ReservationsStub(company.channel).Release(pb.ReleaseRequest(trip_id="T1")).released == 1
    assert hold(company, "T2")


def test_a_cancelled_booking_falls_back_to_its_hold(company: Running) -> None:
    stub = pb_grpc.ReservationsStub(company.channel)
    request = pb.ConfirmRequest(trip_id="T1", hold_id=hold(company, "T1"))
    assert stub.Confirm(request, metadata=sent_by("k1", "s/confirm", "forward", {})).booking_id
    undo = sent_by("k2", "s/confirm", "compensate", {})
    assert stub.Cancel(pb.CancelRequest(trip_id="T1"), metadata=undo).cancelled == 1
    assert free(company) == 0
    assert stub.Release(pb.ReleaseRequest(trip_id="T1")).released == 1
    assert free(company) == 1


def test_an_undo_outside_a_saga_reaches_what_its_method_undoes_and_no_more(company: Running) -> None:
    stub = pb_grpc.ReservationsStub(company.channel)
    stub.Confirm(pb.ConfirmRequest(trip_id="T1", hold_id=hold(company, "T1")))
    assert stub.Cancel(pb.CancelRequest(trip_id="T1")).cancelled == 1
    assert free(company) == 0


def test_a_hold_that_is_gone_or_anothers_cannot_be_confirmed(company: Running) -> None:
    stub = pb_grpc.ReservationsStub(company.channel)
    hold_id = hold(company, "T1")
    for trip_id in ("T2", "T1"):
        with pytest.raises(grpc.RpcError) as refused:
            stub.Confirm(pb.ConfirmRequest(trip_id=trip_id, hold_id=hold_id))
        assert reason_of(refused.value) == "NOT_HELD"
        stub.Release(pb.ReleaseRequest(trip_id="T1"))


def test_what_nobody_sells_is_not_found(company: Running) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        hold(company, "T1", "ship/titanic")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
