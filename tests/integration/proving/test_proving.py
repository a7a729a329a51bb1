"""Good participants are found good, and each flaw is found as the breach of exactly the rule it breaks."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.bootstrap import SystemClock
from orchestrator.invoker import TargetConfig
from orchestrator.participant import SQLITE
from orchestrator.proving import RULES, Asked, Probe, Report, Verdict, prove
from tests.kit import flawed, houses, theatre

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

PROBE = Probe(
    method=f"{theatre.SERVICE}/List", request={"client": "{request.client}"}, count="size(reply.reservations)"
)
ASKED = Asked(
    forward=f"{theatre.SERVICE}/Reserve",
    compensate=f"{theatre.SERVICE}/Release",
    request={"client": "client-{unique}", "seats": 2},
    undo_request={"client": "{request.client}"},
    probe=PROBE,
)
BLIND = Asked(
    forward=ASKED.forward, compensate=ASKED.compensate, request=ASKED.request, undo_request=ASKED.undo_request
)


async def proved(address: str, asked: Asked = ASKED) -> Report:
    target = TargetConfig(name="theatre", address=address)
    return await prove(target, asked, SystemClock(), timeout_s=5, parallel=8)


def verdicts(report: Report) -> dict[str, str]:
    return {finding.rule: f"{finding.verdict} {finding.why}".strip() for finding in report.findings}


def broken(report: Report) -> list[str]:
    return [finding.rule for finding in report.broken]


ALL_HOLD = dict.fromkeys(RULES, "HOLDS")


async def test_a_service_on_the_kit_keeps_every_rule(tmp_path: Path) -> None:
    house = houses.BlockingHouse(partial(houses.sqlite_connection, tmp_path / "house.sqlite"), SQLITE)
    with theatre.in_threads(house) as address:
        report = await proved(address)
    assert verdicts(report) == ALL_HOLD
    assert report.left == 0
    assert house.list_(theatre.ListRequest(client=""), None) == theatre.ListReply()


async def test_a_sound_service_in_memory_keeps_every_rule_and_nothing_of_it_stays() -> None:
    house = flawed.Sound()
    async with theatre.in_loop(house) as address:
        report = await proved(address)
    assert verdicts(report) == ALL_HOLD
    assert report.left == 0
    assert not any(house.reservations.values())


async def test_without_a_probe_what_only_a_probe_can_see_is_not_judged() -> None:
    async with theatre.in_loop(flawed.Sound()) as address:
        report = await proved(address, BLIND)
    assert broken(report) == []
    not_judged = {finding.rule for finding in report.findings if finding.verdict is Verdict.NOT_JUDGED}
    assert not_judged == {"cut", "slow", "undo"}


async def test_replies_that_do_not_tell_effects_apart_judge_nothing() -> None:
    class Mute(flawed.Sound):
        def effect(self, request: Any, call: Any) -> Any:
            super().effect(request, call)
            return theatre.Reservation()

    async with theatre.in_loop(Mute()) as address:
        report = await proved(address, BLIND)
    assert "a reply tells nothing; give --probe" in verdicts(report)["duplicate"]


FLAWS = [
    (flawed.RefusesAll, "acts"),
    (flawed.KeepsNoKeys, "duplicate"),
    (flawed.RepliesAnew, "duplicate"),
    (flawed.RaisesOnDuplicates, "duplicate"),
    (flawed.LooksFirst, "at-once"),
    (flawed.KeepsTheKeyApart, "cut"),
    (flawed.HurriesWithoutKey, "slow"),
    (flawed.UndoesNothing, "undo"),
    (flawed.UndoesOnce, "undo-twice"),
    (flawed.UndoesTooMuch, "undo-twice"),
    (flawed.UndoesOnlyWhatIs, "undo-first"),
    (flawed.LeavesNoTombstone, "overtaken"),
    (flawed.RefusesWithoutReason, "overtaken"),
    (flawed.IsNeverTooLate, "not-after"),
    (flawed.ForgetsOnRefusal, "refusal"),
    (flawed.KeepsRefusals, "refusal"),
    (flawed.ForgetsWithTheUndo, "after-undo"),
]


async def test_every_rule_has_a_flaw_that_breaks_it() -> None:
    assert {rule for _, rule in FLAWS} == set(RULES)


@pytest.mark.parametrize(("house", "rule"), FLAWS, ids=lambda value: getattr(value, "__name__", value))
async def test_a_flaw_is_found_as_the_breach_of_its_rule_alone(house: type[flawed.Sound], rule: str) -> None:
    async with theatre.in_loop(house()) as address:
        report = await proved(address)
    assert broken(report) == [rule], verdicts(report)
    for finding in report.findings:
        if finding.verdict is Verdict.NOT_JUDGED:
            assert finding.why == f"it would prove nothing while `{rule}` is broken"
    [breach] = report.broken
    assert breach.why
    assert breach.evidence, "a breach shows what was sent and what came back"
    assert all(exchange.code for exchange in breach.evidence)


@pytest.mark.parametrize("house", [flawed.KeepsNoKeys, flawed.LeavesNoTombstone, flawed.ForgetsWithTheUndo])
async def test_what_a_flaw_made_is_taken_back_too(house: type[flawed.Sound]) -> None:
    running = house()
    async with theatre.in_loop(running) as address:
        report = await proved(address)
    assert report.left == 0
    assert not any(running.reservations.values())


async def test_what_could_not_be_taken_back_is_counted() -> None:
    running = flawed.UndoesNothing()
    async with theatre.in_loop(running) as address:
        assert (await proved(address)).left == 0, "the service says so, and only its own rule can doubt it"

    class Clings(flawed.Sound):
        def take_back(self, call: Any) -> int:
            raise LookupError("no such table")

    async with theatre.in_loop(Clings()) as address:
        report = await proved(address)
    assert broken(report) == ["undo", "undo-first"]
    assert report.left > 5


@pytest.mark.parametrize(
    "house", [flawed.KeepsNoKeys, flawed.RepliesAnew, flawed.UndoesOnce, flawed.LeavesNoTombstone, flawed.LooksFirst]
)
async def test_many_flaws_are_found_without_a_probe(house: type[flawed.Sound]) -> None:
    async with theatre.in_loop(house()) as address:
        report = await proved(address, BLIND)
    assert broken(report) == [rule for flaw, rule in FLAWS if flaw is house]
