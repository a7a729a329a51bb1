"""What is done to calls: every status code in every phase of a stream, every way to lose one, every moment of a crash.

A cell is one saga of one step. What breaks a connection, or pauses a target (R7), would disturb the neighbours: such
cells have a target of their own, where all calls gather before the same is done to all of them.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status as RpcStatus
from h2.errors import ErrorCodes

from tests.integration.outcomes.rules import CODES, RULES, Kind, Then, code_of
from tests.kit.breaking import OK, Cut, Ending, Http, Point, Status

TIMEOUT_S = 6.0
"""Of an attempt: long enough to see that an undo waits for its end, or does not."""
LATE_S = 1.0
"""Of an attempt that is answered too late."""
LONG_S = 600.0
"""Of an attempt that ends in a crash, where an undo must not wait: it is far from over when the next process begins."""
_PAUSING = {"PERMISSION_DENIED", "UNIMPLEMENTED", "UNAUTHENTICATED"}
_NARROWED = ("CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE")
_JUDGED = ("INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE")
PHASES = {
    "trailers only": Point.NOTHING,
    "headers": Point.HEADERS,
    "half a message": Point.HALF,
    "whole message": Point.MESSAGE,
}


class Crash(StrEnum):
    """When the orchestrator dies, if it does."""

    NEVER = "never"
    OPENED = "opened"
    """The attempt is recorded, and nothing was sent."""
    SENT = "sent"
    """The call has ended, and nothing of that is recorded."""
    RECORDED = "recorded"
    """The end is recorded, and nothing was done about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class What:
    """What is done to the first call."""

    group: str
    """Rows of the page that belong together."""
    phase: str
    row: str
    """The rule that holds."""
    ending: Ending | None
    """None: it does not come to a stream."""
    target: str = "shared"
    """`shared`, or one of its own."""
    timeout_s: float = TIMEOUT_S

    @property
    def is_gathered(self) -> bool:
        return self.ending is not None and self.target != "shared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One saga."""

    number: int
    what: What
    kind: Kind
    then: Then
    crash: Crash

    @property
    def saga_id(self) -> str:
        return f"cell-{self.number}"

    @property
    def row(self) -> str:
        """R1: what nobody saw the end of is unknown, whatever its end was."""
        return "crashed" if self.crash in {Crash.OPENED, Crash.SENT} else self.what.row

    @property
    def target(self) -> str:
        return self.what.target if not self.what.is_gathered else f"{self.what.target}_{self.life}"

    @property
    def life(self) -> str:
        """In which process the first call is made: the one that dies, or the next."""
        return "second" if self.crash is Crash.NEVER else "first"

    @property
    def is_late(self) -> bool:
        """Whether its first call is answered too late, and nothing dies."""
        return self.what.ending is not None and self.what.ending.late and self.crash is Crash.NEVER

    @property
    def arrives(self) -> bool:
        """Whether its first call comes to the server in the life it is begun in."""
        return self.what.ending is not None and self.crash is not Crash.OPENED

    @property
    def timeout_s(self) -> float:
        if self.crash is Crash.NEVER or self.what.ending is None:
            return self.what.timeout_s
        if self.what.ending.late:
            return TIMEOUT_S  # the next life is busy, and its calls are to be in time
        return LONG_S if self.kind is Kind.BARRIER else self.what.timeout_s

    @property
    def definition(self) -> str:
        return f"{self.target}_{self.kind.value}_{self.timeout_s:.0f}s"

    @property
    def script(self) -> tuple[Ending, ...]:
        """What is done to attempt 1, 2, ..."""
        first = self.what.ending or OK
        if self.what.is_gathered:
            first = Ending(after=first.after, by=first.by, gathering=self.target)
        match self.then:
            case Then.OK:
                return first, OK
            case Then.SAME:
                return (first,)
            case Then.REFUSED | Then.EXISTS:
                return first, Ending(after=Point.NOTHING, by=Status(code=CODES.index(code_of(self.then, self.kind))))

    def is_overdue(self, attempt: int) -> bool:
        """Whether an attempt is to end by its deadline, or to be told that it did."""
        ending = self.script[min(attempt, len(self.script)) - 1]  # the last one stands for all that follow
        says = ending.by
        return ending.late or (isinstance(says, Status) and CODES[says.code] == "DEADLINE_EXCEEDED")

    def __str__(self) -> str:
        return f"{self.what.group}, {self.what.phase}; {self.kind}; then {self.then}; crash: {self.crash}"


def cells() -> list[Cell]:
    """Return every cell; what is never asked again is not told apart by what it would be told then."""
    found: list[Cell] = []
    for what in whats():
        for crash in Crash:
            for kind in Kind:
                for then in _thens(what, kind, crash):
                    found.append(Cell(number=len(found), what=what, kind=kind, then=then, crash=crash))
    return found


def _thens(what: What, kind: Kind, crash: Crash) -> tuple[Then, ...]:
    if what.ending is None:
        # nobody listens, neither at first nor later
        return (Then.SAME,) if crash in {Crash.NEVER, Crash.RECORDED} else ()
    if crash is Crash.OPENED and (what.group, what.phase) != ("OK", "whole message"):
        return ()  # nothing was sent, so nothing of this was done
    row = "crashed" if crash in {Crash.OPENED, Crash.SENT} else what.row
    if kind not in RULES[row].again:
        return (Then.OK,)
    match crash:
        case Crash.NEVER:
            once = (Then.OK, Then.REFUSED, Then.EXISTS)
            return once if what.is_gathered else (*once, Then.SAME)
        case Crash.RECORDED:
            return (Then.REFUSED,)
        case Crash.OPENED | Crash.SENT:
            return (Then.OK, Then.REFUSED)


def whats() -> Iterator[What]:
    """Yield everything that can be done to a first call."""
    yield What(group="no connection", phase="refused", row="not-sent", ending=None, target="absent")
    yield What(group="no connection", phase="no HTTP/2", row="not-sent", ending=None, target="mute", timeout_s=LATE_S)
    for number, code in enumerate(CODES):
        yield from _answered(number, code)
    yield from _lost()
    yield from _more_than_a_code()


def _answered(number: int, code: str) -> Iterator[What]:
    own = f"says_{code.lower()}"
    for phase, point in PHASES.items():
        row = code if code != "OK" or point is Point.MESSAGE else "unreadable-reply"
        target = f"{own}_{point.name.lower()}" if code in _PAUSING else "shared"
        yield What(group=code, phase=phase, row=row, ending=Ending(after=point, by=Status(code=number)), target=target)
    ending = Ending(after=Point.MESSAGE if code == "OK" else Point.NOTHING, by=Status(code=number), late=True)
    yield What(group=code, phase="late", row="late", ending=ending, timeout_s=LATE_S)


def _lost() -> Iterator[What]:
    for phase, point in PHASES.items():
        after = "nothing" if point is Point.NOTHING else phase
        for reset in (
            *(ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR, ErrorCodes.REFUSED_STREAM, ErrorCodes.CANCEL),
            *(ErrorCodes.ENHANCE_YOUR_CALM, ErrorCodes.INADEQUATE_SECURITY),
        ):
            own = f"insecure_{point.name.lower()}" if reset is ErrorCodes.INADEQUATE_SECURITY else "shared"
            ending = Ending(after=point, by=reset)
            group, row = f"RST_STREAM {reset.name}", f"reset-{reset.name}"
            yield What(group=group, phase=after, row=row, ending=ending, target=own)
        for cut in Cut:
            row = f"connection-{cut.name.lower()}"
            own = f"{cut.name.lower()}_{point.name.lower()}"
            yield What(group=cut.value, phase=after, row=row, ending=Ending(after=point, by=cut), target=own)
    for status, own in ((404, "http_404"), (503, "shared")):
        ending = Ending(after=Point.NOTHING, by=Http(status=status))
        yield What(group=f"HTTP {status}", phase="nothing", row=f"http-{status}", ending=ending, target=own)


def _more_than_a_code() -> Iterator[What]:
    for code in (*_NARROWED, *_JUDGED, "ABORTED", "DATA_LOSS"):
        for applied in (True, False):
            word = "true" if applied else "false"
            row = "applied-true" if applied else "applied-false-judged" if code in _JUDGED else "applied-false"
            if not applied and code in {"FAILED_PRECONDITION", "ABORTED"}:
                row = f"applied-false-{code}"  # its profile says whether it is asked again
            row = "DATA_LOSS" if code == "DATA_LOSS" else row
            yield _trailing(code, f"applied={word}", row, _error_info(code, word))
    for code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        yield _trailing(code, "push-back 20 ms", f"pushback-{code}", ("grpc-retry-pushback-ms", "20"))
    for code in (*_NARROWED, "ABORTED"):
        row = "never-again-NOT_APPLIED" if code == "ABORTED" else "never-again-UNKNOWN"
        yield _trailing(code, "push-back -1", row, ("grpc-retry-pushback-ms", "-1"))


def _trailing(code: str, says: str, row: str, *more: tuple[str, str]) -> What:
    ending = Ending(after=Point.NOTHING, by=Status(code=CODES.index(code), more=more))
    return What(group=says, phase=code, row=row, ending=ending)


def _error_info(code: str, applied: str) -> tuple[str, str]:
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason="CELL", domain="cell", metadata={"applied": applied}))
    data = RpcStatus(code=CODES.index(code), message="as the script says", details=[detail]).SerializeToString()
    return "grpc-status-details-bin", base64.b64encode(data).decode().rstrip("=")
