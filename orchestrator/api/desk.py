"""Where this process does what another one took and may not do: the same methods, the same bounds, the same statuses.

What comes here came over a listener of its own, whose callers are believed, or out of the store, where they put it. It
is done here or refused here; a second hop would be a loop waiting for two processes to disagree.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message

from orchestrator import logscope
from orchestrator.api import caller, status
from orchestrator.api.admission import Admission, Room
from orchestrator.api.caller import Carried
from orchestrator.api.status import WireStatus
from orchestrator.errors import InputInvalid, NotOwner, OrchestratorError
from orchestrator.frozen import frozen
from orchestrator.ports.clock import Clock
from orchestrator.ports.peers import Errand
from orchestrator.ports.posts import Answer

_log = logging.getLogger(__name__)

OWNER_KEY = "owner"
"""Fact of a NOT_OWNER given to another process: the owner's address, as far as it is known here."""


@frozen
class Method:
    """A method that may be forwarded."""

    request: type[Message]
    behaviour: Callable[[Any, Any], Awaitable[Any]]


def methods(service: ServiceDescriptor, servicer: object, names: frozenset[str]) -> Iterator[tuple[str, Method]]:
    """Yield those methods of a service that change something, by full gRPC name."""
    for each in service.methods:
        if each.name in names:
            kind = message_factory.GetMessageClass(each.input_type)
            yield f"/{service.full_name}/{each.name}", Method(request=kind, behaviour=getattr(servicer, each.name))


class OwnDesk:
    """`ports.peers.Desk` over this process's own services."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        *,
        admission: Admission,
        room_of: Callable[[str, object], Room],
        clock: Clock,
    ) -> None:
        """Take the methods by full gRPC name; no other one is done for anybody."""
        self._methods = methods
        self._admission = admission
        self._room_of = room_of
        self._clock = clock

    async def execute(self, errand: Errand, timeout_s: float) -> Answer:
        """Do it, and return what its caller would have been answered."""
        ends_at = self._clock.monotonic() + timeout_s
        context = Carried(errand.facts, ends_at, self._clock).context()
        request = caller.Request(errand.method, context, self._clock)
        scope = logscope.begin(request)
        try:
            async with asyncio.timeout(timeout_s):
                return Answer(response=await self._answer(errand, context))
        except TimeoutError:
            wire = status.cancelled(request.given)
        except OrchestratorError as error:
            if isinstance(error, NotOwner):
                error.metadata[OWNER_KEY] = error.owner
            wire = _wire(error, request)
        except Exception as error:  # noqa: BLE001  (the edge, as in edge.py: a bug in one request stays with it)
            wire = _wire(error, request)
        finally:
            logscope.end(scope)
        return Answer(status=wire.details)

    async def _answer(self, errand: Errand, context: caller.Context) -> bytes:
        method = self._methods.get(errand.method)
        if method is None:
            raise InputInvalid("method", f"{errand.method[:100]!r} is none that another process may forward")
        try:
            request = method.request.FromString(errand.request)
        except DecodeError as error:
            raise InputInvalid("request", f"cannot be read: {error}") from error
        with self._admission.admit(self._room_of(errand.method, request)):
            answer: bytes = (await method.behaviour(request, context)).SerializeToString()
            return answer


def _wire(error: Exception, request: caller.Request) -> WireStatus:
    if isinstance(error, OrchestratorError) and status.is_public(error):
        return status.to_wire(error, request.id)
    _log.error(
        "forwarded request %s to %s failed inside; please report this", request.id, request.method, exc_info=error
    )
    return status.internal(request.id)


COMMANDS: Mapping[str, frozenset[str]] = {
    "SagaService": frozenset({"StartSaga", "SignalSaga", "SignalWithStart", "CancelSaga"}),
    "OperatorService": frozenset(
        {
            "RetryStep",
            "ResolveStep",
            "SkipStep",
            "OverrideStepRequest",
            "ForceComplete",
            "TerminateSaga",
            "PauseSaga",
            "ResumeSaga",
            "RerunFromStep",
        }
    ),
}
"""The methods that a saga's owner alone can do. Whatever reads is done where it is asked."""

WAITS = frozenset({"WaitSaga"})
"""The method of SagaService that anybody can do, and a saga's owner soonest."""
