"""What becomes of the sagas: the page to begin with, and that of one definition."""

from docs.dashboards.asking import DEFINITION, PER_SECOND, STORE, grown, largest, one, quantiles, rate, total
from docs.dashboards.model import Dashboard, Panel, Query, Row

_NOW = (
    Panel(
        title="Processes",
        unit="none",
        shows="stat",
        width=4,
        tells="Processes that answer Prometheus. None: nothing moves until one is started.",
        queries=one(f"sum(up{{{STORE}}})"),
    ),
    Panel(
        title="Sagas under way",
        unit="none",
        shows="stat",
        width=4,
        tells="Sagas that have not ended, asleep or not, counted in the store.",
        queries=one(f"sum({largest('saga_live', 'status')})"),
    ),
    Panel(
        title="Started",
        unit=PER_SECOND,
        shows="stat",
        width=4,
        tells="Sagas accepted per second, by all processes.",
        queries=one(rate("saga_started_total")),
    ),
    Panel(
        title="Turned back",
        unit="percentunit",
        shows="stat",
        width=4,
        alert="SagaTurningBack",
        tells="Of the sagas whose way was decided in a quarter of an hour, those that turned back; of the definition "
        "with most. Which, and why: below.",
        queries=one(f"max(job_definition:saga_turned_back:ratio_rate15m{{{STORE}}})"),
    ),
    Panel(
        title="Oldest waiting",
        unit="s",
        shows="stat",
        width=4,
        alert="SagaBacklogOld",
        tells="For how long the saga that has waited longest could have moved and did not: the backlog's age. "
        "Growing: more processes.",
        queries=one(f"max(saga_oldest_runnable_age_seconds{{{STORE}}})"),
    ),
    Panel(
        title="Need a person",
        unit="none",
        shows="stat",
        width=4,
        alert="SagaNeedsPerson",
        tells="Sagas that wait for a person; one with several reasons counts for each. `saga attention` lists them, "
        "`saga explain ID` says what to type.",
        queries=one(f"sum({largest('saga_needing_attention', 'reason')})"),
    ),
    Panel(
        title="Shards without owner",
        unit="none",
        shows="stat",
        width=4,
        alert="SagaShardsUnowned",
        tells="Their sagas lie still. `saga cluster` says who is missing. For one scrape after a hand-over it may be "
        "off.",
        queries=one(f"max(job:saga_cluster_shards_unowned:max{{{STORE}}})"),
    ),
    Panel(
        title="Paused targets",
        unit="none",
        shows="stat",
        width=4,
        alert="SagaTargetPaused",
        tells="Targets, or methods of them, that answer that they are set up wrongly. Their sagas wait without "
        "spending attempts; only a person can mend the cause.",
        queries=one(f"count({largest('saga_target_paused', 'target, method')} > 0) or vector(0)"),
    ),
    Panel(
        title="Set aside",
        unit="none",
        shows="stat",
        width=4,
        alert="SagaQuarantined",
        tells="Sagas set aside since their process started, because a record could not be read or their turn failed "
        "three times. A bug: please report it.",
        queries=one(total("saga_quarantined_total")),
    ),
    Panel(
        title="Failed requests",
        unit="percentunit",
        shows="stat",
        width=4,
        alert="SagaApiErrors",
        tells="Of the API's answers within the last hour, those that say that we failed.",
        queries=one(f"max(job:saga_api_failures:ratio_rate1h{{{STORE}}})"),
    ),
    Panel(
        title="Lateness",
        unit="s",
        shows="stat",
        width=4,
        alert="SagaEventLoopLate",
        tells="How late the event loop of the busiest process wakes a sleeper, 99th percentile.",
        queries=one(f"max(job_instance:saga_event_loop_lag_seconds:p99_rate5m{{{STORE}}})"),
    ),
    Panel(
        title="Definitions",
        unit="none",
        shows="stat",
        width=4,
        tells="Definitions that new sagas can be started with, counted in the store.",
        queries=one(largest("saga_definitions")),
    ),
)
_TOLD_OF_AN_ALERT = "alertname, severity, job, instance, target, definition, reason"
_ALERTS = (
    Panel(
        title="Firing",
        unit="none",
        shows="table",
        width=24,
        tells="What Prometheus holds for wrong now, at every store, whichever is chosen: of one that nobody looks for "
        "any more there is no job to choose. docs/alerts.md has a section for each.",
        queries=one(f'sum by ({_TOLD_OF_AN_ALERT}) (ALERTS{{alertstate="firing", alertname=~"Saga.+"}})'),
    ),
)
_SAGAS = (
    Panel(
        title="Started, by definition",
        unit=PER_SECOND,
        leads_to="definition:saga-definition",
        tells="A fall means that callers are away, or are refused.",
        queries=one(rate("saga_started_total", "definition"), "{{definition}}"),
    ),
    Panel(
        title="Ended, by how",
        unit=PER_SECOND,
        is_stacked=True,
        tells="COMPLETED, COMPENSATED, or TERMINATED by a person. If fewer end than start, sagas pile up: look at the "
        "services' latency, then at attention.",
        queries=one(rate("saga_ended_total", "status"), "{{status}}"),
    ),
    Panel(
        title="Under way, by status",
        unit="none",
        is_stacked=True,
        tells="Counted in the store every few seconds. COMPENSATING growing: undos are slow or fail.",
        queries=one(largest("saga_live", "status"), "{{status}}"),
    ),
    Panel(
        title="Turned back, by cause",
        unit=PER_SECOND,
        leads_to="definition:saga-definition",
        tells="STEP_FAILED: see the codes of the services below. DEADLINE_EXCEEDED: a service is slow, or a "
        "definition's deadline short. PARENT: parents undo their completed children.",
        queries=one(rate("saga_compensations_total", "definition, cause") + " > 0", "{{definition}} {{cause}}"),
    ),
    Panel(
        title="Time from start to end",
        unit="s",
        has_exemplars=True,
        leads_to="definition:saga-definition",
        tells="Sleeps and waits count. A point is one saga; a click leads to its trace.",
        queries=quantiles("saga_duration_seconds", "definition"),
    ),
    Panel(
        title="In memory, and asleep",
        unit="none",
        tells="What sleeps costs a row in the store and no memory. Asleep growing: sagas start faster than what they "
        "wait for comes; look for the signal, the person, or the date.",
        queries=(
            Query(expr=total("saga_actors", "instance"), legend="{{instance}} in memory"),
            Query(
                expr=f"clamp_min(sum({largest('saga_live', 'status')}) - sum(saga_actors{{{STORE}}}), 0)",
                legend="asleep",
            ),
        ),
    ),
)
_PEOPLE = (
    Panel(
        title="Waiting for a person, by reason",
        unit="none",
        width=12,
        is_stacked=True,
        tells="OUTCOME_UNKNOWN: look at the service whether the call took place, then `saga repair resolve`. "
        "RETRYING: mend the service, nothing else. The others: `saga explain ID`.",
        queries=one(largest("saga_needing_attention", "reason"), "{{reason}}"),
    ),
    Panel(
        title="What people did, by verb",
        unit="none",
        width=12,
        tells="TERMINATE and FORCE_COMPLETE leave effects behind: `saga audit` has each with its reason.",
        queries=one(grown("saga_operator_actions_total", "verb"), "{{verb}}"),
    ),
)
_SERVICES = (
    Panel(
        title="Calls that failed, by target",
        unit=PER_SECOND,
        leads_to="target:saga-target",
        tells="Attempts that ended otherwise than well: refused, lost, or not known. An answer that says not yet is "
        "not among them.",
        queries=one(rate("saga_step_attempts_total", "target, code", 'outcome!="APPLIED"'), "{{target}} {{code}}"),
    ),
    Panel(
        title="Time on the wire, 99th percentile",
        unit="s",
        has_exemplars=True,
        leads_to="target:saga-target",
        tells="Act before the deadline turns slowness into unknown outcomes.",
        queries=quantiles("saga_call_duration_seconds", "target")[1:],
    ),
    Panel(
        title="Tried again, by target",
        unit=PER_SECOND,
        leads_to="target:saga-target",
        tells="Operations that failed and will be tried again: the target's own health.",
        queries=one(rate("saga_step_retries_total", "target"), "{{target}}"),
    ),
)
OVERVIEW = Dashboard(
    uid="saga-overview",
    title="Sagas",
    tells="Is all well? If not: which definition, which service, which process.",
    rows=(
        Row(title="Now", panels=_NOW),
        Row(title="Alerts", panels=_ALERTS),
        Row(title="Sagas", panels=_SAGAS),
        Row(title="People", panels=_PEOPLE),
        Row(title="Services", panels=_SERVICES),
    ),
)

_FORWARD_AND_BACK = (
    Panel(
        title="Started",
        unit=PER_SECOND,
        tells="Sagas accepted, children among them.",
        queries=one(rate("saga_started_total", "definition", DEFINITION), "{{definition}}"),
    ),
    Panel(
        title="Ended, by how",
        unit=PER_SECOND,
        is_stacked=True,
        tells="If fewer end than start, sagas pile up: the steps' services, or what they wait for.",
        queries=one(rate("saga_ended_total", "status", DEFINITION), "{{status}}"),
    ),
    Panel(
        title="Time from start to end",
        unit="s",
        has_exemplars=True,
        tells="By how it ended: undoing takes its own time. A point is one saga; a click leads to its trace.",
        queries=quantiles("saga_duration_seconds", "status", DEFINITION),
    ),
    Panel(
        title="Share that turns back",
        unit="percentunit",
        alert="SagaTurningBack",
        tells="Of those whose way was decided in a quarter of an hour. What people cancel does not count.",
        queries=one(
            f"max by (definition) (job_definition:saga_turned_back:ratio_rate15m{{{STORE}, {DEFINITION}}})",
            "{{definition}}",
        ),
    ),
    Panel(
        title="Turned back, by cause",
        unit=PER_SECOND,
        is_stacked=True,
        tells="STEP_FAILED: the codes are on the page of the target. DEADLINE_EXCEEDED: a service is slow, or the "
        "deadline short. CANCELLED: somebody asked for it.",
        queries=one(rate("saga_compensations_total", "cause", DEFINITION), "{{cause}}"),
    ),
    Panel(
        title="Undone in part, by step",
        unit=PER_SECOND,
        tells="Scopes that failed and went on with their alternative, or what people ran again. The saga itself may "
        "still complete.",
        queries=one(rate("saga_rollbacks_total", "step", DEFINITION), "{{step}}"),
    ),
)
_ITEMS_SIGNALS_PEOPLE = (
    Panel(
        title="Items, by step and result",
        unit=PER_SECOND,
        width=8,
        tells="`failed`: tolerated or not; a step that fails has its first failed item in its message.",
        queries=one(rate("saga_items_total", "step, result", DEFINITION), "{{step}} {{result}}"),
    ),
    Panel(
        title="Signals",
        unit=PER_SECOND,
        width=8,
        tells="A fall: whoever signals is away, and sagas wait. Their timeouts bound the damage.",
        queries=one(rate("saga_signals_total", "signal", DEFINITION), "{{signal}}"),
    ),
    Panel(
        title="Asked for a person, by reason",
        unit="none",
        width=8,
        tells="When it began. Who waits now: `saga attention --definition NAME`.",
        queries=one(grown("saga_attention_total", "reason", DEFINITION), "{{reason}}"),
    ),
    Panel(
        title="What people did, by verb",
        unit="none",
        width=12,
        tells="`saga audit` says who, to which saga, and why.",
        queries=one(grown("saga_operator_actions_total", "verb", DEFINITION), "{{verb}}"),
    ),
    Panel(
        title="Forgotten",
        unit=PER_SECOND,
        width=12,
        tells="Ended sagas removed because they had been kept for as long as `retention` says.",
        queries=one(rate("saga_forgotten_total", "definition", DEFINITION), "{{definition}}"),
    ),
)
OF_ONE_DEFINITION = Dashboard(
    uid="saga-definition",
    title="Sagas: definition",
    tells="How the sagas of one definition go: how many, how long, why they turn back, whom they ask.",
    variables=(("definition", "saga_started_total"),),
    rows=(
        Row(title="Forward and back", panels=_FORWARD_AND_BACK),
        Row(title="Items, signals, people", panels=_ITEMS_SIGNALS_PEOPLE),
    ),
)
