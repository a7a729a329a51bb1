"""What the trial in containers would notice, and what it says where it cannot be run."""

from collections import Counter
from collections.abc import Iterator

import pytest

from services.ledger import Entry
from tests.compose.__main__ import main
from tests.compose.engine import Broken
from tests.compose.facts import Round, check_round, fate, fates, wrong_effects
from tests.kit.mesh import reports


def test_what_becomes_of_a_report_follows_from_the_report() -> None:
    assert fates(1_000) == Counter(completed=660, alerted=225, refused=80, compensated=35)


def figures(count: int) -> dict[str, int]:
    """What a client is told of so many reports where nothing is wrong."""
    ends = fates(count)
    zeros = dict.fromkeys(("needs_attention", "lost", "duplicated_effects", "left_undone"), 0)
    told = {"reports": count, "alerted": ends["alerted"], "refused": ends["refused"]}
    return zeros | told | {"completed": ends["completed"] + ends["alerted"], "compensated": ends["compensated"]}


def test_a_round_without_a_fault_is_believed() -> None:
    check_round(Round(prefix="x-", figures=figures(200)), 200)


@pytest.mark.parametrize("name", sorted(figures(200)))
def test_a_round_that_differs_in_one_figure_is_not(name: str) -> None:
    told = figures(200)
    told[name] += 1
    with pytest.raises(Broken, match=f"'{name}': {told[name]}"):
        check_round(Round(prefix="x-", figures=told), 200)


def effects(count: int) -> Iterator[Entry]:
    """What the ledgers have of so many reports where nothing is wrong."""
    for report in reports()[:count]:
        saga_id, end = f"x-{report['reportId']}", fate(report)
        if end == "refused":
            continue
        yield entry(saga_id, "archive", "archive")
        if end == "alerted":
            yield entry(saga_id, "adverse_event", "safety")
            yield entry(saga_id, "notify", "notifier")
        if end == "compensated":
            yield entry(saga_id, "archive", "archive", op="compensate")


def entry(saga_id: str, step: str, service: str, *, op: str = "forward", effect: int = 1) -> Entry:
    return Entry(
        seq=1, ts=0.0, service=service, method="", saga_id=saga_id, saga_step=step, op=op,
        attempt=1, key="", report_id="", effect=effect, outcome="applied",
    )  # fmt: skip


def test_effects_that_follow_from_the_reports_are_right() -> None:
    again = entry("x-R00001", "archive", "archive", effect=0)  # a repetition that changed nothing
    assert list(wrong_effects([*effects(200), again], "x-", 200)) == []


@pytest.mark.parametrize("end", ["completed", "alerted", "refused", "compensated"])
@pytest.mark.parametrize("op", ["forward", "compensate"])
def test_an_effect_too_many_or_too_few_is_noticed(end: str, op: str) -> None:
    saga_id = next(f"x-{report['reportId']}" for report in reports() if fate(report) == end)
    found = list(wrong_effects([*effects(200), entry(saga_id, "archive", "archive", op=op)], "x-", 200))
    assert [each.split()[0] for each in found] == [saga_id]


@pytest.mark.parametrize(("required", "code"), [("", 0), ("1", 1)])
def test_without_an_engine_it_says_that_nothing_was_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], required: str, code: int
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("REQUIRE_ENGINE", required)
    assert main([]) == code
    assert capsys.readouterr().out.startswith("SKIPPED, nothing was run and nothing is known of the mesh: ")
