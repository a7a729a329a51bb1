from orchestrator.journal.sqlite.writer import Pace
from orchestrator.limits import (
    JOURNAL_COMMIT_LOOP_S_BACK,
    JOURNAL_COMMIT_LOOP_S_MAX,
    JOURNAL_COMMIT_TRY_S,
    JOURNAL_COMMIT_TRY_S_MAX,
)

FAST = JOURNAL_COMMIT_LOOP_S_BACK * 0.5
SLOW = JOURNAL_COMMIT_LOOP_S_MAX * 1.5


class Disk:
    """Commits one after the other, where the pace says."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.now = 0.0
        self.on_loop: list[bool] = []

    def commits(self, count: int, seconds: float, *, waits_s: float = 0.0) -> None:
        """`waits_s`: how long the thread waits for the interpreter, which its clock counts too."""
        for _ in range(count):
            on_loop = self.pace.is_for_loop(self.now)
            took = seconds if on_loop else seconds + waits_s
            self.now += took
            self.pace.observe(took, self.now, in_thread=not on_loop)
            self.on_loop.append(on_loop)


def test_commits_stay_on_the_loop_while_they_are_fast() -> None:
    disk = Disk()
    disk.commits(100, JOURNAL_COMMIT_LOOP_S_MAX * 0.9)
    assert all(disk.on_loop)


def test_slow_commits_move_to_the_thread() -> None:
    disk = Disk()
    disk.commits(100, SLOW)
    assert not disk.pace.on_loop


def test_one_slow_commit_moves_nothing() -> None:
    disk = Disk()
    disk.commits(100, FAST)
    disk.commits(1, JOURNAL_COMMIT_LOOP_S_MAX * 5)
    assert disk.pace.on_loop


def test_they_come_back_when_the_disk_is_fast_again_although_the_thread_waits_for_the_interpreter() -> None:
    disk = Disk()
    disk.commits(100, SLOW)
    before = len(disk.on_loop)
    disk.commits(1_000, FAST, waits_s=0.005)
    back = disk.on_loop.index(True, before) - before
    assert 0 < back * (FAST + 0.005) <= JOURNAL_COMMIT_TRY_S + SLOW * 100
    assert all(disk.on_loop[before + back :])


def test_they_do_not_come_back_while_the_disk_is_between_the_bounds() -> None:
    disk = Disk()
    disk.commits(100, SLOW)
    disk.commits(2_000, (JOURNAL_COMMIT_LOOP_S_MAX + JOURNAL_COMMIT_LOOP_S_BACK) / 2)
    assert not disk.pace.on_loop


def test_trying_takes_a_hundredth_of_the_time_at_most() -> None:
    disk = Disk()
    disk.commits(100, 0.03)
    before, began = len(disk.on_loop), disk.now
    disk.commits(2_000, 0.03)
    assert 0 < sum(disk.on_loop[before:]) * 0.03 <= (disk.now - began) / 100


def test_nothing_is_tried_on_a_disk_that_stands_still() -> None:
    disk = Disk()
    disk.commits(100, SLOW)
    before = len(disk.on_loop)
    disk.commits(100, JOURNAL_COMMIT_TRY_S_MAX * 20)
    assert disk.on_loop[before:].count(True) <= 1
