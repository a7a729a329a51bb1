"""Every metric this package publishes, with its unit, its labels and its meaning.

Dashboards and alerts are built on these names, so they are a contract: added to, never renamed. `docs/metrics.md` shows
them and says what to do when one moves, and is tested against them.
"""

from dataclasses import dataclass
from typing import Literal

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
    meaning="Sagas that came to an end; a completed child that its parent undoes comes to a second one",
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
ROLLBACKS = Metric(
    name="saga_rollbacks_total",
    kind="counter",
    unit="rollbacks",
    labels=("definition", "step"),
    meaning="Parts of sagas undone alone: a scope that failed, or what was run again from a step",
)
SLEEPING = Metric(
    name="saga_sleeping",
    kind="gauge",
    unit="sagas",
    meaning="Sagas that have not ended and are not in memory: asleep, waiting, or before a person",
)
SIGNALS = Metric(
    name="saga_signals_total",
    kind="counter",
    unit="signals",
    labels=("definition", "signal"),
    meaning="Signals recorded; a repeated one is counted once",
)
ITEMS = Metric(
    name="saga_items_total",
    kind="counter",
    unit="items",
    labels=("definition", "step", "result"),
    meaning="Items of `for_each` steps that came to an end: applied or failed, and later undone",
)
ATTENTIONS = Metric(
    name="saga_attention_total",
    kind="counter",
    unit="calls for a person",
    labels=("definition", "reason"),
    meaning="Times a person was asked to look",
)
NEEDING_ATTENTION = Metric(
    name="saga_needing_attention",
    kind="gauge",
    unit="sagas",
    labels=("reason",),
    meaning="Sagas that wait for a person now, by reason, looked up in the journal every few seconds",
)
OPERATOR_ACTIONS = Metric(
    name="saga_operator_actions_total",
    kind="counter",
    unit="actions",
    labels=("definition", "verb"),
    meaning="What people did to sagas",
)
RUNNABLE = Metric(
    name="saga_runnable",
    kind="gauge",
    unit="sagas",
    meaning="Sagas of this process's shards that could move and wait to be taken up, looked up every few seconds;"
    " counted are at most 1,000 whose timer is over, and at most 200 that recovery has not come to",
)
OLDEST_RUNNABLE = Metric(
    name="saga_oldest_runnable_age_seconds",
    kind="gauge",
    unit="s",
    meaning="For how long the longest waiting of them has waited: since its timer was over, or since this process was"
    " given its shard; 0 where none waits",
)
RECOVERED = Metric(
    name="saga_recovered_total",
    kind="counter",
    unit="sagas",
    meaning="Sagas brought back into memory: after a start, with a shard that came, or because a timer was due",
)
ORPHANED = Metric(
    name="saga_orphaned_total",
    kind="counter",
    unit="sagas",
    meaning="Sagas that should have been in memory and were not; they were taken up",
)
FORGOTTEN = Metric(
    name="saga_forgotten_total",
    kind="counter",
    unit="sagas",
    labels=("definition",),
    meaning="Ended sagas removed because they had been kept for as long as `retention` says",
)
RETENTION_BEHIND = Metric(
    name="saga_retention_behind_seconds",
    kind="gauge",
    unit="s",
    meaning="For how long there has been something to forget without a break: no ended saga is kept for longer than"
    " `retention` says by more than this and a minute; 0 where nothing is left",
)
DEFINITIONS = Metric(
    name="saga_definitions",
    kind="gauge",
    unit="definitions",
    meaning="Definitions that new sagas can be started with, counted in the store every few seconds",
)
REVISIONS_LOADED = Metric(
    name="saga_revisions_loaded",
    kind="gauge",
    unit="revisions",
    meaning="Revisions of definitions that are compiled in this process's memory",
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
    meaning="Times an operation failed and was scheduled to be tried again",
)
POLLS = Metric(
    name="saga_step_polls_total",
    kind="counter",
    unit="answers",
    labels=("target",),
    meaning="Answers that said not yet: of a step that polls, a long-running operation, or a probe that has to wait",
)
PROBES = Metric(
    name="saga_probe_answers_total",
    kind="counter",
    unit="answers",
    labels=("target", "answer"),
    meaning="What probes found out: APPLIED, NOT_APPLIED, RETRIED (so the call is made again), AGAIN or UNKNOWN",
)
CALL_DURATION = Metric(
    name="saga_call_duration_seconds",
    kind="histogram",
    unit="s",
    labels=("target", "method"),
    buckets=_CALL_S,
    meaning="Time on the wire of one call, from the first byte sent to the status",
)
TARGET_IN_FLIGHT = Metric(
    name="saga_target_in_flight",
    kind="gauge",
    unit="calls",
    labels=("target",),
    meaning="Calls to a target that have begun and not ended",
)
TARGET_WAITING = Metric(
    name="saga_target_waiting",
    kind="gauge",
    unit="calls",
    labels=("target",),
    meaning="Of those, calls that wait for a connection; nothing of them has been sent",
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
JOURNAL_SIZE = Metric(
    name="saga_journal_size_bytes",
    kind="gauge",
    unit="bytes",
    meaning="Size of the journal's file, where the store is SQLite",
)
JOURNAL_WAL = Metric(
    name="saga_journal_wal_bytes",
    kind="gauge",
    unit="bytes",
    meaning="Size of the write-ahead log beside the journal's file, where the store is SQLite",
)
POOL_SIZE = Metric(
    name="saga_store_pool_size",
    kind="gauge",
    unit="connections",
    labels=("pool",),
    meaning="Connections that this process may have to PostgreSQL, by what for: `reads`, `leases`",
)
POOL_IN_USE = Metric(
    name="saga_store_pool_in_use", kind="gauge", unit="connections", labels=("pool",), meaning="Of those, how many work"
)
POOL_WAITING = Metric(
    name="saga_store_pool_waiting",
    kind="gauge",
    unit="questions",
    labels=("pool",),
    meaning="Questions to PostgreSQL that wait for one of them",
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
API_REQUESTS = Metric(
    name="saga_api_requests_total",
    kind="counter",
    unit="requests",
    labels=("method", "code"),
    meaning="Requests to the gRPC API that were answered, by method and status; streams and long polls are among them",
)
API_DURATION = Metric(
    name="saga_api_request_seconds",
    kind="histogram",
    unit="s",
    labels=("method",),
    buckets=_CALL_S,
    meaning="Time from a request's arrival to its answer; without what is meant to last: streams, long polls, and"
    " starts that wait for the end",
)
API_IN_FLIGHT = Metric(
    name="saga_api_in_flight",
    kind="gauge",
    unit="requests",
    labels=("room",),
    meaning="Requests under way: `calls`, and `waits`, which are streams, long polls, and starts that wait for the end",
)
API_REFUSED = Metric(
    name="saga_api_refused_total",
    kind="counter",
    unit="requests",
    labels=("reason",),
    meaning="Requests turned away that were as they should be, by the reason of the error: DRAINING, QUEUE_FULL,"
    " READER_TOO_SLOW, JOURNAL_UNAVAILABLE, ...; and streams that were ended because they were old: STREAM_AGED",
)
FORWARDED = Metric(
    name="saga_forwarded_total",
    kind="counter",
    unit="requests",
    labels=("way", "outcome"),
    meaning="Requests for sagas of another process: sent to it (`peer`) or left in the store for it (`post`), and what"
    " came of it: done, refused, elsewhere (it is not the owner any more), unreachable, silent, pending",
)
CLUSTER_SHARDS = Metric(
    name="saga_cluster_shards", kind="gauge", unit="shards", meaning="Shards whose sagas this process runs"
)
CLUSTER_SHARDS_IN_STORE = Metric(
    name="saga_cluster_shards_in_store",
    kind="gauge",
    unit="shards",
    meaning="Shards that the store has, whoever owns them, as this process saw it last",
)
CLUSTER_MEMBERS = Metric(
    name="saga_cluster_members",
    kind="gauge",
    unit="processes",
    meaning="Processes over the same store that this one knows of, itself included",
)
CLUSTER_TRUST = Metric(
    name="saga_cluster_trust_seconds",
    kind="gauge",
    unit="s",
    meaning="For how long this process may still write without hearing from the store; 0 where it may not,"
    " infinite where it has its store to itself",
)
CLUSTER_MOVES = Metric(
    name="saga_cluster_shard_moves_total",
    kind="counter",
    unit="shards",
    labels=("how",),
    meaning="Shards that came to this process (`taken`), that it handed over (`given`), and that it had to let go of at"
    " once, because its lease was not renewed in time (`lost`)",
)
CLUSTER_TERMS = Metric(
    name="saga_cluster_terms_total",
    kind="counter",
    unit="terms",
    meaning="Times this process joined; each one after the first says that it had lost its lease",
)
CLUSTER_FENCED = Metric(
    name="saga_cluster_fenced_total",
    kind="counter",
    unit="processes",
    meaning="Processes that this one removed because their lease was over",
)
CLUSTER_RENEWALS_MISSED = Metric(
    name="saga_cluster_renewals_missed_total",
    kind="counter",
    unit="renewals",
    meaning="Renewals of the lease that the store did not answer in time",
)
LOOP_LAG = Metric(
    name="saga_event_loop_lag_seconds",
    kind="histogram",
    unit="s",
    buckets=_LAG_S,
    meaning="How late the event loop woke a sleeper",
)
STALLS = Metric(
    name="saga_event_loop_stalls_total",
    kind="counter",
    unit="stalls",
    meaning="Times one piece of work held up the event loop; the log names each",
)
STALLED = Metric(
    name="saga_event_loop_stalled_seconds_total",
    kind="counter",
    unit="s",
    meaning="Time for which it was held up so",
)
CLOCK_OFFSET = Metric(
    name="saga_clock_offset_seconds",
    kind="gauge",
    unit="s",
    meaning="By how much the wall clock is ahead of the process's own, which follows it slowly where it was set; of"
    " processes on PostgreSQL the database's clock is meant",
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
BUILD_INFO = Metric(
    name="saga_build_info",
    kind="gauge",
    unit="none",
    labels=("version", "python", "store"),
    meaning="1; what runs here, and on which kind of store: memory, sqlite or postgres",
)

METRICS = (
    SAGAS_STARTED,
    SAGAS_ENDED,
    SAGAS_LIVE,
    SAGA_DURATION,
    COMPENSATIONS,
    ROLLBACKS,
    SLEEPING,
    SIGNALS,
    ITEMS,
    ATTENTIONS,
    NEEDING_ATTENTION,
    OPERATOR_ACTIONS,
    RUNNABLE,
    OLDEST_RUNNABLE,
    RECOVERED,
    ORPHANED,
    FORGOTTEN,
    RETENTION_BEHIND,
    DEFINITIONS,
    REVISIONS_LOADED,
    ATTEMPTS,
    RETRIES,
    POLLS,
    PROBES,
    CALL_DURATION,
    TARGETS_PAUSED,
    TARGET_IN_FLIGHT,
    TARGET_WAITING,
    COMMIT_DURATION,
    COMMIT_STREAMS,
    COMMIT_RECORDS,
    JOURNAL_SIZE,
    JOURNAL_WAL,
    POOL_SIZE,
    POOL_IN_USE,
    POOL_WAITING,
    ACTORS,
    MAILBOX_DEPTH,
    QUARANTINED,
    API_REQUESTS,
    API_DURATION,
    API_IN_FLIGHT,
    API_REFUSED,
    FORWARDED,
    CLUSTER_SHARDS,
    CLUSTER_SHARDS_IN_STORE,
    CLUSTER_MEMBERS,
    CLUSTER_TRUST,
    CLUSTER_MOVES,
    CLUSTER_TERMS,
    CLUSTER_FENCED,
    CLUSTER_RENEWALS_MISSED,
    LOOP_LAG,
    STALLS,
    STALLED,
    CLOCK_OFFSET,
    SPANS_EXPORTED,
    SPANS_DROPPED,
    SPANS_WAITING,
    BUILD_INFO,
)
