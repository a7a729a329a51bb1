"""Who calls, how long they stay, and which trace they are in: what a call says beside its message."""

from typing import Any, TypeAlias
from urllib.parse import unquote

import grpc.aio

from orchestrator import limits, tracecontext
from orchestrator.errors import InputInvalid
from orchestrator.values import TraceContext

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

OPERATOR_KEY = "x-operator"
"""Metadata in which a person or a program says who it is, percent-encoded; believed, because nobody can check it."""

# gRPC says "no deadline" as a very large number of seconds (grpc/grpc issue 26236).
_NO_DEADLINE_S = 10 * 366 * 86_400.0


def trace_of(context: Context) -> TraceContext | None:
    """Return the caller's place in its own trace."""
    found = dict.fromkeys((tracecontext.TRACEPARENT, tracecontext.TRACESTATE), "")
    for key, value in context.invocation_metadata() or ():
        if key in found and isinstance(value, str):
            # A list may come in several headers (section 3.3.1 of the W3C text); a second parent is none of ours.
            found[key] = f"{found[key]},{value}" if found[key] else value
    return tracecontext.parse(found[tracecontext.TRACEPARENT], found[tracecontext.TRACESTATE])


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
