"""The client of the simulated database keeps the journal's contract: an append waits until its end is known."""

import asyncio
import contextvars
from collections.abc import Sequence

import pytest

from orchestrator.errors import Fenced, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.ports.journal import AppendResult
from orchestrator.ports.leases import Member, Shard
from orchestrator.testing.client import Client
from orchestrator.testing.database import Database, Line
from orchestrator.testing.loop import Life
from orchestrator.testing.oversight import Oversight
from tests.conformance.journal_values import append
from tests.unit.testing.worlds import faults_of, passes, told

LEASE_S = 6.0


class Pair:
    """Two clients of one database; the first is the member `a`, and has the one shard there is under epoch 1."""

    def __init__(self, *tape: str) -> None:
        self.broken: list[str] = []
        self.database = Database(Oversight(LEASE_S, self.broken), shard_count=1)
        self.lives = [Life("n1.life-1"), Life("n2.life-1")]
        faults, outside = faults_of(*tape), contextvars.copy_context()
        self.one, self.two = (
            Client(Line(self.database, life, life.name[:2], faults, outside), lambda: None) for life in self.lives
        )

    async def join(self) -> None:
        await self.one.join(Member(member="a", name="n1", address="n1"), LEASE_S)
        await self.two.join(Member(member="b", name="n2", address="n2"), LEASE_S)
        await self.one.claim("a", [Shard(shard=0, owner="", epoch=0)])

    async def give(self) -> None:
        await self.one.give("a", [Shard(shard=0, owner="a", epoch=1)], "b")

    async def there(self) -> Sequence[int]:
        return [record.epoch for record in await self.database.store.read(SagaId("s1"))]


def wrote(*tape: str) -> tuple[AppendResult, Sequence[int]]:
    """Write one record with what goes wrong on a tape; return what its writer is told and what is there."""

    async def story() -> tuple[AppendResult, Sequence[int]]:
        pair = Pair(*tape)
        await pair.join()
        (result,) = await pair.one.append([append("s1", epoch=1)])
        return result, await pair.there()

    return told(story)


@pytest.mark.parametrize("fault", ["lost", "unheard", "late", "slow"])
def test_an_append_is_run_again_until_its_end_is_known_and_is_done_once(fault: str) -> None:
    assert wrote(f"statement.{fault} n1.life-1/append/1") == (None, [1])


def test_what_an_earlier_run_did_is_known_although_the_shard_is_anothers_by_now() -> None:
    async def story() -> tuple[AppendResult, Sequence[int]]:
        pair = Pair("statement.unheard n1.life-1/append/1")
        await pair.join()
        writing = asyncio.get_running_loop().create_task(pair.one.append([append("s1", epoch=1)]))
        await passes(0.01)
        await pair.give()
        await pair.two.append([append("s1", epoch=2, after=1)])
        return (await writing)[0], await pair.there()

    assert told(story) == (None, [1, 2])


def test_who_has_lost_its_shard_is_refused_and_nothing_is_there() -> None:
    async def story() -> tuple[AppendResult, Sequence[int]]:
        pair = Pair("statement.lost n1.life-1/append/1")
        await pair.join()
        writing = asyncio.get_running_loop().create_task(pair.one.append([append("s1", epoch=1)]))
        await passes(0.01)
        await pair.give()
        return (await writing)[0], await pair.there()

    result, there = told(story)
    assert isinstance(result, Fenced)
    assert there == []


def test_a_read_says_that_the_database_is_away_and_an_append_waits_for_it() -> None:
    async def story() -> float:
        pair = Pair()
        await pair.join()
        pair.database.is_away = True
        loop = asyncio.get_running_loop()
        with pytest.raises(JournalUnavailable):
            await pair.one.row(SagaId("s1"))
        writing = loop.create_task(pair.one.append([append("s1", epoch=1)]))
        await passes(60.0)
        assert not writing.done()
        pair.database.is_away = False
        assert await writing == [None]
        return loop.time()

    assert told(story) > 60.0


def test_a_node_that_is_cut_off_hears_nothing_while_another_goes_on() -> None:
    async def story() -> None:
        pair = Pair()
        await pair.join()
        pair.database.cut_off["n1"] = None
        with pytest.raises(JournalUnavailable):
            await pair.one.renew("a", LEASE_S, is_leaving=False)
        assert await pair.two.renew("b", LEASE_S, is_leaving=False) is not None

    told(story)
