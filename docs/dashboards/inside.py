"""What the sagas rest on: the services they call, and the processes that run them."""

from docs.dashboards.asking import PER_SECOND, PROCESS, TARGET, grown, one, quantiles, rate, total
from docs.dashboards.model import Dashboard, Panel, Query, Row

_ANSWERS = (
    Panel(
        title="Attempts, by outcome",
        unit=PER_SECOND,
        is_stacked=True,
        tells="UNKNOWN: nobody can tell whether the call took effect. Many of them: the network, or the service's "
        "restarts and deadlines.",
        queries=one(rate("saga_step_attempts_total", "outcome", TARGET), "{{outcome}}"),
    ),
    Panel(
        title="Attempts, by operation and code",
        unit=PER_SECOND,
        tells="What the service answered, or how far a call got that had no answer.",
        queries=one(rate("saga_step_attempts_total", "operation, code", TARGET), "{{operation}} {{code}}"),
    ),
    Panel(
        title="Time on the wire, by method",
        unit="s",
        has_exemplars=True,
        tells="From the first byte sent to the status. Act before the deadline turns slowness into unknown outcomes. "
        "A point is one call; a click leads to its trace.",
        queries=quantiles("saga_call_duration_seconds", "method", TARGET),
    ),
    Panel(
        title="Tried again",
        unit=PER_SECOND,
        tells="Operations that failed and will be tried again; `parked` ones waited without spending an attempt, "
        "because the target is paused.",
        queries=one(rate("saga_step_retries_total", "target, parked", TARGET), "{{target}} parked={{parked}}"),
    ),
    Panel(
        title="Asked whether it is done",
        unit=PER_SECOND,
        tells="What polling costs the service. Less: longer pauses (`every`), or a signal instead of a poll.",
        queries=one(rate("saga_step_polls_total", "target", TARGET), "{{target}}"),
    ),
    Panel(
        title="What probes found",
        unit=PER_SECOND,
        tells="How often calls end without an answer at all. UNKNOWN: the probed method does not work, or does not "
        "know the keys that it is asked about.",
        queries=one(rate("saga_probe_answers_total", "answer", TARGET), "{{answer}}"),
    ),
)
_HELD_BACK = (
    Panel(
        title="Calls in flight",
        unit="none",
        tells="Begun and not ended. Growing while the rate of attempts does not: the service is slow.",
        queries=one(total("saga_target_in_flight", "target", TARGET), "{{target}}"),
    ),
    Panel(
        title="Calls that wait for a connection",
        unit="none",
        tells="Nothing of them has been sent. Not zero for long: nobody listens at the target's address, or its "
        "certificate is not taken.",
        queries=one(total("saga_target_waiting", "target", TARGET), "{{target}}"),
    ),
    Panel(
        title="Paused",
        unit="none",
        alert="SagaTargetPaused",
        tells="1 while calls wait because the target, or one method of it, answered that it is set up wrongly: its "
        "configuration or ours. It ends by itself when the cause is mended.",
        queries=one(f"max by (target, method) (saga_target_paused{{{PROCESS}, {TARGET}}})", "{{target}} {{method}}"),
    ),
)
OF_ONE_TARGET = Dashboard(
    uid="saga-target",
    title="Sagas: target",
    tells="How one called service does, as the orchestrator sees it: answers, time, what is held back.",
    variables=(("target", "saga_step_attempts_total"),),
    rows=(
        Row(title="Answers", panels=_ANSWERS),
        Row(title="Held back", panels=_HELD_BACK),
    ),
)

_JOURNAL = (
    Panel(
        title="Time of a commit, 99th percentile",
        unit="s",
        alert="SagaJournalSlow",
        tells="Everything a saga does waits for a commit: look at the disk, or at the database and the way to it.",
        queries=one(quantiles("saga_journal_commit_seconds", "instance")[1].expr, "{{instance}}"),
    ),
    Panel(
        title="Records made durable",
        unit=PER_SECOND,
        tells="The work of the store. A saga of the demo takes about 14 records.",
        queries=one(rate("saga_journal_records_total", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Sagas in one commit",
        unit="none",
        tells="Grows with the load: that is how more sagas fit on the same disk.",
        queries=one(
            f"{rate('saga_journal_commit_streams_sum', 'instance')}"
            f" / {rate('saga_journal_commit_streams_count', 'instance')}",
            "{{instance}}",
        ),
    ),
)
_STORE_AND_BACKLOG = (
    Panel(
        title="Oldest waiting",
        unit="s",
        alert="SagaBacklogOld",
        tells="For how long the longest waiting saga of this process's shards could have moved. Growing at all "
        "processes: more of them. At one: what it is doing, `saga explain ID` of a saga that should move.",
        queries=one(f"max by (instance) (saga_oldest_runnable_age_seconds{{{PROCESS}}})", "{{instance}}"),
    ),
    Panel(
        title="Waiting to be taken up",
        unit="none",
        tells="Sagas that could move; of those whose timer is over at most 1,000 are counted, the age tells more.",
        queries=one(total("saga_runnable", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Taken up",
        unit=PER_SECOND,
        tells="Brought back into memory: after a start, with a shard that came, or because a timer was due. `nobody "
        "had it` is a bug: please report it.",
        queries=(
            Query(expr=rate("saga_recovered_total", "instance"), legend="{{instance}}"),
            Query(expr=rate("saga_orphaned_total", "instance"), legend="{{instance}} nobody had it"),
        ),
    ),
    Panel(
        title="Size of the file",
        unit="bytes",
        tells="Of SQLite. It grows until `retention` says how long sagas are kept, and never shrinks. A write-ahead "
        "log that grows on: somebody reads the file and does not end.",
        queries=(
            Query(expr=total("saga_journal_size_bytes", "instance"), legend="{{instance}}"),
            Query(expr=total("saga_journal_wal_bytes", "instance"), legend="{{instance}} write-ahead log"),
        ),
    ),
    Panel(
        title="Behind with forgetting",
        unit="s",
        tells="For how long there has been something to forget without a break, where `retention` is set. The longer, "
        "the more of the time it takes: growing for half an hour, more ends than the store can remove.",
        queries=one(f"max by (instance) (saga_retention_behind_seconds{{{PROCESS}}})", "{{instance}}"),
    ),
    Panel(
        title="Connections to PostgreSQL",
        unit="none",
        tells="Those that work, and how many there may be. All at work for long: the database is slow.",
        queries=(
            Query(expr=total("saga_store_pool_in_use", "instance, pool"), legend="{{instance}} {{pool}}"),
            Query(expr=f"max by (pool) (saga_store_pool_size{{{PROCESS}}})", legend="at most for {{pool}}"),
        ),
    ),
    Panel(
        title="Questions that wait for a connection",
        unit="none",
        tells="To PostgreSQL. Not zero for long: the database is slow, or somebody lists more than it can tell.",
        queries=one(total("saga_store_pool_waiting", "instance, pool"), "{{instance}} {{pool}}"),
    ),
)
_API = (
    Panel(
        title="Requests",
        unit=PER_SECOND,
        width=6,
        tells="Answered, by method and status. UNAVAILABLE and RESOURCE_EXHAUSTED are ours, most others the caller's. "
        "A stream that ends UNAVAILABLE is resumed: it is old, or its process leaves.",
        queries=one(rate("saga_api_requests_total", "method, code") + " > 0", "{{method}} {{code}}"),
    ),
    Panel(
        title="Time to an answer, 99th percentile",
        unit="s",
        width=6,
        alert="SagaApiSlow",
        tells="Without what is meant to last: streams, long polls, starts that wait for the end.",
        queries=one(quantiles("saga_api_request_seconds", "method")[1].expr, "{{method}}"),
    ),
    Panel(
        title="Under way",
        unit="none",
        width=6,
        tells="`waits` are streams, long polls and starts that wait for the end; they cost little. `calls` growing: "
        "the store is slow.",
        queries=one(total("saga_api_in_flight", "instance, room"), "{{instance}} {{room}}"),
    ),
    Panel(
        title="Turned away",
        unit=PER_SECOND,
        width=6,
        tells="Requests that were as they should be. DRAINING: a process leaves, callers go to another. QUEUE_FULL: "
        "too much at once. JOURNAL_UNAVAILABLE: the store is away. docs/errors.md has every reason. STREAM_AGED is "
        "none: a stream ends after an hour, and is resumed.",
        queries=one(rate("saga_api_refused_total", "reason"), "{{reason}}"),
    ),
)
_CLUSTER = (
    Panel(
        title="Shards, by owner",
        unit="none",
        is_stacked=True,
        tells="The sum is the number of shards, or sagas lie still: `saga cluster` at any process. With all processes "
        "dead nothing moves until one starts.",
        queries=one(total("saga_cluster_shards", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Trust left",
        unit="s",
        alert="SagaStoreUnreachable",
        tells="For how long a process may still write without hearing from the store. Near 0: the database, or the "
        "way to it. One that has its store to itself has no line.",
        queries=one(f"min by (instance) (saga_cluster_trust_seconds{{{PROCESS}}}) < +Inf", "{{instance}}"),
    ),
    Panel(
        title="Members seen",
        unit="none",
        tells="Processes over the same store that this one knows of, itself included. Two that do not agree for "
        "longer than a lease cannot both reach the store.",
        queries=one(f"max by (instance) (saga_cluster_members{{{PROCESS}}})", "{{instance}}"),
    ),
    Panel(
        title="Shards moved",
        unit="none",
        tells="`taken` and `given` at every start and stop. `lost`: a process lost its lease, because it was paused, "
        "starved of processor time, or cut off. A longer lease bears longer pauses.",
        queries=one(grown("saga_cluster_shard_moves_total", "instance, how"), "{{instance}} {{how}}"),
    ),
    Panel(
        title="Leases",
        unit="none",
        tells="Renewals that were not answered in time, joins (each after the first is a lost lease), and members "
        "removed because their lease was over.",
        queries=(
            Query(expr=grown("saga_cluster_renewals_missed_total", "instance"), legend="{{instance}} missed"),
            Query(expr=grown("saga_cluster_terms_total", "instance"), legend="{{instance}} joined"),
            Query(expr=grown("saga_cluster_fenced_total", "instance"), legend="{{instance}} removed others"),
        ),
    ),
    Panel(
        title="Requests for other processes",
        unit=PER_SECOND,
        tells="`post` growing: owners cannot be reached by their peers (`cluster.advertise`, certificates, the "
        "network), and callers wait half a second more. A few at every change of owner are as it should be.",
        queries=one(rate("saga_forwarded_total", "way, outcome"), "{{way}} {{outcome}}"),
    ),
)
_EVENT_LOOP_AND_ACTORS = (
    Panel(
        title="Lateness, 99th percentile",
        unit="s",
        alert="SagaEventLoopLate",
        tells="How late the loop wakes a sleeper. Often over 0.1 s: fewer sagas at once, or a faster machine.",
        queries=one(quantiles("saga_event_loop_lag_seconds", "instance")[1].expr, "{{instance}}"),
    ),
    Panel(
        title="Held up",
        unit="percentunit",
        alert="SagaEventLoopStalls",
        tells="Share of the time in which one piece of work let nothing else move. The log names each.",
        queries=one(rate("saga_event_loop_stalled_seconds_total", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Times it was held up",
        unit="none",
        tells="By one piece of work for 0.1 s or longer. A few, at a garbage collection or a large definition, are as "
        "they should be.",
        queries=one(grown("saga_event_loop_stalls_total", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Wall clock ahead",
        unit="s",
        alert="SagaClockSet",
        tells="Of the process's own clock, which follows it by 1 % of the time that passes. Not 0: the wall clock was "
        "set (on PostgreSQL the database's), and timers do not follow at once.",
        queries=one(f"max by (instance) (saga_clock_offset_seconds{{{PROCESS}}})", "{{instance}}"),
    ),
    Panel(
        title="Sagas in memory",
        unit="none",
        tells="At most 100,000; what sleeps or waits is not among them.",
        queries=one(total("saga_actors", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Waiting in a mailbox, 99th percentile",
        unit="none",
        tells="Messages that a saga has yet to take when another one arrives. Over a hundred: one saga gets more "
        "signals, or has more items at once, than a commit can follow.",
        queries=one(quantiles("saga_mailbox_depth", "instance")[1].expr, "{{instance}}"),
    ),
)
_SYSTEM = (
    Panel(
        title="Processor time",
        unit="percentunit",
        width=6,
        tells="Of one core. Near 1 the process has no more to give: Python runs on one. Another process does.",
        queries=one(rate("process_cpu_seconds_total", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Memory",
        unit="bytes",
        width=6,
        tells="Resident. It follows the sagas in memory; what grows without them is a leak, please report it.",
        queries=one(total("process_resident_memory_bytes", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Open files",
        unit="none",
        width=6,
        tells="Connections are among them. At the limit nobody can connect any more.",
        queries=(
            Query(expr=total("process_open_fds", "instance"), legend="{{instance}}"),
            Query(expr=f"min(process_max_fds{{{PROCESS}}})", legend="limit"),
        ),
    ),
    Panel(
        title="Garbage collections",
        unit=PER_SECOND,
        width=6,
        tells="By generation. The oldest one holds the event loop up.",
        queries=one(rate("python_gc_collections_total", "generation"), "generation {{generation}}"),
    ),
    Panel(
        title="What runs",
        unit="none",
        shows="table",
        width=12,
        tells="Version, Python and store of each process. Two versions: a roll-out is under way.",
        queries=one(f"max by (instance, version, python, store) (saga_build_info{{{PROCESS}}})"),
    ),
    Panel(
        title="Revisions in memory",
        unit="none",
        width=12,
        tells="Of definitions, compiled. Each that a saga in memory was started with, and the active ones.",
        queries=one(total("saga_revisions_loaded", "instance"), "{{instance}}"),
    ),
)
_TELEMETRY = (
    Panel(
        title="Spans taken by the collector",
        unit=PER_SECOND,
        tells="None although sagas run: tracing is off, or the collector is away.",
        queries=one(rate("saga_spans_exported_total", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Spans that wait",
        unit="none",
        tells="Made and not yet taken. They stay few: while the collector is away the rest waits in the journal.",
        queries=one(total("saga_spans_waiting", "instance"), "{{instance}}"),
    ),
    Panel(
        title="Spans given up",
        unit="none",
        tells="The collector did not take them for ten minutes. Sagas are not affected.",
        queries=one(grown("saga_spans_dropped_total", "instance"), "{{instance}}"),
    ),
)
OF_ONE_PROCESS = Dashboard(
    uid="saga-process",
    title="Sagas: process",
    tells="What the processes are doing: journal, backlog, API, cluster, event loop, telemetry.",
    rows=(
        Row(title="Journal", panels=_JOURNAL),
        Row(title="Backlog and store", panels=_STORE_AND_BACKLOG),
        Row(title="API", panels=_API),
        Row(title="Cluster", panels=_CLUSTER),
        Row(title="Event loop and actors", panels=_EVENT_LOOP_AND_ACTORS),
        Row(title="Telemetry", panels=_TELEMETRY),
        Row(title="System", panels=_SYSTEM),
    ),
)
