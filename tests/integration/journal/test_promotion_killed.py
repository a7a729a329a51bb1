"""A promotion that is killed goes on where it ended, and ends as it would have."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from uuid import UUID

import pytest

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal import promoting
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.ports.journal import SearchRow
from orchestrator.ports.leases import Member
from orchestrator.ports.promotion import Entry
from tests.conformance.journal_values import append
from tests.integration.journal.moving import SHARDS, everything, filled, moved, rows_of
from tests.kit import postgres
from tests.kit.figures import keep

STRIDE = 4
"""Every how many steps of a promotion it is killed once; in memory it is killed at every one (`tests/unit/journal`)."""
KILLS = int(os.environ.get("PROMOTION_KILLS", "2"))
"""How often one promotion is killed by the system before it may end."""
SEED = int(os.environ.get("PROMOTION_SEED", "5"))


@pytest.fixture
def dsn() -> Iterator[str]:
    with postgres.database() as name:
        yield name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "saga.sqlite"


class Killed(BaseException):
    """The process died here."""


def mortal(die_at: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have the nth step towards the store be the last one of this process; return what was done."""
    done: list[str] = []

    def dying(name: str) -> None:
        real = getattr(PostgresJournal, name)

        async def step(self: PostgresJournal, *values: object) -> object:
            if len(done) + 1 == die_at:
                raise Killed
            result = await real(self, *values)
            done.append(name)
            return result

        monkeypatch.setattr(PostgresJournal, name, step)

    for name in ("begin", "take", "mark", "finish", "advance", "put", "activate"):
        dying(name)
    return done


async def test_killed_at_any_step_a_second_run_ends_as_the_first_would_have(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promoting, "PROMOTION_SAGAS", 3)
    monkeypatch.setattr(promoting, "PROMOTION_RECORDS", 4)
    origin = await filled(file, 7)
    sent, rows = await everything(origin), await rows_of(origin)
    await origin.close()
    die_at = 1
    while await is_killed(file, die_at, sent, rows, monkeypatch):
        die_at += STRIDE
    assert die_at > 10


async def is_killed(
    file: Path, die_at: int, sent: Sequence[Entry], rows: Sequence[SearchRow], monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Kill a promotion at a step, and look what a second one makes of it; return whether it took so many steps."""
    copy = file.with_name(f"{die_at}.sqlite")
    shutil.copy(file, copy)
    with postgres.database() as dsn:
        with monkeypatch.context() as patch:
            done = mortal(die_at, patch)
            try:
                await moved(copy, dsn)
            except Killed:
                assert len(done) == die_at - 1
            is_over = len(done) < die_at - 1 or "finish" in done
        if done and not is_over:
            await nobody_can_run(dsn)
            await moved(copy, dsn)
        elif not done:
            await moved(copy, dsn)
        store = await PostgresJournal.open(dsn)
        assert await everything(store) == sent
        assert [(row.saga_id, row.version, row.status, row.attributes) for row in await rows_of(store)] == [
            (row.saga_id, row.version, row.status, row.attributes) for row in rows
        ]
        assert await store.places(PLACES) == dict.fromkeys(PLACES, 4)
        await store.close()
        await somebody_can_run(dsn, above=sent)
    return not is_over


PLACES = [f"otlp-traces/{shard}" for shard in range(SHARDS)]


async def nobody_can_run(dsn: str) -> None:
    store = await PostgresJournal.open(dsn)
    with pytest.raises(ConfigError, match=r"taking in another one .* run that command again"):
        await store.refuse_half_moved()
    with pytest.raises(JournalUnavailable, match="taking in another one"):
        await store.join(Member(member=str(UUID(int=1)), name="early", address="127.0.0.1:1"), 9.0)
    assert (await store.view()).members == ()
    await store.close()


async def somebody_can_run(dsn: str, above: Sequence[Entry]) -> None:
    """Join and write: epochs and positions are greater than all of the origin's."""
    store = await PostgresJournal.open(dsn)
    me = str(UUID(int=2))
    view = await store.join(Member(member=me, name="late", address="127.0.0.1:1"), 9.0)
    claimed = await store.claim(me, view.shards)
    assert min(shard.epoch for shard in claimed) > max(entry.epoch for entry in above)
    row = await store.row(SagaId("s00001"))
    assert row is not None
    epoch = next(shard.epoch for shard in claimed if shard.shard == row.shard)
    more = append("s00001", after=3, epoch=epoch, uid=row.uid, shard=row.shard)
    assert list(await store.append([more])) == [None]
    (newest,) = [entry for entry in await everything(store) if entry.version == 4]
    assert newest.position > max(entry.position for entry in above)
    await store.close()


async def test_a_promotion_that_is_killed_again_and_again_goes_on(file: Path, dsn: str) -> None:
    count = KILLS * 20
    origin = await filled(file, count)
    sent = await everything(origin)
    await origin.close()
    arguments = ("store", "promote", "--from", f"sqlite:{file}", "--to", dsn)
    luck = Random(SEED)
    for number in range(KILLS):
        await killed_behind(f"s{number * 20 + luck.randrange(15):05}", dsn, arguments)
    done = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "orchestrator", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await done.communicate()
    assert (done.returncode, out.decode().split(" on ")[0]) == (0, f"{count:,} sagas, {3 * count:,} records"), err
    assert b"is retired; set `store: postgres" in err
    store = await PostgresJournal.open(dsn)
    assert await everything(store) == sent
    await store.close()
    keep("promotion", seed=SEED, kills=KILLS, sagas=count, records=3 * count, lost=0, violations=0)


async def killed_behind(saga_id: str, dsn: str, arguments: Sequence[str]) -> None:
    """Run a promotion, a saga at a time, and kill it as soon as it is past one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _IN_SMALL_STEPS, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    async with asyncio.timeout(60.0):
        while not await is_past(saga_id, dsn):
            assert process.returncode is None, "it ended before it could be killed"
            await asyncio.sleep(0.001)  # poll: sagas have arrived
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL


_IN_SMALL_STEPS = """
from orchestrator.journal import promoting
promoting.PROMOTION_SAGAS = promoting.PROMOTION_RECORDS = 1
from orchestrator.cli.main import main
main()
"""


async def is_past(saga_id: str, dsn: str) -> bool:
    try:
        return bool(
            await asyncio.to_thread(postgres.run, dsn, f"SELECT 1 FROM promotion WHERE whole_until >= '{saga_id}'")
        )
    except Exception as error:
        if type(error).__name__ == "UndefinedTable":  # the store is being made
            return False
        raise
