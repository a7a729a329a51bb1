"""The example `travel`: three sagas in one, all of them or none."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.travel.v1 import travel_pb2 as pb
from tests.kit.examples import TRAVEL, Stage, judged_stage

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with judged_stage(tmp_path_factory.mktemp("travel"), TRAVEL) as stage:
        yield stage


def trip(trip_id: str, car: str = "car/compact") -> pb.Trip:
    return pb.Trip(trip_id=trip_id, traveller="ada", flight="flight/BER-LIS", hotel="hotel/alfama", car=car)


def is_undone(effects: list[str]) -> bool:
    """Every booking was cancelled once, and every hold released."""
    return effects.count("Cancel") == effects.count("Confirm") and effects.count("Release") == effects.count("Hold")


async def test_a_journey_has_all_its_parts_and_one_mail(stage: Stage) -> None:
    told = await stage.run("T-all", trip("T-all"))
    assert told.status == "COMPLETED"
    assert all(told.output[part] for part in ("flight", "hotel", "car"))
    effects = stage.effects("T-all")
    assert (effects.count("Hold"), effects.count("Confirm"), effects[-1]) == (3, 3, "SendItinerary")


async def test_parts_that_were_booked_are_undone_when_another_is_sold_out(stage: Stage) -> None:
    await stage.set_fault("cars", method="Hold", reportId="T-car", hang={})
    await stage.start("T-car", trip("T-car", car="car/vintage"))
    await stage.until("T-car", lambda told: told.steps["flight"] == told.steps["hotel"] == "APPLIED")
    await stage.clear_faults("cars")
    told = await stage.ended("T-car")
    assert told.status == "COMPENSATED"
    assert (told.steps["flight"], told.steps["hotel"], told.steps["car"]) == ("UNDONE", "UNDONE", "NOT_APPLIED")
    assert stage.standing("T-car") == {}
    effects = stage.effects("T-car")
    assert is_undone(effects)
    assert effects.count("Confirm") == 2
    assert "SendItinerary" not in effects


async def test_a_cancelled_journey_cancels_the_parts_that_run_and_undoes_the_others(stage: Stage) -> None:
    await stage.set_fault("hotels", method="Confirm", reportId="T-cancelled", hang={})
    await stage.start("T-cancelled", trip("T-cancelled"))
    await stage.counted("hotels", "Confirm", lambda stats: stats.in_flight == 1)
    await stage.until("T-cancelled", lambda told: told.steps["flight"] == told.steps["car"] == "APPLIED")
    await stage.cancel("T-cancelled")
    told = await stage.ended("T-cancelled")
    assert told.status == "COMPENSATED"
    assert stage.standing("T-cancelled") == {}
    assert is_undone(stage.effects("T-cancelled"))


async def test_a_confirmation_whose_answer_was_lost_is_one_booking(stage: Stage) -> None:
    await stage.set_fault("flights", method="Confirm", reportId="T-lost", firstCalls=1, dropReply={})
    told = await stage.run("T-lost", trip("T-lost"))
    assert told.status == "COMPLETED"
    assert stage.effects("T-lost").count("Confirm") == 3


async def test_killed_while_it_is_undone_a_journey_is_undone_all_the_same(stage: Stage) -> None:
    await stage.set_fault("cars", method="Hold", reportId="T-killed", hang={})
    await stage.set_fault("flights", method="Cancel", reportId="T-killed", firstCalls=1, hang={})
    await stage.start("T-killed", trip("T-killed", car="car/vintage"))
    await stage.until("T-killed", lambda told: told.steps["flight"] == told.steps["hotel"] == "APPLIED")
    await stage.clear_faults("cars")
    await stage.counted("flights", "Cancel", lambda stats: stats.in_flight == 1)
    await stage.orchestrator.kill()
    await stage.orchestrator.start()
    told = await stage.ended("T-killed")
    assert told.status == "COMPENSATED"
    assert stage.standing("T-killed") == {}
    assert is_undone(stage.effects("T-killed"))
