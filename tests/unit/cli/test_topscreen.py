"""The page of `saga top`, from figures to lines: golden text, narrow and low terminals, and what must not be shown."""

from collections.abc import Mapping, Sequence

import pytest

from orchestrator.cli.output import width_of
from orchestrator.cli.overview import Asking, Page, gone, page
from orchestrator.cli.tallies import Interval, Look, Quantile, Tally, look_of
from orchestrator.cli.toplayout import Column, Line, rate, shortened, size, table, took
from orchestrator.cli.topscreen import screen

AT = 1_700_000_000.0
Figure = tuple[str, Mapping[str, str], float]


def histogram(name: str, labels: Mapping[str, str], counts: Mapping[str, float]) -> list[Figure]:
    total = max(counts.values(), default=0.0)
    buckets = [(f"{name}_bucket", {**labels, "le": edge}, count) for edge, count in counts.items()]
    return [*buckets, (f"{name}_bucket", {**labels, "le": "+Inf"}, total), (f"{name}_count", labels, total)]


def figures(step: float, *, shards: float = 1.0, members: float = 1.0, trust_s: float = float("inf")) -> list[Figure]:
    """What a process shows that has done everything `step` times."""
    intake = {"definition": "epro_intake"}
    return [
        ("process_start_time_seconds", {}, AT - 7_500.0),
        ("process_cpu_seconds_total", {}, 0.86 * step),
        ("process_resident_memory_bytes", {}, 108 * 2.0**20),
        ("saga_build_info", {"version": "0.2.0", "python": "3.11.7", "store": "sqlite"}, 1.0),
        ("saga_started_total", intake, 288.0 * step),
        ("saga_ended_total", {**intake, "status": "COMPLETED"}, 248.0 * step),
        ("saga_ended_total", {**intake, "status": "COMPENSATED"}, 40.0 * step),
        ("saga_attention_total", {**intake, "reason": "UNDO_REFUSED"}, 2.0 * step),
        ("saga_started_total", {"definition": "book_trip"}, 0.0),
        *histogram("saga_duration_seconds", {**intake, "status": "COMPLETED"}, {"0.1": 240 * step, "0.25": 248 * step}),
        ("saga_live", {"status": "RUNNING"}, 11.0),
        ("saga_live", {"status": "NEEDS_ATTENTION"}, 2.0),
        ("saga_live", {"status": "COMPENSATING"}, 3.0),
        ("saga_actors", {}, 14.0),
        ("saga_event_loop_stalls_total", {}, 1.0 * step),
        *histogram("saga_event_loop_lag_seconds", {}, {"0.001": 8 * step, "0.005": 9 * step}),
        ("saga_step_attempts_total", {"target": "safety", "outcome": "APPLIED", "code": "OK"}, 78 * step),
        ("saga_step_attempts_total", {"target": "safety", "outcome": "UNKNOWN", "code": "UNAVAILABLE"}, 22 * step),
        ("saga_step_retries_total", {"target": "safety", "parked": "false"}, 4.0 * step),
        *histogram("saga_call_duration_seconds", SAFETY, {"0.05": 90 * step, "0.1": 100 * step}),
        ("saga_target_in_flight", {"target": "safety"}, 3.0),
        ("saga_target_in_flight", {"target": "archive"}, 0.0),
        ("saga_target_waiting", {"target": "safety"}, 7.0),
        *histogram("saga_journal_commit_seconds", {}, {"0.001": 0.0, "0.002": 480.0 * step}),
        ("saga_journal_commit_streams_sum", {}, 960.0 * step),
        ("saga_journal_records_total", {}, 4_008.0 * step),
        ("saga_spans_waiting", {}, 0.0),
        ("saga_cluster_shards", {}, shards),
        ("saga_cluster_members", {}, members),
        ("saga_cluster_trust_seconds", {}, trust_s),
    ]  # fmt: skip


def looked(
    step: float, at: float, name: str = "vm", server: str = "127.0.0.1:7400", *more: Figure, **given: float
) -> Look:
    return look_of(server, name, at, [*figures(step, **given), *more])


SAFETY = {"target": "safety", "method": "e.Safety/Open"}
ASKING = (
    Asking(saga_id="trip-77", definition="book_trip", since_at=AT - 95.0, why="UNDO_REFUSED the hotel says no"),
    Asking(saga_id="R00031", definition="epro_intake", since_at=AT - 7_300.0, why="OUTCOME_UNKNOWN"),
)


def a_page(*more: Figure) -> Page:
    before, now = looked(1.0, AT - 2.0), looked(2.0, AT, "vm", "127.0.0.1:7400", *more)
    live = {"status": {"RUNNING": 12, "NEEDS_ATTENTION": 2}, "definition": {"epro_intake": 13, "book_trip": 1}}
    return page(Tally([Interval(before=before, now=now)]), live=live, asking=ASKING)


def text_of(lines: Sequence[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in lines]


def test_a_page_of_80_columns() -> None:
    assert (
        text_of(screen(a_page(), 80))
        == """\
saga top  version 0.2.0  rates of 2.0 s                               22:13:20 Z
2 sagas need a person: trip-77, R00031
PROCESS         UP   CPU   MEMORY  LOOP P99  STALLS  ACTORS
vm       2 h 5 min  43 %  108 MiB      5 ms       2      14

sagas    12 running, 0 going back, 0 not in memory
journal  240 commits/s, 2.0 sagas each, p99 2 ms, 2,004 records/s

DEFINITION   LIVE  STARTED/S  DONE/S  UNDONE/S  UNDONE    P50     P99  ASKED
epro_intake    13        144     124        20    14 %  52 ms  204 ms      4
book_trip       1          0       0         0                             0

TARGET   CALLS/S  OPEN  WAITING      OK  RETRIES/S    P50    P99
safety        50     3        7  78.0 %        2.0  28 ms  95 ms
archive        0     0        0                  0

NEEDS A PERSON  DEFINITION          FOR  WHY
trip-77         book_trip    1 min 35 s  UNDO_REFUSED the hotel says no
R00031          epro_intake   2 h 1 min  OUTCOME_UNKNOWN""".splitlines()
    )


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [5, 12, 24, 60, None])
def test_no_line_is_wider_and_no_page_higher_than_the_terminal(width: int, height: int | None) -> None:
    lines = text_of(screen(a_page(), width, height))
    assert max(map(width_of, lines)) <= width
    assert height is None or len(lines) <= height
    assert all(line == line.rstrip() for line in lines)


def test_a_narrow_terminal_keeps_what_is_needed_most() -> None:
    lines = text_of(screen(a_page(), 60))
    [head] = [line for line in lines if line.startswith("DEFINITION")]
    assert head.split() == ["DEFINITION", "LIVE", "STARTED/S", "DONE/S", "UNDONE/S", "P99"]
    [head] = [line for line in lines if line.startswith("TARGET")]
    assert {"CALLS/S", "OPEN", "OK", "RETRIES/S", "P99"} <= set(head.split())


def crowded() -> Page:
    """More of everything than any low terminal has lines."""
    more = [
        *(("saga_started_total", {"definition": f"quiet_{number:02}"}, 5.0) for number in range(10)),
        *(("saga_target_in_flight", {"target": f"still_{number:02}"}, 0.0) for number in range(5)),
    ]
    pairs = [
        Interval(before=looked(1.0, AT - 2.0, name, name, *more), now=looked(2.0, AT, name, name, *more))
        for name in ("one", "two", "three")
    ]
    live = {"status": {"RUNNING": 12, "NEEDS_ATTENTION": 30}}
    away = [gone(None, f"away{number}:1", AT) for number in range(4)]
    return page(Tally(pairs), live=live, asking=ASKING, away=away)


TITLES = {"PROCESS": 7, "DEFINITION": 12, "TARGET": 7, "NEEDS A": 30}
HIDDEN = {"PROCESS": "processes", "DEFINITION": "definitions", "TARGET": "targets"}


@pytest.mark.parametrize("height", range(6, 60))
def test_on_a_terminal_of_any_height_what_is_not_shown_is_counted(height: int) -> None:
    lines = text_of(screen(crowded(), 120, height))
    assert len(lines) <= height
    assert lines[1] == "30 sagas need a person: trip-77, R00031"
    hidden = next((line for line in lines if line.startswith("not shown: ")), "")
    for title, total in TITLES.items():
        at = next((at for at, line in enumerate(lines) if line.startswith(title)), None)
        if at is None:
            assert title not in HIDDEN or f"{total} {HIDDEN[title]}" in hidden  # who needs a person is counted above
            continue
        shown, told = 0, 0
        for line in lines[at + 1 :]:
            if told or not line or ": " in line or line.startswith((*TITLES, "sagas  ", "not shown")):
                break
            told = int(line.split()[1]) if line.startswith("and ") else 0
            shown += not told
        assert shown
        assert shown + told == total
    away = [line for line in lines if "does not answer since" in line]
    rest = "and 1 more" if len(away) == 3 else f"and {4 - len(away)} more"
    assert len(away) == 4 or (rest in lines if away else "4 that are away" in hidden)


def test_a_page_of_40_columns_and_10_lines() -> None:
    assert (
        text_of(screen(a_page(), 40, 10))
        == """\
saga top  version 0.2.0  rates of 2.0 s…
2 sagas need a person: trip-77, R00031
PROCESS   CPU  LOOP P99  STALLS  ACTORS
vm       43 %      5 ms       2      14
sagas    12 running, 0 going back, 0 no…
journal  240 commits/s, 2.0 sagas each,
not shown: 2 targets
DEFINITION  LIVE  STARTED/S  DONE/S  UN…
epro_inta…    13        144     124    …
book_trip      1          0       0    …""".splitlines()
    )


def test_a_low_terminal_shows_the_busiest_and_counts_the_rest() -> None:
    lines = text_of(screen(crowded(), 80, 24))
    at = next(at for at, line in enumerate(lines) if line.startswith("DEFINITION"))
    assert lines[at + 1].startswith("epro_intake")


def test_what_is_paused_is_said_first_and_says_what() -> None:
    paused = ("saga_target_paused", {"target": "archive", "method": "epro.v1.Archive/Store"}, 1.0)
    found = a_page(paused)
    assert [target.name for target in found.targets] == ["archive", "safety"]
    lines = text_of(screen(found, 100))
    [archive] = [line for line in lines if line.startswith("archive")]
    assert archive.endswith("Store")
    whole = a_page(("saga_target_paused", {"target": "archive", "method": ""}, 1.0))
    assert any(line.endswith("all of it") for line in text_of(screen(whole, 100)))


def test_a_cluster_shows_shards_and_trust_and_does_not_add_up_what_is_shared() -> None:
    pairs = [
        Interval(
            before=looked(1.0, AT - 2.0, name, f"{name}:7400", shards=16.0, members=2.0, trust_s=8.0),
            now=looked(2.0, AT, name, f"{name}:7400", shards=16.0, members=2.0, trust_s=8.0),
        )
        for name in ("one", "two")
    ]
    found = page(Tally(pairs))
    lines = text_of(screen(found, 100))
    assert lines[2].split() == [
        "PROCESS", "UP", "CPU", "MEMORY", "LOOP", "P99", "STALLS", "ACTORS", "SHARDS", "TRUST", "MEMBERS",
    ]  # fmt: skip
    assert lines[3].split()[0] == "one"
    assert "16  8.0 s" in lines[4]
    assert found.live == {"RUNNING": 11, "NEEDS_ATTENTION": 2, "COMPENSATING": 3}
    assert found.asleep == 0
    assert found.definitions[0].started == 288.0
    assert found.journal.sagas_per_commit == 2.0
    alone = page(Tally(pairs[:1]))
    assert alone.asleep is None  # the other one may have them in memory


def test_a_process_that_is_away_is_said_to_be_since_when() -> None:
    before = looked(2.0, AT)
    found = page(Tally([]), away=[gone(before, "127.0.0.1:7400", AT + 1.0)])
    lines = text_of(screen(found, 80, 24))
    assert lines[1] == "nobody says whether a saga needs a person"
    assert lines[3].split() == ["vm", "-", "-", "-", "-", "-", "-"]
    assert lines[4] == "127.0.0.1:7400: does not answer since 22:13:21 Z; asked again all the time"
    never = text_of(screen(page(Tally([]), away=[gone(None, "127.0.0.1:1", AT)]), 80))
    assert never[3].startswith("127.0.0.1:1  ")


def test_a_page_that_is_printed_once_does_not_say_that_anybody_is_asked_again() -> None:
    found = page(Tally([]), away=[gone(None, "127.0.0.1:1", AT + 1.0)])
    assert "127.0.0.1:1: does not answer since 22:13:21 Z" in text_of(screen(found, 80))


def test_who_refuses_is_said_to_refuse_and_with_what() -> None:
    refuses = gone(None, "one:1", AT + 1.0, "UNIMPLEMENTED", "not an orchestrator\x1b[2J")
    lines = text_of(screen(page(Tally([]), away=[refuses]), 100, 24))
    assert lines[4] == (r"one:1: UNIMPLEMENTED since 22:13:21 Z: not an orchestrator\x1b[2J; asked again all the time")


def test_trouble_is_told_in_words() -> None:
    found = a_page(
        ("saga_runnable", {}, 40.0),
        ("saga_oldest_runnable_age_seconds", {}, 75.0),
        ("saga_spans_waiting", {}, 20_000.0),
        ("saga_spans_dropped_total", {}, 512.0),
    )
    lines = text_of(screen(found, 120))
    assert any("40 behind, the oldest by 1 min 15 s" in line for line in lines)
    assert "spans    20,000 waiting, 256/s given up" in lines


def test_a_first_page_has_no_rates_yet() -> None:
    found = page(Tally([Interval(before=None, now=looked(1.0, AT))]))
    assert text_of(screen(found, 80, 24))[0].startswith("saga top  version 0.2.0  no rates yet  q quits")


def test_names_from_elsewhere_are_only_text() -> None:
    forged = ("saga_started_total", {"definition": "\x1b[2J\nevil"}, 5.0)
    asking = [Asking(saga_id="\x1b[31m", definition="d", since_at=AT, why="a\nb")]
    found = page(Tally([Interval(before=None, now=looked(1.0, AT, "\x1b]0;x", "s", forged))]), asking=asking)
    told = text_of(screen(found, 200))
    assert not any("\x1b" in line or "\n" in line for line in told)


# --- small things ----------------------------------------------------------------------------------------------------


def test_numbers_are_never_cut_names_are() -> None:
    columns = [
        Column(title="name", cells=[("a" * 50, "")], is_left=True),
        Column(title="count", cells=[("1,234,567", "")]),
    ]
    _, row = text_of(table(columns, 30))
    assert row == "a" * 18 + "…" + "  1,234,567"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01, "<0.1"), (0.26, "0.3"), (9.94, "9.9"), (9.96, "10"), (1_234.4, "1,234"), (12_345.0, "12.3k")],
)
def test_a_rate_has_as_many_digits_as_a_person_reads(value: float, text: str) -> None:
    assert rate(value) == text


def test_units() -> None:
    assert took(None) == ""
    assert took(Quantile(seconds=30.0, is_more=True)) == ">30.0 s"
    assert [size(count) for count in (None, 2.0**20, 20 * 2.0**30)] == ["", "1 MiB", "20.0 GiB"]


def test_wide_characters_take_two_columns() -> None:
    assert shortened("日本語日本語", 7) == "日本語…"
