"""What the wire said: status code and evidence to a report. A pure table; `saga.outcome` says what it means.

Measured with grpcio 1.80.0 and 1.85.1 (`tests/integration/invoker/test_wire_facts.py` asks again):

* **A status carries no mark of who made it.** `debug_error_string` of 1.80 says "Error received from peer" also for a
  refused connection; 1.85 repeats code and details. A service that passes on its own callee's error
  (`abort(e.code(), e.details())`) sends, word for word, the text that gRPC itself would write: "failed to connect to
  all addresses; last error: ...". So no text may ever prove that nothing was sent. `NOT_SENT` is therefore a fact about
  us: a call waits for its channel to be READY before it is given to gRPC at all (`channels.py`), and whatever was
  given to gRPC is `SENT` at least.
* **Seven codes are never made by the library**: the application answered.
* **UNIMPLEMENTED, UNAUTHENTICATED, PERMISSION_DENIED** are answers, unless gRPC made them up from an HTTP status of
  something in between (404, 401, 403) or from a reset stream (INADEQUATE_SECURITY); both say so in their text.
* **The other six** may be anybody's. Trailing metadata proves an answer: no locally made status has any (a broken
  connection after the first headers leaves *initial* metadata, so that proves nothing). Without it: `SENT`.

==============================================  ===================  =========================================
what happened                                   code                 details (1.85; 1.80 without "Stream removed")
==============================================  ===================  =========================================
peer's process ends, connection closed          UNAVAILABLE          Stream removed (Socket closed)
connection reset                                UNAVAILABLE          Stream removed (recvmsg:Connection reset by peer)
GOAWAY, also one that disowns the stream        UNAVAILABLE          Stream removed (GOAWAY received; ...)
RST_STREAM REFUSED_STREAM                       UNAVAILABLE          Stream removed (RST_STREAM (... error code 7))
RST_STREAM NO_ERROR, PROTOCOL, INTERNAL         INTERNAL             the same, with its number
RST_STREAM CANCEL                               CANCELLED            ... error code 8
RST_STREAM ENHANCE_YOUR_CALM                    RESOURCE_EXHAUSTED   ... error code 11
RST_STREAM INADEQUATE_SECURITY                  PERMISSION_DENIED    ... error code 12
deadline, ours                                  DEADLINE_EXCEEDED    Stream removed (Deadline Exceeded)
reply larger than we accept                     RESOURCE_EXHAUSTED   CLIENT: Received message larger than max (...)
HTTP 400 / 401 / 403 / 404                      INTERNAL / UNAUTHENTICATED / PERMISSION_DENIED / UNIMPLEMENTED
HTTP 429, 502, 503, 504 / others                UNAVAILABLE / UNKNOWN: Received http2 header with status: ...
no grpc-status at all                           UNKNOWN              No status received
a number that is no status                      UNKNOWN              (empty)
handler raises                                  UNKNOWN              Unexpected <class 'ValueError'>: ...
method not served                               UNIMPLEMENTED        Method not found!
server stops without grace                      UNAVAILABLE          Cancelling all calls
OK without a message                            OK                   the reply is None
==============================================  ===================  =========================================
"""

from collections.abc import Iterable

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from orchestrator.limits import MESSAGE_CHARS_MAX, RETRY_AFTER_S_MAX
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.outcome import CONFIGURATION, NEVER_FROM_THE_LIBRARY

ANSWERS = NEVER_FROM_THE_LIBRARY | {"DATA_LOSS"}
"""The application spoke. The machine's own set lacks DATA_LOSS: an answer too, but none that says what was done."""

Metadatum = tuple[str, str | bytes]

_MADE_FROM_HTTP = ("Received http2 header with status", "Received RST_STREAM", "Stream removed (RST_STREAM")
_STATUS_DETAILS = "grpc-status-details-bin"
_PUSHBACK = "grpc-retry-pushback-ms"
_DO_NOT_RETRY = -1.0


def classify(
    *, code: str, details: str, trailing: Iterable[Metadatum], sent_at: float | None, ended_at: float
) -> Report:
    """Return the report of a call that was given to gRPC and ended with a status other than OK."""
    metadata = dict(trailing)
    applied, reason, retry_after_s = _status_details(metadata.get(_STATUS_DETAILS))
    pushback_s = _pushback(metadata.get(_PUSHBACK))
    return Report(
        code=code,
        phase=_phase(code, details, has_trailing=bool(metadata)),
        message=details[:MESSAGE_CHARS_MAX],
        applied=applied,
        error_reason=reason,
        retry_after_s=retry_after_s if pushback_s is None else pushback_s,
        sent_at=sent_at,
        ended_at=ended_at,
    )


def _phase(code: str, details: str, *, has_trailing: bool) -> Phase:
    if code in ANSWERS:
        return Phase.REPLIED
    if details.startswith(_MADE_FROM_HTTP):
        return Phase.SENT
    if code in CONFIGURATION or has_trailing:
        return Phase.REPLIED
    return Phase.SENT


def _status_details(data: str | bytes | None) -> tuple[bool | None, str, float | None]:
    """Read `google.rpc.Status`: ErrorInfo's applied and reason, RetryInfo's delay. What cannot be read says nothing."""
    applied: bool | None = None
    reason = ""
    retry_after_s: float | None = None
    if not isinstance(data, bytes):
        return applied, reason, retry_after_s
    error_info = error_details_pb2.ErrorInfo()
    retry_info = error_details_pb2.RetryInfo()
    try:
        for detail in status_pb2.Status.FromString(data).details:
            if detail.Unpack(error_info):
                reason = error_info.reason[:MESSAGE_CHARS_MAX]
                applied = {"true": True, "false": False}.get(error_info.metadata.get("applied", "").lower())
            elif detail.Unpack(retry_info):
                delay = retry_info.retry_delay
                retry_after_s = max(0.0, delay.seconds + delay.nanos / 1e9)
    except DecodeError:
        pass
    return applied, reason, retry_after_s


def _pushback(text: str | bytes | None) -> float | None:
    """Read gRPC's retry pushback: negative or unreadable means do not retry (gRFC A6)."""
    if text is None:
        return None
    try:
        wait_ms = int(text)
    except ValueError:
        return _DO_NOT_RETRY
    # Capped before it is divided: hundreds of digits make no float, and the call's end would never be reported.
    return min(wait_ms, RETRY_AFTER_S_MAX * 1000) / 1000 if wait_ms >= 0 else _DO_NOT_RETRY
