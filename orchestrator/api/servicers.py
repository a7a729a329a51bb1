"""What may be asked of this process, whichever way it comes: over its own server, from a peer, or out of the store.

A process of a cluster has this without a server, too: who owns shards has to answer for them.
"""

from collections.abc import Collection, Iterator

from orchestrator import limits
from orchestrator.api.admission import Admission, Room
from orchestrator.api.desk import COMMANDS, WAITS, Method, OwnDesk, methods
from orchestrator.api.operators import OperatorService
from orchestrator.api.sagas import SagaService
from orchestrator.api.standard import HEALTH_CHECK
from orchestrator.definition.revisions import Revisions
from orchestrator.ports.clock import Clock
from orchestrator.ports.peers import Desk
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.v1 import diagnostics_service_pb2, operator_service_pb2, saga_service_pb2

SAGA = saga_service_pb2.DESCRIPTOR.services_by_name["SagaService"]
OPERATOR = operator_service_pb2.DESCRIPTOR.services_by_name["OperatorService"]
DIAGNOSTICS = diagnostics_service_pb2.DESCRIPTOR.services_by_name["DiagnosticsService"]
_DIAGNOSTICS = f"/{DIAGNOSTICS.full_name}/"
_FIGURES = f"{_DIAGNOSTICS}GetFigures"


class Servicers:
    """The methods that a saga's owner does, and one count of all that is in flight there."""

    def __init__(
        self,
        orchestrator: Orchestrator,
        revisions: Revisions,
        clock: Clock,
        *,
        calls_max: int = limits.API_CALLS_MAX,
        waits_max: int = limits.API_WAITS_MAX,
        large_bytes_max: int = limits.API_LARGE_REQUESTS_BYTES_MAX,
    ) -> None:
        """One for each orchestrator; nothing runs here until somebody asks."""
        self.admission = Admission(calls_max=calls_max, waits_max=waits_max, large_bytes_max=large_bytes_max)
        self.sagas = SagaService(orchestrator=orchestrator, plans=revisions, admission=self.admission, clock=clock)
        self.operators = OperatorService(orchestrator=orchestrator, plans=revisions, clock=clock)
        commands = dict(self._commands())
        self.commands: Collection[str] = commands.keys()
        """Full gRPC names of the methods that record something."""
        done = commands | dict(methods(SAGA, self.sagas, WAITS))
        self.desk: Desk = OwnDesk(done, admission=self.admission, room_of=room_of, clock=clock)
        """Where requests are done that other processes of the cluster took."""

    def _commands(self) -> Iterator[tuple[str, Method]]:
        yield from methods(SAGA, self.sagas, COMMANDS["SagaService"])
        yield from methods(OPERATOR, self.operators, COMMANDS["OperatorService"])


def room_of(method: str, request: object) -> Room:
    """Return which bound a call counts against."""
    if isinstance(request, saga_service_pb2.WaitSagaRequest | saga_service_pb2.WatchSagaRequest):
        return Room.WAIT
    start = request.start if isinstance(request, saga_service_pb2.SignalWithStartRequest) else request
    if isinstance(start, saga_service_pb2.StartSagaRequest) and start.wait == saga_service_pb2.START_WAIT_TERMINAL:
        return Room.WAIT
    if method == HEALTH_CHECK:
        return Room.FREE
    if method.startswith(_DIAGNOSTICS):
        return Room.FIGURES if method == _FIGURES else Room.DIAGNOSTICS
    return Room.CALL if method.startswith("/orchestrator.") else Room.STANDARD
