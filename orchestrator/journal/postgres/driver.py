"""The driver behind a few typed doors: an address, a connection, and what its errors mean.

Two kinds of connection look alike. One is the server's own: statements are prepared once and kept, and one statement is
one transaction and one round trip. The other belongs to a pooler that may give each transaction another server
connection: nothing prepared outlives its transaction there, and a name may mean somebody else's statement. So the store
asks once which it has: a pooler makes up the process id that it tells a client at the start, a server tells its own.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.frozen import frozen
from orchestrator.limits import POSTGRES_CLOSE_S, POSTGRES_CONNECT_S, POSTGRES_IDLE_S_MAX, POSTGRES_PLAN_S

try:
    import asyncpg
except ImportError as exc:
    raise ConfigError(
        "a journal on PostgreSQL needs the driver asyncpg, which is not installed; install saga-orchestrator[postgres]"
    ) from exc

Row = Sequence[Any]

_SCHEMES: Final = ("postgres", "postgresql")
_POOLERS: Final = {"": None, "none": False, "session": False, "transaction": True}
_STATEMENTS_KEPT: Final = 100
# Whoever is paused in the middle of a transaction must not hold its locks against those who take over from it.
_BOUNDS: Final = (
    "SET {local} statement_timeout = {statement_ms}; SET {local} idle_in_transaction_session_timeout = {idle_ms}"
)
# The server's bound comes before ours: what it answers is known not to be done, what we cut off is not known.
_SERVERS_SHARE: Final = 0.9
# By SQLSTATE: what is wrong with the values, and will be wrong again.
_DATA: Final = ("22", "23", "54")
_TURNS: Final = ("40",)
# The connection broke, or the server ends it; whatever else a server says, it has undone the statement.
_CONNECTION: Final = ("08", "57P0")
# What people or other programs may mend while sagas wait: room, time, rights, a server that only reads, locks.
_PASSING: Final = ("53", "55", "57", "25", "42501")
# The same for every saga: room, rights, a server that only reads.
_EVERYBODYS: Final = ("53", "25006", "42501")
_REFUSED_AT_THE_DOOR: Final = ("28", "3D", "3F", "42501", "25006")
_MISTAKEN_FOR_A_SERVER: Final = frozenset({"26000", "42P05", "08P01"})

logger: Final = logging.getLogger(__name__)

LOST: Final[tuple[type[Exception], ...]] = (
    OSError,  # a TimeoutError is one
    EOFError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What a statement may end with; whether it was done is known of none of them but those about data."""


def is_about_data(exc: BaseException) -> bool:
    """Return whether the values themselves were refused, so that nothing was done, and trying again changes nothing."""
    return isinstance(exc, asyncpg.PostgresError) and _state(exc).startswith(_DATA)


def is_about_turns(exc: BaseException) -> bool:
    """Return whether two transactions stood in each other's way: nothing was done, and trying again may help."""
    return _state(exc).startswith(_TURNS)


def is_refused(exc: BaseException) -> bool:
    """Return whether the server said no to a statement, for whatever reason: nothing of it was done."""
    state = _state(exc)
    return bool(state) and isinstance(exc, asyncpg.PostgresError) and not state.startswith(_CONNECTION + _TURNS)


def is_passing(exc: BaseException) -> bool:
    """Return whether a refusal says nothing of the values: once its cause is mended, the same statement is taken."""
    return _state(exc).startswith(_PASSING) or _state(exc) in _MISTAKEN_FOR_A_SERVER


def is_everybodys(exc: BaseException) -> bool:
    """Return whether a refusal would meet any statement that writes."""
    return _state(exc).startswith(_EVERYBODYS)


def is_too_slow(exc: BaseException) -> bool:
    """Return whether the server gave a statement up because it took too long."""
    return _state(exc) == "57014"


def is_about_connection(exc: BaseException) -> bool:
    """Return whether the connection was dead or another's, so that the same on a fresh one may go well at once."""
    if isinstance(exc, TimeoutError):
        return False
    return not is_refused(exc) or _state(exc) in _MISTAKEN_FOR_A_SERVER


def is_already_there(exc: BaseException) -> bool:
    """Return whether a table, the type that comes with it, or a row was made by somebody else a moment ago."""
    return _state(exc) in {"42P07", "42710", "23505"}


def _state(exc: BaseException) -> str:
    return str(getattr(exc, "sqlstate", None) or "")


@frozen
class Address:
    """Where the database is, and how it is reached."""

    dsn: str
    """As the driver takes it."""
    shown: str
    """As people are told of it: without a password."""
    is_pooled: bool | None
    """None: it is to be found out."""

    @classmethod
    def of(cls, dsn: str) -> "Address":
        """Read a DSN; `?pooler=transaction` (or `session`, `none`) is ours, the rest is the driver's.

        `ConfigError` where it is none.
        """
        try:
            parts = urlsplit(dsn)
        except ValueError as exc:
            raise ConfigError(
                f"the address of a journal on PostgreSQL cannot be read ({exc}); write postgres://user@host/database, "
                f"an IPv6 address in brackets"
            ) from exc
        if parts.scheme not in _SCHEMES:
            raise ConfigError(
                f"a journal on PostgreSQL is named by postgres://user@host/database, not {parts.scheme!r:.20}"
            )
        options = parse_qsl(parts.query, keep_blank_values=True)
        pooler = dict(options).get("pooler", "")
        if pooler not in _POOLERS:
            raise ConfigError(f"pooler={pooler!r:.40} is not one of transaction, session, none")
        rest = urlencode([(name, value) for name, value in options if name != "pooler"])
        host = parts.netloc.rpartition("@")[2] or dict(options).get("host", "")
        return cls(
            dsn=urlunsplit(parts._replace(query=rest)),
            shown=f"postgres://{host}{parts.path}",
            is_pooled=_POOLERS[pooler],
        )


class Link:
    """One connection. Whoever sees it fail drops it: it is never used after an error, a timeout or a cancellation."""

    def __init__(self, connection: Any, *, is_pooled: bool) -> None:  # noqa: ANN401  (the driver has no types)
        self._connection = connection
        self._is_pooled = is_pooled

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    async def fetch(self, sql: str, *values: object, timeout_s: float) -> list[Row]:
        """Run one statement as one transaction, and return its rows; it may be done although this raises."""
        if self._is_pooled:
            async with self.transaction(timeout_s):
                return await self.step(sql, *values)
        return cast("list[Row]", await self._connection.fetch(sql, *values, timeout=timeout_s))

    async def step(self, sql: str, *values: object) -> list[Row]:
        """Run one statement of a transaction, which bounds its time."""
        return cast("list[Row]", await self._connection.fetch(sql, *values))

    async def script(self, sql: str) -> None:
        """Run statements without values."""
        await self._connection.execute(sql)

    @contextlib.asynccontextmanager
    async def transaction(self, timeout_s: float) -> AsyncIterator[None]:
        """Commit what is done inside. An error leaves the transaction open, until the connection is dropped for it."""
        async with asyncio.timeout(timeout_s):
            await self._connection.execute(f"BEGIN; {_bounds(timeout_s, 'LOCAL')}")
            yield
            await self._connection.execute("COMMIT")

    def drop(self) -> None:
        """Cut the connection."""
        self._connection.terminate()

    async def close(self) -> None:
        """Take leave of the server."""
        with contextlib.suppress(*LOST):
            await self._connection.close(timeout=POSTGRES_CLOSE_S)


class Connector:
    """Makes connections."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._is_pooled = address.is_pooled
        self._is_opened = False
        self._misled_by = ""

    def opened(self) -> None:
        """Note that the store was there once: whatever keeps anybody from it from now on will be mended."""
        self._is_opened = True

    async def connect(self, statement_s: float) -> Link:
        """Connect; `LOST` where it cannot be. No statement of the connection takes longer than given."""
        if self._is_pooled is None:
            self._is_pooled = await self._find_out()
        connection = await self._connected(0 if self._is_pooled else _STATEMENTS_KEPT)
        link = Link(connection, is_pooled=self._is_pooled)
        if not self._is_pooled:
            try:
                async with asyncio.timeout(POSTGRES_CONNECT_S):
                    await link.script(_bounds(statement_s, ""))
            except BaseException:
                link.drop()
                raise
        return link

    def take_note(self, exc: BaseException) -> None:
        """Learn from an error that there is a pooler after all."""
        if not self._is_pooled and _state(exc) in _MISTAKEN_FOR_A_SERVER:
            logger.warning(
                "%s lost a prepared statement (%s): there is a pooler before the server, each statement is a "
                "transaction of its own from now on; say ?pooler=transaction to have it so from the start",
                self.address.shown, exc,
            )  # fmt: skip
            self._is_pooled = True

    def unavailable(self, exc: BaseException) -> JournalUnavailable:
        """Return what to raise where the database did not answer."""
        return JournalUnavailable(
            f"the database {self.address.shown} did not answer ({type(exc).__name__}: {exc}): nothing is known of the "
            f"request; what was acknowledged is safe, and all goes on by itself when it is back",
            path=self.address.shown,
        )

    def refused(self, exc: BaseException) -> ConfigError | JournalUnavailable:
        """Return what to raise where the store cannot be opened."""
        if _state(exc).startswith(_REFUSED_AT_THE_DOOR) or isinstance(exc, asyncpg.ClientConfigurationError):
            return ConfigError(
                f"the database {self.address.shown} cannot be used ({exc}): check the user, the password, the "
                f"database and its schema, what the user may do there, and that the server takes writes",
                path=self.address.shown,
            )
        return self.unavailable(exc)

    async def _find_out(self) -> bool:
        connection = await self._connected(0)
        try:
            async with asyncio.timeout(POSTGRES_CONNECT_S):
                await connection.execute("BEGIN")
                server = await connection.fetchval("SELECT pg_backend_pid()")
                await connection.execute("COMMIT")
            is_pooled = bool(server != connection.get_server_pid())
        finally:
            connection.terminate()
        if is_pooled:
            logger.info("there is a pooler before %s: each statement is a transaction of its own", self.address.shown)
        return is_pooled

    async def _connected(self, statements: int) -> Any:  # noqa: ANN401  (the driver has no types)
        try:
            async with asyncio.timeout(POSTGRES_CONNECT_S):
                return await asyncpg.connect(
                    self.address.dsn,
                    timeout=POSTGRES_CONNECT_S,
                    statement_cache_size=statements,
                    max_cached_statement_lifetime=POSTGRES_PLAN_S,
                    server_settings={"application_name": "saga-orchestrator"},
                )
        except ValueError as exc:  # what the driver says to a DSN, or to a file that it names, that it cannot read
            if not self._is_opened:
                raise ConfigError(f"the database {self.address.shown} cannot be reached: {exc}") from exc
            if str(exc) != self._misled_by:
                self._misled_by = str(exc)
                logger.error(  # noqa: TRY400  (the message says it all)
                    "the database %s cannot be reached any more: %s; mend that, it is tried until it can",
                    self.address.shown, exc,
                )  # fmt: skip
            raise ConnectionError(str(exc)) from exc


def _bounds(statement_s: float, local: str) -> str:
    statement_ms = int(statement_s * _SERVERS_SHARE * 1000)
    return _BOUNDS.format(local=local, statement_ms=statement_ms, idle_ms=int(POSTGRES_IDLE_S_MAX * 1000))
