"""What another process forwards is done as if its caller had come here, or refused; nothing else is done for it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.api import caller, status
from orchestrator.api.admission import Admission, Room
from orchestrator.api.caller import Carried, Context
from orchestrator.api.desk import COMMANDS, Method, OwnDesk, methods
from orchestrator.bootstrap import SystemClock
from orchestrator.errors import NotOwner, Rejected, VersionConflict
from orchestrator.ports.peers import Errand
from orchestrator.ports.posts import Answer
from orchestrator.v1 import operator_service_pb2, saga_service_pb2
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.unit.api.test_caller import Call

NAME = "/orchestrator.v1.SagaService/CancelSaga"
ID = ("x-request-id", "r-7")


def desk(work: Callable[[rpc.CancelSagaRequest, Context], Any], admission: Admission | None = None) -> OwnDesk:
    async def behaviour(request: rpc.CancelSagaRequest, context: Context) -> Any:
        given = work(request, context)
        return await given if asyncio.iscoroutine(given) else given

    return OwnDesk(
        {NAME: Method(request=rpc.CancelSagaRequest, behaviour=behaviour)},
        admission=admission or Admission(calls_max=1, waits_max=1),
        room_of=lambda _method, _request: Room.CALL,
        clock=SystemClock(),
    )


def errand(*facts: tuple[str, str], method: str = NAME, request: bytes | None = None) -> Errand:
    given = rpc.CancelSagaRequest(saga_id="s-1").SerializeToString() if request is None else request
    return Errand(method=method, request=given, facts=facts or (ID,))


def reason(answer: Answer) -> str:
    assert answer.response == b""
    return str(status.info_of(answer.status).reason)


def raising(error: Exception) -> Callable[[Any, Context], Any]:
    def work(_request: object, _context: Context) -> Any:
        raise error

    return work


async def test_a_request_is_done_and_its_answer_given_back() -> None:
    def work(request: rpc.CancelSagaRequest, _context: Context) -> rpc.CancelSagaResponse:
        return rpc.CancelSagaResponse(saga={"saga_id": request.saga_id})  # type: ignore[arg-type]  # a dict will do

    answer = await desk(work).execute(errand(), 1.0)
    assert rpc.CancelSagaResponse.FromString(answer.response).saga.saga_id == "s-1"
    assert answer.status == b""


async def test_a_method_that_only_reads_or_does_not_exist_is_refused() -> None:
    for method in ("/orchestrator.v1.SagaService/GetSaga", "/x.v1.X/Do", ""):
        assert reason(await desk(raising(AssertionError())).execute(errand(method=method), 1.0)) == "INPUT_INVALID"


async def test_bytes_that_are_no_request_are_refused() -> None:
    assert reason(await desk(raising(AssertionError())).execute(errand(request=b"\xff"), 1.0)) == "INPUT_INVALID"


async def test_an_error_is_the_status_that_a_caller_of_ones_own_would_get() -> None:
    error = Rejected("PAST_PIVOT", "saga s-1 can only succeed now", saga_id="s-1")
    answer = await desk(raising(error)).execute(errand(), 1.0)
    assert answer.status == status.to_wire(error, "r-7").details


async def test_whose_it_is_not_is_said_with_who_owns_it() -> None:
    answer = await desk(raising(NotOwner("it moved", shard=7, owner="10.0.0.7:7402"))).execute(errand(), 1.0)
    info = status.info_of(answer.status)
    assert (info.reason, dict(info.metadata)) == ("NOT_OWNER", {"shard": "7", "owner": "10.0.0.7:7402"})


@pytest.mark.parametrize("error", [ZeroDivisionError("inside"), VersionConflict("private")])
async def test_a_bug_is_told_as_one_and_stays_here(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    answer = await desk(raising(error)).execute(errand(), 1.0)
    assert reason(answer) == "INTERNAL"
    assert b"inside" not in answer.status
    assert "r-7" in caplog.text


async def test_what_takes_longer_than_its_caller_waits_is_given_up() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    answer = await desk(lambda _request, _context: hang()).execute(errand(), 0.01)
    assert reason(answer) == "CANCELLED"


async def test_it_counts_against_the_same_bounds_and_ends_with_the_same_drain() -> None:
    admission = Admission(calls_max=1, waits_max=1)
    here = desk(raising(AssertionError()), admission)
    with admission.admit(Room.CALL):
        assert reason(await here.execute(errand(), 1.0)) == "QUEUE_FULL"
    admission.close()
    assert reason(await here.execute(errand(), 1.0)) == "DRAINING"
    assert admission.in_flight == 0


def test_every_method_that_changes_a_saga_may_be_forwarded_and_none_that_reads() -> None:
    for file, name in ((saga_service_pb2, "SagaService"), (operator_service_pb2, "OperatorService")):
        service = file.DESCRIPTOR.services_by_name[name]
        reads = ("Get", "List", "Count", "Wait", "Watch", "Explain", "Preview")
        assert COMMANDS[name] == {each.name for each in service.methods if not each.name.startswith(reads)}
        servicer = type("Servicer", (), dict.fromkeys(COMMANDS[name]))
        assert {method for method, _ in methods(service, servicer(), COMMANDS[name])} == {
            f"/orchestrator.v1.{name}/{each}" for each in COMMANDS[name]
        }


# --- what goes with a request ----------------------------------------------------------------------------------------


def over(*metadata: tuple[str, str | bytes], names: Any = None) -> Context:
    """A call's context as it is at another process."""
    facts = caller.carried(Call(*metadata, names=names))  # type: ignore[arg-type]  # says all that is asked
    return Carried(facts, SystemClock().monotonic() + 5.0, SystemClock()).context()


@pytest.mark.parametrize(
    ("metadata", "names"),
    [
        ((), None),
        ((), [b"ann@desk", b"d\xc3\xa9sk, \xff%20"]),
        ((("x-operator", "night%20shift"),), None),
        ((("x-operator", "mallory"),), [b"ann"]),
    ],
)
def test_the_caller_is_the_same_one_at_both_processes(metadata: Any, names: Any) -> None:
    assert caller.operator(over(*metadata, names=names)) == caller.operator(Call(*metadata, names=names))  # type: ignore[arg-type]  # says all that is asked


def test_trace_baggage_and_request_id_go_along_and_nothing_else_does() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    given = (("traceparent", parent), ("tracestate", "a=1"), ("tracestate", "b=2"), ("baggage", "k=v"), ID)
    there = over(*given, ("authorization", "secret"), (":peer", "forged"), ("user-agent", "x"))
    assert there.invocation_metadata() == given
    trace = caller.trace_of(there)
    assert trace is not None
    assert trace.state == "a=1,b=2"
    assert caller.context_of(there) == (trace, "k=v")
    assert caller.request_id(there) == "r-7"
    assert there.peer() == "ipv4:10.0.0.7:5123"


def test_patience_goes_along() -> None:
    assert 4.5 < over().time_remaining() <= 5.0
    clock = SystemClock()
    assert Carried((), clock.monotonic() - 1.0, clock).time_remaining() == 0.0
