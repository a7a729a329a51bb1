"""Kill it anywhere: real processes, real load, SIGKILL at random moments, and three witnesses in the end."""

import asyncio
import json
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded: the same moments again, as far as a scheduler allows)

import pytest

from orchestrator.bootstrap import open_records
from orchestrator.cli.main import run
from orchestrator.verify import Findings, Ledgers, read_ledgers, verify
from tests.e2e.crowd import Crowd
from tests.kit.mesh import ROOT, Mesh, Program, channel

SEED = int(os.environ.get("KILL_SEED", "2026"))
KILLS = int(os.environ.get("KILLS", "24"))
CALLERS = 24


async def judged(mesh: Mesh, crowd: Crowd) -> Findings:
    """Stop everything, and hold the three witnesses against each other. A bug that was survived is still a bug."""
    mesh.orchestrator.signal()
    assert await mesh.orchestrator.ended(within_s=30) == 0
    for service in mesh.services.values():
        service.signal()
        await service.ended(within_s=10)
    assert "Traceback" not in mesh.orchestrator.log
    async with open_records(mesh.journal) as (journal, plans):
        return await verify(journal, plans, ledgers=Ledgers(read_ledgers(mesh.data)), answers=crowd.answers)


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


async def killed_again_and_again(mesh: Mesh, kills: int) -> tuple[Crowd, dict[str, Counter[str]]]:
    """Let a crowd work while everything is killed; return when every saga has ended."""
    luck = Random(SEED)
    moments: Counter[str] = Counter()
    await mesh.start()
    await misbehave(mesh)
    async with channel(mesh.orchestrator.address) as connection, kept_up(*mesh.services.values()) as restarts:
        crowd = Crowd(connection, luck)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.run(CALLERS))
            for number in range(kills):
                moments[await kill_somewhere(mesh, crowd, luck, number)] += 1
                if number in {kills // 3, 2 * kills // 3}:
                    await mesh.services[luck.choice(("archive", "safety"))].kill()
            await mesh.clear_faults()
            crowd.stop()
    return crowd, {"kills": moments, "service_restarts": restarts}


@pytest.mark.timeout(60 + 10 * KILLS)
@pytest.mark.parametrize(
    ("name", "is_declared", "kills"),
    [("keys_declared", True, KILLS), ("nothing_declared", False, KILLS // 3)],
    ids=["keys declared", "nothing declared"],
)
async def test_nothing_is_lost_doubled_or_left_undone_wherever_the_orchestrator_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, is_declared: bool, kills: int
) -> None:
    async with Mesh(tmp_path, is_declared=is_declared) as mesh:
        crowd, deaths = await killed_again_and_again(mesh, kills)
        findings = await judged(mesh, crowd)
    with capsys.disabled():
        print("\n" + report(name, findings, crowd, deaths))
    assert findings.violations == []
    assert findings.not_checked.keys() <= {"I28"}, "the demo has no child sagas; everything else was looked at"
    assert all(crowd.answers.values()), "a saga was accepted and its caller never heard of its end"
    assert deaths["kills"].total() == kills
    assert min(crowd.counts["COMPLETED"], crowd.counts["COMPENSATED"]) > 0, "both ways were gone"
    assert crowd.counts["calls sent again"] >= kills // 2, "the kills struck while callers were waiting"
    assert deaths["service_restarts"].total() >= 2
    arguments = ["verify", "--journal", str(mesh.journal), "--ledger", str(mesh.data), "--quiet"]
    assert await asyncio.to_thread(run, arguments) == 0


def report(name: str, findings: Findings, crowd: Crowd, deaths: dict[str, Counter[str]]) -> str:
    """The figures, kept beside the other results of a run."""
    broken = findings.by_invariant
    figures = {
        "seed": SEED,
        "sagas": findings.sagas,
        "records": findings.records,
        "effects": findings.effects,
        **deaths,
        "acknowledged": len(crowd.answers),
        **dict(sorted(crowd.counts.items())),
        "lost": broken["I7"],
        "doubled": broken["I13"],
        "left_undone": broken["I18"] + broken["I24"],
        "violations": findings.violation_count,
    }
    folder = ROOT / "build"
    folder.mkdir(exist_ok=True)
    (folder / f"kill-test-{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
    return re.sub(r'[{}"]', "", f"kill test, {name}: {json.dumps(figures)}")
