import asyncio

import pytest

from orchestrator.errors import NotOwner
from tests.unit.cluster.town import LEASE_S, RENEWAL_S, TRUST_S, moved, now, nudged, played, town, until, watch

# --- dying -----------------------------------------------------------------------------------------------------------


def test_the_shards_of_a_killed_member_are_elsewhere_within_a_lease_and_a_renewal() -> None:
    async def story() -> None:
        async with town(48) as place:
            one, two, three = await place.open("one", "two", "three")
            await watch(place, 2 * LEASE_S)
            one.kill()
            died = now()
            await watch(place, RENEWAL_S / 2)
            two.membership.nudge()
            three.membership.nudge()
            while two.owned | three.owned != set(range(48)):
                place.check()
                await asyncio.sleep(0.01)  # poll: time is virtual here
            assert LEASE_S - RENEWAL_S <= now() - died <= LEASE_S + 0.1, "looked at when it ended, and peers were told"
            assert two.membership.counts.fenced + three.membership.counts.fenced == 1, "one of them, and no race"
            assert two.membership.counts.claims_missed + three.membership.counts.claims_missed == 0

    played(story())


def test_who_waits_for_the_end_of_an_owner_is_told_when_somebody_else_has_the_shard() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two, three = await place.open("one", "two", "three")
            await watch(place, 2 * LEASE_S)
            shard, address = min(one.owned), "one:7444"
            moved = asyncio.get_running_loop().create_task(two.membership.moved(shard, address))
            await watch(place, 2 * LEASE_S)
            assert not moved.done()
            one.kill()
            died = now()
            await moved
            assert now() - died <= LEASE_S + RENEWAL_S + 0.1
            await place.settled(two, three)

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
            await watch(place, RENEWAL_S / 2)
            again.membership.nudge()
            await until(lambda: len(again.owned) == 8)
            assert LEASE_S <= now() - began <= LEASE_S + 0.1
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
                await asyncio.sleep(0.01)  # poll: time is virtual here
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
            for _ in range(3):
                await asyncio.sleep(0.0)  # one turn: for what the refusal has set off
            assert one.tenant.runs == set(), "and its actors were told at once"
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
                await asyncio.sleep(0.01)  # poll: time is virtual here
            assert now() - cut_at <= LEASE_S + RENEWAL_S
            one.way.mend()
            await place.settled(one, two)
            assert one.membership.counts.terms == 2

    played(story())


def test_a_join_without_an_answer_is_tried_again_as_another_and_what_it_left_is_taken_away() -> None:
    async def story() -> None:
        async with town(4) as place:
            one = place.build("one")
            one.way.loses_answers_of = {"join"}
            one.start()
            await until(lambda: one.way.asked.count("join") >= 3)
            one.way.loses_answers_of = set()
            await one.membership.joined()
            await place.settled(one)
            assert len(one.way.joined) == len(set(one.way.joined)) >= 3, "no UUID was used twice"
            assert [each.member for each in (await one.leases.view()).members] == [one.membership.member]

    played(story())


def test_while_the_store_is_away_nothing_is_asked_of_it_that_could_come_late() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            one.way.cut()
            await watch(place, 3 * LEASE_S)
            tried = len(one.way.joined)
            await watch(place, 30.0)
            assert len(one.way.joined) == tried <= 2
            one.way.mend()
            await place.settled(one)

    played(story())


def test_whoever_comes_back_within_its_lease_has_its_own_again_and_nobody_else_moves() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            await watch(place, LEASE_S)
            owned = one.owned
            one.way.cut()
            await until(lambda: one.tenant.runs == set())
            one.way.mend()
            one.way.back_s = dict.fromkeys(["join", "give", "leave", "renew"], 0.1)
            async with nudged(two):
                await place.settled(one, two)
            assert one.owned == owned
            assert two.tenant.times("leave") == []
            assert two.membership.counts.taken == 8

    played(story())


def test_a_member_that_was_cut_off_for_a_moment_judges_nobody_for_a_lease() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            await watch(place, 2 * LEASE_S)
            two.kill()
            await watch(place, 2.0)
            one.way.cut()
            await watch(place, 2.5)
            back_at = now()
            one.way.mend()
            await until(lambda: len(one.owned) == 16)
            assert one.membership.counts.terms == 1, "its own trust never ended"
            assert LEASE_S <= now() - back_at <= LEASE_S + RENEWAL_S

    played(story())


def test_a_store_whose_clock_is_set_forward_costs_nobody_its_membership() -> None:
    async def story() -> None:
        async with town(16) as place:
            houses = await place.open("one", "two", "three")
            await watch(place, 2 * LEASE_S)
            members = [house.membership.member for house in houses]
            place.store_jumped_s = 3_600.0
            async with nudged(houses[0]):
                await watch(place, 2 * LEASE_S)
            assert [house.membership.member for house in houses] == members
            assert sum(house.membership.counts.fenced for house in houses) == 0
            houses[2].kill()
            died = now()
            await until(lambda: len(houses[0].owned | houses[1].owned) == 16)
            assert now() - died <= LEASE_S + 0.1

    played(story())


def test_a_bug_in_giving_is_survived_as_another_member() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            before = one.membership.member
            one.way.breaks = {"give"}
            two = place.build("two")
            two.start()
            await until(lambda: one.membership.member not in {"", before})
            await place.settled(one, two)

    played(story())


def test_a_store_that_is_away_is_asked_a_few_times_a_second() -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            one.way.cut()
            before = one.way.asked_count
            await watch(place, 15.0)
            one.membership.nudge()
            await watch(place, 15.0)
            assert 30 < one.way.asked_count - before < 30 * 8

    played(story())


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "no answer"])
def test_a_member_that_leaves_while_the_store_is_away_has_let_go_of_everything_right_after_the_grace(
    silent: bool,
) -> None:
    async def story() -> None:
        async with town(16) as place:
            one, _ = await place.open("one", "two")
            one.way.cut(silent=silent)
            await until(lambda: one.membership.counts.renewals_missed > 0)
            asked = one.way.asked.count("leave")
            began = now()
            await one.membership.drain(1.0)
            assert now() - began <= 1.0 + 0.25
            assert one.owned == set()
            assert one.tenant.runs == set(), "whoever waits for its sagas is told"
            assert one.way.asked.count("leave") == asked + 1, "and what waits inside the store as well"
            began = now()
            await one.stop()
            assert now() == began

    played(story())


def test_each_outage_is_told_once_with_its_end(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with town(4) as place:
            (one,) = await place.open("one")
            for _ in range(2):
                one.way.cut()
                await watch(place, 3.0)
                one.way.mend()
                await watch(place, 2.0)

    with caplog.at_level("INFO", "orchestrator.cluster"):
        played(story())
    told = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("the store is away") for line in told) == 2
    assert told.count("the store answers again") == 2
