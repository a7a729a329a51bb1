"""What a stall is put down to: the loop's thread stands where the test wants it."""

import logging
from collections.abc import Callable

import pytest

from orchestrator.diagnostics import stalls
from orchestrator.diagnostics.stalls import ANOTHER, COUNTED, HELD, NATIVE, NOT_RUN, STARVED, StallDetector
from orchestrator.diagnostics.thread import Late, why_late
from orchestrator.limits import STALL_LASTS_S, STALL_LOG_S, STALLS_KEPT_MAX
from orchestrator.ports.observer import Silence
from tests.unit.diagnostics.planted import FakeClock, planted

STALL_S = 0.02
WHERE = "orchestrator/pretend.py:2 in evaluate"


class Told(Silence):
    def __init__(self) -> None:
        self.stalls: list[float] = []

    def stalled(self, seconds: float) -> None:
        self.stalls.append(seconds)


class Stage:
    """A detector whose looks a test takes, of a loop that beats when the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        observer = Told()
        self.told = observer.stalls
        self.detector = StallDetector(clock=self.clock, observer=observer, stall_s=0.1, monotonic=self.clock.monotonic)
        self.sent: list[Callable[[], None]] = []
        self.processor_s = self.starved_s = 0.0
        self.saga_id = ""
        self.detector._whose = lambda: self.saga_id

    def look(
        self,
        frames: object = (),
        *,
        late_s: float = 0.0,
        worked_s: float = 0.0,
        starved_s: float = 0.0,
        why: Late | None = None,
    ) -> None:
        self.clock.ticks += 0.025 + late_s
        before_s, self.processor_s = self.processor_s, self.processor_s + worked_s
        before_starved_s, self.starved_s = self.starved_s, self.starved_s + starved_s

        stage = self

        class Thread:
            @staticmethod
            def stack() -> list[object]:
                return list(frames)  # type: ignore[call-overload, no-any-return]

            @staticmethod
            def is_asleep() -> bool:
                return not frames

            @staticmethod
            def processor_s() -> float:
                return stage.processor_s

            @staticmethod
            def starved_s() -> float:
                return stage.starved_s

        look = stalls._Look(
            now=self.clock.ticks,
            period_s=0.025,
            late_s=late_s,
            before_s=before_s,
            processor_s=self.processor_s,
            starved_s=before_starved_s,
        )
        if why is not None:
            look = self.detector._judged(look, why, starved_s)
        self.detector._look(Thread, lambda call, beat: self.sent.append(lambda: call(beat)), look)  # type: ignore[arg-type]

    def beat(self) -> None:
        while self.sent:
            self.sent.pop(0)()

    def stall(self, frames: object, looks: int = 10) -> None:
        """Hold the loop for so many looks, and have it noticed that it goes on."""
        for _ in range(looks):
            self.look(frames)
        self.beat()
        self.look()


class Frame:
    """What a frame shows of itself."""

    def __init__(self, name: str, module: str = "orchestrator.pretend") -> None:
        function = planted(name, module)
        self.f_code = function.__code__
        self.f_lineno = 2
        self.f_globals = {"__name__": module}


EVALUATE, DECIDE, PARSE = Frame("evaluate"), Frame("decide"), Frame("parse", "json.pretend")


def test_the_culprit_is_the_innermost_frame_of_our_own() -> None:
    stage = Stage()
    stage.stall([DECIDE, EVALUATE, PARSE])
    [stall] = stage.detector.latest
    assert stall.culprit == WHERE
    assert [place.rpartition(" ")[2] for place in stall.stack] == ["decide", "evaluate", "parse"]
    assert stage.told == [pytest.approx(0.225)]
    assert stall.held_s == pytest.approx(0.225)
    assert stall.at == pytest.approx(1_700_000_000.025)


def test_where_nothing_is_our_own_the_innermost_frame_is_blamed() -> None:
    stage = Stage()
    stage.stall([PARSE])
    assert stage.detector.latest[0].culprit.endswith("pretend.py:2 in parse")


def test_of_a_turn_of_many_it_is_told_how_often_the_culprit_was_seen() -> None:
    stage = Stage()
    stage.look([DECIDE])  # the beat is sent; the next looks count
    stage.look([DECIDE])
    stage.stall([EVALUATE], looks=7)
    assert stage.detector.latest[0].culprit == f"{WHERE} in 7 of 8 looks"


def test_a_turn_of_several_sagas_is_nobody_s() -> None:
    stage = Stage()
    for stage.saga_id in ("a", "a", "b", "b", "b", "b"):
        stage.look([EVALUATE])
    stage.beat()
    stage.look()
    stage.saga_id = "c"
    stage.stall([EVALUATE])
    assert [stall.saga_id for stall in stage.detector.latest] == ["c", ""]


def test_a_turn_shorter_than_the_threshold_is_none() -> None:
    stage = Stage()
    stage.stall([EVALUATE], looks=4)
    stage.stall([EVALUATE], looks=4)
    assert (stage.detector.total, stage.detector.latest, stage.told) == (0, (), [])


def test_a_loop_that_beats_between_the_looks_is_busy_and_not_held() -> None:
    stage = Stage()
    for _ in range(40):
        stage.look([EVALUATE])
        stage.beat()
    assert stage.detector.total == 0


def test_time_in_which_the_process_was_not_run_is_nobody_s_fault() -> None:
    stage = Stage()
    stage.look([EVALUATE])
    stage.look([EVALUATE], late_s=5.0, why=Late.NOT_RUN)
    stage.beat()
    stage.look()
    [stall] = stage.detector.latest
    assert (stall.culprit, stall.stack, stall.held_s) == (NOT_RUN, (), 5.0)


def test_work_without_a_frame_is_the_loop_s_own() -> None:
    stage = Stage()
    for _ in range(6):
        stage.look(worked_s=0.025)
    stage.beat()
    stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [NATIVE]


@pytest.mark.parametrize(
    ("starved_s", "culprit"),
    [(0.2, f"{STARVED} (0.20 s), in {WHERE}"), (0.05, WHERE)],
)
def test_a_machine_without_a_processor_for_the_loop_is_blamed_itself(starved_s: float, culprit: str) -> None:
    stage = Stage()
    stage.starved_s = 5.0  # in its life before
    for _ in range(10):
        stage.look([EVALUATE])
    stage.starved_s += starved_s
    stage.beat()
    stage.look()
    assert stage.detector.latest[0].culprit == culprit


def test_a_look_that_came_late_at_a_loop_that_slept_is_another_thread_s_doing() -> None:
    stage = Stage()
    stage.look(late_s=0.3)
    stage.beat()
    stage.look()
    [stall] = stage.detector.latest
    assert stall.culprit == ANOTHER
    assert stall.held_s == pytest.approx(0.3)


def test_who_kept_the_interpreter_and_did_not_work_is_told_apart() -> None:
    stage = Stage()
    stage.look(late_s=0.3, why=Late.HELD)
    stage.beat()
    stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [HELD]


def test_a_machine_that_had_no_processor_for_the_process_is_blamed_and_no_thread_of_it() -> None:
    stage = Stage()
    stage.look(late_s=0.3, worked_s=0.02, why=Late.STARVED)
    stage.look([EVALUATE])
    stage.look([EVALUATE], late_s=0.2, starved_s=0.2, why=Late.STARVED)
    stage.look([EVALUATE])
    stage.beat()
    stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [f"{STARVED} (0.20 s)", f"{STARVED} (0.30 s)"]


def test_starvation_is_told_from_the_look_that_came_late_for_it() -> None:
    """It begins before the look that finds the loop at work."""
    stage = Stage()
    stage.look([EVALUATE], late_s=0.3, starved_s=0.29, why=Late.KEPT)
    stage.look([EVALUATE])
    stage.beat()
    stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [f"{STARVED} (0.29 s), in {WHERE}"]


def test_a_loop_that_worked_while_the_one_who_looks_had_no_processor_is_blamed_for_what_it_did() -> None:
    stage = Stage()
    stage.look([EVALUATE], late_s=0.3, worked_s=0.3, why=Late.STARVED)
    stage.beat()
    stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [WHERE]


@pytest.mark.parametrize("why", [Late.KEPT, Late.HELD, Late.NOT_RUN])
def test_a_count_of_all_objects_is_named_as_what_it_is(why: Late) -> None:
    stage = Stage()
    with stage.detector.counting():
        stage.look(late_s=0.3, why=why)
        stage.beat()
        stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [COUNTED]


def test_a_function_that_works_while_objects_are_counted_is_blamed_itself() -> None:
    stage = Stage()
    with stage.detector.counting():
        for _ in range(10):
            stage.look([EVALUATE], worked_s=0.025)
        stage.beat()
        stage.look()
    assert [stall.culprit for stall in stage.detector.latest] == [WHERE]


@pytest.mark.parametrize(
    ("starved_s", "processor_s", "waits", "why"),
    [
        (0.3, 0.02, 60, Late.STARVED),
        (0.3, 0.6, 60, Late.STARVED),  # others of this process worked, on other processors
        (0.01, 0.3, 60, Late.KEPT),
        (0.01, 0.3, 0, Late.KEPT),  # where nobody counts how often it asked
        (0.01, 0.02, 60, Late.HELD),
        (0.0, 0.02, 1, Late.NOT_RUN),
    ],
)
def test_why_a_look_came_late_follows_from_what_was_done_meanwhile(
    starved_s: float, processor_s: float, waits: int, why: Late
) -> None:
    assert why_late(0.4, starved_s=starved_s, processor_s=processor_s, waits=waits) is why


def test_stalls_are_dated_by_the_clock_that_was_given_last() -> None:
    stage, store = Stage(), FakeClock()
    store.ticks = 1_000.0
    stage.detector.tell_time_by(store)
    stage.stall([EVALUATE])
    assert stage.detector.latest[0].at == pytest.approx(1_700_001_000.0 - 0.25 + 0.0, abs=0.1)


def test_a_stall_that_lasts_is_told_once_before_it_ends_and_once_when_it_has(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    for _ in range(round((STALL_LASTS_S + 2) / 0.025)):
        stage.look([EVALUATE])
    [lasts] = caplog.messages
    assert lasts == f"the event loop is held up, for 5.0 s until now, by {WHERE}"
    stage.beat()
    stage.look()
    assert len(caplog.messages) == 2
    assert caplog.messages[1].startswith("the event loop was held up for 6.98 s, 0.00 s of it at work, by ")


def test_the_log_says_who_and_for_how_long_and_how_much_of_it_was_work(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.saga_id = "saga-7"
    for _ in range(10):
        stage.look([EVALUATE, PARSE], worked_s=0.02)
    stage.beat()
    stage.look()
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"the event loop was held up for 0.22 s, 0.20 s of it at work, by {WHERE}"
        f" (innermost: json/pretend.py:2 in parse), saga saga-7"
    )
    assert vars(record)["saga_id"] == "saga-7"


def test_the_log_is_not_flooded_and_says_what_it_left_out(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    for _ in range(5):
        stage.stall([EVALUATE])
    assert len(caplog.messages) == 1
    stage.clock.ticks += STALL_LOG_S
    stage.stall([EVALUATE])
    assert caplog.messages[1].endswith("; 4 more since the last of these lines")
    assert stage.detector.total == 6


def test_the_latest_are_kept_and_all_are_counted() -> None:
    stage = Stage()
    for _ in range(STALLS_KEPT_MAX + 3):
        stage.stall([EVALUATE])
    assert len(stage.detector.latest) == STALLS_KEPT_MAX
    assert stage.detector.total == len(stage.told) == STALLS_KEPT_MAX + 3
    instants = [stall.at for stall in stage.detector.latest]
    assert instants == sorted(instants, reverse=True)
