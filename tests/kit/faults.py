"""What can happen to a call on a network that fails, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum


class When(StrEnum):
    """The moment in a call's life; each frame that passes may be the one."""

    BEFORE = "before the request"
    REQUEST = "in the middle of the request"
    SENT = "after the request"
    LOST = "before the reply"
    """The service has answered, and nothing of that has passed."""
    REPLY = "in the middle of the reply"
    ANSWERED = "after the reply"


class What(StrEnum):
    """What is done then. The first three take the whole connection, as networks do."""

    CLOSE = "closed"
    RESET = "reset"
    STALL = "stalled"
    """Half open: nothing passes any more, in neither direction, and nothing is closed until a caller gives up."""
    PAUSE = "paused"
    TRICKLE = "trickled"
    REFUSE = "REFUSED_STREAM"
    DISOWN = "GOAWAY that disowns"
    AGE = "GOAWAY that ages"
    """As a server does whose connection is old: what has begun may end, nothing new may begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to a request, and when."""

    when: When
    what: What
    pause_s: float = 0.0
    """Of PAUSE: once; of TRICKLE: after every few bytes."""
    messages: int = 0
    """In the middle of the reply is after so many whole messages of it: streams have many."""

    def __str__(self) -> str:
        return f"{self.what} {self.when}"


class Forwarded(IntEnum):
    """How much of a request has reached the server's side."""

    NOTHING = 0
    PART = 1
    WHOLE = 2


@dataclass(slots=True, kw_only=True)
class Request:
    """A request that came to the proxy, and what became of it there."""

    path: str
    told: Mapping[str, str]
    """Its metadata, as far as it says whose call it is: a long run keeps very many."""
    stream: int
    forwarded: Forwarded = Forwarded.NOTHING
    is_answered: bool = False
    """The whole reply has gone to the caller."""
    fault: Fault | None = None
    is_struck: bool = False
    messages: int = 0
    """Of the reply, that have passed."""

    @property
    def attempt(self) -> tuple[str, str, str, int]:
        """Which attempt of a saga it is: saga, step, operation, number."""
        told = self.told
        return told["saga-id"], told["saga-step"], told["saga-op"], int(told["saga-attempt"])

    def is_due(self, when: When) -> bool:
        """Return whether its fault strikes now."""
        return self.fault is not None and self.fault.when is when and not self.is_struck

    def trickle_s(self, when: When) -> float:
        """Return the pause between a few bytes of what begins at this moment; 0 where it does not trickle."""
        fault = self.fault
        return fault.pause_s if fault is not None and fault.what is What.TRICKLE and fault.when is when else 0.0
