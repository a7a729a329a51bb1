from collections.abc import Iterator
from typing import Any

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.cli.output import width_of
from orchestrator.cli.story import Waterfall, fold
from orchestrator.cli.waterfall import ASCII, Line, draw
from orchestrator.v1 import saga_pb2 as pb

BEGAN_S = 1_767_600_000
FORWARD, UNDO = pb.OPERATION_KIND_FORWARD, pb.OPERATION_KIND_COMPENSATE
APPLIED, NOT_APPLIED, UNKNOWN = pb.STEP_OUTCOME_APPLIED, pb.STEP_OUTCOME_NOT_APPLIED, pb.STEP_OUTCOME_UNKNOWN


class Story:
    """Events in the order they are told, `ms` after the start."""

    def __init__(self) -> None:
        self.events: list[pb.SagaEvent] = []
        self.epoch = 1

    def tell(
        self, ms: int, kind: str, step: str = "", details: dict[str, object] | None = None, **more: object
    ) -> None:
        event = pb.SagaEvent(sequence=len(self.events) + 1, type=kind, step=step, epoch=self.epoch, **more)  # type: ignore[arg-type]  # fields by name
        event.event_time.CopyFrom(Timestamp(seconds=BEGAN_S, nanos=ms * 1_000_000))
        if details:
            event.details.CopyFrom(Struct())
            event.details.update(details)  # type: ignore[arg-type]  # plain values
        self.events.append(event)

    def call(self, step: str, began: int, ended: int, outcome: int, code: str = "OK", **about: Any) -> None:
        about = {"operation": FORWARD, "attempt": 1, **about}
        self.tell(began, "AttemptOpened", step, **about)
        self.tell(ended, "AttemptSettled", step, outcome=outcome, code=code, **about)

    def undo(self, step: str, began: int, ended: int) -> None:
        self.call(step, began, ended, APPLIED, operation=UNDO)
        self.tell(ended, "StepUndone", step)

    def settle(self, step: str, ms: int, outcome: int, reason: str = "REPLIED") -> None:
        self.tell(ms, "StepSettled", step, {"reason": reason}, outcome=outcome)


def to_text(line: Line) -> str:
    """Return a line without its colours."""
    return "".join(text for text, _ in line).rstrip()


def lines(story: Story, width: int = 80) -> list[str]:
    return [to_text(line) for line in draw(fold("R-1", story.events), width)]


def compensated() -> Story:
    story = Story()
    story.tell(0, "SagaStarted", details={"definition": "epro", "trace_id": "ab" * 16})
    story.call("validate", 0, 6, APPLIED)
    story.settle("validate", 6, APPLIED)
    story.call("archive", 6, 18, APPLIED)
    story.settle("archive", 18, APPLIED)
    story.call("safety", 14, 30, NOT_APPLIED, "FAILED_PRECONDITION")
    story.settle("safety", 30, NOT_APPLIED)
    story.tell(30, "StepSkipped", "notify", {"reason": "TRIGGER_UNMET"})
    story.tell(30, "CompensationBegan", "safety", summary="going backward: the site is closed")
    story.undo("archive", 30, 48)
    story.tell(48, "SagaCompensated")
    return story


def test_a_compensated_saga_is_drawn_whole() -> None:
    assert lines(compensated()) == [
        "R-1  epro  COMPENSATED in 48 ms",
        "trace abababababababababababababababab",
        "went backward after 30 ms: safety the site is closed",
        "",
        "              0                                     48 ms",
        "validate      █████                                            6 ms  APPLIED",
        "archive            ███████████                                12 ms  APPLIED",
        "safety                    ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒                     16 ms  NOT_APPLIED",
        "notify                                                               SKIPPED",
        "              TRIGGER_UNMET",
        "undo archive                            █████████████████     18 ms  UNDONE",
        "",
        "█ applied   ▒ not applied",
    ]


def rows(shown: list[str]) -> Iterator[str]:
    return (line for line in shown if line.split(" ")[0] in {"validate", "archive", "safety", "notify", "undo"})


def test_bars_are_proportionate_and_in_their_place() -> None:
    bars = {line[:12].strip(): line[14:] for line in rows(lines(compensated(), width=14 + 48 + 11 + 12))}
    del bars["notify"]
    starts = {name: len(bar) - len(bar.lstrip()) for name, bar in bars.items()}
    sizes = {name: bar.count("█") + bar.count("▒") for name, bar in bars.items()}
    assert starts["validate"] == 0
    assert starts["validate"] < starts["archive"] < starts["safety"] < starts["undo archive"]
    assert abs(sizes["archive"] - 2 * sizes["validate"]) <= 1
    assert abs(sizes["undo archive"] - 3 * sizes["validate"]) <= 1


def test_even_the_shortest_attempt_has_a_cell() -> None:
    story = Story()
    story.tell(0, "SagaStarted")
    story.call("validate", 0, 0, APPLIED)
    story.call("archive", 900, 900, APPLIED)
    assert [line.count("█") for line in rows(lines(story, 60))] == [1, 1]


def test_every_line_fits_at_80_columns_and_wider() -> None:
    for width in (60, 80, 120, 160):
        assert all(width_of(line) <= width for line in lines(compensated(), width))


def test_attempts_are_listed_where_there_was_more_than_one() -> None:
    story = Story()
    story.tell(0, "SagaStarted", details={"definition": "epro"})
    story.call("archive", 0, 10, UNKNOWN, "UNAVAILABLE")
    story.tell(10, "RetryScheduled", "archive", operation=FORWARD)
    story.call("archive", 30, 40, APPLIED, attempt=2)
    story.settle("archive", 40, APPLIED)
    story.tell(40, "SagaCompleted")
    shown = lines(story)
    (bar,) = rows(shown)
    assert bar.index("░") < bar.index("·") < bar.index("█")
    assert any("attempt 1 UNAVAILABLE 10 ms, 2 OK 10 ms" in line for line in shown)
    assert shown[-1] == "█ applied   ░ unknown   · waiting"


def test_a_long_list_of_attempts_is_cut_and_counted() -> None:
    story = Story()
    story.tell(0, "SagaStarted")
    for attempt in range(1, 31):
        story.call("archive", attempt, attempt + 1, UNKNOWN, "UNAVAILABLE", attempt=attempt)
    shown = lines(story)
    assert any("22 more" in line for line in shown)
    assert all(width_of(line) <= 80 for line in shown)


def test_a_running_saga_shows_what_is_open() -> None:
    story = Story()
    story.tell(0, "SagaStarted", details={"definition": "epro"})
    story.call("validate", 0, 10, APPLIED)
    story.settle("validate", 10, APPLIED)
    story.tell(20, "AttemptOpened", "archive", operation=FORWARD, attempt=1)
    shown = lines(story)
    assert shown[0] == "R-1  epro  RUNNING since 20 ms"
    assert ">" in next(line for line in shown if line.startswith("archive"))


def test_a_restart_is_told_and_a_lost_attempt_named() -> None:
    story = Story()
    story.tell(0, "SagaStarted", details={"definition": "epro"})
    story.tell(1, "AttemptOpened", "archive", operation=FORWARD, attempt=1)
    story.epoch = 2
    story.tell(
        900,
        "AttemptSettled",
        "archive",
        {"phase": "LOST"},
        operation=FORWARD,
        attempt=1,
        outcome=UNKNOWN,
        code="UNKNOWN",
    )
    story.call("archive", 900, 910, APPLIED, attempt=2)
    shown = lines(story)
    assert "the orchestrator restarted, and went on after 900 ms" in shown
    assert any("1 lost in a restart 899 ms, 2 OK 10 ms" in line for line in shown)


def test_a_stuck_undo_and_what_is_needed_are_shown() -> None:
    story = Story()
    story.tell(0, "SagaStarted", details={"definition": "epro"})
    story.call("archive", 0, 10, APPLIED)
    story.settle("archive", 10, APPLIED)
    story.tell(12, "CompensationBegan", summary="going backward")
    story.tell(14, "StepStuck", "archive", {"reason": "UNDO_REFUSED"}, operation=UNDO)
    story.tell(14, "AttentionRaised", "archive")
    shown = lines(story)
    assert shown[0] == "R-1  epro  NEEDS_ATTENTION since 14 ms"
    assert any(line.startswith("undo archive") and line.endswith("STUCK") for line in shown)
    assert any(line.strip() == "UNDO_REFUSED" for line in shown)


def test_without_unicode_bars_are_ascii() -> None:
    drawn = draw(fold("R-1", compensated().events), 80, ASCII)
    assert all(to_text(line).isascii() for line in drawn)


def test_an_unknown_event_type_is_passed_over() -> None:
    story = compensated()
    before = lines(story)
    story.events.insert(3, pb.SagaEvent(type="SomethingNew", epoch=1, event_time=story.events[2].event_time))
    assert lines(story) == before


def test_no_events_draw_a_head_alone() -> None:
    assert [to_text(line) for line in draw(Waterfall(saga_id="R-1"), 80)] == ["R-1    RUNNING since 0 us"]


def test_values_for_programs_have_every_attempt() -> None:
    values = fold("R-1", compensated().events).to_values()
    assert values["status"] == "COMPENSATED"
    rows_ = values["rows"]
    assert isinstance(rows_, list)
    assert [row["step"] for row in rows_] == ["validate", "archive", "safety", "notify", "archive"]
    assert rows_[2]["attempts"][0]["code"] == "FAILED_PRECONDITION"
