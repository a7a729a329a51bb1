"""Every fault at every kind of call: what is struck, in which flow, and how the saga has to end."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from orchestrator.saga.plan import Operation
from tests.kit.faults import Fault, Request, What, When

TIMEOUT_S = 1.0
PAUSE_S = 0.05
_LOST_REPLY = Fault(when=When.LOST, what=What.CLOSE)


class Role(StrEnum):
    """The call that is struck, named by what it is for."""

    FORWARD = "forward"
    UNDO = "undo"
    PROBE = "probe"
    BEGIN = "begin"
    """The call that begins a long-running operation."""
    AWAIT = "await"
    STOP = "stop"


class Line(StrEnum):
    """What is wrong with all of the connection, until somebody is seen to have noticed."""

    REFUSED = "connections refused"
    MUTE = "connections accepted, and nothing forwarded"
    GONE = "the service gone, and its proxy there"


_STRUCK = {
    Role.FORWARD: ("put", Operation.FORWARD),
    Role.UNDO: ("put", Operation.COMPENSATE),
    Role.PROBE: ("put", Operation.PROBE),
    Role.BEGIN: ("build", Operation.FORWARD),
    Role.AWAIT: ("build", Operation.AWAIT),
    Role.STOP: ("endless", Operation.STOP),
}

_PUT = """
  put:
    call: {target}/depot.v1.Depot/Put
    request: {{id: "${{saga.id}}"}}
    timeout: {timeout_s}s
    compensate: {{call: {target}/depot.v1.Depot/Take, timeout: {timeout_s}s}}"""
_PATIENT = """
    retry: {{max_attempts: unlimited}}"""
_PROBE = """
    probe: {{call: {target}/depot.v1.Depot/Find, applied: "${{reply.found}}", timeout: {timeout_s}s}}"""
_BUILD = """
  {step}:
    call: {target}/depot.v1.Depot/Build
    response: depot.v1.Note
    poll: 20ms
    timeout: {timeout_s}s
    compensate: {{call: {target}/depot.v1.Depot/Take, timeout: {timeout_s}s}}"""
_REFUSE = """
  refuse:
    after: [{after}]
    call: {target}/depot.v1.Depot/Refuse
    kind: read"""
_REFUSE_BESIDE = """
  refuse:
    call: {target}/depot.v1.Depot/Refuse
    request: {{id: "once somebody asks"}}
    timeout: 10s
    kind: read"""
_FLOWS = {
    Role.FORWARD: _PUT,
    Role.UNDO: _PUT + _REFUSE.replace("{after}", "put"),
    Role.PROBE: _PUT + _PROBE,
    Role.BEGIN: _BUILD.replace("{step}", "build"),
    Role.AWAIT: _BUILD.replace("{step}", "build"),
    Role.STOP: _BUILD.replace("{step}", "endless") + _REFUSE_BESIDE,
}
_HEAD = """
saga: {name}
input: json
deadline: {{forward: 30s, compensation: 30s}}
targets: [{target}]
steps:"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One saga on a line of its own."""

    number: int
    role: Role
    fault: Fault | Line

    @property
    def name(self) -> str:
        return f"cell_{self.number}"

    @property
    def source(self) -> str:
        """Its definition."""
        patient = _PATIENT if isinstance(self.fault, Line) else ""  # nothing unknown happens to it
        text = _HEAD + _FLOWS[self.role] + patient
        return text.format(name=self.name, target=self.name, timeout_s=f"{TIMEOUT_S:g}")

    def chosen(self, request: Request, before: Iterable[Request]) -> Fault | None:
        """Return what the proxy does to a request, given those that came before it: each operation is struck once.

        That need not be at its first attempt: one that finds its connection broken never comes here.
        """
        if "saga-id" not in request.told:
            return None
        _, step, operation, _ = request.attempt
        if any(each.is_struck and each.attempt[1:3] == (step, operation) for each in before):
            return None
        if self.role is Role.PROBE and operation == Operation.FORWARD.value:
            return _LOST_REPLY
        if isinstance(self.fault, Line) or (step, operation) != _STRUCK[self.role]:
            return None
        return self.fault

    def end(self, *, keeps: bool) -> str:
        """Return how the saga ends: an unknown call of a service that keeps nothing is undone, not repeated."""
        if self.role in {Role.UNDO, Role.STOP}:
            return "COMPENSATED"
        if keeps or self.role in {Role.PROBE, Role.AWAIT} or isinstance(self.fault, Line):
            return "COMPLETED"
        return "COMPENSATED" if is_fatal(self.fault) else "COMPLETED"

    @property
    def strikes(self) -> int:
        """How many of its calls are struck: a probe is asked once another call's answer was lost."""
        return (not isinstance(self.fault, Line)) + (self.role is Role.PROBE)

    def __str__(self) -> str:
        return f"{self.role}: {self.fault}"


def is_fatal(fault: Fault) -> bool:
    """Return whether the struck call is not answered."""
    return fault.what not in {What.PAUSE, What.TRICKLE, What.AGE} and fault.when is not When.ANSWERED


def faults() -> Iterator[Fault]:
    """Yield every fault of one call."""
    for when in (When.BEFORE, When.REQUEST, When.SENT, When.LOST, When.REPLY):
        for what in (What.CLOSE, What.RESET, What.STALL):
            yield Fault(when=when, what=what)
        if when is not When.SENT:
            yield Fault(when=when, what=What.PAUSE, pause_s=PAUSE_S)
    for when in (When.BEFORE, When.LOST):
        yield Fault(when=when, what=What.TRICKLE, pause_s=0.001)
    for when in (When.BEFORE, When.SENT):
        for what in (What.REFUSE, What.DISOWN, What.AGE):
            yield Fault(when=when, what=what)
    yield Fault(when=When.ANSWERED, what=What.CLOSE)


def cells() -> list[Cell]:
    """Return every fault at every call, and every line that is down at first."""
    pairs: list[tuple[Role, Fault | Line]] = [(role, fault) for role in Role for fault in faults()]
    pairs += [(Role.FORWARD, line) for line in Line]
    return [Cell(number=number, role=role, fault=fault) for number, (role, fault) in enumerate(pairs)]
