"""Kill it anywhere: real processes, real load, SIGKILL at random moments, and three witnesses in the end."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251  (seeded: the same moments again, as far as a scheduler allows)

import pytest

from orchestrator.cli.main import run
from orchestrator.verify import Findings
from services.bank.accounts import OPENING_CENTS
from tests.e2e import town
from tests.e2e.crowd import Crowd
from tests.e2e.errands import of_every_shape
from tests.e2e.judging import SHOWN, SHOWN_BY_THE_DEMO, judged, told
from tests.e2e.leaving import GRACE_S, LEAVES_WITHIN_S, leaves
from tests.kit.mesh import Mesh, Program, channel

SEED = int(os.environ.get("KILL_SEED", "2026"))
KILLS = int(os.environ.get("KILLS", "24"))
CALLERS = 24
BadDay = Callable[[Mesh], Awaitable[None]]
VICTIMS = ("archive", "safety", "stock", "hotels", "accounts", "claims", "catalogue")
"""Services that are killed as well, now and then."""


async def owns_the_journal(server: Program, mesh: Mesh) -> None:
    while await asyncio.to_thread(Path(f"{mesh.journal}.lock").read_text) != f"{server.pid}\n":  # noqa: ASYNC110  (a file)
        await asyncio.sleep(0.001)  # poll: the lock is the only thing to be seen from outside


async def kill_somewhere(mesh: Mesh, crowd: Crowd, luck: Random, number: int) -> str:
    """Kill the orchestrator once, and start it again; say where it was struck."""
    server = mesh.orchestrator
    if number % 6 == 5:
        # while it starts: it owns the file, and may be anywhere between there and its first recovered saga
        await server.kill()
        await server.spawn()
        await owns_the_journal(server, mesh)
        where = "starting"
    elif number % 6 == 2:
        where = "recovering"  # it has just said that it listens
    else:
        await crowd.more_answers(luck.randint(20, 180))
        await asyncio.sleep(luck.uniform(0, 0.05))  # poll: nothing; a moment that no answer chose
        where = "under load"
    await server.kill()
    await server.start()
    return where


@dataclass(slots=True, kw_only=True)
class Deaths:
    """What was ended, and how."""

    kills: Counter[str] = field(default_factory=Counter[str])
    """Of the orchestrator, by the moment at which they struck."""
    exits_s: list[float] = field(default_factory=list[float])
    """Of the orchestrator, asked to leave in between: how long each took."""
    of_services: Counter[str] = field(default_factory=Counter[str])


async def killed_again_and_again(mesh: Mesh, crowd: Crowd, kills: int, luck: Random, *bad_days: BadDay) -> Deaths:
    """Let a crowd work while everything is killed; return when every saga has ended, with what was killed."""
    deaths = Deaths()
    victims = [name for name in VICTIMS if name in mesh.services]
    async with town.kept_up(*mesh.services.values()) as restarts, asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.run(CALLERS))
        for number in range(kills):
            if number % 8 == 0:  # a service that has died since is a good one
                await mesh.clear_faults()
                for bad_day in bad_days:
                    await bad_day(mesh)
            deaths.kills[await kill_somewhere(mesh, crowd, luck, number)] += 1
            if number % 6 == 3:
                await crowd.more_answers(20)
                deaths.exits_s.append(await leaves(mesh.orchestrator, LEAVES_WITHIN_S))
                await mesh.orchestrator.start()
            if number % 8 == 7:
                await mesh.services[luck.choice(victims)].kill()
        await mesh.clear_faults()
        crowd.stop()
    deaths.of_services.update(restarts)
    return deaths


@pytest.mark.timeout(300 + 10 * KILLS)
async def test_no_shape_is_lost_doubled_or_left_undone_wherever_the_orchestrator_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = Random(SEED)
    async with Mesh(tmp_path, grace_s=GRACE_S) as mesh:
        began = since(0.0)
        await town.open_gates(mesh)
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd([connection], luck, of_every_shape(luck))
            deaths = await killed_again_and_again(mesh, crowd, KILLS, luck, town.misbehave_in_the_demo, town.misbehave)
        assert await town.money_cents(mesh) == sum(OPENING_CENTS.values())
        judgement = await judged(mesh, crowd)
    with capsys.disabled():
        print("\n" + told("kill", judgement, crowd, since(began), **flat(deaths)))
    assert_survived(judgement.findings, crowd, deaths, KILLS)
    assert SHOWN.isdisjoint(judgement.findings.not_checked)
    for shape in ("epro_intake", "order", "travel", "transfer", "approval", "bulk_import"):
        assert judgement.survived[shape] > 0, f"no kill struck while a saga of {shape} was under way"
    assert crowd.counts["signals acknowledged"] >= KILLS
    arguments = ["verify", "--journal", str(mesh.journal), "--ledger", str(mesh.data), "--quiet"]
    assert await asyncio.to_thread(run, arguments) == 0


@pytest.mark.timeout(300 + 10 * KILLS)
async def test_nothing_is_doubled_either_where_no_service_is_declared_to_keep_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = Random(SEED)
    kills = KILLS // 3
    async with Mesh(tmp_path, is_declared=False, grace_s=GRACE_S) as mesh:
        began = since(0.0)
        await mesh.start()
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd([connection], luck)
            deaths = await killed_again_and_again(mesh, crowd, kills, luck, town.misbehave_in_the_demo)
        judgement = await judged(mesh, crowd)
    with capsys.disabled():
        print("\n" + told("kill_undeclared", judgement, crowd, since(began), **flat(deaths)))
    assert_survived(judgement.findings, crowd, deaths, kills)
    assert SHOWN_BY_THE_DEMO.isdisjoint(judgement.findings.not_checked)


def assert_survived(findings: Findings, crowd: Crowd, deaths: Deaths, kills: int) -> None:
    """Zero violations, and the run was one that could have had some."""
    assert findings.violations == []
    assert all(crowd.ends.values()), "a saga was accepted and its caller never heard of its end"
    assert deaths.kills.total() == kills
    assert min(crowd.counts["COMPLETED"], crowd.counts["COMPENSATED"]) > 0, "both ways were gone"
    assert crowd.counts["calls sent again"] >= kills // 2, "the kills struck while callers were waiting"
    assert deaths.of_services.total() >= kills // 8


def since(moment: float) -> float:
    """Seconds since a moment of the same clock; the moment now, since 0."""
    return time.monotonic() - moment  # noqa: TID251  (how long it took is told)


def flat(deaths: Deaths) -> dict[str, float]:
    """What was ended, in figures of one level."""
    return {
        "seed": SEED,
        "kills": deaths.kills.total(),
        **{f"kills {moment}": number for moment, number in sorted(deaths.kills.items())},
        "restarts": deaths.kills.total() + len(deaths.exits_s),
        "exit_max_s": round(max(deaths.exits_s, default=0.0), 2),
        "service restarts": deaths.of_services.total(),
    }
