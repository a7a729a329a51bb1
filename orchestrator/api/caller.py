"""Who calls, how long they stay, and which trace they are in: what a call says beside its message."""

from typing import Any, TypeAlias, cast
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

import grpc.aio

from orchestrator import limits, tracecontext
from orchestrator.errors import InputInvalid
from orchestrator.logscope import About, of_trace
from orchestrator.ports.clock import Clock
from orchestrator.values import TraceContext

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

OPERATOR_KEY = "x-operator"
"""Metadata in which a person or a program says who it is, percent-encoded; believed, because nobody can check it."""

REQUEST_ID_KEY = "x-request-id"
"""Metadata with a caller's own name for a request; it comes back with the answer."""

_TRACED = (tracecontext.TRACEPARENT, tracecontext.TRACESTATE, tracecontext.BAGGAGE)
_CARRIED = frozenset({*_TRACED, REQUEST_ID_KEY, OPERATOR_KEY})
# What the connection says rather than the call; under names that no client can send, for gRPC's begin with no colon.
_IDENTITY_KEY, _PEER_KEY = ":identity", ":peer"

# gRPC says "no deadline" as a very large number of seconds (grpc/grpc issue 26236).
_NO_DEADLINE_S = 10 * 366 * 86_400.0


def trace_of(context: Context) -> TraceContext | None:
    """Return the caller's place in its own trace."""
    return context_of(context)[0]


def context_of(context: Context) -> tuple[TraceContext | None, str]:
    """Return the caller's place in its own trace, and its baggage as it was sent."""
    found = dict.fromkeys(_TRACED, "")
    for key, value in context.invocation_metadata() or ():
        if key in found and isinstance(value, str):
            # A list may come in several headers (section 3.3.1 of the W3C text); a second parent is none of ours.
            found[key] = f"{found[key]},{value}" if found[key] else value
    trace = tracecontext.parse(found[tracecontext.TRACEPARENT], found[tracecontext.TRACESTATE])
    return trace, found[tracecontext.BAGGAGE]


def operator(context: Context) -> str:
    """Return who acts: the TLS certificate's identity, else what the metadata says, else the peer's address."""
    identities = context.peer_identities()
    if identities:
        return b", ".join(identities).decode(errors="replace")
    for key, value in context.invocation_metadata() or ():
        if key == OPERATOR_KEY:
            named = unquote(value if isinstance(value, str) else value.decode(errors="replace")).strip()
            if not 0 < len(named) <= limits.API_OPERATOR_CHARS_MAX or not named.isprintable():
                most = limits.API_OPERATOR_CHARS_MAX
                raise InputInvalid(
                    OPERATOR_KEY, f"is not the name of a person or a program of at most {most} characters"
                )
            return named
    return unquote(context.peer()).rpartition(":")[0] or "unknown"


def wait_s(context: Context, asked_s: float) -> float:
    """Return how long to wait, so that the answer still arrives within the caller's deadline."""
    remaining_s = context.time_remaining()
    most_s = min(asked_s, limits.API_WAIT_S_MAX)
    if remaining_s is None or remaining_s > _NO_DEADLINE_S:  # type: ignore[redundant-expr]  # the stubs forget None
        return most_s
    # A short deadline keeps most of its time for waiting.
    margin_s = min(limits.API_WAIT_MARGIN_S, remaining_s / 4)
    return max(0.0, min(most_s, remaining_s - margin_s))


def answer_within_s(context: Context) -> float | None:
    """Return within what time an answer still arrives; None for a caller without a deadline."""
    remaining_s = context.time_remaining()
    if remaining_s is None or remaining_s > _NO_DEADLINE_S:  # type: ignore[redundant-expr]  # the stubs forget None
        return None
    # Less than the margin of a wait, so that whoever waits for a saga is answered with the saga.
    return max(0.0, remaining_s - min(limits.API_ANSWER_MARGIN_S, remaining_s / 8))


def request_id(context: Context) -> str:
    """Return the caller's own name for the request; empty where there is none that could be printed."""
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_KEY and isinstance(value, str):
            fits = len(value) <= limits.API_REQUEST_ID_CHARS_MAX and value.isascii() and value.isprintable()
            return value if fits else ""
    return ""


class Request:
    """A request as the log tells of it; its number is made when somebody first asks for one."""

    __slots__ = ("_clock", "_context", "_id", "given", "method")

    def __init__(self, method: str, context: Context, clock: Clock) -> None:
        """Take the full gRPC name and the call; nothing of it is read yet but the caller's own request id."""
        self.method = method
        self.given = request_id(context)
        """The caller's own name for it; may be empty."""
        self._context = context
        self._clock = clock
        self._id = self.given

    @property
    def id(self) -> str:
        """Return what the log and the answer call the request."""
        if not self._id:
            self._id = str(self._clock.new_uid())
        return self._id

    def about(self) -> About:
        """Return what a line says that is written while the request is answered."""
        return {"request_id": self.id, "method": self.method, **of_trace(trace_of(self._context))}


def carried(context: Context) -> tuple[tuple[str, str], ...]:
    """Return what a request takes along to another process, so that its caller is the same one there."""
    facts = [(key, value) for key, value in context.invocation_metadata() or () if key in _CARRIED]
    if identities := context.peer_identities():
        facts.append((_IDENTITY_KEY, quote_from_bytes(b", ".join(identities))))
    facts.append((_PEER_KEY, context.peer()))
    return tuple((key, value) for key, value in facts if isinstance(value, str))


class Carried:
    """A call that came by another process, as far as methods look at their call."""

    def __init__(self, facts: tuple[tuple[str, str], ...], ends_at: float, clock: Clock) -> None:
        """Take what `carried` gave there, and the call's end by the monotonic clock here."""
        self._facts = facts
        self._ends_at = ends_at
        self._clock = clock

    def context(self) -> Context:
        """Return the same, as methods take it."""
        return cast(Context, self)

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the caller's own metadata."""
        return tuple((key, value) for key, value in self._facts if key in _CARRIED)

    def peer_identities(self) -> tuple[bytes, ...]:
        """Return what the caller's certificate said to the process that took the call."""
        return tuple(unquote_to_bytes(value) for key, value in self._facts if key == _IDENTITY_KEY)

    def peer(self) -> str:
        """Return the caller's own address."""
        return next((value for key, value in self._facts if key == _PEER_KEY), "")

    def time_remaining(self) -> float:
        """Return seconds until the caller is gone."""
        return max(0.0, self._ends_at - self._clock.monotonic())
