"""W3C Trace Context as text: what callers send us in `traceparent` and `tracestate`, and what we send to services.

Pure, and below the ports, because the surfaces read it and the invoker writes it while neither may know telemetry.
`baggage` carries a stranger's words into every called service, so only members that an operator has named are kept.

Sources: https://www.w3.org/TR/trace-context-2/ (sections 3.2, 3.3) and https://www.w3.org/TR/baggage/ (section 3.3).
The flags are read leniently: bit 0 is *sampled*, any other bit (bit 1 says that the trace id is random) may be set and
is not passed on.
"""

import re
from collections.abc import Collection
from urllib.parse import unquote

from orchestrator.limits import (
    BAGGAGE_CHARS_MAX,
    BAGGAGE_KEPT_CHARS_MAX,
    TRACESTATE_CHARS_MAX,
    TRACESTATE_MEMBERS_MAX,
)
from orchestrator.values import TraceContext

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<rest>-.*)?"
)
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{1,256}")
_SAMPLED = 0x01
BAGGAGE_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SAID = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")


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
    # Through bytes, at half the price of a format such as 032x.
    trace_id, span_id = context.trace_id.to_bytes(16, "big").hex(), context.span_id.to_bytes(8, "big").hex()
    return f"00-{trace_id}-{span_id}-{'01' if context.sampled else '00'}"


def kept_baggage(text: str, names: Collection[str]) -> str:
    """Return the named members of a `baggage` header, with their properties; empty where there are none.

    A header that is too long counts as absent; so does a member that is malformed, for which there is no room any
    more, or that another one of its name follows.
    """
    if not names or len(text) > BAGGAGE_CHARS_MAX:
        return ""
    found: dict[str, str] = {}
    for member in text.split(","):
        name = member.partition("=")[0].strip(" \t")
        if name in names and _is_member(member):
            found[name] = member.replace(" ", "").replace("\t", "")
    kept = ""
    for member in found.values():
        longer = f"{kept},{member}" if kept else member
        kept = longer if len(longer) <= BAGGAGE_KEPT_CHARS_MAX else kept
    return kept


def baggage_values(kept: str) -> dict[str, str]:
    """Return name -> value, decoded, of members that were kept."""
    pairs = (member.partition(";")[0].partition("=") for member in kept.split(",") if _is_member(member))
    return {name: unquote(value, errors="replace") for name, _, value in pairs}


def _is_member(text: str) -> bool:
    """Return whether a member is well formed: `name=value`, then any `;name` and `;name=value`.

    Taken apart at signs that no part can hold: a pattern for the whole has many ways to fail over one run of spaces,
    and tries them all.
    """
    first, *properties = text.split(";")
    return "=" in first and all(map(_is_pair, (first, *properties)))


def _is_pair(text: str) -> bool:
    name, _, value = text.partition("=")
    return BAGGAGE_NAME.fullmatch(name.strip(" \t")) is not None and _SAID.fullmatch(value.strip(" \t")) is not None


def _state(tracestate: str) -> str:
    members = [member.strip() for member in tracestate.split(",") if member.strip()]
    text = ",".join(members)
    if len(text) > TRACESTATE_CHARS_MAX or len(members) > TRACESTATE_MEMBERS_MAX:
        return ""
    return text if all(_MEMBER.fullmatch(member) for member in members) else ""
