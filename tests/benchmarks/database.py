"""The bench's PostgreSQL: a server of its own with `fsync` on, a fresh database for each case, and what it spends."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg

from orchestrator.journal.postgres.driver import Link
from tests.benchmarks.programs import family_cpu_s
from tests.kit import postgres

OPTIONS = os.environ.get("BENCH_DSN_OPTIONS", "")
"""What the store's connections are to be tried with, e.g. `plan_cache_mode=force_generic_plan`."""


class Database:
    """One empty database."""

    def __init__(self, server: postgres.Server | None = None) -> None:
        """Make it at this process's server, or at another."""
        server = server or postgres.server()
        self._master = int((server.folder / "data/postmaster.pid").read_text(encoding="ascii").split()[0])
        plain = server.dsn(server.database(), tcp=True)
        self.dsn = f"{plain}?{OPTIONS}" if OPTIONS else plain
        self._connection = psycopg.connect(plain, autocommit=True)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Return a statement's rows."""
        return self._connection.execute(sql).fetchall()  # type: ignore[call-overload,arg-type,unused-ignore]  # a literal

    def number(self, sql: str) -> float:
        """Return a statement's only value."""
        return float(self.ask(sql)[0][0])

    def cpu_s(self) -> float:
        """Return the processor time of the whole server so far."""
        return family_cpu_s(self._master)

    def wal_bytes(self) -> float:
        """Return how much the server has written to its log so far."""
        return self.number("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")

    def disk_bytes(self) -> dict[str, float]:
        """Return the size of the tables that grow with sagas, indexes and all."""
        return {name: self.number(f"SELECT pg_total_relation_size('{name}')") for name in ("sagas", "records", "terms")}

    def close(self) -> None:
        """Let go of it; it goes with the server."""
        self._connection.close()


class Statements:
    """Counts what this process sends to a database; each is a round trip."""

    def __init__(self) -> None:
        self.count = 0

    @contextmanager
    def counted(self) -> Generator[None]:
        """Count while the block runs."""
        step, script = Link.step, Link.script
        fetch = Link.fetch

        async def counted_fetch(link: Link, *values: Any, **more: Any) -> Any:
            self.count += 1
            return await fetch(link, *values, **more)

        async def counted_step(link: Link, *values: Any) -> Any:
            self.count += 1
            return await step(link, *values)

        async def counted_script(link: Link, sql: str) -> None:
            self.count += 1
            await script(link, sql)

        places: dict[str, Any] = {"fetch": counted_fetch, "step": counted_step, "script": counted_script}
        for name, counting in places.items():
            setattr(Link, name, counting)
        try:
            yield
        finally:
            for name, own in {"fetch": fetch, "step": step, "script": script}.items():
                setattr(Link, name, own)
