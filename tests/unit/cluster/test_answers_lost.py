"""Claims and gifts whose answers come late or never, or that are refused for a while."""

import asyncio

from tests.unit.cluster.town import now, nudged, played, town, until


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


def test_a_view_that_is_older_than_a_gift_gives_nothing_back() -> None:
    async def story() -> None:
        async with town(16) as place:
            (one,) = await place.open("one")
            one.tenant.calls_s = {shard: 0.1 + 0.007 * shard for shard in range(16)}
            one.way.back_s = {"renew": 0.05}
            two = place.build("two")
            two.start()
            async with nudged(one):
                while len(two.owned) < 8:
                    place.check()
                    await asyncio.sleep(0.001)  # poll: time is virtual here
            assert one.membership.counts.taken == 16, "none of them came back"
            assert len(one.tenant.times("leave")) == 8, "each was left once"

    played(story())


def test_a_gift_that_the_store_could_not_take_is_tried_again_soon() -> None:
    async def story() -> None:
        async with town(16) as place:
            one, two = await place.open("one", "two")
            one.way.refuses = {"give"}
            asyncio.get_running_loop().call_later(0.1, one.way.refuses.clear)
            began = now()
            await one.membership.drain(5.0)
            assert one.membership.counts.given == 8 + 8
            assert now() - began < 0.6
            await place.settled(two)

    played(story())
