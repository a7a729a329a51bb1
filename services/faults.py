"""Fault knobs: how to make an honest service fail in the ways that real ones do.

Every fault names a method, says which calls it strikes, and does one thing to them
(`protos/epro/v1/admin_service.proto` has the list). They sit *around* the service's own code, which knows nothing of
them:

    call --> delay / status / refuse / hang / restart --> the service, its commit --> drop the reply / restart --> reply

Those on the left leave no effect behind. Those on the right are the interesting ones: the effect is on disk, the
caller does not know. `ignore_cancellation` cuts the call loose from its caller, so that the work ends after the caller
gave up; that is the hanging call against which a service needs its barrier.

Off by default. Set by FaultService on the same port, which answers loopback callers only, or at the start by `--fault
'{"method": "Store", "delay": {"min": "0.05s"}}'` (the protobuf-JSON form of epro.v1.Fault), any number of times.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
from typing import Any

import grpc

from services.epro.v1 import admin_service_pb2 as pb
from services.epro.v1 import admin_service_pb2_grpc as pb_grpc
from services.interception import Behaviour
from services.refusal import Refusal, bad_field, end_with
from services.tally import Tally

EXIT_RESTART = 70
"""How a process that the `restart` fault ended is told from one that crashed by itself."""

CODES = {code.value[0]: code for code in grpc.StatusCode}
BUSINESS_KEYS = ("report_id", "order_id", "trip_id", "transfer_id", "claim_id", "row_id", "import_id")
"""The fields that say what a request is about: in the study the report, in the shop the order, and so on."""
LOOPBACK = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class _Armed:
    """A fault that was set, and how often it has been met."""

    fault: pb.Fault
    matched: int = 0
    struck: int = 0

    def strikes(self, request: Any) -> bool:  # noqa: ANN401  (any message of the service)
        if self.fault.report_id and self.fault.report_id != business_key_of(request):
            return False
        self.matched += 1
        if self.fault.first_calls and self.matched > self.fault.first_calls:
            return False
        probability = self.fault.probability
        if 0 < probability < 1 and random.random() >= probability:  # noqa: S311  (a fault, not a secret)
            return False
        self.struck += 1
        return True


class Faults:
    """The faults of one program. Belongs to one event loop."""

    def __init__(self, *, domain: str, tallies: dict[str, Tally]) -> None:
        """`domain` is that of its refusals; `tallies` has one entry for every method there is."""
        self._domain = domain
        self._tallies = tallies
        self._armed: dict[str, list[_Armed]] = {method: [] for method in tallies}
        self._cleared = asyncio.Event()
        self._loose: set[asyncio.Task[Any]] = set()

    def set(self, fault: pb.Fault) -> None:
        """Add a fault; raises Refusal when it makes no sense."""
        check(fault, tuple(self._tallies))
        self._armed[fault.method].append(_Armed(fault=fault))

    def clear(self, method: str) -> int:
        """Remove the faults of a method, or of all for ""; let go the calls that hang. How many were removed."""
        cleared = [each for name, armed in self._armed.items() if method in {"", name} for each in armed]
        for name in self._armed:
            if method in {"", name}:
                self._armed[name] = []
        self._cleared.set()
        self._cleared = asyncio.Event()
        return len(cleared)

    def wrap(self, method: str, behaviour: Behaviour) -> Behaviour:
        """Count the method's calls and let its faults act on them."""
        method = method.rpartition("/")[2]
        tally = self._tallies[method]

        async def watched(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: ANN401
            tally.calls += 1
            tally.in_flight += 1
            try:
                armed = self._armed[method]
                struck = [each for each in armed if each.strikes(request)] if armed else []
                if not struck:
                    return await behaviour(request, context)
                tally.faulted += 1
                return await self._run(struck, behaviour, request, context)
            except Refusal as refusal:
                tally.refusals += 1
                await end_with(refusal, context, self._domain)
            finally:
                tally.in_flight -= 1

        return watched

    async def _run(
        self,
        struck: list[_Armed],
        behaviour: Behaviour,
        request: Any,  # noqa: ANN401
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> Any:  # noqa: ANN401
        work = self._act(struck, behaviour, request, context)
        if not any(each.fault.HasField("ignore_cancellation") for each in struck):
            return await work
        loose = asyncio.get_running_loop().create_task(work)
        self._loose.add(loose)
        loose.add_done_callback(self._forget)
        return await asyncio.shield(loose)

    def _forget(self, loose: asyncio.Task[Any]) -> None:
        self._loose.discard(loose)
        if not loose.cancelled():
            loose.exception()  # its caller is gone; nobody else will ask

    async def _act(
        self,
        struck: list[_Armed],
        behaviour: Behaviour,
        request: Any,  # noqa: ANN401
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> Any:  # noqa: ANN401
        for each in struck:
            await self._before(each)
        reply = await behaviour(request, context)
        for each in struck:
            await self._after(each)
        return reply

    async def _before(self, armed: _Armed) -> None:
        fault = armed.fault
        match fault.WhichOneof("action"):
            case "delay":
                low_s = fault.delay.min.ToTimedelta().total_seconds()
                high_s = fault.delay.max.ToTimedelta().total_seconds()
                await asyncio.sleep(random.uniform(low_s, max(low_s, high_s)))  # noqa: S311
            case "status":
                raise status_asked_for(fault.status)
            case "refuse":
                raise Refusal(
                    code=grpc.StatusCode.FAILED_PRECONDITION,
                    reason="REFUSED_BY_FAULT",
                    message=f"{fault.method} was told to refuse this call; nothing was done",
                )
            case "hang":
                await self._cleared.wait()
                raise lost("the call hung until the faults were cleared; nothing was done")
            case "restart" if not fault.restart.after_commit:
                end_process_if_due(armed)

    async def _after(self, armed: _Armed) -> None:
        fault = armed.fault
        match fault.WhichOneof("action"):
            case "drop_reply":
                if fault.drop_reply.never_answer:
                    await self._cleared.wait()
                raise lost("the connection was lost on the way back")
            case "restart" if fault.restart.after_commit:
                end_process_if_due(armed)


def end_process_if_due(armed: _Armed) -> None:
    """The `restart` fault: no farewell, nothing flushed."""
    if armed.struck >= max(1, armed.fault.restart.after_calls):
        os._exit(EXIT_RESTART)


def status_asked_for(action: pb.EndWithStatus) -> Refusal:
    """The `status` fault as a refusal."""
    return Refusal(
        code=CODES[action.code],
        reason="STATUS_BY_FAULT",
        message=action.message or "this status was asked for; nothing was done",
        retry_delay_s=action.retry_delay.ToTimedelta().total_seconds() if action.HasField("retry_delay") else None,
    )


def lost(why: str) -> Refusal:
    """What a caller sees of a broken connection."""
    return Refusal(code=grpc.StatusCode.UNAVAILABLE, reason="LOST_BY_FAULT", message=why)


def business_key_of(request: Any) -> str:  # noqa: ANN401
    """The business key of any request, its own or that of the thing it carries; "" when it names none."""
    for carried in ("report", "row", "claim", "transfer"):
        if hasattr(request, carried):
            return business_key_of(getattr(request, carried))
    return next((str(getattr(request, key)) for key in BUSINESS_KEYS if hasattr(request, key)), "")


def check(fault: pb.Fault, methods: tuple[str, ...]) -> None:
    """Raises Refusal for a fault that could never do what it says."""
    if fault.method not in methods:
        raise bad_field("fault.method", f"is {fault.method!r}; this service has {', '.join(methods)}")
    if not 0 <= fault.probability <= 1:
        raise bad_field("fault.probability", f"is {fault.probability}; it lies between 0 and 1")
    action = fault.WhichOneof("action")
    if action is None:
        raise bad_field("fault.action", "is not set: say what shall happen to the call")
    if action == "status" and (fault.status.code == 0 or fault.status.code not in CODES):
        raise bad_field("fault.status.code", f"is {fault.status.code}; a failing call ends with 1 to 16")


class FaultServicer(pb_grpc.FaultServiceServicer):
    """The admin RPCs. Loopback callers only, whatever address the server listens on."""

    def __init__(self, *, domain: str, faults: Faults, tallies: dict[str, Tally]) -> None:
        self._domain = domain
        self._faults = faults
        self._tallies = tallies

    async def SetFault(
        self, request: pb.SetFaultRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SetFaultResponse:
        await self._admit(context)
        try:
            self._faults.set(request.fault)
        except Refusal as refusal:
            await end_with(refusal, context, self._domain)
        return pb.SetFaultResponse()

    async def ClearFaults(
        self, request: pb.ClearFaultsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ClearFaultsResponse:
        await self._admit(context)
        return pb.ClearFaultsResponse(cleared=self._faults.clear(request.method))

    async def GetStats(
        self, request: pb.GetStatsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.GetStatsResponse:
        await self._admit(context)
        tallies = self._tallies.items()
        return pb.GetStatsResponse(
            methods=[pb.MethodStats(method=method, **dataclasses.asdict(tally)) for method, tally in tallies]
        )

    async def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        if not context.peer().startswith(LOOPBACK):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "faults are set from the service's own machine only")
