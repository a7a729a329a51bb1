"""A store that the bench fills is one that the orchestrator could have written, and goes on with."""

import asyncio
from pathlib import Path

import apsw
import pytest

from orchestrator import bootstrap
from orchestrator.config import Settings
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.runtime import Until
from orchestrator.values import Payload
from orchestrator.verify import verify
from tests.benchmarks import flows
from tests.benchmarks.filling import ASKED, NAPPING, fill
from tests.benchmarks.pouring import pour
from tests.kit.postgres import database, run

FINISHED, SLEEPING = 250, 7


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    await fill(tmp_path / "saga.sqlite", finished=FINISHED, sleeping=SLEEPING)
    return tmp_path / "saga.sqlite"


async def test_what_is_filled_in_holds_every_invariant(file: Path) -> None:
    async with bootstrap.open_records(str(file)) as (store, revisions):
        assert isinstance(store, SqliteJournal)
        findings = await verify(store, revisions, ledgers=None, knows_targets=False, in_order=True)
    assert findings.violations == []
    assert findings.sagas == FINISHED + SLEEPING
    assert findings.checked["I12"] >= FINISHED * 5  # a key of its own for every attempt


async def test_what_is_poured_over_holds_every_invariant_and_has_its_indexes(file: Path) -> None:
    with database() as dsn, database() as empty:
        await pour(file, dsn)
        await (await PostgresJournal.open(empty)).close()
        indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname"
        assert run(dsn, indexes) == run(empty, indexes)
        async with bootstrap.open_records(dsn) as (store, revisions):
            assert isinstance(store, PostgresJournal)
            findings = await verify(store, revisions, ledgers=None, knows_targets=False, in_order=True)
    assert findings.violations == []
    assert findings.sagas == FINISHED + SLEEPING


async def test_as_many_end_and_sleep_as_were_asked_for_each_at_a_time_of_its_own(file: Path) -> None:
    connection = apsw.Connection(str(file))
    found = connection.execute("SELECT definition, status, rest, count(*) FROM sagas GROUP BY 1, 2, 3 ORDER BY 1")
    assert found.fetchall() == [
        (ASKED, "RUNNING", "asleep", 4),
        (NAPPING, "RUNNING", "asleep", 3),
        (flows.EPRO, "COMPLETED", "asleep", FINISHED),
    ]
    ((times,),) = connection.execute("SELECT count(DISTINCT ended_at) FROM sagas")
    assert times == 1 + 3  # the template, and a group of each hundred others
    ((far,),) = connection.execute("SELECT count(*) FROM sagas WHERE wake_at > updated_at + 86400 * 100")
    assert far == SLEEPING


async def test_a_sleeper_that_was_filled_in_wakes_by_its_signal_and_no_other_is_taken_up(file: Path) -> None:
    connection = apsw.Connection(str(file))
    saga = connection.execute("SELECT saga_id FROM sagas WHERE definition = ? ORDER BY id DESC LIMIT 1", (ASKED,)).get
    connection.close()
    settings = Settings.model_validate({"store": f"sqlite:{file}", "targets": {"epro": {"address": "127.0.0.1:1"}}})
    async with bootstrap.open_node(settings, environ={}) as node:
        await node.orchestrator.signal(saga, "go", Payload("epro.v1.Report", b""))
        async with asyncio.timeout(30):
            ended = await node.orchestrator.wait(saga, Until.TERMINAL, 0, 30)
        assert ended.is_terminal
        assert node.orchestrator.stats().recovered == 0
