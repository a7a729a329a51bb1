"""W3C Trace Context as text: what callers send us in `traceparent` and `tracestate`, and what we send to services.

Pure, and below the ports, because the surfaces read it and the invoker writes it while neither may know telemetry.
Baggage is neither read nor passed on: it would carry a stranger's words into every called service.

Source: https://www.w3.org/TR/trace-context-2/ (sections 3.2, 3.3). The flags are read leniently: bit 0 is *sampled*,
any other bit (bit 1 says that the trace id is random) may be set and is not passed on.
"""

import re

from orchestrator.limits import TRACESTATE_CHARS_MAX, TRACESTATE_MEMBERS_MAX
from orchestrator.values import TraceContext

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}")
_SAMPLED = 0x01


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """Return the caller's place in its trace; None where the header is absent or malformed, as if it were not sent.

    A malformed `tracestate` is dropped alone; the context stands without it.
    """
    found = _TRACEPARENT.fullmatch(traceparent.strip())
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["rest"]):
        return None
    trace_id, span_id = int(found["trace"], 16), int(found["span"], 16)
    if trace_id == 0 or span_id == 0:
        return None
    sampled = bool(int(found["flags"], 16) & _SAMPLED)
    return TraceContext(trace_id=trace_id, span_id=span_id, sampled=sampled, state=_state(tracestate))


def traceparent(context: TraceContext) -> str:
    """Return the header that makes `context.span_id` the parent of whatever the callee records."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{'01' if context.sampled else '00'}"


def _state(tracestate: str) -> str:
    members = [member.strip() for member in tracestate.split(",") if member.strip()]
    text = ",".join(members)
    if len(text) > TRACESTATE_CHARS_MAX or len(members) > TRACESTATE_MEMBERS_MAX:
        return ""
    return text if all(_MEMBER.fullmatch(member) for member in members) else ""
