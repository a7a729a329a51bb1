"""The example `bulk_import`: rows that are tried and undone one by one, and an index that takes its time."""

from collections.abc import AsyncIterator, Iterable

import pytest
import pytest_asyncio

from services.importer.v1 import importer_pb2 as pb
from services.importer.v1 import importer_pb2_grpc as pb_grpc
from tests.kit.examples import BULK_IMPORT, Stage, judged_stage
from tests.kit.mesh import Program, channel

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROWS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with judged_stage(tmp_path_factory.mktemp("bulk_import"), BULK_IMPORT) as stage:
        yield stage


def rows(import_id: str, without_name: Iterable[int] = ()) -> pb.Import:
    """So many rows of two words each; some make no sense."""
    names = ["" if number in without_name else f"lamp {number}" for number in range(ROWS)]
    return pb.Import(
        import_id=import_id,
        rows=[pb.Row(row_id=f"{import_id}-{number}", name=name) for number, name in enumerate(names)],
    )


async def rows_kept(stage: Stage, import_id: str) -> int:
    async with channel(stage.address("catalogue")) as connection:
        reply = await pb_grpc.CatalogueStub(connection).Count(pb.CountRequest(import_id=import_id))
    return int(reply.rows)


async def test_rows_are_taken_in_indexed_and_seen(stage: Stage) -> None:
    told = await stage.run("I-all", rows("I-all"))
    assert told.status == "COMPLETED"
    assert told.output == {"inserted": ROWS, "rejected": 0, "words": ROWS + 1}
    assert stage.effects("I-all") == [*["Insert"] * ROWS, "BuildIndex"]


async def test_a_few_bad_rows_are_counted_and_left_out(stage: Stage) -> None:
    told = await stage.run("I-few", rows("I-few", without_name=(7, 41)))
    assert told.status == "COMPLETED"
    assert (told.output["inserted"], told.output["rejected"]) == (ROWS - 2, 2)
    assert await rows_kept(stage, "I-few") == ROWS - 2


async def test_one_bad_row_too_many_removes_every_row(stage: Stage) -> None:
    told = await stage.run("I-bad", rows("I-bad", without_name=(7, 41, 42)))
    assert told.status == "COMPENSATED"
    effects = stage.effects("I-bad")
    assert effects.count("Insert") == effects.count("Remove") > 0
    assert await rows_kept(stage, "I-bad") == 0


async def test_rows_whose_answers_were_lost_are_there_once(stage: Stage) -> None:
    await stage.set_fault("catalogue", method="Insert", firstCalls=9, dropReply={})
    told = await stage.run("I-lost", rows("I-lost"))
    assert told.status == "COMPLETED"
    assert await rows_kept(stage, "I-lost") == stage.effects("I-lost").count("Insert") == ROWS


async def test_an_operation_that_fails_removes_every_row(stage: Stage) -> None:
    given = rows("I-twice")
    given.rows[3].name = given.rows[5].name
    told = await stage.run("I-twice", given)
    assert told.status == "COMPENSATED"
    assert "DUPLICATE_NAME" in told.why
    assert "BuildIndex" not in stage.effects("I-twice")
    assert await rows_kept(stage, "I-twice") == 0


async def test_cancelling_reaches_the_operation_and_removes_every_row(stage: Stage) -> None:
    given = rows("I-cancelled")
    given.index_rows_per_second = 1
    asked = await stage.calls("search", "GetOperation")
    await stage.start("I-cancelled", given)
    await stage.counted("search", "GetOperation", lambda stats: stats.calls > asked)
    await stage.cancel("I-cancelled")
    told = await stage.ended("I-cancelled")
    assert told.status == "COMPENSATED"
    assert await stage.calls("search", "CancelOperation") == 1
    assert "BuildIndex" not in stage.effects("I-cancelled")
    assert await rows_kept(stage, "I-cancelled") == 0


async def test_killed_among_its_rows_and_at_its_operation_an_import_goes_on(stage: Stage) -> None:
    given = rows("I-killed")
    given.index_rows_per_second = 40
    await stage.set_fault("catalogue", method="Insert", reportId="I-killed-30", firstCalls=1, hang={})
    asked = await stage.calls("search", "GetOperation")
    await stage.start("I-killed", given)
    await stage.counted("catalogue", "Insert", lambda stats: stats.in_flight == 1)
    await restart(stage.orchestrator)
    await stage.clear_faults("catalogue")
    await stage.counted("search", "GetOperation", lambda stats: stats.calls > asked)
    await restart(stage.orchestrator)
    await restart(stage.program("search"))
    told = await stage.ended("I-killed")
    assert told.status == "COMPLETED"
    assert told.output == {"inserted": ROWS, "rejected": 0, "words": ROWS + 1}
    assert stage.effects("I-killed") == [*["Insert"] * ROWS, "BuildIndex"]


async def restart(program: Program) -> None:
    """End it as a power cut would, and start it again on the same port."""
    await program.kill()
    await program.start()
