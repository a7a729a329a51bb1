"""What can end gRPC's server for peers, and what becomes of the process: it hands over and leaves."""

import asyncio
import json
from pathlib import Path

import psycopg
import pytest

from orchestrator.bootstrap import EXIT_SERVER
from orchestrator.cluster.listener import PeerListener
from tests.kit.frames import NO_TEXT, asked, falling
from tests.kit.mesh import Program
from tests.kit.postgres import schema

PATIENCE_S = 20.0
GRACE_S = 5.0
SHARDS = 8
LOOK_S = 0.05


def listener() -> PeerListener:
    return PeerListener(host="127.0.0.1", port=0, on_nudge=lambda: None)


@falling
async def test_a_listener_that_grpc_has_given_up_is_noticed_and_can_still_be_stopped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fallen = listener()
    async with asyncio.timeout(PATIENCE_S), asked(await fallen.start(), NO_TEXT):
        await fallen.failed.wait()
        await fallen.stop(0.0)
    (line,) = [each for each in caplog.records if each.name == "orchestrator.cluster"]
    assert line.levelname == "ERROR"
    assert "stopped by itself (UnicodeDecodeError)" in line.getMessage()


async def test_a_listener_that_was_stopped_has_not_failed(caplog: pytest.LogCaptureFixture) -> None:
    stopped = listener()
    await stopped.start()
    await stopped.stop(0.0)
    assert not stopped.failed.is_set()
    assert [each.getMessage() for each in caplog.records if each.name == "orchestrator.cluster"] == []


@falling
async def test_a_process_that_no_peer_can_reach_hands_over_and_leaves_with_a_code_of_its_own(tmp_path: Path) -> None:
    with schema() as dsn:
        nodes = [node(name, dsn, tmp_path) for name in ("one", "two")]
        try:
            for each in nodes:
                await each.start()
            async with asyncio.timeout(PATIENCE_S):
                await shared(dsn, {"one": SHARDS // 2, "two": SHARDS // 2})
                async with asked(port_of(dsn, "two"), NO_TEXT):
                    assert await nodes[1].ended(within_s=PATIENCE_S) == EXIT_SERVER
                await shared(dsn, {"one": SHARDS})  # long before its lease is over
            assert "the server for the cluster's other processes stopped by itself" in nodes[1].log
            assert "stopped, exit code 70" in nodes[1].log
        finally:
            for each in nodes:
                await each.kill()


def node(name: str, dsn: str, folder: Path) -> Program:
    cluster = {"name": name, "port": 0, "shards": SHARDS, "lease_s": 2 * PATIENCE_S}
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps({"store": dsn, "http": {"port": 0}, "cluster": cluster, "grace_s": GRACE_S}))
    return Program(name=name, module="orchestrator", arguments=("serve", "--config", str(file)), folder=folder)


def port_of(dsn: str, name: str) -> int:
    """Where the others reach a node."""
    with psycopg.connect(dsn) as link:
        row = link.execute("SELECT address FROM members WHERE name = %s", (name,)).fetchone()
    assert row is not None
    return int(row[0].rpartition(":")[2])


async def shared(dsn: str, shares: dict[str, int]) -> None:
    """Wait until each owns as many shards, and nobody else any."""
    counted = "SELECT m.name, count(*) FROM shards s JOIN members m ON m.member = s.owner GROUP BY m.name"
    with psycopg.connect(dsn, autocommit=True) as link:
        while dict(link.execute(counted).fetchall()) != shares:  # noqa: ASYNC110  # a store tells nobody
            await asyncio.sleep(LOOK_S)  # poll: who owns what
