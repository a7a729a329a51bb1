import asyncio

import pytest

from orchestrator.cluster.membership import Membership
from orchestrator.cluster.term import trusted_until
from orchestrator.errors import ConfigError, NotOwner
from orchestrator.limits import CLAIM_SHARDS_MAX, LEAVE_S, STORE_RETRY_S
from tests.unit.cluster.town import LEASE_S, RENEWAL_S, moved, now, played, store_now, town, until, watch

# --- joining and sharing ---------------------------------------------------------------------------------------------


def test_a_lone_member_takes_every_shard_at_once() -> None:
    async def story() -> None:
        async with town(16) as place:
            (one,) = await place.open("one")
            assert one.owned == set(range(16))
            assert now() < 0.1

    played(story())


def test_many_shards_are_claimed_batch_after_batch() -> None:
    async def story() -> None:
        async with town(3 * CLAIM_SHARDS_MAX - 5) as place:
            (one,) = await place.open("one")
            assert len(one.owned) == 3 * CLAIM_SHARDS_MAX - 5
            assert now() < 0.5

    played(story())


def test_the_stores_clock_is_heard_with_every_view() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            assert one.time.offset_s == pytest.approx(store_now() - now(), abs=0.002)

    played(story())


def test_members_share_evenly_and_a_newcomer_is_given_what_others_have_too_much() -> None:
    async def story() -> None:
        async with town(16) as place:
            houses = await place.open("one", "two", "three")
            assert sorted(len(house.owned) for house in houses) == [5, 5, 6]
            assert moved(houses) == 16 + 8 + 5, "only the fair share of each newcomer moved"
            assert not any(house.tenant.times("lost") for house in houses)
            assert now() < 0.5, "peers told each other, nobody waited for a renewal"

    played(story())


def test_without_a_word_from_peers_a_newcomer_has_its_share_after_a_few_renewals() -> None:
    async def story() -> None:
        async with town(16) as place:
            place.are_peers_deaf = True
            await place.open("one")
            await watch(place, RENEWAL_S / 2)
            before = now()
            two = (await place.open("two"))[0]
            assert len(two.owned) == 8
            assert now() - before <= 3 * RENEWAL_S

    played(story())


def test_members_that_start_together_take_each_their_own() -> None:
    async def story() -> None:
        async with town(64) as place:
            houses = [place.build(f"house-{n}") for n in range(5)]
            for house in houses:
                house.start()
            took_s = await place.settled(*houses, within_s=10.0)
            assert took_s < 3 * RENEWAL_S
            place.check()

    played(story())


def test_a_slow_call_holds_up_its_own_shard_alone() -> None:
    async def story() -> None:
        async with town(16) as place:
            (one,) = await place.open("one")
            one.tenant.calls_s[15] = 3.0
            two = place.build("two")
            two.start()
            await until(lambda: len(two.owned) == 7, within_s=0.5)
            assert 15 in one.owned
            assert one.may_write(15), "what its calls answer is still recorded"
            await until(lambda: 15 in two.owned)
            assert 3.0 <= now() < 3.0 + 2 * RENEWAL_S

    played(story())


def test_what_need_not_go_after_all_is_taken_up_again() -> None:
    async def story() -> None:
        async with town(2) as place:
            (one,) = await place.open("one")
            one.tenant.calls_s = {0: 2.0, 1: 2.0}
            two = place.build("two")
            two.start()
            await until(lambda: bool(one.tenant.times("leave")))
            await two.membership.joined()
            await two.stop()
            await until(lambda: bool(one.tenant.times("left")))
            await place.settled(one)
            assert one.membership.counts.given == 0
            assert one.owned == {0, 1}

    played(story())


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_a_drain_hands_everything_over_within_a_second() -> None:
    async def story() -> None:
        async with town(48) as place:
            one, two, three = await place.open("one", "two", "three")
            began = now()
            await one.membership.drain(20.0)
            assert now() - began < 0.5
            assert one.owned == set()
            assert await place.settled(two, three) < 1.0
            assert one.membership.counts.lost == 0
            assert one.membership.counts.given == 24 + 8 + 16
            await one.stop()
            view = await two.leases.view()
            assert one.name not in {each.name for each in view.members}

    played(story())


def test_a_drain_waits_for_calls_in_flight_and_gives_the_rest_at_once() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            slow = max(one.owned)
            one.tenant.calls_s[slow] = 3.0
            draining = asyncio.get_running_loop().create_task(one.membership.drain(20.0))
            began = now()
            await until(lambda: len(two.owned) == 15, within_s=0.5)
            assert one.owned == {slow}
            await draining
            assert 2.9 < now() - began < 3.5
            await place.settled(two)

    played(story())


def test_a_drain_gives_up_on_calls_that_outlast_its_grace() -> None:
    async def story() -> None:
        async with town(4) as place:
            one, two = await place.open("one", "two")
            one.tenant.calls_s = dict.fromkeys(one.owned, 100.0)
            began = now()
            await one.membership.drain(2.0)
            assert now() - began <= 2.0 + LEAVE_S
            await place.settled(two)

    played(story())


def test_the_last_member_leaves_its_shards_free() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            await one.membership.drain(1.0)
            assert "leaves" in (one.membership.obstacle or "")
            view = await place.cluster.open().view()
            assert view.members == ()
            two = place.build("two")
            two.start()
            began = now()
            await until(lambda: len(two.owned) == 4)
            assert now() - began < 0.1

    played(story())


def test_two_that_leave_together_give_each_other_nothing() -> None:
    async def story() -> None:
        async with town(30) as place:
            one, two, three = await place.open("one", "two", "three")
            taken = one.membership.counts.taken + two.membership.counts.taken
            async with asyncio.TaskGroup() as group:
                group.create_task(one.membership.drain(5.0))
                group.create_task(two.membership.drain(5.0))
            await place.settled(three)
            assert one.membership.counts.taken + two.membership.counts.taken == taken

    played(story())


def test_a_program_that_just_ends_frees_its_shards_at_once() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            await one.stop()
            assert one.tenant.runs == set()
            assert await place.settled(two) < 0.5

    played(story())


def test_a_drain_before_the_first_join_ends_at_once() -> None:
    async def story() -> None:
        async with town(4) as place:
            one = place.build("one")
            one.way.is_cut = True
            one.start()
            await asyncio.sleep(1.0)  # poll: time is virtual here
            assert "database is away" in (one.membership.obstacle or "")
            began = now()
            await one.membership.drain(5.0)
            assert now() - began < 2 * STORE_RETRY_S

    played(story())


# --- what it tells ---------------------------------------------------------------------------------------------------


def test_a_refusal_names_the_owner_and_where_it_is() -> None:
    async def story() -> None:
        async with town(4) as place:
            one, two = await place.open("one", "two")
            shard = min(two.owned)
            with pytest.raises(NotOwner, match="belongs to two at two:7444") as refused:
                one.membership.epoch(shard)
            assert (refused.value.shard, refused.value.owner) == (shard, "two:7444")

    played(story())


def test_before_the_first_join_a_refusal_says_why() -> None:
    async def story() -> None:
        async with town(4) as place:
            one = place.build("one")
            with pytest.raises(NotOwner, match="goes on trying to join"):
                one.membership.epoch(0)
            assert one.membership.view is None

    played(story())


def test_the_view_knows_at_once_what_this_process_has_done() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            view = one.membership.view
            assert view is not None
            assert {each.owner for each in view.shards} == {one.membership.member}
            assert [each.name for each in view.members] == ["one"]
            until_at = one.membership.trusted_until
            assert until_at is not None
            assert one.clock.now() < until_at <= trusted_until(one.clock.now(), LEASE_S)

    played(story())


def test_a_lease_out_of_bounds_is_a_mistake_of_the_configuration() -> None:
    async def story() -> None:
        async with town(4) as place:
            one = place.build("one")
            with pytest.raises(ConfigError, match="2 s to 60 s"):
                Membership(one.leases, one.clock, name="a", address="", shard_count=4, lease_s=1.0)

    played(story())


def test_a_failing_hand_over_lets_go_all_the_same() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            one.tenant.fails_to_leave = True
            two = place.build("two")
            two.start()
            await place.settled(one, two)
            assert len(one.tenant.times("lost")) == 2

    played(story())
