"""What one database carries: appends by 1, 2 and 4 processes in groups of 1 to 256, reads by position, renewals.

There is no bare twin of a database: these rates are no ratios, and belong to the machine. What travels is what a saga
costs it: processor time, bytes of log, bytes of disk.
"""

from contextlib import ExitStack, closing
from typing import Any

from orchestrator.bootstrap.clock import elapsed
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.ports.leases import Member
from tests.benchmarks.database import Database
from tests.benchmarks.kept import IS_SMOKE, SAGAS
from tests.benchmarks.programs import Listening, Worker, passed, read
from tests.benchmarks.shown import table
from tests.benchmarks.stage import stage

WRITERS = (1, 2, 4)
GROUPS = (1, 16, 64, 256)
ALONE = min(SAGAS, 300)
"""Sagas of a writer that commits each append alone."""
PAGE_ROWS = 1_000
SHARD_COUNTS = (256, 1_000) if IS_SMOKE else (256, 10_000, 100_000)
RENEWALS_S = 0.2 if IS_SMOKE else 3.0
"""How long leases are renewed: processor time is told in hundredths of a second."""


async def measure() -> dict[str, Any]:
    """Measure appends, reads and renewals."""
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        services = stack.enter_context(stage()).services
        database = stack.enter_context(closing(Database()))
        figures["appends"] = await _appends(services, database)
        sagas = database.number("SELECT count(*) FROM sagas")
        figures["disk_bytes"] = {name: size / sagas for name, size in database.disk_bytes().items()}
        figures["records"] = database.number("SELECT count(*) FROM records") / sagas
        figures["reads"] = await _reads(database)
        figures["updates"] = _updates(database, sagas)
    figures["renewals"] = [await _renewals(shards) for shards in SHARD_COUNTS]
    return figures


async def _appends(services: Listening, database: Database) -> list[dict[str, float]]:
    store = await PostgresJournal.open(database.dsn)  # the first opening makes it
    await store.close()
    rows: list[dict[str, float]] = []
    for count in WRITERS:
        with ExitStack() as stack:
            arguments = ("tests.benchmarks.writers", services.address, database.dsn)
            writers = [stack.enter_context(closing(Worker(*arguments, str(n), str(count)))) for n in range(count)]
            for group in GROUPS:
                await _written(database, writers, group, max(group, 32))  # statements are prepared, pages are there
                rows.append(await _written(database, writers, group, ALONE if group == 1 else max(SAGAS, 4 * group)))
        database.ask("DELETE FROM members RETURNING member")  # they were ended, and their leases are long
        database.ask("UPDATE shards SET owner = '', epoch = epoch + 1 RETURNING shard")
    return rows


async def _written(database: Database, writers: list[Worker], group: int, sagas: int) -> dict[str, float]:
    meter = {"database_cpu_s": database.cpu_s, "wal_bytes": database.wal_bytes}
    before = read(meter)
    for writer in writers:
        writer.tell({"sagas": sagas // len(writers), "group": group})
    answers = [await writer.told() for writer in writers]
    done = {name: sum(each[name] for each in answers) for name in ("sagas", "commits", "streams", "records", "cpu_s")}
    took_s = max(each["ended"] for each in answers) - min(each["began"] for each in answers)
    return {
        "writers": len(writers),
        "group": group,
        **{f"{name}_s": done[name] / took_s for name in ("sagas", "commits", "streams", "records")},
        "writers_cpu_s": done["cpu_s"] / done["sagas"],
        **passed(before, read(meter), int(done["sagas"])),
    }


async def _reads(database: Database) -> dict[str, dict[str, float]]:
    """Read all records, shard by shard and all shards at once, as exporters do."""
    store = await PostgresJournal.open(database.dsn)
    shards = store.shard_count

    async def since() -> int:
        rows = 0
        for shard in range(shards):
            position = 0
            while found := await store.since(position, PAGE_ROWS, shard):
                rows, position = rows + len(found), found[-1].position
        return rows

    async def news() -> int:
        rows, places = 0, dict.fromkeys(range(shards), 0)
        while found := await store.news(places, PAGE_ROWS):
            rows += len(found)
            places |= {each.shard: each.position for each in found}
        return rows

    found: dict[str, dict[str, float]] = {}
    for name, reading in (("since", since), ("news", news)):
        began, cpu = elapsed(), database.cpu_s()
        rows = await reading()
        took_s, spent_s = elapsed() - began, database.cpu_s() - cpu
        found[name] = {"rows_s": rows / took_s, "database_cpu_s": spent_s / rows, "rows": rows}
    await store.close()
    return found


def _updates(database: Database, sagas: float) -> dict[str, float]:
    """Return what is left for vacuum: updates of a saga's row, and how many of them touched no index."""
    ((updated, hot, vacuums),) = database.ask(
        "SELECT n_tup_upd, n_tup_hot_upd, autovacuum_count FROM pg_stat_user_tables WHERE relname = 'sagas'"
    )
    return {"per_saga": updated / sagas, "hot_share": hot / max(updated, 1), "vacuums": vacuums}


async def _renewals(shards: int) -> dict[str, float]:
    """Renew a lease, which reads the whole view, in a store of so many shards."""
    with closing(Database()) as database:
        store = await PostgresJournal.open(database.dsn, shard_count=shards)
        member = Member(member="bench", name="bench", address="127.0.0.1:1")
        view = await store.join(member, 60.0)
        for begin in range(0, shards, 10_000):
            await store.claim(member.member, view.shards[begin : begin + 10_000])
        await store.renew(member.member, 60.0, is_leaving=False)
        began, cpu = elapsed(), database.cpu_s()
        renewals = 0
        while elapsed() < began + RENEWALS_S:
            await store.renew(member.member, 60.0, is_leaving=False)
            renewals += 1
        took_s, spent_s = elapsed() - began, database.cpu_s() - cpu
        size = database.number(
            "SELECT sum(length(owner) + 24) FROM shards"  # a number, an epoch and their lengths in the array's format
        )
        await store.close()
    return {"shards": shards, "ms": took_s / renewals * 1e3, "database_cpu_s": spent_s / renewals, "bytes": size}


def shown(figures: dict[str, Any]) -> str:
    """Return the tables."""
    rows = [
        (
            f"{row['writers']:.0f}", f"{row['group']:.0f}", f"{row['commits_s']:,.0f}", f"{row['streams_s']:,.0f}",
            f"{row['records_s']:,.0f}", f"{row['sagas_s']:,.0f}", f"{row['database_cpu_s'] * 1e3:.2f}",
            f"{row['wal_bytes'] / 1e3:.1f}",
        )
        for row in figures["appends"]
    ]  # fmt: skip
    headings = (
        "writers", "group", "commits/s", "appends/s", "records/s", "sagas/s", "database CPU ms a saga", "log KB a saga",
    )  # fmt: skip
    disk, updates, reads = figures["disk_bytes"], figures["updates"], figures["reads"]
    renewals = table(
        ("renewal of a lease in a store of", "takes", "database CPU", "brings"),
        [
            (
                f"{row['shards']:,.0f} shards", f"{row['ms']:.1f} ms", f"{row['database_cpu_s'] * 1e3:.1f} ms",
                f"{row['bytes'] / 1e3:,.0f} KB",
            )
            for row in figures["renewals"]
        ],
    )  # fmt: skip
    whole, own = sum(disk.values()) / 1e3, disk["records"] / 1e3
    rates = [f"{reads[way]['rows_s']:,.0f}" for way in ("since", "news")]
    costs = [f"{reads[way]['database_cpu_s'] * 1e6:.0f}" for way in ("since", "news")]
    told = (
        f"A saga leaves {figures['records']:.0f} records and {whole:.1f} KB on disk with all indexes, {own:.1f} of "
        f"them its records. It updates its row {updates['per_saga']:.1f} times, {updates['hot_share']:.0%} of them "
        f"without an index. Read back by position: {rates[0]} records/s shard by shard, {rates[1]} over all shards at "
        f"once, for {costs[0]} and {costs[1]} us of the database each."
    )
    return f"{table(headings, rows)}\n\n{told}\n\n{renewals}"
