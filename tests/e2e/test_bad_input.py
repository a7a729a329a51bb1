"""Every wrong thing that a person can hand in, as that person sees it: one clear error, an exit code, no traceback."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import grpc
import pytest
import pytest_asyncio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from orchestrator.cli.exits import Exit
from orchestrator.journal.sqlite import SqliteJournal
from orchestrator.v1.saga_service_pb2 import StartSagaRequest
from orchestrator.v1.saga_service_pb2_grpc import SagaServiceStub
from services.epro.v1 import notifier_service_pb2, scoring_service_pb2
from tests.e2e.garbling import descriptor_set, garbling
from tests.e2e.terminal import World
from tests.kit.mesh import DEFINITION, Mesh, channel, reports
from tests.kit.ports import free

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = DEFINITION.read_text()
REPORT = reports()[0]


GARBLED = """
saga: garbled
input: epro.v1.Report
deadline: {forward: 10s, compensation: 10s}
targets: [garbled]
steps:
  score:
    call: garbled/epro.v1.Scoring/Score
    kind: read
    request: {report: "${input}"}
    refuse: reply.total > 27
"""

OUT_OF_RANGE = """
saga: out_of_range
input: epro.v1.Report
deadline: {forward: 10s, compensation: 10s}
targets: [validator]
steps:
  validate:
    call: validator/epro.v1.Validator/Validate
    kind: read
    when: input.answers[99].value > 0
    request: {report: "${input}"}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("bad-input")
    with garbling() as address:
        files = {"garbled.yaml": GARBLED, "out_of_range.yaml": OUT_OF_RANGE}
        for name, text in files.items():
            (folder / name).write_text(text)
        types = folder / "types.binpb"
        types.write_bytes(descriptor_set(scoring_service_pb2.DESCRIPTOR, notifier_service_pb2.DESCRIPTOR))
        async with Mesh(folder) as mesh:
            for service in mesh.services.values():
                await service.start()
            mesh.configure()
            configuration = (folder / "saga.yaml").read_text()
            targets: Any = json.loads(configuration)["targets"]
            away = {"address": f"127.0.0.1:{free()}"}
            targets |= {"garbled": {"address": address, "descriptors": {"set": str(types)}}, "away": away}
            definitions = [str(DEFINITION), *(str(folder / name) for name in files)]
            mesh.configure(targets=targets, definitions=definitions)
            await mesh.orchestrator.start()
            yield World(mesh=mesh)


def changed(old: str, new: str) -> str:
    assert SOURCE.count(old) == 1
    return SOURCE.replace(old, new)


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n" + SOURCE

DEFINITIONS = {
    "E101 unknown-key": changed("    timeout: 2s\n", "    timeot: 2s\n"),
    "E002 duplicate-key": changed("    timeout: 2s\n", "    timeout: 2s\n    timeout: 3s\n"),
    "E003 forbidden-yaml": BOMB,
    "E303 cycle": changed("  validate:\n", "  validate:\n    after: [score]\n"),
    "E203 unknown-method": changed("epro.v1.Scoring/Score", "epro.v1.Scoring/Skore"),
    "E502 field-type": changed(
        "      score: ${steps.score.reply.total}\n      safety", "      score: ${input.site}\n      safety"
    ),
    "E401 expression-syntax": changed(">= 10 ||", ">= ||"),
    "E402 expression-invalid": changed("steps.score.reply.total >= 10 ||", "steps.score.reply.totel >= 10 ||"),
    "E201 unknown-target": changed("targets: [validator,", "targets: [validater,"),
}


@pytest.mark.parametrize("name", DEFINITIONS)
async def test_a_wrong_definition_is_told_with_its_place_and_code(world: World, name: str) -> None:
    code, _, slug = name.partition(" ")
    path = world.file(f"{slug}.yaml", DEFINITIONS[name])
    told = await asyncio.gather(
        world.saga("check", path, "--config", "saga.yaml"), world.saga("definitions", "create", path)
    )
    for ended in told:
        assert ended.code == Exit.FAILED
        assert re.search(rf"{slug}\.yaml:\d+:\d+: error\[{code}\]: ", ended.text), ended.text
    assert (await world.saga("definitions", "revisions", "epro_intake", "-q")).out.count("\n") == 1, "nothing was kept"


async def test_a_service_that_is_absent_at_check_time_is_named(world: World) -> None:
    text = changed("targets: [validator, ", "targets: [away, validator, ").replace("validator/epro", "away/epro")
    path = world.file("absent.yaml", text)
    ended = await world.saga("check", path, "--config", "saga.yaml")
    assert ended.code == Exit.FAILED
    assert "error[E205]" in ended.text
    assert "away" in ended.text


def given(**changes: object) -> str:
    return json.dumps({**REPORT, **changes})


async def test_an_expression_that_fails_at_run_time_undoes_the_saga_and_says_where(world: World) -> None:
    ended = await world.saga("start", "out_of_range", "--id", "E-1", "--input", given(), "--wait")
    assert ended.code == Exit.COMPENSATED
    assert "when" in ended.text
    history = await world.saga("get", "E-1", "-o", "json")
    assert "EXPRESSION_FAILED" in history.out


async def test_a_reply_that_is_no_message_of_its_type_undoes_the_saga_and_says_so(world: World) -> None:
    ended = await world.saga("start", "garbled", "--id", "G-1", "--input", given(), "--wait")
    assert ended.code == Exit.COMPENSATED
    shown = await world.saga("get", "G-1")
    assert "epro.v1.ScoreResponse" in shown.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"nope": 1}', "nope"),
        ('{"answers": "many"}', "answers"),
        ('{"answers": [{"item": "first"}]}', "answers"),
        ("[]", "JSON object"),
        ("{", "JSON"),
    ],
)
async def test_input_of_the_wrong_type_is_refused_with_its_path(world: World, text: str, said: str) -> None:
    ended = await world.saga("start", "epro_intake", "--id", "wrong-type", "--input", text)
    assert ended.code in {Exit.FAILED, Exit.USAGE}
    assert said in ended.err
    assert len(ended.err.splitlines()) <= 3
    assert (await world.saga("get", "wrong-type")).code == Exit.NOT_FOUND


def reasons(error: grpc.aio.AioRpcError) -> tuple[str, list[str]]:
    """The ErrorInfo reason and the fields of BadRequest."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what it asks for
    info, bad = ErrorInfo(), BadRequest()
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    return info.reason, [violation.field for violation in bad.field_violations]


async def refused(world: World, request: StartSagaRequest) -> grpc.aio.AioRpcError:
    async with channel(world.mesh.orchestrator.address) as connection:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SagaServiceStub(connection).StartSaga(request, timeout=20)
    return caught.value


async def test_typed_input_of_another_type_is_refused_by_the_api(world: World) -> None:
    packed = AnyMessage()
    packed.Pack(notifier_service_pb2.SendAlertRequest(report_id="R1"))
    error = await refused(world, StartSagaRequest(saga_id="t", definition="epro_intake", typed=packed))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reasons(error) == ("INPUT_INVALID", ["input"])
    assert "SendAlertRequest" in str(error.details())


async def test_typed_input_that_does_not_parse_is_refused_by_the_api(world: World) -> None:
    packed = AnyMessage(type_url="type.googleapis.com/epro.v1.Report", value=b"\xff\xff")
    error = await refused(world, StartSagaRequest(saga_id="t", definition="epro_intake", typed=packed))
    assert (error.code(), reasons(error)[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_INVALID")


async def test_oversized_input_is_refused_and_the_server_goes_on(world: World) -> None:
    path = world.file("large.json", given(language="x" * 5_000_000))
    ended = await world.saga("start", "epro_intake", "--id", "large", "--input", f"@{path}")
    assert ended.code in {Exit.FAILED, Exit.UNAVAILABLE}
    assert "4" in ended.err
    assert re.search(r"larger|too large|max", ended.err), ended.err
    assert (await world.saga("get", "large")).code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("start", "epro_intak", "--input", "{}"), "epro_intake"),
        (("start", "epro_intake", "--revision", "r000000000000", "--input", "{}"), "r000000000000"),
        (("definitions", "activate", "epro_intake", "r000000000000"), "r000000000000"),
        (("get", "nobody"), "nobody"),
        (("cancel", "nobody"), "nobody"),
        (("history", "nobody"), "nobody"),
        (("explain", "nobody"), "nobody"),
        (("undo-plan", "nobody"), "nobody"),
        (("signal", "nobody", "approved"), "nobody"),
        (("audit", "nobody"), "nobody"),
        (("repair", "pause", "nobody", "--reason", "x"), "nobody"),
        (("repair", "retry", "nobody", "score", "--reason", "x"), "nobody"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else value,
)
async def test_what_does_not_exist_is_named_with_the_next_move(
    world: World, arguments: tuple[str, ...], said: str
) -> None:
    ended = await world.saga(*arguments)
    assert ended.code == Exit.NOT_FOUND
    assert said in ended.err
    assert "does not exist" in ended.err


async def test_the_same_id_with_another_input_is_refused_and_the_first_saga_stands(world: World) -> None:
    assert (await world.saga("start", "epro_intake", "--id", "twice", "--input", given(), "--wait")).code == Exit.OK
    again = await world.saga("start", "epro_intake", "--id", "twice", "--input", given())
    assert again.code == Exit.OK, "the same input is the same saga"
    other = await world.saga("start", "epro_intake", "--id", "twice", "--input", given(language="fr"))
    assert other.code == Exit.FAILED
    assert "twice" in other.err
    assert "was started with another" in other.err


async def test_a_service_that_is_gone_at_run_time_undoes_the_saga_and_is_named(world: World) -> None:
    await world.mesh.services["safety"].kill()
    ended = await world.saga("start", "epro_intake", "--id", "gone", "--input", given(), "--deadline", "2s", "--wait")
    shown = await world.saga("get", "gone")
    await world.mesh.services["safety"].start()
    assert ended.code == Exit.COMPENSATED
    assert "adverse_event" in shown.out
    assert "UNAVAILABLE" in shown.out or "safety" in shown.out


async def test_nobody_listening_is_told_with_the_next_move(world: World) -> None:
    ended = await world.saga("list", "--server", f"127.0.0.1:{free()}")
    assert ended.code == Exit.UNAVAILABLE
    assert "no orchestrator answers" in ended.err
    assert "saga serve" in ended.err


# --- serve: what keeps a process from starting ------------------------------------------------------------------------


async def cannot_serve(world: World, *flags: str) -> str:
    """Try to start another server; return its one line."""
    ended = await world.saga("serve", *flags)
    assert ended.code == Exit.CONFIG, ended.text
    lines = [line for line in ended.err.splitlines() if line.startswith("saga: ")]
    assert len(lines) == 1
    assert ended.out == ""
    return lines[0]


async def test_a_second_process_on_the_file_names_the_first(world: World) -> None:
    line = await cannot_serve(world, "--store", f"sqlite:{world.mesh.journal}", "--port", "0", "--http-port", "0")
    assert f"in use by process {world.mesh.orchestrator.pid}" in line


@pytest.mark.parametrize("flag", ["--port", "--http-port"])
async def test_a_port_in_use_is_named(world: World, flag: str) -> None:
    taken = world.mesh.orchestrator.address.rpartition(":")[2]
    ports = {"--port": "0", "--http-port": "0", flag: taken}
    flags = [word for pair in ports.items() for word in pair]
    line = await cannot_serve(world, "--store", "memory:", *flags)
    assert taken in line
    assert flag in line


async def test_a_path_that_cannot_be_written_is_named(world: World) -> None:
    line = await cannot_serve(world, "--store", "sqlite:/proc/nowhere/saga.sqlite", "--port", "0", "--http-port", "0")
    assert "/proc/nowhere/saga.sqlite" in line


async def test_a_file_of_a_newer_release_is_left_alone(world: World) -> None:
    path = world.mesh.folder / "newer.sqlite"
    await SqliteJournal.open(path).close()
    newer = apsw.Connection(str(path))
    newer.execute("INSERT INTO schema_version (version, name, checksum) VALUES (99, 'later', 'x')")
    newer.close()
    before = path.read_bytes()
    line = await cannot_serve(world, "--store", f"sqlite:{path}", "--port", "0", "--http-port", "0")
    assert "newer release" in line
    assert path.read_bytes() == before


async def test_a_corrupt_record_sets_one_saga_aside_and_no_other(world: World) -> None:
    for name in ("well", "ill"):
        assert (await world.saga("start", "epro_intake", "--id", name, "--input", given(), "--wait")).code == Exit.OK
    world.mesh.orchestrator.signal()
    assert await world.mesh.orchestrator.ended(within_s=30) == 0
    spoil(world.mesh.journal, "ill")
    judged = await world.saga("verify", "--journal", str(world.mesh.journal))
    await world.mesh.orchestrator.start()
    ill = await world.saga("get", "ill")
    assert ill.code == Exit.FAILED
    assert "ill" in ill.err
    assert "record 3" in ill.err
    assert (await world.saga("get", "well")).code == Exit.OK
    assert (await world.saga("start", "epro_intake", "--id", "next", "--input", given(), "--wait")).code == Exit.OK
    assert judged.code == Exit.FAILED
    assert "I6 saga ill" in judged.out
    assert "1 violations" in judged.err


def spoil(path: Path, saga_id: str) -> None:
    """Flip a bit of one record."""
    store = apsw.Connection(str(path))
    found: Any = store.execute(
        "SELECT position, body FROM records WHERE version = 3 AND saga = (SELECT id FROM sagas WHERE saga_id = ?)",
        (saga_id,),
    ).fetchall()
    [(position, body)] = found
    store.execute("UPDATE records SET body = ? WHERE position = ?", (bytes([body[0] ^ 1]) + body[1:], position))
    store.close()
