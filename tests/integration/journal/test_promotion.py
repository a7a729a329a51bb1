"""A file with everything in it becomes a PostgreSQL, and its sagas go on there as if nothing had been."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import apsw
import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from orchestrator.bootstrap import Node, open_node, open_records, survey_promotion
from orchestrator.config import Settings
from orchestrator.errors import ConfigError
from orchestrator.ids import SagaId
from orchestrator.journal.codec import checksum
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.leases import Member
from orchestrator.ports.plans import JsonInput
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga.state import SagaStatus
from orchestrator.verify import verify
from services.epro.v1 import validator_service_pb2
from tests.conformance.journal_values import search_row
from tests.golden.writing import FOLDER
from tests.integration.journal.moving import SHARDS, everything, filled, moved, rows_of
from tests.kit import postgres

LOOK = """call: validator/epro.v1.Validator/Validate, kind: read, request: {report: "${input}"}"""
DEFINITIONS = {
    "check": f"look: {{{LOOK}}}",
    "sleeper": f"nap: {{sleep: 2s}}\n  look: {{after: [nap], {LOOK}}}",
    "waiter": f"approval: {{wait: {{signal: approval, type: json}}}}\n  look: {{after: [approval], {LOOK}}}",
    "family": """inner: {saga: check, input: "${input}", compensate: none}""",
}
STARTS = {
    "done": ("check", "quick"),
    "bad": ("check", "refused"),
    "slow": ("check", "slow"),
    "sleeper": ("sleeper", "quick"),
    "waiter": ("waiter", "quick"),
    "family": ("family", "slow"),
    "family-done": ("family", "quick"),
}


class Validator:
    """Answers at once, refuses, or stands still until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.standing = 0

    async def answer(
        self, request: validator_service_pb2.ValidateRequest, context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> validator_service_pb2.ValidateResponse:
        if request.report.report_id == "refused":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no")
        if request.report.report_id == "slow":
            self.standing += 1
            await self.let_go.wait()
        return validator_service_pb2.ValidateResponse(valid=True)

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            self.answer,
            request_deserializer=validator_service_pb2.ValidateRequest.FromString,
            response_serializer=validator_service_pb2.ValidateResponse.SerializeToString,
        )
        methods = grpc.method_handlers_generic_handler("epro.v1.Validator", {"Validate": handler})
        server.add_generic_rpc_handlers((methods,))
        reflection.enable_server_reflection(["epro.v1.Validator", reflection.SERVICE_NAME], server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield f"127.0.0.1:{port}"
        await server.stop(None)


@pytest.fixture
def dsn() -> Iterator[str]:
    with postgres.database() as name:
        yield name


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "saga.sqlite"


def settings_of(store: str, address: str, folder: Path) -> Settings:
    for name, steps in DEFINITIONS.items():
        text = f"saga: {name}\ninput: epro.v1.Report\ntargets: [validator]\nsteps:\n  {steps}\n"
        (folder / f"{name}.yaml").write_text(text)
    return Settings.model_validate(
        {
            "store": store,
            "targets": {"validator": {"address": address}},
            "definitions": [str(folder)],
            "cluster": {"port": 0, "shards": SHARDS, "lease_s": 2.0},
        }
    )


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(20.0):
        while not fact():  # noqa: ASYNC110  (what others have done)
            await asyncio.sleep(0.01)  # poll: the fact


async def began(node: Node, validator: Validator) -> None:
    """Start one saga of each kind, and leave them where they are."""
    for saga_id, (definition, report) in STARTS.items():
        request = StartRequest(definition=definition, input=JsonInput({"reportId": report}), saga_id=saga_id)
        await node.orchestrator.start(request)
    for ended in ("done", "bad", "family-done"):
        await node.orchestrator.wait(ended, Until.TERMINAL, 0, 20.0)
    await until(lambda: validator.standing == 2)


async def test_running_sleeping_waiting_and_ended_sagas_and_children_go_on_elsewhere(
    file: Path, dsn: str, tmp_path: Path
) -> None:
    validator = Validator()
    async with validator.serving() as address:
        (tmp_path / "definitions").mkdir()
        alone = settings_of(f"sqlite:{file}", address, tmp_path / "definitions")
        async with open_node(alone, environ={}) as node:
            await began(node, validator)
        assert (await survey_promotion(file, dsn, lambda *_: None))[0].unfinished == 5
        said = await moved(file, dsn)
        assert (said.sagas, said.taken) == (9, 9)

        with pytest.raises(ConfigError, match="were moved to postgresql://"):
            async with open_node(alone, environ={}):
                pass

        shared = settings_of(dsn, address, tmp_path / "definitions")
        async with open_node(shared, environ={}) as node:
            assert node.sharing is not None
            membership = node.sharing.membership
            await until(lambda: len(membership.owned()) == SHARDS)
            await until(lambda: validator.standing == 4)
            validator.let_go.set()
            await node.orchestrator.signal("waiter", "approval", JsonInput({}))
            ends = [await node.orchestrator.wait(saga_id, Until.TERMINAL, 0, 20.0) for saga_id in STARTS]
            assert [end.status for end in ends] == [
                SagaStatus.COMPENSATED if saga_id == "bad" else SagaStatus.COMPLETED for saga_id in STARTS
            ]
        async with open_records(dsn, shared) as (store, plans):
            rows = {row.saga_id: row for row in await rows_of(store)}
            families = [(row, rows[SagaId(row.parent)]) for row in rows.values() if row.parent]
            assert [child.shard for child, _ in families] == [parent.shard for _, parent in families]
            assert len(families) == 2
            found = await verify(store, plans, knows_targets=True, frontier_is_complete=True, in_order=True)
            assert found.violations == []
            assert {row.status for row in rows.values()} == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}


# --- what is refused -------------------------------------------------------------------------------------------------


async def test_a_file_that_somebody_runs_on_is_refused(file: Path, dsn: str) -> None:
    origin = await filled(file, 1)
    with pytest.raises(ConfigError, match=rf"is in use by process {os.getpid()}"):
        await moved(file, dsn)
    with pytest.raises(ConfigError, match="is in use"):
        await survey_promotion(file, dsn, lambda *_: None)
    await origin.close()


async def test_a_database_with_sagas_of_its_own_is_refused(file: Path, dsn: str, tmp_path: Path) -> None:
    await (await filled(file, 2)).close()
    await moved(file, dsn)
    other = tmp_path / "other.sqlite"
    await (await filled(other, 3)).close()
    assert (await survey_promotion(other, dsn, lambda *_: None))[1] == 2
    with pytest.raises(ConfigError, match=r"another journal was moved to .* before: nothing was moved"):
        await moved(other, dsn)
    postgres.run(dsn, "UPDATE promotion SET origin = ''")
    with pytest.raises(ConfigError, match="has sagas of its own: nothing was moved"):
        await moved(other, dsn)
    await SqliteJournal.open(other).close()


async def test_a_database_on_which_somebody_runs_is_refused_and_those_who_died_there_are_not_waited_for(
    file: Path, dsn: str
) -> None:
    await (await filled(file, 2)).close()
    store = await PostgresJournal.open(dsn, shard_count=SHARDS)
    alive = Member(member=str(UUID(int=3)), name="orchestrator-1", address="127.0.0.1:1")
    await store.join(alive, 60.0)
    with pytest.raises(ConfigError, match=r"1 processes run on .*, 'orchestrator-1' among them"):
        await moved(file, dsn)
    await store.renew(alive.member, 60.0, is_leaving=False)
    await store.renew(alive.member, 0.0, is_leaving=False)
    assert (await moved(file, dsn)).sagas == 2
    assert await store.renew(alive.member, 60.0, is_leaving=False) is None
    await store.close()


async def test_looking_first_changes_nothing_anywhere(file: Path, dsn: str) -> None:
    await (await filled(file, 5)).close()
    survey, there = await survey_promotion(file, dsn, lambda *_: None)
    assert (survey.sagas, survey.unfinished, survey.records, there) == (5, 5, 15, None)
    assert postgres.run(dsn, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_a_process_that_is_started_too_early_says_so(file: Path, dsn: str, tmp_path: Path) -> None:
    await (await filled(file, 1)).close()
    await moved(file, dsn)
    postgres.run(dsn, "UPDATE promotion SET is_under_way = true")
    settings = Settings.model_validate({"store": dsn, "cluster": {"port": 0}})
    with pytest.raises(ConfigError, match="nobody runs sagas here until it is"):
        async with open_node(settings, environ={}):
            pass


# --- golden journals -------------------------------------------------------------------------------------------------


async def test_journals_of_every_release_arrive_byte_for_byte(file: Path, dsn: str) -> None:
    """What an early release wrote is not written anew: its bytes are what is moved."""
    await SqliteJournal.open(file).close()
    connection = apsw.Connection(str(file))
    bodies: dict[tuple[str, int], bytes] = {}
    for number, path in enumerate(sorted(FOLDER.glob("*/*.jsonl")), 1):
        saga = f"{path.parent.name}-{path.stem}"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        row = search_row(saga, uid=str(UUID(int=number)), version=len(lines))
        columns = ["saga_id", "uid", "request_id", "definition", "revision", "status", "version", "epoch"]
        columns += ["attributes", "started_at", "updated_at", "attention", "failure"]
        values = [getattr(row, column) for column in columns]
        values[columns.index("attributes")] = "{}"
        marks = ", ".join("?" * len(columns))
        connection.execute(f"INSERT INTO sagas ({', '.join(columns)}) VALUES ({marks})", values)
        for line in lines:
            body = bodies[saga, line["version"]] = base64.b64decode(line["body"])
            named = (number, line["version"], line["epoch"], 1.0, line["type"], checksum(line["type"], body), body)
            connection.execute(
                "INSERT INTO records (saga, version, epoch, at, type, checksum, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                named,
            )
    connection.close()
    await moved(file, dsn)
    store = await PostgresJournal.open(dsn)
    assert {(entry.saga_id, entry.version): entry.body for entry in await everything(store)} == bodies
    for saga_id in dict.fromkeys(saga for saga, _ in bodies):
        assert len(await store.read(SagaId(saga_id))) == sum(saga == saga_id for saga, _ in bodies)
    await store.close()
