"""Any process shows all of them, also while the store is away."""

import pytest

from orchestrator.cluster.showing import Showing
from orchestrator.errors import JournalUnavailable
from orchestrator.limits import CLUSTER_LOOK_S
from tests.unit.cluster.town import LEASE_S, TRUST_S, House, now, played, town, until


def shown(house: House) -> Showing:
    return Showing(
        house.membership,
        house.way,  # type: ignore[arg-type]  # it passes every question on
        house.leases.journal,
        house.clock,
        name=house.name,
        address=f"{house.name}:7444",
    )


def test_every_process_shows_the_same_members_and_shards() -> None:
    async def story() -> None:
        async with town(16) as place:
            houses = await place.open("one", "two")
            looks = [await shown(house).look() for house in houses]
            assert all(look.is_current for look in looks)
            assert looks[0].view.shards == looks[1].view.shards
            assert {each.name for each in looks[0].view.members} == {"one", "two"}
            assert [look.member for look in looks] == [house.membership.member for house in houses]
            assert [look.name for look in looks] == ["one", "two"]
            assert all(0.0 < look.trust_s <= TRUST_S for look in looks)
            for house in houses:
                standing = shown(house).standing()
                assert (standing.shards, standing.shards_in_store) == (8, 16)
                assert (standing.members, standing.terms) == (2, 1)

    played(story())


def test_while_the_store_is_away_it_shows_what_was_seen_last() -> None:
    async def story() -> None:
        async with town(16) as place:
            (one,) = await place.open("one")
            for silent in (False, True):
                one.way.cut(silent=silent)
                before = now()
                look = await shown(one).look()
                assert not look.is_current
                assert len(look.view.members) == 1
                assert now() - before <= CLUSTER_LOOK_S + 0.01
                one.way.mend()
            one.way.cut()
            await until(lambda: not one.owned, within_s=LEASE_S)
            look = await shown(one).look()
            assert (look.trust_s, look.member) == (0.0, "")
            assert look.obstacle is not None
            standing = shown(one).standing()
            assert (standing.shards, standing.shards_in_store) == (0, 16)
            assert (standing.trust_s, standing.lost) == (0.0, 16)

    played(story())


def test_before_anything_was_seen_it_says_so() -> None:
    async def story() -> None:
        async with town(16) as place:
            house = place.build("one")
            house.way.cut()
            with pytest.raises(JournalUnavailable, match="has not seen the cluster yet"):
                await shown(house).look()

    played(story())
