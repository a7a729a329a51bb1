from orchestrator.journal.sqlite.writer import Pace
from orchestrator.limits import JOURNAL_COMMIT_LOOP_S_BACK, JOURNAL_COMMIT_LOOP_S_MAX


def settled(pace: Pace, seconds: float, commits: int = 100) -> bool:
    for _ in range(commits):
        pace.observe(seconds)
    return pace.on_loop


def test_commits_stay_on_the_loop_while_they_are_fast() -> None:
    assert settled(Pace(), JOURNAL_COMMIT_LOOP_S_MAX * 0.9)


def test_slow_commits_move_to_the_thread() -> None:
    assert not settled(Pace(), JOURNAL_COMMIT_LOOP_S_MAX * 1.5)


def test_one_slow_commit_moves_nothing() -> None:
    pace = Pace()
    settled(pace, 0.0002)
    assert settled(pace, JOURNAL_COMMIT_LOOP_S_MAX * 5, commits=1)


def test_they_come_back_only_when_clearly_faster() -> None:
    pace = Pace()
    settled(pace, 1.0)
    assert not settled(pace, (JOURNAL_COMMIT_LOOP_S_MAX + JOURNAL_COMMIT_LOOP_S_BACK) / 2)
    assert settled(pace, JOURNAL_COMMIT_LOOP_S_BACK * 0.5)
