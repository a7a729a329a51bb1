import asyncio

from tests.unit.cluster.town import LEASE_S, WAY_S, played, town


def test_a_lone_member_takes_every_shard_at_once() -> None:
    async def story() -> None:
        async with town(16) as place:
            (one,) = await place.open("one")
            assert one.owned == set(range(16))
            assert asyncio.get_running_loop().time() < 0.1

    played(story())


def test_members_share_evenly_and_the_first_hands_over_what_is_too_much() -> None:
    async def story() -> None:
        async with town(16) as place:
            houses = await place.open("one", "two", "three")
            assert sorted(len(house.owned) for house in houses) == [5, 5, 6]
            assert not any(house.tenant.times("lost") for house in houses)
            assert asyncio.get_running_loop().time() < 0.5

    played(story())
