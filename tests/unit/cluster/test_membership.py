import asyncio
from collections.abc import Callable

import pytest

from orchestrator.cluster.membership import Membership
from orchestrator.cluster.term import renew_every_s, trusted_until
from orchestrator.errors import ConfigError, NotOwner
from orchestrator.limits import LEASE_TRUST_SHARE, LEAVE_S, STORE_RETRY_S
from tests.unit.cluster.town import LEASE_S, House, Town, played, town

RENEWAL_S = renew_every_s(LEASE_S)
TRUST_S = LEASE_S * LEASE_TRUST_SHARE


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> float:
    """Wait for a fact; return when it came to be, by the loop's clock."""
    end = now() + within_s
    while not holds():
        assert now() < end
        await asyncio.sleep(0.005)
    return now()


async def watch(place: Town, for_s: float) -> None:
    """Let time pass, and look all the while that no shard has two writers."""
    end = now() + for_s
    while now() < end:
        place.check()
        await asyncio.sleep(0.02)


def moved(houses: list[House]) -> int:
    return sum(house.membership.counts.taken for house in houses)


# --- joining and sharing ---------------------------------------------------------------------------------------------


def test_a_lone_member_takes_every_shard_at_once() -> None:
    async def story() -> None:
        async with town(16) as place:
            (one,) = await place.open("one")
            assert one.owned == set(range(16))
            assert now() < 0.1

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
            await asyncio.sleep(1.0)
            assert "database is away" in (one.membership.obstacle or "")
            began = now()
            await one.membership.drain(5.0)
            assert now() - began < 2 * STORE_RETRY_S

    played(story())


# --- dying -----------------------------------------------------------------------------------------------------------


def test_the_shards_of_a_killed_member_are_elsewhere_within_a_lease_and_a_renewal() -> None:
    async def story() -> None:
        async with town(48) as place:
            one, two, three = await place.open("one", "two", "three")
            await watch(place, 2 * LEASE_S)
            one.kill()
            died = now()
            while two.owned | three.owned != set(range(48)):
                place.check()
                await asyncio.sleep(0.01)
            assert LEASE_S - RENEWAL_S <= now() - died <= LEASE_S + RENEWAL_S
            assert two.membership.counts.fenced + three.membership.counts.fenced == 1, "one of them, and no race"
            assert two.membership.counts.claims_missed + three.membership.counts.claims_missed == 0

    played(story())


def test_a_lone_process_that_was_killed_waits_for_its_old_lease() -> None:
    async def story() -> None:
        async with town(8) as place:
            (one,) = await place.open("one")
            await watch(place, 2 * LEASE_S)
            one.kill()
            again = place.build("one")
            again.start()
            began = now()
            await again.membership.joined()
            await until(lambda: len(again.owned) == 8)
            assert now() - began <= LEASE_S + RENEWAL_S
            with pytest.raises(NotOwner):
                one.membership.epoch(0)

    played(story())


def test_a_member_that_stands_still_stops_before_anybody_may_take_its_shards() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            await watch(place, 2 * LEASE_S)
            kept = sorted(one.owned)
            one.way.is_silent = True
            until_at = one.membership.trusted_until
            assert until_at is not None
            while one.owned:
                assert two.owned.isdisjoint(kept)
                await asyncio.sleep(0.01)
            assert one.clock.now() == pytest.approx(until_at, abs=0.02)
            assert one.tenant.runs == set(), "its actors are gone with the trust"
            view = await two.leases.view()
            assert next(each for each in view.members if each.name == "one").expires_at > view.at + 1.0

    played(story())


def test_a_process_whose_clock_jumps_over_its_trust_owns_nothing_before_any_timer_runs() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            shard = min(one.owned)
            before = one.membership.member
            one.clock.jumped_s += TRUST_S
            with pytest.raises(NotOwner):
                one.membership.epoch(shard)
            assert one.owned == set()
            await place.settled(one, two)
            assert one.membership.member != before, "it never goes on as the one whose trust was over"
            assert one.tenant.times("lost")

    played(story())


def test_an_answer_that_comes_after_trust_was_over_does_not_bring_it_back() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            before = one.membership.member
            await one.way.is_asked.wait()
            one.clock.jumped_s += TRUST_S
            await place.settled(one)
            assert one.membership.member != before
            assert one.tenant.times("lost")

    played(story())


def test_a_fenced_member_joins_as_another() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            before = one.membership.member
            await two.leases.leave(before)
            await until(lambda: one.membership.member not in {"", before})
            await place.settled(one, two)
            assert one.membership.counts.terms == 2

    played(story())


# --- the store is away -----------------------------------------------------------------------------------------------


def test_a_store_that_is_away_for_less_than_trust_costs_nothing() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            await watch(place, 2.0)
            members, taken = {one.membership.member, two.membership.member}, moved([one, two])
            one.way.is_cut = two.way.is_cut = True
            await watch(place, TRUST_S - RENEWAL_S - 0.5)
            one.way.is_cut = two.way.is_cut = False
            await watch(place, 2 * LEASE_S)
            assert {one.membership.member, two.membership.member} == members
            assert moved([one, two]) == taken
            assert one.membership.counts.lost == two.membership.counts.lost == 0

    played(story())


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "no answer"])
@pytest.mark.parametrize("away_s", [TRUST_S + 0.5, 3 * LEASE_S])
def test_after_an_outage_everybody_has_what_it_had_and_nobody_is_fenced(away_s: float, silent: bool) -> None:
    async def story() -> None:
        async with town(16) as place:
            houses = await place.open("one", "two", "three")
            await watch(place, 2 * LEASE_S)
            owned = [house.owned for house in houses]
            for house in houses:
                house.way.cut(silent=silent)
            await watch(place, away_s)
            assert [house.owned for house in houses] == [set(), set(), set()]
            for house in houses:
                house.way.mend()
            assert await place.settled(*houses, within_s=LEASE_S) <= LEASE_S / 3 + 1.0
            assert [house.owned for house in houses] == owned
            await watch(place, 2 * LEASE_S)
            assert [house.owned for house in houses] == owned
            assert sum(house.membership.counts.fenced for house in houses) == 0

    played(story())


def test_whoever_does_not_come_back_from_an_outage_is_fenced_a_lease_later() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two, three = await place.open("one", "two", "three")
            await watch(place, 2 * LEASE_S)
            for house in place.houses:
                house.way.cut()
            await watch(place, 3 * LEASE_S)
            back_at = now()
            one.way.mend()
            two.way.mend()
            await until(lambda: len(one.owned | two.owned) == 16)
            assert LEASE_S <= now() - back_at <= LEASE_S + 2 * RENEWAL_S
            three.way.mend()
            await place.settled(one, two, three)

    played(story())


def test_a_member_that_is_cut_off_alone_is_replaced_and_comes_back_as_another() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            await watch(place, 2 * LEASE_S)
            one.way.cut()
            cut_at = now()
            while len(two.owned) < 16:
                place.check()
                await asyncio.sleep(0.01)
            assert now() - cut_at <= LEASE_S + RENEWAL_S
            one.way.mend()
            await place.settled(one, two)
            assert one.membership.counts.terms == 2

    played(story())


def test_a_gift_whose_answer_was_lost_is_given_once() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            one.way.loses_answers_of = {"give"}
            two = place.build("two")
            two.start()
            await until(lambda: len(two.owned) == 2)
            one.way.loses_answers_of = set()
            await place.settled(one, two)
            assert {each.epoch for each in (await two.leases.view()).shards} == {1, 2}

    played(story())


def test_a_claim_whose_answer_was_lost_counts() -> None:
    async def story() -> None:
        async with town(4) as place:
            one = place.build("one")
            one.way.loses_answers_of = {"claim"}
            one.start()
            await until(lambda: len(one.owned) == 4)
            assert {one.membership.epoch(shard) for shard in range(4)} == {1}

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
