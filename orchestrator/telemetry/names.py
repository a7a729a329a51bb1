"""Every name this package publishes: spans, span attributes, span events, metrics; each with its unit and its meaning.

Dashboards and alerts are built on these names, so they are a contract: added to, never renamed. `docs/metrics.md`
shows the three tables below and is tested against them.

The `rpc.*`, `server.*` and `error.*` strings are OpenTelemetry's RPC conventions as of schema 1.44, written out because
the module that holds them calls itself unstable.
"""

from dataclasses import dataclass
from typing import Literal

SCOPE = "saga-orchestrator"
"""Instrumentation scope, and the service name where `OTEL_SERVICE_NAME` is not set."""
CURSOR = "otlp-traces"
"""The name under which the trace reader's place in the journal is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One published name of a span, an event or an attribute."""

    name: str
    where: str
    meaning: str


# --- spans -----------------------------------------------------------------------------------------------------------

ROOT_SPAN = "saga {definition}"
START_SPAN = "saga.start"
COMPENSATION_SPAN = "saga.compensation"
STEP_SPAN = "step {step}"
UNDO_SPAN = "undo {step}"

SPANS = (
    Name(name=ROOT_SPAN, where="child of the caller's span", meaning="the whole saga; sent when it ends"),
    Name(name=START_SPAN, where="child of the saga", meaning="no length; sent at once, so a running saga is findable"),
    Name(name=STEP_SPAN, where="child of the saga", meaning="the forward operation; sent when the step settles"),
    Name(
        name="{rpc.method}",
        where="child of a step or undo span",
        meaning="one attempt, kind CLIENT, from the first byte sent to the status; the service's own span is its child",
    ),
    Name(name=COMPENSATION_SPAN, where="child of the saga", meaning="from the first cause to the last undo"),
    Name(
        name=UNDO_SPAN,
        where="child of the compensation",
        meaning="the undo of one step; links to the attempt it undoes; sent when the step is undone",
    ),
)

# --- span events -----------------------------------------------------------------------------------------------------

RETRY_EVENT = "saga.retry"
SKIPPED_EVENT = "saga.step.skipped"
CANCEL_EVENT = "saga.cancel"
STUCK_EVENT = "saga.step.stuck"
ATTENTION_EVENT = "saga.attention"

EVENTS = (
    Name(name=RETRY_EVENT, where="step, undo", meaning="the operation will be tried again"),
    Name(name=SKIPPED_EVENT, where="saga", meaning="a step was passed over: guard false, or trigger unmet"),
    Name(name=CANCEL_EVENT, where="saga", meaning="somebody asked for the saga to be undone"),
    Name(name=STUCK_EVENT, where="saga", meaning="a step cannot go on without a person"),
    Name(name=ATTENTION_EVENT, where="saga", meaning="a person must look"),
)

# --- attributes ------------------------------------------------------------------------------------------------------

SAGA_ID = "saga.id"
SAGA_UID = "saga.uid"
SAGA_DEFINITION = "saga.definition"
SAGA_REVISION = "saga.revision"
SAGA_STATUS = "saga.status"
SAGA_STEP = "saga.step"
SAGA_OPERATION = "saga.operation"
SAGA_ATTEMPT = "saga.attempt"
SAGA_OUTCOME = "saga.outcome"
SAGA_REASON = "saga.reason"
SAGA_MESSAGE = "saga.message"
SAGA_PHASE = "saga.call.phase"
SAGA_LOST = "saga.call.lost"
SAGA_PARKED = "saga.call.parked"
SAGA_TARGET = "saga.target"
SAGA_CAUSE = "saga.cause"
SAGA_CAUSE_STEP = "saga.cause.step"
SAGA_UNDONE_COUNT = "saga.undone_count"
SAGA_NOTHING_TO_UNDO = "saga.nothing_to_undo"
SAGA_DELAY_S = "saga.delay_s"
RPC_SYSTEM_NAME = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS = "rpc.response.status_code"
SERVER_ADDRESS = "server.address"
ERROR_TYPE = "error.type"
GRPC = "grpc"

ATTRIBUTES = (
    Name(name=SAGA_ID, where="every span", meaning="the caller's name of the saga"),
    Name(name=SAGA_UID, where="saga, start", meaning="the saga's unique id, from which every key and span id follows"),
    Name(name=SAGA_DEFINITION, where="saga, start", meaning="name of the definition"),
    Name(name=SAGA_REVISION, where="saga, start", meaning="revision of the definition"),
    Name(name=SAGA_STATUS, where="saga", meaning="COMPLETED or COMPENSATED"),
    Name(name=SAGA_STEP, where="step, undo, attempt, events", meaning="the step's id"),
    Name(name=SAGA_OPERATION, where="step, undo, attempt, stuck event", meaning="forward or compensate"),
    Name(name=SAGA_ATTEMPT, where="attempt", meaning="number of the attempt, from 1 (count)"),
    Name(name=SAGA_OUTCOME, where="step, attempt", meaning="APPLIED, NOT_APPLIED or UNKNOWN"),
    Name(name=SAGA_REASON, where="step, events", meaning="why it settled, was skipped, retried or stuck"),
    Name(name=SAGA_MESSAGE, where="stuck and attention events", meaning="a sentence, cut to 256 characters"),
    Name(name=SAGA_PHASE, where="attempt", meaning="how far it got: NOT_SENT, SENT, REPLIED, LOST"),
    Name(name=SAGA_LOST, where="attempt", meaning="true: the orchestrator stopped before it saw the end"),
    Name(name=SAGA_PARKED, where="attempt, retry event", meaning="true: held back because the target is paused"),
    Name(name=SAGA_TARGET, where="attempt", meaning="name of the configured target"),
    Name(name=SAGA_CAUSE, where="saga, compensation", meaning="why the saga went backward"),
    Name(name=SAGA_CAUSE_STEP, where="saga, compensation", meaning="the step that decided it"),
    Name(name=SAGA_UNDONE_COUNT, where="saga, compensation", meaning="steps undone (count)"),
    Name(name=SAGA_NOTHING_TO_UNDO, where="undo", meaning="true: the effect was never there"),
    Name(name=SAGA_DELAY_S, where="retry event", meaning="pause before the next attempt (s)"),
    Name(name=RPC_SYSTEM_NAME, where="attempt", meaning="always grpc"),
    Name(name=RPC_METHOD, where="attempt", meaning="full method, package.Service/Method"),
    Name(name=RPC_STATUS, where="attempt, step", meaning="gRPC status name, such as OK or NOT_FOUND"),
    Name(name=SERVER_ADDRESS, where="attempt", meaning="the target's name: a group of servers, not one host"),
    Name(name=ERROR_TYPE, where="whatever failed", meaning="the service's reason, the status, or the saga's cause"),
)

# --- metrics ---------------------------------------------------------------------------------------------------------

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One published metric. No label ever holds a saga's id or a text that a peer sent."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SAGA_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3_600.0, 86_400.0)
_COMMIT_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_POWERS_OF_TWO = tuple(float(2**power) for power in range(11))

SAGAS_STARTED = Metric(
    name="saga_started_total", kind="counter", unit="sagas", labels=("definition",), meaning="Sagas accepted"
)
SAGAS_ENDED = Metric(
    name="saga_ended_total",
    kind="counter",
    unit="sagas",
    labels=("definition", "status"),
    meaning="Sagas that came to their end, as COMPLETED or COMPENSATED",
)
SAGAS_LIVE = Metric(
    name="saga_live",
    kind="gauge",
    unit="sagas",
    labels=("status",),
    meaning="Sagas that have not ended, counted in the journal every few seconds",
)
SAGA_DURATION = Metric(
    name="saga_duration_seconds",
    kind="histogram",
    unit="s",
    labels=("definition", "status"),
    buckets=_SAGA_S,
    meaning="Time from acceptance to the end",
)
COMPENSATIONS = Metric(
    name="saga_compensations_total",
    kind="counter",
    unit="sagas",
    labels=("definition", "cause"),
    meaning="Sagas that turned back, by cause",
)
ATTENTIONS = Metric(
    name="saga_attention_total",
    kind="counter",
    unit="calls for a person",
    labels=("definition", "reason"),
    meaning="Times a person was asked to look",
)
ATTEMPTS = Metric(
    name="saga_step_attempts_total",
    kind="counter",
    unit="attempts",
    labels=("target", "operation", "outcome", "code"),
    meaning="Step attempts that came to their end",
)
RETRIES = Metric(
    name="saga_step_retries_total",
    kind="counter",
    unit="retries",
    labels=("target", "parked"),
    meaning="Times an operation was scheduled to be tried again",
)
CALL_DURATION = Metric(
    name="saga_call_duration_seconds",
    kind="histogram",
    unit="s",
    labels=("target", "method"),
    buckets=_CALL_S,
    meaning="Time on the wire of one call, from the first byte sent to the status",
)
COMMIT_DURATION = Metric(
    name="saga_journal_commit_seconds",
    kind="histogram",
    unit="s",
    buckets=_COMMIT_S,
    meaning="Time of one group commit of the journal",
)
COMMIT_STREAMS = Metric(
    name="saga_journal_commit_streams",
    kind="histogram",
    unit="sagas",
    buckets=_POWERS_OF_TWO,
    meaning="Sagas that shared one group commit",
)
COMMIT_RECORDS = Metric(
    name="saga_journal_records_total", kind="counter", unit="records", meaning="Records made durable"
)
TARGETS_PAUSED = Metric(
    name="saga_target_paused",
    kind="gauge",
    unit="none",
    labels=("target", "method"),
    meaning="1 while calls are held back because the target, or one method of it, answered that it is set up wrongly",
)
ACTORS = Metric(name="saga_actors", kind="gauge", unit="actors", meaning="Sagas in memory")
MAILBOX_DEPTH = Metric(
    name="saga_mailbox_depth",
    kind="histogram",
    unit="messages",
    buckets=_POWERS_OF_TWO,
    meaning="Messages waiting in a saga's mailbox when another one arrives, that one included",
)
QUARANTINED = Metric(
    name="saga_quarantined_total",
    kind="counter",
    unit="sagas",
    meaning="Sagas set aside for a person because their actor failed",
)
LOOP_LAG = Metric(
    name="saga_event_loop_lag_seconds",
    kind="histogram",
    unit="s",
    buckets=_LAG_S,
    meaning="How late the event loop woke a sleeper",
)
SPANS_EXPORTED = Metric(
    name="saga_spans_exported_total", kind="counter", unit="spans", meaning="Spans the collector has taken"
)
SPANS_DROPPED = Metric(
    name="saga_spans_dropped_total",
    kind="counter",
    unit="spans",
    meaning="Spans given up because the collector did not take them for ten minutes",
)
SPANS_WAITING = Metric(
    name="saga_spans_waiting", kind="gauge", unit="spans", meaning="Spans made and not yet taken by the collector"
)

METRICS = (
    SAGAS_STARTED,
    SAGAS_ENDED,
    SAGAS_LIVE,
    SAGA_DURATION,
    COMPENSATIONS,
    ATTENTIONS,
    ATTEMPTS,
    RETRIES,
    CALL_DURATION,
    TARGETS_PAUSED,
    COMMIT_DURATION,
    COMMIT_STREAMS,
    COMMIT_RECORDS,
    ACTORS,
    MAILBOX_DEPTH,
    QUARANTINED,
    LOOP_LAG,
    SPANS_EXPORTED,
    SPANS_DROPPED,
    SPANS_WAITING,
)
