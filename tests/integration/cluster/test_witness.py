"""The witness inside the database, which judges a cluster under chaos: it sees each thing that must never be."""

import asyncio

import pytest

from orchestrator.journal.postgres import PostgresJournal
from tests.e2e.witness import SETTING, Witness
from tests.kit.postgres import server

SHARDS = 2


@pytest.fixture
async def witness() -> Witness:
    """A store of two shards; `a` owns both, each under an epoch of its own, the one before was `b`'s."""
    found = Witness(server=server(), database=await asyncio.to_thread(server().database))
    journal = await PostgresJournal.open(found.server.dsn(found.database), shard_count=SHARDS)
    await journal.close()
    found.install()
    for node in ("b", "a"):
        as_node(found, node, f"INSERT INTO members VALUES ('member-{node}', '{node}', '', false, 0, 0)")
        as_node(found, node, f"UPDATE shards SET owner = 'member-{node}', epoch = epoch + 1")
    return found


def as_node(witness: Witness, node: str, sql: str) -> None:
    witness.server.run(f"SET {SETTING} = '{node}'; {sql}", witness.database)


def write(witness: Witness, node: str, *, before: int = 0, version: int = 1) -> None:
    """Write a record to shard 0, under its epoch or so many epochs before it."""
    as_node(
        witness,
        node,
        "INSERT INTO records SELECT gen_random_uuid(), "
        f"{version}, nextval('positions'), 0, epoch - {before}, 0, 't', 0, '' FROM shards WHERE shard = 0",
    )


async def test_an_owner_that_writes_under_its_epoch_is_blameless(witness: Witness) -> None:
    write(witness, "a")
    write(witness, "a", version=2)
    found = witness.testimony()
    assert found.violations == []
    assert (found.owners, found.written, found.moves) == (2 * SHARDS, 1, SHARDS)


async def test_a_write_under_an_epoch_that_is_over_is_seen(witness: Witness) -> None:
    write(witness, "b", before=1)
    assert ["owned under" in each for each in witness.testimony().violations] == [True]


async def test_a_writer_that_comes_after_its_successor_is_seen(witness: Witness) -> None:
    write(witness, "a")
    write(witness, "b", before=1)
    assert sum("after one of" in each for each in witness.testimony().violations) == 1


async def test_two_writers_and_a_writer_that_is_not_the_owner_are_seen(witness: Witness) -> None:
    write(witness, "a")
    write(witness, "b")
    found = witness.testimony().violations
    assert [each.split(" ")[0] for each in found] == ["two", "to"]
    assert "by b, which did not own it" in found[1]


async def test_two_owners_of_one_epoch_are_seen(witness: Witness) -> None:
    as_node(witness, "b", "UPDATE shards SET owner = 'member-b'")
    assert [each.split(":")[0][:9] for each in witness.testimony().violations] == ["two owned"] * SHARDS


async def test_when_all_of_a_nodes_shards_are_anothers_is_known(witness: Witness) -> None:
    terms = witness.owned_by("a")
    assert sorted(terms) == list(range(SHARDS))
    assert witness.passed_on_at(terms) == float("inf")
    as_node(witness, "b", "UPDATE shards SET owner = '', epoch = epoch + 1")
    assert witness.passed_on_at(terms) == float("inf"), "nobody has them"
    before = witness.now()
    as_node(witness, "b", "UPDATE shards SET owner = 'member-b', epoch = epoch + 1")
    assert before <= witness.passed_on_at(terms) <= witness.now()
    assert witness.records_under(terms) == 0
