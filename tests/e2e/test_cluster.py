"""Three nodes, one PostgreSQL, callers at every door, and everything breaks: who was told what, and is it so?"""

import asyncio
import os
import statistics
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path
from random import Random  # noqa: TID251  (seeded: the same strikes again, as far as a scheduler allows)

import pytest

from services.bank.accounts import OPENING_CENTS
from tests.e2e import town
from tests.e2e.cluster import Cluster, cluster
from tests.e2e.crowd import Crowd
from tests.e2e.errands import of_every_shape
from tests.e2e.judging import SHOWN, told
from tests.e2e.striking import HEAVY, LIGHT, WIDE, Act, Field

pytestmark = pytest.mark.alone  # leases run out in real time, and hand-overs are measured

SEED = int(os.environ.get("CLUSTER_SEED", "2026"))
FAULTS = int(os.environ.get("FAULTS", "12"))
"""Of nodes, lines and the database, besides its restarts."""
RESTARTS = int(os.environ.get("RESTARTS", "4"))
"""Of the database, as if its machine had lost its power."""
CALLERS = 24
LEASE_S = 2.0
CALL_S = 3.0
HANDOVER_S_MAX = 1.0


@pytest.mark.timeout(120 + 10 * FAULTS + 5 * RESTARTS)
async def test_nothing_is_lost_doubled_or_written_by_two_whatever_happens_to_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    luck = Random(SEED)
    clock = asyncio.get_running_loop()
    async with cluster(tmp_path, lease_s=LEASE_S) as struck:
        began = clock.time()
        crowd = Crowd(struck.channels, luck, of_every_shape(luck), call_s=CALL_S)
        field = Field(cluster=struck, crowd=crowd, luck=luck)
        async with town.kept_up(*struck.mesh.services.values()) as deaths, asyncio.TaskGroup() as tasks:
            tasks.create_task(crowd.run(CALLERS))
            await storm(field)
            struck.heal()
            print({name: round(took_s, 1) for name, took_s in field.took_s.items()}, round(clock.time() - began, 1))
            await struck.mesh.clear_faults()
            crowd.stop()
        assert await town.money_cents(struck.mesh) == sum(OPENING_CENTS.values())
        judgement = await struck.judged(crowd)
        testimony = struck.witness.testimony()
        late = came_late(struck, field)
    line = told(
        "cluster",
        judgement,
        crowd,
        clock.time() - began,
        seed=SEED,
        nodes=len(struck.nodes),
        lives=sum(node.lives for node in struck.nodes),
        faults=field.struck.total(),
        restarts=field.restarts,
        **{f"fault: {name}": number for name, number in sorted(field.struck.items())},
        handovers=len(field.handovers_s),
        handover_p50_s=round(statistics.median(field.handovers_s or [0.0]), 3),
        handover_max_s=round(max(field.handovers_s, default=0.0), 3),
        terms_of_shards=testimony.owners,
        moves_of_shards=testimony.moves,
        two_owners=len(testimony.violations),
        paused_beyond_lease=len(field.paused),
        written_after_pause=len(late),
        **{"service restarts": deaths.total()},
    )
    with capsys.disabled():
        print(f"\n{line}")
    assert testimony.violations == []
    assert late == []
    assert judgement.findings.violations == []
    assert SHOWN.isdisjoint(judgement.findings.not_checked)
    assert all(crowd.ends.values()), "a saga was accepted and its caller never heard of its end"
    assert field.struck.total() >= FAULTS
    assert field.restarts >= RESTARTS
    assert judgement.survived.total() > 0, "no saga was passed on"
    assert testimony.moves > 0
    assert min(crowd.counts["COMPLETED"], crowd.counts["COMPENSATED"]) > 0, "both ways were gone"
    assert field.handovers_s
    assert statistics.median(field.handovers_s) < HANDOVER_S_MAX


async def storm(field: Field) -> None:
    """Strike in an order that luck has chosen: lines beside restarts of the database, then nodes, then all at once."""
    nodes, luck = field.cluster.nodes, field.luck
    wide = FAULTS // 5
    heavy = (FAULTS - wide) // 2
    light = chosen(LIGHT, FAULTS - wide - heavy, luck)
    await bad_days(field)
    for _ in range(RESTARTS):
        async with asyncio.TaskGroup() as both:
            both.create_task(field.restart_store())
            if name := next(light, ""):
                both.create_task(field.strike(name, luck.choice(nodes)))
    for name in light:
        await field.strike(name, luck.choice(nodes))
    await bad_days(field)
    pending = list(chosen(HEAVY, heavy, luck))
    while pending:
        first, second = luck.sample(nodes, 2)
        async with asyncio.TaskGroup() as both:
            both.create_task(field.strike(pending.pop(), first))
            if pending:
                both.create_task(field.strike(pending.pop(), second))
    for name in chosen(WIDE, wide, luck):
        await field.strike(name, luck.choice(nodes))


def chosen(strikes: Mapping[str, Act], number: int, luck: Random) -> Iterator[str]:
    """So many of a kind, each as often as the others, in any order."""
    names = list(islice(cycle(strikes), number))
    luck.shuffle(names)
    return iter(names)


async def bad_days(field: Field) -> None:
    """Services misbehave besides."""
    await field.cluster.mesh.clear_faults()
    await town.misbehave_in_the_demo(field.cluster.mesh)
    await town.misbehave(field.cluster.mesh)


def came_late(struck: Cluster, field: Field) -> list[str]:
    """Lives that wrote something under a term that was over before they went on."""
    return [
        f"{life} wrote {now - written} records after its lease"
        for life, terms, written in field.paused
        if (now := struck.witness.records_under(terms)) != written
    ]
