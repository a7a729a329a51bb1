"""What can happen to a cluster: to one node's lines, to a node, to all at once. Each heals what it struck.

Nothing waits for time where a fact will do: for answers that callers get meanwhile, or for others to own what a node
owned. A strike that lasts longer than a lease lasts until the lease is seen to be over.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random  # noqa: TID251  (seeded)
from typing import ParamSpec, TypeVar

import psycopg

from tests.e2e.cluster import Cluster, Node
from tests.e2e.crowd import Crowd
from tests.kit.tcp import Line, Way

P = ParamSpec("P")
T = TypeVar("T")

STRIKE_S_MAX = 180.0
ANSWERS = 5
"""So many arrive before it goes on: it goes on under load."""
LEAVE_S_MAX = 30.0
SLOW_S = 0.03
NARROW_BYTES_PER_S = 300_000.0


@dataclass(slots=True, kw_only=True)
class Field:
    """Where strikes fall, and what they have shown."""

    cluster: Cluster
    crowd: Crowd
    luck: Random
    struck: Counter[str] = field(default_factory=Counter[str])
    took_s: dict[str, float] = field(default_factory=dict[str, float])
    """For all strikes of a name together."""
    restarts: int = 0
    """Of the database."""
    handovers_s: list[float] = field(default_factory=list[float])
    """From SIGTERM to the last shard of a node being somebody else's."""
    paused: list[tuple[str, dict[int, int], int]] = field(default_factory=list[tuple[str, dict[int, int], int]])
    """Lives that were stopped for longer than their lease; what they owned; the records under it as they went on."""

    async def strike(self, name: str, node: Node) -> None:
        """Strike once; one that does not come to its end is named."""
        act, began = STRIKES[name], asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(STRIKE_S_MAX):
                await act(self, node)
        except TimeoutError as stuck:
            raise AssertionError(f"{name}: stuck at {node.life}:\n{node.program.log[-3_000:]}") from stuck
        self.struck[name] += 1
        self.took_s[name] = self.took_s.get(name, 0.0) + asyncio.get_running_loop().time() - began

    async def restart_store(self) -> None:
        """As if the database's machine had lost its power for a moment; go on when callers are answered again."""
        began = asyncio.get_running_loop().time()
        await self.cluster.restart_store()
        self.restarts += 1
        await self.crowd.more_answers(ANSWERS)
        self.took_s["restart"] = self.took_s.get("restart", 0.0) + asyncio.get_running_loop().time() - began

    async def passed_on(self, terms: dict[int, int]) -> float:
        """Wait until others own all of it; return since when, by the database's clock."""
        while (at := await insisted(self.cluster.witness.passed_on_at, terms)) == float("inf"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # poll: who owns what
        return at


async def owned(cluster: Cluster, node: Node) -> dict[int, int]:
    """Return what a node owns, once it owns something: shards and epochs."""
    while not (terms := await insisted(cluster.witness.owned_by, node.life)):  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # poll: who owns what
    return terms


async def insisted(ask: Callable[P, T], *values: P.args, **named: P.kwargs) -> T:
    """Ask the database, which may be away."""
    while True:
        try:
            return await asyncio.to_thread(ask, *values, **named)
        except psycopg.OperationalError:
            await asyncio.sleep(0.02)  # poll: whether it answers


# --- one node's lines, for a moment ----------------------------------------------------------------------------------


async def _all_backends(field: Field, _: Node) -> None:
    cluster = field.cluster
    await insisted(cluster.server.terminate_backends, cluster.witness.database)
    await field.crowd.more_answers(ANSWERS)


async def _a_backend(field: Field, _: Node) -> None:
    sql = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
        f"AND datname = '{field.cluster.witness.database}' ORDER BY random() LIMIT 1"
    )
    await insisted(field.cluster.server.run, sql)
    await field.crowd.more_answers(ANSWERS)


def _cut(line: Callable[[Node], Line], *, reset: bool) -> "Act":
    async def act(field: Field, node: Node) -> None:
        line(node).cut(reset=reset)
        await field.crowd.more_answers(ANSWERS)

    return act


def _refuse(line: Callable[[Node], Line]) -> "Act":
    async def act(field: Field, node: Node) -> None:
        line(node).refuse()
        await field.crowd.more_answers(16)
        await line(node).listen()

    return act


def _shut(ways: Callable[[Node], tuple[Way, ...]], answers: int) -> "Act":
    async def act(field: Field, node: Node) -> None:
        for way in ways(node):
            way.shut()
        await field.crowd.more_answers(answers)
        for way in ways(node):
            way.open()

    return act


def _slow(line: Callable[[Node], Line], answers: int) -> "Act":
    async def act(field: Field, node: Node) -> None:
        for way in line(node).ways:
            way.delay_s = SLOW_S
        await field.crowd.more_answers(answers)
        line(node).heal()

    return act


# --- a node ----------------------------------------------------------------------------------------------------------


async def _kill(field: Field, node: Node) -> None:
    await node.kill()
    await field.crowd.more_answers(field.luck.choice((0, 20, 60)))
    await node.start()


async def _kill_and_see(field: Field, node: Node) -> None:
    """Until others have everything."""
    terms = await owned(field.cluster, node)
    await node.kill()
    await field.passed_on(terms)
    await node.start()


async def _pause(field: Field, node: Node) -> None:
    node.pause()
    await field.crowd.more_answers(20)
    node.resume()


async def _pause_beyond_the_lease(field: Field, node: Node) -> None:
    terms = await owned(field.cluster, node)
    node.pause()
    await field.passed_on(terms)
    written = await insisted(field.cluster.witness.records_under, terms)
    node.resume()
    field.paused.append((node.life, terms, written))
    await field.crowd.more_answers(20)


async def _leave(field: Field, node: Node) -> None:
    """As a rolling restart does, one node after the other."""
    terms = await owned(field.cluster, node)
    began_at = await insisted(field.cluster.witness.now)
    await node.leave(LEAVE_S_MAX)
    field.handovers_s.append(await field.passed_on(terms) - began_at)
    await node.start()


def _shut_beyond_the_lease(ways: Callable[[Node], tuple[Way, ...]], *, lost: bool) -> "Act":
    async def act(field: Field, node: Node) -> None:
        terms = await owned(field.cluster, node)
        for way in ways(node):
            way.shut()
        await field.passed_on(terms)
        written = await insisted(field.cluster.witness.records_under, terms)
        if lost:
            node.to_store.cut()
        for way in ways(node):
            way.open()
        field.paused.append((node.life, terms, written))

    return act


# --- all at once -----------------------------------------------------------------------------------------------------


async def _store_paused_beyond_the_lease(field: Field, _: Node) -> None:
    cluster = field.cluster
    await asyncio.to_thread(cluster.server.pause)
    await asyncio.sleep(cluster.lease_s * 1.25)  # poll: nothing; with the database, every clock that counts is away
    await asyncio.to_thread(cluster.server.resume)
    await field.crowd.more_answers(20)


async def _store_down_beyond_the_lease(field: Field, _: Node) -> None:
    cluster = field.cluster
    await asyncio.to_thread(cluster.server.stop, "immediate")
    await asyncio.sleep(cluster.lease_s * 1.25)  # poll: nothing; as above
    await asyncio.to_thread(cluster.server.start)
    field.restarts += 1
    await field.crowd.more_answers(20)


async def _slow_store(field: Field, _: Node) -> None:
    for node in field.cluster.nodes:
        for way in node.to_store.ways:
            way.delay_s = SLOW_S
    await field.crowd.more_answers(60)
    field.cluster.heal()


async def _narrow_store(field: Field, _: Node) -> None:
    for node in field.cluster.nodes:
        for way in node.to_store.ways:
            way.bytes_per_s = NARROW_BYTES_PER_S
    await field.crowd.more_answers(60)
    field.cluster.heal()


async def _nobody_reaches_anybody(field: Field, _: Node) -> None:
    """Only the database is left between them."""
    for node in field.cluster.nodes:
        node.to_it.refuse()
    await field.crowd.more_answers(80)
    for node in field.cluster.nodes:
        await node.to_it.listen()


async def _rolling_restart(field: Field, _: Node) -> None:
    for node in field.cluster.nodes:
        await _leave(field, node)
        field.struck["asked to leave"] += 1


async def _all_but_one_killed(field: Field, node: Node) -> None:
    others = field.cluster.others(node)
    for each in others:
        await each.kill()
    await field.crowd.more_answers(20)
    async with asyncio.TaskGroup() as starting:
        for each in others:
            starting.create_task(each.start())


async def _killed_while_the_store_restarts(field: Field, node: Node) -> None:
    async with asyncio.TaskGroup() as both:
        both.create_task(field.cluster.restart_store())
        both.create_task(node.kill())
    field.restarts += 1
    await node.start()
    await field.crowd.more_answers(ANSWERS)


Act = Callable[[Field, Node], Awaitable[None]]

LIGHT: Mapping[str, Act] = {
    "every backend terminated": _all_backends,
    "a backend terminated": _a_backend,
    "its store's line reset": _cut(lambda node: node.to_store, reset=True),
    "its store's line ended": _cut(lambda node: node.to_store, reset=False),
    "its store's line refused": _refuse(lambda node: node.to_store),
    "its store's line slow": _slow(lambda node: node.to_store, 30),
    "its store's line silent for a moment": _shut(lambda node: (node.to_store.back,), 16),
    "its peers' line reset": _cut(lambda node: node.to_it, reset=True),
    "its peers' line silent": _shut(lambda node: (node.to_it.there,), 30),
    "its peers' line silent on the way back": _shut(lambda node: (node.to_it.back,), 30),
    "its peers' line slow": _slow(lambda node: node.to_it, 30),
    "its callers' line reset": _cut(lambda node: node.at_door, reset=True),
}
"""Besides which the database may be restarted."""

HEAVY: Mapping[str, Act] = {
    "killed": _kill,
    "stopped beyond its lease": _pause_beyond_the_lease,
    "asked to leave": _leave,
    "killed until others have all": _kill_and_see,
    "stopped for a moment": _pause,
    "its store silent beyond its lease": _shut_beyond_the_lease(lambda node: node.to_store.ways, lost=True),
    "its store's answers silent beyond its lease": _shut_beyond_the_lease(
        lambda node: (node.to_store.back,), lost=False
    ),
    "its words to its store silent beyond its lease": _shut_beyond_the_lease(
        lambda node: (node.to_store.there,), lost=False
    ),
}
"""Of which two may strike at once, at two nodes."""

WIDE: Mapping[str, Act] = {
    "the database stopped beyond every lease": _store_paused_beyond_the_lease,
    "a rolling restart": _rolling_restart,
    "the database slow": _slow_store,
    "the database down beyond every lease": _store_down_beyond_the_lease,
    "no peer reached": _nobody_reaches_anybody,
    "all but one killed": _all_but_one_killed,
    "killed while the database restarts": _killed_while_the_store_restarts,
    "the database narrow": _narrow_store,
}
STRIKES: Mapping[str, Act] = {**LIGHT, **HEAVY, **WIDE}
