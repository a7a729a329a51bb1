"""What `saga top` shows, as values: one page about the processes, the sagas, the targets and the journal. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from orchestrator.cli.tallies import Interval, Look, Quantile, Tally

PREFIXES = (
    "saga_started_total",
    "saga_ended_total",
    "saga_duration_seconds_bucket",
    "saga_attention_total",
    "saga_live",
    "saga_needing_attention",
    "saga_runnable",
    "saga_oldest_runnable_age_seconds",
    "saga_step_attempts_total",
    "saga_step_retries_total",
    "saga_call_duration_seconds_bucket",
    "saga_call_duration_seconds_count",
    "saga_target_",
    "saga_journal_commit_seconds_bucket",
    "saga_journal_commit_seconds_count",
    "saga_journal_commit_streams_sum",
    "saga_journal_records_total",
    "saga_actors",
    "saga_event_loop_",
    "saga_spans_",
    "saga_cluster_",
    "saga_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
)
"""The figures that a page is made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; what is not known is None. Where it does not answer, as it was when it last did."""

    name: str
    server: str
    version: str = ""
    up_s: float | None = None
    cores: float | None = None
    """Processors' worth of time that it took."""
    memory_bytes: float | None = None
    lag_p99: Quantile | None = None
    """How late its event loop was."""
    stalls: int = 0
    """Times its event loop was held up since it began."""
    stalls_new: float = 0.0
    """A second, in this interval."""
    actors: int = 0
    shards: int = 0
    members: int = 1
    trust_s: float | None = None
    """How long it may write without the store; None where it has its store to itself."""
    away_since_at: float | None = None
    """Since when it does not answer, by the watching machine's clock."""
    away_status: str = ""
    """With which gRPC status it refuses; empty where nothing is heard of it."""
    away_why: str = ""
    """What it says with that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The sagas of one definition; rates are a second."""

    name: str
    started: float
    completed: float
    compensated: float
    terminated: float
    live: int | None
    """Not ended, counted in the store; None where that was not asked."""
    attention: int
    """Calls for a person since the processes began."""
    p50: Quantile | None
    p99: Quantile | None

    @property
    def ended(self) -> float:
        """Return how many came to any end."""
        return self.completed + self.compensated + self.terminated

    @property
    def compensated_share(self) -> float | None:
        """Return the share of those that ended that were undone; None where none ended."""
        return self.compensated / self.ended if self.ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One called service; rates are a second."""

    name: str
    calls: float
    in_flight: int
    waiting: int
    ok_share: float | None
    """Of the attempts that ended, with the status OK; None where none did."""
    retries: float
    p50: Quantile | None
    p99: Quantile | None
    paused: Sequence[str]
    """Methods that are held back; one that is empty stands for all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What is written; rates are a second."""

    commits: float
    records: float
    sagas_per_commit: float | None
    p99: Quantile | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """A saga that needs a person."""

    saga_id: str
    definition: str
    since_at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All of it."""

    at: float | None
    """By the clock of the processes; None where none has answered."""
    interval_s: float
    """What the rates are of; 0 where there was nothing to compare with, and all rates are 0."""
    processes: Sequence[Process]
    live: Mapping[str, int]
    """Sagas that have not ended, by status, as they were counted a few seconds ago."""
    asleep: int | None
    """Those that are in no memory; None where other processes have some."""
    runnable: int
    oldest_runnable_s: float
    spans_waiting: int
    spans_dropped: float
    journal: Journal
    definitions: Sequence[Definition]
    targets: Sequence[Target]
    asking: Sequence[Asking]
    asking_total: int


def page(
    tally: Tally,
    *,
    away: Sequence[Process] = (),
    live: Mapping[str, Mapping[str, int]] | None = None,
    asking: Sequence[Asking] = (),
) -> Page:
    """Return what is shown of an interval.

    `away` are the processes that do not answer. `live` are the sagas that have not ended, by `status` and `definition`,
    where the store was asked; the processes themselves count them a little less often.
    """
    counted = live or {}
    looks = [interval.now for interval in tally.intervals]
    figures = {status: int(count) for status, count in tally.shared_by("saga_live", "status").items()}
    by_status = {**dict.fromkeys(figures, 0), **counted["status"]} if "status" in counted else figures
    members = max((look.gauge("saga_cluster_members") or 1.0 for look in looks), default=0.0)
    actors = int(tally.summed("saga_actors"))
    is_all = bool(looks) and len(looks) >= members
    asking_total = by_status.get("NEEDS_ATTENTION", 0)
    return Page(
        at=max((look.at for look in looks), default=None),
        interval_s=max((interval.seconds for interval in tally.intervals), default=0.0),
        processes=sorted([*_processes(tally), *away], key=lambda each: (each.name, each.server)),
        live=by_status,
        asleep=max(0, sum(by_status.values()) - actors) if is_all else None,
        runnable=int(tally.shared("saga_runnable")),
        oldest_runnable_s=tally.shared("saga_oldest_runnable_age_seconds"),
        spans_waiting=int(tally.summed("saga_spans_waiting")),
        spans_dropped=tally.rate("saga_spans_dropped_total"),
        journal=_journal(tally),
        definitions=_definitions(tally, counted.get("definition")),
        targets=_targets(tally),
        asking=asking,
        asking_total=max(asking_total, len(asking)),
    )


def gone(look: Look | None, server: str, since_at: float, status: str = "", why: str = "") -> Process:
    """Return a process that does not answer, or refuses with a status, as it was at the last look."""
    known = (
        Process(name="", server=server) if look is None else _process(Tally([Interval(before=None, now=look)]), look)
    )
    return replace(known, away_since_at=since_at, away_status=status, away_why=why)


def _processes(tally: Tally) -> list[Process]:
    return [_process(Tally([interval]), interval.now) for interval in tally.intervals]


def _process(alone: Tally, look: Look) -> Process:
    trust_s = look.gauge("saga_cluster_trust_seconds")
    cores = alone.rates("process_cpu_seconds_total")
    return Process(
        name=look.name,
        server=look.server,
        version=look.label("saga_build_info", "version"),
        up_s=None if look.began_at is None else max(0.0, look.at - look.began_at),
        cores=cores.get(""),
        memory_bytes=look.gauge("process_resident_memory_bytes"),
        lag_p99=alone.quantile("saga_event_loop_lag_seconds", 0.99),
        stalls=int(look.gauge("saga_event_loop_stalls_total") or 0.0),
        stalls_new=alone.rate("saga_event_loop_stalls_total"),
        actors=int(look.gauge("saga_actors") or 0.0),
        shards=int(look.gauge("saga_cluster_shards") or 0.0),
        members=int(look.gauge("saga_cluster_members") or 1.0),
        trust_s=None if trust_s is None or math.isinf(trust_s) else trust_s,
    )


def _journal(tally: Tally) -> Journal:
    commits = tally.rate("saga_journal_commit_seconds_count")
    streams = tally.rate("saga_journal_commit_streams_sum")
    return Journal(
        commits=commits,
        records=tally.rate("saga_journal_records_total"),
        sagas_per_commit=streams / commits if commits else None,
        p99=tally.quantile("saga_journal_commit_seconds", 0.99),
    )


def _definitions(tally: Tally, live: Mapping[str, int] | None) -> list[Definition]:
    """Return those that are known of, the busiest first."""
    started = tally.rates("saga_started_total", "definition")
    attention = tally.summed_by("saga_attention_total", "definition")
    known = tally.summed_by("saga_started_total", "definition").keys() | (live or {}).keys() | attention.keys()

    def ended(name: str, status: str) -> float:
        wanted = {"definition": name, "status": status}
        return sum(tally.rates("saga_ended_total", where=lambda labels: labels == wanted).values())

    found = [
        Definition(
            name=name,
            started=started.get(name, 0.0),
            completed=ended(name, "COMPLETED"),
            compensated=ended(name, "COMPENSATED"),
            terminated=ended(name, "TERMINATED"),
            live=None if live is None else live.get(name, 0),
            attention=int(attention.get(name, 0.0)),
            p50=tally.quantile("saga_duration_seconds", 0.5, definition=name),
            p99=tally.quantile("saga_duration_seconds", 0.99, definition=name),
        )
        for name in known
    ]
    return sorted(found, key=lambda each: (-each.started - each.ended, -(each.live or 0), each.name))


def _targets(tally: Tally) -> list[Target]:
    """Return those that are known of, the busiest first."""
    calls = tally.rates("saga_call_duration_seconds_count", "target")
    attempts = tally.rates("saga_step_attempts_total", "target")
    good = tally.rates("saga_step_attempts_total", "target", where=lambda labels: labels["code"] == "OK")
    retries = tally.rates("saga_step_retries_total", "target")
    in_flight = tally.summed_by("saga_target_in_flight", "target")
    waiting = tally.summed_by("saga_target_waiting", "target")
    paused: dict[str, set[str]] = {}
    for interval in tally.intervals:
        for labels, is_paused in interval.now.figures.get("saga_target_paused", {}).items():
            if is_paused:
                told = dict(labels)
                paused.setdefault(told["target"], set()).add(told.get("method", ""))
    known = in_flight.keys() | tally.summed_by("saga_call_duration_seconds_count", "target").keys() | paused.keys()
    found = [
        Target(
            name=name,
            calls=calls.get(name, 0.0),
            in_flight=int(in_flight.get(name, 0.0)),
            waiting=int(waiting.get(name, 0.0)),
            ok_share=good.get(name, 0.0) / attempts[name] if attempts.get(name) else None,
            retries=retries.get(name, 0.0),
            p50=tally.quantile("saga_call_duration_seconds", 0.5, target=name),
            p99=tally.quantile("saga_call_duration_seconds", 0.99, target=name),
            paused=sorted(paused.get(name, ())),
        )
        for name in known
    ]
    return sorted(found, key=lambda each: (not each.paused, -each.calls, -each.in_flight, each.name))
