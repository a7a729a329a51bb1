"""PgBouncer in transaction mode before a server: two server connections for all clients of a database."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.kit.ports import free

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
SCHEMAS_MAX = 1_000
_CONFIG = """
[databases]
{schemas}
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
"""


@contextlib.contextmanager
def pgbouncer(dsn: str) -> Iterator[Callable[[str], str]]:
    """Give what puts databases of this DSN's server behind a pooler; skip the test, loudly, where there is none."""
    if PROGRAM is None:
        pytest.skip("NOT TESTED behind a pooler: there is no pgbouncer on this machine (Debian: apt install pgbouncer)")
    parts = urlsplit(dsn)
    host = parts.hostname or parse_qs(parts.query)["host"][0]
    port = parts.port or int(parse_qs(parts.query).get("port", ["5432"])[0])
    with tempfile.TemporaryDirectory(prefix="saga-pool-") as name:
        folder, listen = Path(name), free()
        config = folder / "pgbouncer.ini"
        user, database = parts.username or "postgres", parts.path.removeprefix("/")
        schemas = "\n".join(
            f"apart_{number} = host={host} port={port} user={user} dbname={database} "
            f"connect_query='SET search_path TO apart_{number}'"
            for number in range(1, SCHEMAS_MAX)
        )
        config.write_text(
            _CONFIG.format(schemas=schemas, host=host, port=port, user=user, listen=listen, folder=folder)
        )
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        pooler = subprocess.Popen(
            [PROGRAM, str(config)], user="nobody" if os.geteuid() == 0 else None, stderr=subprocess.DEVNULL
        )
        try:
            _wait(listen, pooler, folder)
            yield lambda dsn: f"postgresql://{parts.username or 'postgres'}@127.0.0.1:{listen}/{_name(dsn)}"
        finally:
            pooler.terminate()
            pooler.wait(30)


def _name(dsn: str) -> str:
    """Return the database of a DSN, or the schema that it names: the pooler knows that one by name, too."""
    parts = urlsplit(dsn)
    options = parse_qs(parts.query).get("options", [""])[0]
    return options.partition("search_path=")[2] or parts.path.removeprefix("/")


def _wait(port: int, pooler: "subprocess.Popen[bytes]", folder: Path) -> None:
    until = time.monotonic() + 30  # noqa: TID251  (a program that never listens)
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        assert pooler.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until, "pgbouncer does not listen"  # noqa: TID251  (as above)
        time.sleep(0.02)  # noqa: TID251  # poll: its port
