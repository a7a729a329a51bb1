"""A file with everything in it becomes a PostgreSQL, and its sagas go on there as if nothing had been."""

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Any
from uuid import UUID

import apsw
import grpc
import pytest
from grpc_reflection.v1alpha import reflection

from orchestrator.bootstrap import Node, open_node, open_records, promote, survey_promotion
from orchestrator.config import Settings
from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal import promoting
from orchestrator.journal.columns import checksum
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.ports.journal import SearchQuery, SearchRow
from orchestrator.ports.leases import Member
from orchestrator.ports.plans import JsonInput
from orchestrator.ports.promotion import Entry
from orchestrator.runtime import StartRequest, Until
from orchestrator.saga.state import SagaStatus
from orchestrator.verify import verify
from services.epro.v1 import validator_service_pb2
from tests.conformance.journal_values import append, cancelled, opened, search_row
from tests.golden.writing import FOLDER
from tests.kit import postgres
from tests.kit.figures import keep

SHARDS = 8
STRIDE = 4
"""Every how many steps of a promotion it is killed once; in memory it is killed at every one (`tests/unit/journal`)."""
KILLS = int(os.environ.get("PROMOTION_KILLS", "2"))
"""How often one promotion is killed by the system before it may end."""
SEED = int(os.environ.get("PROMOTION_SEED", "5"))
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


async def moved(file: Path, dsn: str) -> promoting.Promoted:
    return await promote(file, dsn, SHARDS, lambda *_: None)


async def rows_of(store: SqliteJournal | PostgresJournal) -> Sequence[SearchRow]:
    return await store.search(SearchQuery(order_by="saga_id", descending=False, limit=999))


async def everything(store: SqliteJournal | PostgresJournal) -> Sequence[Entry]:
    return await store.entries(("", 0), "~", 99_999)


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
            found = await verify(store, plans, knows_targets=True, is_at_rest=True, in_order=True)
            assert found.violations == []
            assert {row.status for row in rows.values()} == {SagaStatus.COMPLETED, SagaStatus.COMPENSATED}


# --- killed anywhere -------------------------------------------------------------------------------------------------


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


async def filled(file: Path, count: int) -> SqliteJournal:
    """Return a file of sagas whose records lie between each other's."""
    origin = SqliteJournal.open(file)
    await origin.save("otlp-traces", 4)
    for turn in range(3):
        for n in range(count):
            event = opened(turn) if n % 2 else cancelled(turn)
            row: dict[str, Any] = {"uid": str(UUID(int=n + 1)), "request_id": f"r{n}", "attributes": {"n": n}}
            status = SagaStatus.COMPLETED if turn == 2 and n % 3 == 0 else SagaStatus.RUNNING
            taken = await origin.append([append(f"s{n:05}", event, after=turn, status=status, wake_at=9.0, **row)])
            assert list(taken) == [None]
    return origin


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
