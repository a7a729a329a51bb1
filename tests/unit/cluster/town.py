"""A few processes of one cluster, on a loop on which time jumps, with a tenant that notes what it hears."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from random import Random  # noqa: TID251  (seeded)
from typing import Any
from uuid import UUID

from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.term import renew_every_s
from orchestrator.errors import JournalUnavailable, NotOwner
from orchestrator.journal.memory_leases import MemoryCluster, MemoryLeases
from orchestrator.limits import LEASE_TRUST_SHARE
from orchestrator.testing.loop import SimulatedLoop

BEGIN_AT = 1_800_000_000.0
LEASE_S = 6.0
WAY_S = 0.002
"""What a question to the store takes, there and back."""
RENEWAL_S = renew_every_s(LEASE_S)
TRUST_S = LEASE_S * LEASE_TRUST_SHARE


def store_now() -> float:
    return BEGIN_AT + asyncio.get_running_loop().time()


class Clock:
    """One process's clock: in step with the loop, until it jumps."""

    def __init__(self, seed: int) -> None:
        self.jumped_s = 0.0
        self._luck = Random(seed)

    def now(self) -> float:
        return store_now() + self.jumped_s

    def off_s(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def entropy(self) -> float:
        return self._luck.random()

    def new_uid(self) -> UUID:
        return UUID(int=self._luck.getrandbits(128))


class Way:
    """`Leases` over a way that takes time and may be cut."""

    def __init__(self, leases: MemoryLeases) -> None:
        self._leases = leases
        self.is_cut = False
        self.is_silent = False
        """What is asked is never answered."""
        self.loses_answers_of: set[str] = set()
        self.refuses: set[str] = set()
        self.breaks: set[str] = set()
        """What fails once, as it must not."""
        self.back_s: dict[str, float] = {}
        """How much longer answers take than questions."""
        self.asked_count = 0
        self.asked: list[str] = []
        self.joined: list[str] = []
        """The UUIDs that it was asked to join as."""
        self.is_asked = asyncio.Event()
        """A question is on its way."""

    def cut(self, *, silent: bool = False) -> None:
        self.is_cut, self.is_silent = not silent, silent

    def mend(self) -> None:
        self.is_cut = self.is_silent = False

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def asked(*args: Any, **kwargs: Any) -> Any:
            self.is_asked.set()
            self.asked_count += 1
            self.asked.append(name)
            if name == "join":
                self.joined.append(args[0].member)
            try:
                await self._pass()
                if name in self.breaks:
                    self.breaks.remove(name)
                    raise RuntimeError("a bug")
                if name in self.refuses:
                    raise JournalUnavailable("the database refuses")
                answer = await getattr(self._leases, name)(*args, **kwargs)
                await asyncio.sleep(self.back_s.get(name, 0.0))  # poll: time is virtual here
                await self._pass()
            finally:
                self.is_asked.clear()
            if name in self.loses_answers_of:
                raise JournalUnavailable("the connection broke")
            return answer

        return asked

    async def _pass(self) -> None:
        await asyncio.sleep(WAY_S / 2)  # poll: time is virtual here
        if self.is_silent:
            await asyncio.Event().wait()
        if self.is_cut:
            raise JournalUnavailable("the database is away")


class Resident:
    """A scripted `Tenant`: `calls_s` is how long the open calls of its shards take to end."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[int, ...], float]] = []
        self.runs: set[int] = set()
        self.calls_s: dict[int, float] = {}
        self.fails_to_leave = False

    def took(self, shards: Collection[int]) -> None:
        assert not self.runs.intersection(shards), "took what it runs already"
        self._note("took", shards)
        self.runs.update(shards)

    async def leave(self, shards: Collection[int], grace_s: float) -> None:
        self._note("leave", shards)
        if self.fails_to_leave:
            raise RuntimeError("a bug")
        calls_s = max(self.calls_s.get(shard, 0.0) for shard in shards)
        if calls_s:
            await asyncio.sleep(min(calls_s, grace_s))  # poll: time is virtual here
        self._note("left", shards)
        self.runs.difference_update(shards)

    def lost(self, shards: Collection[int]) -> None:
        self._note("lost", shards)
        self.runs.difference_update(shards)

    def _note(self, what: str, shards: Collection[int]) -> None:
        self.heard.append((what, tuple(sorted(shards)), asyncio.get_running_loop().time()))

    def times(self, what: str) -> list[float]:
        return [at for said, _, at in self.heard if said == what]


class House:
    """One process: its clock, its way to the store, its tenant and its membership."""

    def __init__(self, town: "Town", name: str, seed: int) -> None:
        self.name = name
        self.clock = Clock(seed)
        self.leases = town.cluster.open()
        self.time = StoreTime(self.clock.monotonic, self.clock.now)
        self.way = Way(self.leases)
        self.tenant = Resident()
        self.membership = Membership(
            self.way,  # type: ignore[arg-type]  # it passes every question on
            self.clock,
            name=name,
            address=f"{name}:7444",
            shard_count=town.shard_count,
            lease_s=LEASE_S,
            store_time=self.time,
            on_news=town.tell,
        )
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def owned(self) -> set[int]:
        return set(self.membership.owned())

    def may_write(self, shard: int) -> bool:
        try:
            self.membership.epoch(shard)
        except NotOwner:
            return False
        return True

    async def _run(self) -> None:
        async with self.membership.running(self.tenant):
            await self._over.wait()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End as a program does that returns from its block."""
        self._over.set()
        assert self._task is not None
        await self._task

    def kill(self) -> None:
        """End as SIGKILL does it: nothing of it reaches the store any more."""
        self.way.is_silent = True
        assert self._task is not None
        self._task.cancel()


class Town:
    def __init__(self, shard_count: int = 16) -> None:
        self.shard_count = shard_count
        self.store_jumped_s = 0.0
        self.cluster = MemoryCluster(lambda: store_now() + self.store_jumped_s, shard_count)
        self.houses: list[House] = []
        self.are_peers_deaf = False
        self._seed = 0

    def tell(self, addresses: Collection[str]) -> None:
        if self.are_peers_deaf:
            return
        for house in self.houses:
            if house.membership._me.address in addresses:
                asyncio.get_running_loop().call_later(WAY_S, house.membership.nudge)

    def build(self, name: str) -> House:
        self._seed += 1
        house = House(self, name, self._seed)
        self.houses.append(house)
        return house

    async def open(self, *names: str) -> list[House]:
        """Start processes one after the other, and wait until shards lie still."""
        opened = []
        for name in names:
            house = self.build(name)
            house.start()
            await house.membership.joined()
            await self.settled(*self.living)
            opened.append(house)
        return opened

    @property
    def living(self) -> list[House]:
        return [house for house in self.houses if not house.way.is_silent and not house._over.is_set()]

    async def settled(self, *houses: House, within_s: float = 60.0) -> float:
        """Wait until each of these has its fair share, and together all; return how long it took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._is_settled(houses):
            assert loop.time() < began + within_s, [sorted(house.owned) for house in houses]
            await asyncio.sleep(0.01)  # poll: time is virtual here
        return loop.time() - began

    def _is_settled(self, houses: Collection[House]) -> bool:
        counts = [len(house.owned) for house in houses]
        if sum(counts) != self.shard_count or max(counts) - min(counts) > 1:
            return False
        return all(house.tenant.runs == house.owned for house in houses)

    def check(self) -> None:
        """No shard may be written by two, and whoever may write it does so under the epoch of the store."""
        for shard in range(self.shard_count):
            assert sum(house.may_write(shard) for house in self.houses) <= 1


@asynccontextmanager
async def town(shard_count: int = 16) -> AsyncIterator[Town]:
    built = Town(shard_count)
    yield built
    tasks = [house._task for house in built.houses if house._task is not None]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def played(story: Coroutine[Any, Any, None]) -> None:
    """Run a story on the jumping loop; what nobody caught is a failure."""
    loop = SimulatedLoop(Random(7))  # type: ignore[abstract]  # what can be had without sockets
    loop.run(story)
    assert not loop.errors, loop.errors


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> float:
    """Wait for a fact; return when it came to be, by the loop's clock."""
    end = now() + within_s
    while not holds():
        assert now() < end
        await asyncio.sleep(0.005)  # poll: time is virtual here
    return now()


@asynccontextmanager
async def nudged(house: House, every_s: float = 0.005) -> AsyncIterator[None]:
    """While the block runs, peers tell a process all the time that something has changed."""

    async def tell() -> None:
        while True:
            house.membership.nudge()
            await asyncio.sleep(every_s)  # poll: time is virtual here

    task = asyncio.get_running_loop().create_task(tell())
    yield
    task.cancel()


async def watch(place: Town, for_s: float) -> None:
    """Let time pass, and look all the while that no shard has two writers."""
    end = now() + for_s
    while now() < end:
        place.check()
        await asyncio.sleep(0.02)  # poll: time is virtual here


def moved(houses: list[House]) -> int:
    return sum(house.membership.counts.taken for house in houses)
