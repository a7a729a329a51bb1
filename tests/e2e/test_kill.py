"""Kill it anywhere: real processes, real load, SIGKILL at random moments, and three witnesses in the end."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded: the same moments again, as far as a scheduler allows)

import pytest

from orchestrator.bootstrap import open_records
from orchestrator.cli.main import run
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import Journal
from orchestrator.saga.events import CancelRequested, CompensationBegan
from orchestrator.verify import Findings, Ledgers, Violation, read_ledgers, verify
from services.bank.accounts import OPENING_CENTS
from tests.e2e import town
from tests.e2e.crowd import Crowd
from tests.e2e.errands import of_every_shape
from tests.kit import figures
from tests.kit.mesh import Mesh, Program, channel

SEED = int(os.environ.get("KILL_SEED", "2026"))
KILLS = int(os.environ.get("KILLS", "24"))
CALLERS = 24
VICTIMS = ("archive", "safety", "stock", "hotels", "accounts", "claims", "catalogue")
"""Services that are killed as well, now and then."""
PIVOTAL = ("order-", "transfer-", "claim-")
"""Sagas that have a pivot: a cancel may come too late to turn them around, and yet be recorded."""


async def judged(mesh: Mesh, crowd: Crowd) -> Findings:
    """Stop everything, and hold the three witnesses against each other. A bug that was survived is still a bug."""
    mesh.orchestrator.signal()
    assert await mesh.orchestrator.ended(within_s=30) == 0
    for service in mesh.services.values():
        service.signal()
    for service in mesh.services.values():
        await service.ended(within_s=10)
    assert "Traceback" not in mesh.orchestrator.log
    town.gather_ledgers(mesh)
    async with open_records(mesh.journal) as (journal, plans):
        ledgers = Ledgers(read_ledgers(mesh.data))
        findings = await verify(journal, plans, ledgers=ledgers, answers=crowd.answers, signals=crowd.signals)
        findings.add("I7", [each async for each in forgotten_cancels(journal, crowd)], len(crowd.cancelled))
    return findings


async def forgotten_cancels(journal: Journal, crowd: Crowd) -> AsyncIterator[Violation]:
    """A cancel that was acknowledged turns the saga around, unless its pivot was at that moment past recall."""
    for saga_id in sorted(crowd.cancelled):
        records = await journal.read(saga_id, limit=READ_RECORDS_MAX)
        events = [record.event for record in records]
        is_undone = any(isinstance(event, CompensationBegan) for event in events)
        is_asked = any(isinstance(event, CancelRequested) for event in events)
        is_past_pivot = is_asked and saga_id.startswith(PIVOTAL)
        if not is_undone and not is_past_pivot:
            message = "the sender of its cancel was told that it is recorded, and it went on"
            yield Violation(invariant="I7", saga_id=saga_id, message=message)


@asynccontextmanager
async def kept_up(*services: Program) -> AsyncIterator[Counter[str]]:
    """Start every service again that ends, as a machine's init would; count the restarts."""
    restarts: Counter[str] = Counter()

    async def keep(service: Program) -> None:
        while True:
            assert service.process is not None
            await service.process.wait()
            await service.start()
            restarts[service.name] += 1

    async with asyncio.TaskGroup() as keepers:
        tasks = [keepers.create_task(keep(service)) for service in services]
        yield restarts
        for task in tasks:
            task.cancel()


async def misbehave(mesh: Mesh) -> None:
    """What services do on bad days: slow, busy, answers lost after the commit, deaths before and after it."""
    await mesh.set_fault("scoring", method="Score", delay={"min": "0s", "max": "0.02s"})
    await mesh.set_fault("archive", method="Store", probability=0.05, dropReply={})
    await mesh.set_fault("archive", method="Withdraw", probability=0.2, status={"code": 14, "message": "busy"})
    await mesh.set_fault("safety", method="OpenAdverseEvent", probability=0.1, dropReply={})
    await mesh.set_fault("safety", method="VoidAdverseEvent", probability=0.2, dropReply={})
    await mesh.set_fault("validator", method="Validate", probability=0.03, status={"code": 14, "message": "busy"})
    await mesh.set_fault("notifier", method="SendAlert", restart={"afterCalls": 30, "afterCommit": True})
    await mesh.set_fault("safety", method="OpenAdverseEvent", restart={"afterCalls": 60})


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
        await crowd.more_answers(luck.randint(20, 250))
        await asyncio.sleep(luck.uniform(0, 0.05))  # poll: nothing; a moment that no answer chose
        where = "under load"
    await server.kill()
    await server.start()
    return where


async def killed_again_and_again(mesh: Mesh, crowd: Crowd, kills: int, luck: Random) -> dict[str, Counter[str]]:
    """Let a crowd work while everything is killed; return when every saga has ended, with what was killed."""
    moments: Counter[str] = Counter()
    victims = [name for name in VICTIMS if name in mesh.services]
    async with kept_up(*mesh.services.values()) as restarts, asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.run(CALLERS))
        for number in range(kills):
            moments[await kill_somewhere(mesh, crowd, luck, number)] += 1
            if number % 8 == 7:
                await mesh.services[luck.choice(victims)].kill()
        await mesh.clear_faults()
        crowd.stop()
    return {"kills": moments, "service_restarts": restarts}


@pytest.mark.timeout(90 + 10 * KILLS)
async def test_no_shape_is_lost_doubled_or_left_undone_wherever_the_orchestrator_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = Random(SEED)
    async with Mesh(tmp_path) as mesh:
        began = time.monotonic()  # noqa: TID251  (what is told)
        await town.open_gates(mesh)
        await misbehave(mesh)
        await town.misbehave(mesh)
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd(connection, luck, of_every_shape(luck))
            deaths = await killed_again_and_again(mesh, crowd, KILLS, luck)
        assert await town.money_cents(mesh) == sum(OPENING_CENTS.values())
        findings = await judged(mesh, crowd)
    with capsys.disabled():
        print("\n" + told("kill", findings, crowd, deaths, time.monotonic() - began))  # noqa: TID251  (the same)
    assert_survived(findings, crowd, deaths, KILLS)
    assert findings.not_checked == {}
    assert set(crowd.definitions) == {"epro_intake", "order", "travel", "transfer", "approval", "bulk_import"}
    assert crowd.counts["signals acknowledged"] >= KILLS
    arguments = ["verify", "--journal", str(mesh.journal), "--ledger", str(mesh.data), "--quiet"]
    assert await asyncio.to_thread(run, arguments) == 0


@pytest.mark.timeout(60 + 10 * KILLS)
async def test_nothing_is_doubled_either_where_no_service_is_declared_to_keep_keys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = Random(SEED)
    kills = KILLS // 3
    async with Mesh(tmp_path, is_declared=False) as mesh:
        began = time.monotonic()  # noqa: TID251  (what is told)
        await mesh.start()
        await misbehave(mesh)
        async with channel(mesh.orchestrator.address) as connection:
            crowd = Crowd(connection, luck)
            deaths = await killed_again_and_again(mesh, crowd, kills, luck)
        findings = await judged(mesh, crowd)
    with capsys.disabled():
        print("\n" + told("kill_undeclared", findings, crowd, deaths, time.monotonic() - began))  # noqa: TID251  (the same)
    assert_survived(findings, crowd, deaths, kills)
    assert findings.not_checked.keys() <= {"I28", "I29"}, "the demo has no children and waits for nobody"


def assert_survived(findings: Findings, crowd: Crowd, deaths: dict[str, Counter[str]], kills: int) -> None:
    """Zero violations, and the run was one that could have had some."""
    assert findings.violations == []
    assert all(crowd.answers.values()), "a saga was accepted and its caller never heard of its end"
    assert deaths["kills"].total() == kills
    assert min(crowd.counts["COMPLETED"], crowd.counts["COMPENSATED"]) > 0, "both ways were gone"
    assert crowd.counts["calls sent again"] >= kills // 2, "the kills struck while callers were waiting"
    assert deaths["service_restarts"].total() >= 1


def told(lane: str, findings: Findings, crowd: Crowd, deaths: dict[str, Counter[str]], took_s: float) -> str:
    """The figures, kept for the page and as a line."""
    broken = findings.by_invariant
    counted = {
        "seed": SEED,
        "sagas": findings.sagas,
        "records": findings.records,
        "effects": findings.effects,
        "kills": deaths["kills"].total(),
        **{f"kills {moment}": number for moment, number in sorted(deaths["kills"].items())},
        "service restarts": deaths["service_restarts"].total(),
        "acknowledged": len(crowd.answers),
        "ambiguous": crowd.counts["ambiguous, and recorded"] + crowd.counts["ambiguous, and not recorded"],
        **dict(sorted(crowd.counts.items())),
        **{f"ended {name}": number for name, number in sorted(crowd.definitions.items())},
        "lost": broken["I7"] + broken["I29"],
        "doubled": broken["I13"],
        "left_undone": broken["I18"] + broken["I24"] + broken["I28"],
        "violations": findings.violation_count,
        "seconds": round(took_s, 1),
    }
    figures.keep(lane, **counted)
    return f"{lane}: " + ", ".join(f"{name}: {number}" for name, number in counted.items())
