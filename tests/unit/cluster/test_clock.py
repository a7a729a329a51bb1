import pytest

from orchestrator.cluster.clock import StoreTime
from orchestrator.limits import STORE_TIME_SAMPLES
from orchestrator.ports.clock import SteadyTime

OFFSET_S = 1_800_000_000.0


class Machine:
    def __init__(self, wall_error_s: float = 0.0) -> None:
        self.passed_s = self._step_s = 0.0
        self.time = StoreTime(lambda: self.passed_s, lambda: OFFSET_S + self.passed_s + wall_error_s)

    def set_by(self, seconds: float) -> None:
        """Set the store's clock."""
        self._step_s += seconds

    def ask(self, there_s: float, back_s: float) -> None:
        """Ask a store whose clock is `OFFSET_S` ahead of the time elapsed."""
        sent = self.passed_s
        at = OFFSET_S + self._step_s + sent + there_s
        self.passed_s += there_s + back_s
        self.time.heard(sent, at, self.passed_s)
        self.passed_s += 1.0


def test_before_the_store_is_heard_the_machines_own_clock_counts() -> None:
    machine = Machine(wall_error_s=5.0)
    assert machine.time.wall() == OFFSET_S + 5.0
    assert machine.time.offset_s is None
    assert machine.time.error_s is None


def test_the_stores_clock_is_taken_to_be_read_in_the_middle_of_the_way() -> None:
    machine = Machine(wall_error_s=5.0)
    machine.ask(0.002, 0.002)
    assert machine.time.wall() == pytest.approx(OFFSET_S + machine.passed_s, abs=1e-6)


@pytest.mark.parametrize(("there_s", "back_s"), [(0.0, 0.5), (0.5, 0.0), (0.001, 3.0)])
def test_an_uneven_way_is_wrong_by_no_more_than_it_says(there_s: float, back_s: float) -> None:
    machine = Machine()
    machine.ask(there_s, back_s)
    error_s = machine.time.error_s
    assert error_s is not None
    assert abs(machine.time.wall() - OFFSET_S - machine.passed_s) <= error_s + 1e-6


def test_slow_answers_do_not_move_what_a_quick_one_told() -> None:
    machine = Machine()
    machine.ask(0.001, 0.001)
    for _ in range(STORE_TIME_SAMPLES - 1):
        machine.ask(0.0, 2.0)
    assert machine.time.wall() == pytest.approx(OFFSET_S + machine.passed_s, abs=0.002)


def test_a_quick_answer_is_forgotten_in_time_so_that_drift_is_followed() -> None:
    machine = Machine()
    machine.ask(0.0, 0.0)
    for _ in range(STORE_TIME_SAMPLES):
        machine.ask(0.0, 0.1)
    assert machine.time.error_s == pytest.approx(0.05)


def test_an_answer_before_its_question_tells_nothing() -> None:
    machine = Machine()
    machine.time.heard(10.0, OFFSET_S, 9.0)
    assert machine.time.offset_s is None


def test_two_machines_with_wrong_clocks_agree_at_once_when_they_heard_the_store_first() -> None:
    nows = []
    for error_s in (-40.0, 40.0):
        machine = Machine(wall_error_s=error_s)
        machine.ask(0.003, 0.001)
        steady = SteadyTime(machine.time.wall, machine.time.elapsed)
        nows.append(steady.now() - machine.passed_s)
    assert nows[0] == pytest.approx(nows[1], abs=0.004)


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0, 2.0])
def test_a_clock_of_the_store_that_was_set_is_known_with_the_next_answer(step_s: float) -> None:
    machine = Machine()
    machine.ask(0.001, 0.001)
    machine.set_by(step_s)
    machine.ask(0.2, 0.2)
    assert machine.time.wall() == pytest.approx(OFFSET_S + step_s + machine.passed_s, abs=0.2)


def test_an_answer_that_took_its_time_does_not_say_that_the_clock_was_set() -> None:
    machine = Machine()
    machine.ask(0.001, 0.001)
    machine.ask(8.0, 0.0)
    assert machine.time.wall() == pytest.approx(OFFSET_S + machine.passed_s, abs=0.002)
