"""The published vectors themselves: a sound participant passes them all, and each flaw that they can see fails one."""

import pytest

from tests.conformance.barrier_vectors import VECTORS, play
from tests.kit import flawed, theatre

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process


async def failed_by(house: flawed.Sound) -> list[str]:
    failed = []
    async with theatre.in_loop(house) as address:
        for vector in VECTORS:
            try:
                await play(address, vector)
            except AssertionError:
                failed.append(vector["name"])
    return failed


async def test_a_sound_participant_passes_every_vector() -> None:
    assert await failed_by(flawed.Sound()) == []


@pytest.mark.parametrize(
    ("house", "vector"),
    [
        (flawed.KeepsNoKeys, "a duplicate gets the stored reply and does nothing"),
        (flawed.RepliesAnew, "a duplicate gets the stored reply and does nothing"),
        (flawed.RaisesOnDuplicates, "a duplicate gets the stored reply and does nothing"),
        (flawed.LooksFirst, "duplicates at once have one effect and one reply"),
        (flawed.TakesAnyRequest, "a key that is used for another request is refused"),
        (flawed.UndoesNothing, "an undo takes back what its call made, and nothing else"),
        (flawed.UndoesOnce, "a duplicate of an undo gets the stored reply and does nothing"),
        (flawed.UndoesTooMuch, "a duplicate of an undo gets the stored reply and does nothing"),
        (flawed.UndoesOnlyWhatIs, "an undo of what was never made succeeds"),
        (flawed.LeavesNoTombstone, "a call that its undo overtook is refused, however often it comes"),
        (flawed.RefusesWithoutReason, "a call that its undo overtook is refused, however often it comes"),
        (flawed.IsNeverTooLate, "a call past its not-after is refused"),
        (flawed.KeepsRefusals, "a refusal for lateness leaves nothing behind: in time, the same key acts"),
        (flawed.ForgetsWithTheUndo, "a duplicate after the undo gets the stored reply and does nothing"),
    ],
)
async def test_a_flaw_fails_its_vector(house: type[flawed.Sound], vector: str) -> None:
    assert vector in await failed_by(house())
