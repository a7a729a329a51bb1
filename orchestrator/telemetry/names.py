"""Every name in a trace: spans, span attributes, span events; each with its meaning. Those of metrics: `instruments`.

Dashboards and alerts are built on these names, so they are a contract: added to, never renamed. `docs/metrics.md`
shows the tables below and is tested against them.

The `rpc.*`, `server.*` and `error.*` strings are those of OpenTelemetry's conventions for gRPC in version 1.44.0, the
newest release (its RPC part is a release candidate), written out because the module that holds them calls itself
unstable. What comes after 1.44.0 calls `rpc.response.status_code` `rpc.status_code`: once that is released, both are
said for a while. `server.address` is the name of the configured target, which the conventions allow as the name of a
group of servers, and there is no `server.port`: addresses are configuration, which changes and differs between
processes, and a span says the same whoever tells it.
"""

from dataclasses import dataclass

SCOPE = "saga-orchestrator"
"""Instrumentation scope, and the service name where `OTEL_SERVICE_NAME` is not set."""
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"
"""The version of OpenTelemetry's conventions that is followed, sent along with every batch."""
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
ROLLBACK_SPAN = "rollback {step}"
STEP_SPAN = "step {step}"
ITEM_SPAN = "item {step}"
UNDO_SPAN = "undo {step}"
CHILD_SPAN = "child {definition}"

SPANS = (
    Name(
        name=ROOT_SPAN,
        where="child of the caller's span",
        meaning="the whole saga, sent when it ends; of a very long one a part of it, with a trace of its own",
    ),
    Name(
        name=START_SPAN,
        where="child of the saga",
        meaning="no length; sent at once, so that a running saga, or a part of it, is findable",
    ),
    Name(
        name=STEP_SPAN,
        where="child of the saga, or of its scope",
        meaning="a step's way forward: its calls, its sleep, its wait, its items or its members; sent when it settles",
    ),
    Name(
        name=ITEM_SPAN,
        where="child of its step",
        meaning="one item of a `for_each` step, of the first 1,000; sent when it settles",
    ),
    Name(
        name="{rpc.method}",
        where="child of a step, item or undo",
        meaning="one attempt, kind CLIENT, from the first byte sent to the status; the service's own span is its child",
    ),
    Name(
        name=CHILD_SPAN,
        where="child of a step, item or undo",
        meaning="one attempt that is a child saga, kind CLIENT; the child's own trace links to it",
    ),
    Name(
        name=ROLLBACK_SPAN,
        where="child of the scope, or of the saga",
        meaning="a part of the saga undone alone: a scope that failed, or what is run again; sent when it is undone",
    ),
    Name(
        name=COMPENSATION_SPAN,
        where="child of the saga",
        meaning="from the first cause to the last undo; of a completed child it links to the attempt that undoes it",
    ),
    Name(
        name=UNDO_SPAN,
        where="child of the compensation or rollback",
        meaning="the undo of one step or item; links to the attempt it undoes; sent when it is undone, or left",
    ),
)

# --- span events -----------------------------------------------------------------------------------------------------

RETRY_EVENT = "saga.retry"
REOPENED_EVENT = "saga.step.reopened"
ELSE_EVENT = "saga.scope.else"
SIGNAL_EVENT = "saga.signal"
SKIPPED_EVENT = "saga.step.skipped"
LEFT_EVENT = "saga.step.left"
RESET_EVENT = "saga.reset"
CANCEL_EVENT = "saga.cancel"
STUCK_EVENT = "saga.step.stuck"
ATTENTION_EVENT = "saga.attention"
CLEARED_EVENT = "saga.attention.cleared"
OPERATOR_EVENT = "saga.operator"

EVENTS = (
    Name(name=RETRY_EVENT, where="step, undo", meaning="the operation failed and will be tried again"),
    Name(name=REOPENED_EVENT, where="step, undo", meaning="a person had the operation tried again"),
    Name(name=ELSE_EVENT, where="step", meaning="a scope is undone and goes on with its alternative"),
    Name(
        name=SIGNAL_EVENT,
        where="the waiting step, else the saga",
        meaning="somebody signalled the saga; the span links to the sender's where it was traced",
    ),
    Name(
        name=SKIPPED_EVENT, where="saga", meaning="a step was passed over: guard false, trigger unmet, or by a person"
    ),
    Name(name=LEFT_EVENT, where="saga", meaning="a person said that a step's effect stays"),
    Name(name=RESET_EVENT, where="saga", meaning="a part of the saga has been undone and begins anew"),
    Name(
        name=CANCEL_EVENT,
        where="saga",
        meaning="somebody asked for the saga to be undone; the span links to theirs where it was traced",
    ),
    Name(name=STUCK_EVENT, where="saga", meaning="a step cannot go on without a person"),
    Name(name=ATTENTION_EVENT, where="saga", meaning="a person must look"),
    Name(name=CLEARED_EVENT, where="saga", meaning="nothing asks for a person any more"),
    Name(
        name=OPERATOR_EVENT,
        where="saga",
        meaning="a person did something to the saga: who, what and why; the span links to theirs where it was traced",
    ),
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
SAGA_ITEM = "saga.item"
SAGA_ITEMS_COUNT = "saga.items.count"
SAGA_ITEMS_APPLIED = "saga.items.applied"
SAGA_ITEMS_FAILED = "saga.items.failed"
SAGA_RUN = "saga.run"
SAGA_MANUAL_EPOCH = "saga.manual_epoch"
SAGA_AS_NEW = "saga.as_new"
SAGA_SIGNAL = "saga.signal.name"
SAGA_VERB = "saga.operator.verb"
SAGA_BY = "saga.operator.by"
SAGA_STEPS_COUNT = "saga.steps_count"
SAGA_LEFT_COUNT = "saga.left_count"
SAGA_CHILD = "saga.child"
SAGA_PARENT_ID = "saga.parent.id"
SAGA_PARENT_STEP = "saga.parent.step"
SAGA_PART = "saga.part"
SAGA_CONTINUED = "saga.continued"
SAGA_SPANS_UNTOLD = "saga.spans_untold"
SAGA_EVENTS_UNTOLD = "saga.events_untold"
BAGGAGE = "baggage.{name}"
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
    Name(name=SAGA_STATUS, where="saga", meaning="COMPLETED, COMPENSATED or TERMINATED; of several parts the last's"),
    Name(name=SAGA_STEP, where="step, undo, attempt, events", meaning="the step's path: `reserve`, or `reserve[17]`"),
    Name(
        name=SAGA_OPERATION,
        where="step, undo, attempt, events",
        meaning="forward, await, probe, stop or compensate; of a step's or an undo's own span forward or compensate",
    ),
    Name(name=SAGA_ATTEMPT, where="attempt", meaning="number of the attempt, from 1 (count)"),
    Name(name=SAGA_OUTCOME, where="step, attempt", meaning="APPLIED, NOT_APPLIED or UNKNOWN"),
    Name(
        name=SAGA_REASON,
        where="step, attempt, events",
        meaning="why it settled, was skipped, retried, cut off or stuck; a service's own reason, or a person's",
    ),
    Name(name=SAGA_MESSAGE, where="stuck and attention events", meaning="a sentence, cut to 256 characters"),
    Name(name=SAGA_PHASE, where="attempt", meaning="how far it got: NOT_SENT, SENT, REPLIED, LOST"),
    Name(name=SAGA_LOST, where="attempt", meaning="true: the orchestrator stopped before it saw the end"),
    Name(name=SAGA_PARKED, where="attempt, retry event", meaning="true: held back because the target is paused"),
    Name(name=SAGA_TARGET, where="attempt", meaning="name of the configured target"),
    Name(name=SAGA_CAUSE, where="saga, compensation, rollback", meaning="why it went backward"),
    Name(name=SAGA_CAUSE_STEP, where="saga, compensation, rollback", meaning="the step that decided it"),
    Name(name=SAGA_UNDONE_COUNT, where="saga, compensation, rollback", meaning="steps and items undone (count)"),
    Name(name=SAGA_NOTHING_TO_UNDO, where="undo", meaning="true: the effect was never there"),
    Name(name=SAGA_DELAY_S, where="retry event", meaning="pause before the next attempt (s)"),
    Name(name=SAGA_ITEM, where="item, its undo", meaning="position in the list, from 0"),
    Name(name=SAGA_ITEMS_COUNT, where="step", meaning="items of the list (count)"),
    Name(name=SAGA_ITEMS_APPLIED, where="step", meaning="items that had come to a good end (count)"),
    Name(name=SAGA_ITEMS_FAILED, where="step", meaning="items that had failed (count)"),
    Name(name=SAGA_RUN, where="step, undo", meaning="how often the step was begun anew (count), from 1"),
    Name(name=SAGA_MANUAL_EPOCH, where="attempt", meaning="how often the operation was run as new (count), from 1"),
    Name(name=SAGA_AS_NEW, where="reopened event", meaning="true: under a new key"),
    Name(name=SAGA_SIGNAL, where="signal event", meaning="the signal's name in the definition"),
    Name(name=SAGA_VERB, where="operator event", meaning="RETRY, RESOLVE, SKIP, PAUSE, TERMINATE, …"),
    Name(name=SAGA_BY, where="operator event", meaning="who did it, as the surface knows them"),
    Name(name=SAGA_STEPS_COUNT, where="reset event", meaning="steps that begin anew (count)"),
    Name(name=SAGA_LEFT_COUNT, where="saga", meaning="effects that stay, or may stay, after a termination (count)"),
    Name(name=SAGA_CHILD, where="attempt", meaning="definition/revision of the child saga that the attempt is"),
    Name(name=SAGA_PARENT_ID, where="saga, start", meaning="the saga that this one is a step of"),
    Name(name=SAGA_PARENT_STEP, where="saga, start", meaning="and which step of it"),
    Name(
        name=BAGGAGE,
        where="saga, start",
        meaning="a member of the caller's W3C baggage that `tracing.baggage` names, cut to 256 characters",
    ),
    Name(
        name=SAGA_PART,
        where="saga, start",
        meaning="which part of the saga's trace this is, from 1, where it has rolled over (count)",
    ),
    Name(
        name=SAGA_CONTINUED,
        where="saga",
        meaning="true: this part of the trace is over, and the next one, to which the span links, goes on",
    ),
    Name(
        name=SAGA_SPANS_UNTOLD,
        where="saga, step, undo, compensation, rollback",
        meaning="spans left out below it: items past the first 1,000, attempts past the first 128 (count)",
    ),
    Name(
        name=SAGA_EVENTS_UNTOLD,
        where="whatever has events",
        meaning="events left out of it, past the first 128 (count)",
    ),
    Name(name=RPC_SYSTEM_NAME, where="attempt", meaning="always grpc"),
    Name(name=RPC_METHOD, where="attempt", meaning="full method, package.Service/Method"),
    Name(name=RPC_STATUS, where="attempt, step", meaning="gRPC status name, such as OK or NOT_FOUND"),
    Name(name=SERVER_ADDRESS, where="attempt", meaning="the target's name: a group of servers, not one host"),
    Name(
        name=ERROR_TYPE,
        where="whatever failed",
        meaning="the status, or LOST; else what an OK reply told, or why it failed; a step that was STOPPED has none",
    ),
)
