"""What every store of a cluster must do about members, shards and letter boxes (`ports/leases.py`, `ports/posts.py`).

An adapter's own file gives `cluster`: how one process opens the store, and how time passes there.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import pytest

from orchestrator.errors import Fenced, JournalUnavailable
from orchestrator.frozen import changed
from orchestrator.ports.journal import AppendResult, Journal
from orchestrator.ports.leases import Leases, Member, Shard, View
from orchestrator.ports.posts import Answer, Posts
from tests.conformance.journal_values import append

LEASE_S = 0.5
METHOD = "/orchestrator.v1.SagaService/SignalSaga"


@dataclass(slots=True, kw_only=True)
class Process:
    """The store as one process has it open."""

    leases: Leases
    posts: Posts
    journal: Journal


class Cluster(Protocol):
    """A store with shards 0 to 3, all of them free at first."""

    async def open(self) -> Process:
        """Open it as one more process does."""
        ...

    async def pass_s(self, seconds: float) -> None:
        """Return when the store's clock shows so much more."""
        ...


def member(name: str) -> Member:
    return Member(member=f"uuid of {name}", name=name, address=f"{name}:7444")


def owners(view: View) -> list[str]:
    """Who owns each shard; nothing where it is free."""
    living = {each.member for each in view.members}
    return [each.owner if each.owner in living else "" for each in view.shards]


async def all_claimed(process: Process, name: str) -> list[Shard]:
    view = await process.leases.join(member(name), 60.0)
    return list(await process.leases.claim(member(name).member, view.shards))


async def written(process: Process, saga: str, shard: Shard, after: int = 0) -> AppendResult:
    (result,) = await process.journal.append([append(saga, after=after, epoch=shard.epoch, shard=shard.shard)])
    return result


class LeasesSuite:
    """Subclass it and give `cluster`."""

    @pytest.fixture
    async def cluster(self) -> Cluster:
        raise NotImplementedError

    @pytest.fixture
    async def one(self, cluster: Cluster) -> Process:
        return await cluster.open()

    @pytest.fixture
    async def two(self, cluster: Cluster) -> Process:
        return await cluster.open()

    # --- members -----------------------------------------------------------------------------------------------------

    async def test_whoever_joins_is_seen_with_a_lease_from_now_on(self, one: Process, two: Process) -> None:
        view = await one.leases.join(member("one"), 10.0)
        (seen,) = view.members
        assert (seen.member, seen.name, seen.address, seen.is_leaving) == ("uuid of one", "one", "one:7444", False)
        assert view.at - 5.0 < seen.joined_at <= view.at
        assert seen.expires_at == pytest.approx(seen.joined_at + 10.0, abs=0.001)
        assert [each.shard for each in view.shards] == [0, 1, 2, 3]
        assert owners(view) == ["", "", "", ""]
        assert (await two.leases.view()).members == view.members

    async def test_members_come_by_uuid(self, one: Process) -> None:
        for name in ("b", "c", "a"):
            await one.leases.join(member(name), 10.0)
        view = await one.leases.view()
        assert [each.name for each in view.members] == ["a", "b", "c"]

    async def test_nobody_joins_under_a_uuid_that_is_there(self, one: Process) -> None:
        (first,) = (await one.leases.join(member("one"), 10.0)).members
        with pytest.raises(JournalUnavailable, match="fresh UUID"):
            await one.leases.join(member("one"), 20.0)
        assert (await one.leases.view()).members == (first,)

    async def test_one_that_joins_while_it_leaves_is_seen_so(self, one: Process) -> None:
        view = await one.leases.join(changed(member("one"), is_leaving=True), 10.0)
        assert [each.is_leaving for each in view.members] == [True]
        again = await one.leases.renew("uuid of one", 10.0, is_leaving=False)
        assert again is not None
        assert [each.is_leaving for each in again.members] == [False]

    async def test_a_renewal_lengthens_the_lease_and_says_whether_it_leaves(
        self, cluster: Cluster, one: Process
    ) -> None:
        first = await one.leases.join(member("one"), 10.0)
        await cluster.pass_s(0.05)
        view = await one.leases.renew("uuid of one", 10.0, is_leaving=True)
        assert view is not None
        assert view.at >= first.at + 0.05
        (seen,) = view.members
        assert seen.expires_at >= first.members[0].expires_at + 0.05
        assert seen.is_leaving
        assert seen.joined_at == first.members[0].joined_at

    async def test_a_renewal_by_nobody_says_so_and_changes_nothing(self, one: Process) -> None:
        assert await one.leases.renew("uuid of nobody", 10.0, is_leaving=False) is None
        assert (await one.leases.view()).members == ()

    async def test_a_lease_that_is_over_can_still_be_renewed_until_somebody_fences(
        self, cluster: Cluster, one: Process
    ) -> None:
        await one.leases.join(member("one"), LEASE_S)
        await cluster.pass_s(LEASE_S + 0.01)
        assert await one.leases.renew("uuid of one", LEASE_S, is_leaving=False) is not None

    # --- claiming ----------------------------------------------------------------------------------------------------

    async def test_a_free_shard_is_taken_under_a_higher_epoch(self, one: Process) -> None:
        view = await one.leases.join(member("one"), 60.0)
        got = await one.leases.claim("uuid of one", view.shards[1:3])
        assert sorted((each.shard, each.owner) for each in got) == [(1, "uuid of one"), (2, "uuid of one")]
        assert all(each.epoch == view.shards[each.shard].epoch + 1 for each in got)
        seen = await one.leases.view()
        assert owners(seen) == ["", "uuid of one", "uuid of one", ""]
        assert sorted(got, key=lambda each: each.shard) == list(seen.shards[1:3])

    async def test_a_shard_of_a_member_is_not_taken(self, one: Process, two: Process) -> None:
        await all_claimed(one, "one")
        view = await two.leases.join(member("two"), 60.0)
        assert list(await two.leases.claim("uuid of two", view.shards)) == []
        assert owners(await one.leases.view()) == ["uuid of one"] * 4

    async def test_a_shard_that_moved_since_it_was_seen_is_not_taken(self, one: Process, two: Process) -> None:
        view = await one.leases.join(member("one"), 60.0)
        await two.leases.join(member("two"), 60.0)
        await two.leases.claim("uuid of two", view.shards[:1])
        await two.leases.leave("uuid of two")
        got = await one.leases.claim("uuid of one", view.shards[:2])
        assert [each.shard for each in got] == [1]

    async def test_nobody_takes_nothing(self, one: Process) -> None:
        view = await one.leases.view()
        assert list(await one.leases.claim("uuid of nobody", view.shards)) == []
        assert owners(await one.leases.view()) == [""] * 4

    async def test_of_two_that_claim_at_once_one_gets_each_shard(self, one: Process, two: Process) -> None:
        view = await one.leases.join(member("one"), 60.0)
        await two.leases.join(member("two"), 60.0)
        first, second = await asyncio.gather(
            one.leases.claim("uuid of one", view.shards),
            two.leases.claim("uuid of two", list(reversed(view.shards))),
        )
        assert sorted(each.shard for each in [*first, *second]) == [0, 1, 2, 3]
        seen = await one.leases.view()
        assert sorted([*first, *second], key=lambda each: each.shard) == list(seen.shards)

    async def test_a_claim_that_is_repeated_gets_nothing_more(self, one: Process) -> None:
        view = await one.leases.join(member("one"), 60.0)
        assert len(await one.leases.claim("uuid of one", view.shards)) == 4
        assert list(await one.leases.claim("uuid of one", view.shards)) == []

    # --- giving ------------------------------------------------------------------------------------------------------

    async def test_a_gift_changes_the_owner_and_raises_the_epoch(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        await two.leases.join(member("two"), 60.0)
        given = await one.leases.give("uuid of one", own[:2], "uuid of two")
        assert all(each.owner == "uuid of two" for each in given)
        assert sorted(each.epoch for each in given) == sorted(each.epoch + 1 for each in own[:2])
        assert owners(await one.leases.view()).count("uuid of two") == 2

    async def test_only_the_owner_gives_and_only_under_the_epoch_it_has(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        await two.leases.join(member("two"), 60.0)
        assert list(await two.leases.give("uuid of two", own, "uuid of two")) == []
        stale = [changed(each, epoch=each.epoch - 1) for each in own]
        assert list(await one.leases.give("uuid of one", stale, "uuid of two")) == []
        assert owners(await one.leases.view()) == ["uuid of one"] * 4

    async def test_a_gift_that_is_repeated_is_one_gift(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        await two.leases.join(member("two"), 60.0)
        assert len(await one.leases.give("uuid of one", own[:1], "uuid of two")) == 1
        assert list(await one.leases.give("uuid of one", own[:1], "uuid of two")) == []

    async def test_what_is_given_to_nobody_is_free(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        view = await two.leases.join(member("two"), 60.0)
        (freed,) = await one.leases.give("uuid of one", own[:1], "")
        assert owners(await two.leases.view())[freed.shard] == ""
        (got,) = await two.leases.claim("uuid of two", [freed])
        assert got.epoch > view.shards[freed.shard].epoch

    async def test_what_is_given_to_one_who_has_gone_is_free(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        await one.leases.give("uuid of one", own[:1], "uuid of nobody")
        view = await two.leases.join(member("two"), 60.0)
        assert len(await two.leases.claim("uuid of two", [view.shards[own[0].shard]])) == 1

    # --- leaving and fencing -----------------------------------------------------------------------------------------

    async def test_whoever_leaves_sets_its_shards_free(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        await two.leases.join(member("two"), 60.0)
        await one.leases.leave("uuid of one")
        view = await two.leases.view()
        assert [each.name for each in view.members] == ["two"]
        assert owners(view) == [""] * 4
        got = await two.leases.claim("uuid of two", view.shards)
        epochs = {each.shard: each.epoch for each in own}
        assert len(got) == 4
        assert all(each.epoch > epochs[each.shard] for each in got), "an epoch belongs to one owner for ever"

    async def test_leaving_twice_is_leaving_once(self, one: Process) -> None:
        await one.leases.join(member("one"), 60.0)
        await one.leases.leave("uuid of one")
        await one.leases.leave("uuid of one")
        assert await one.leases.renew("uuid of one", 60.0, is_leaving=False) is None

    async def test_a_living_member_is_not_fenced(self, one: Process, two: Process) -> None:
        await all_claimed(one, "one")
        assert list(await two.leases.fence(["uuid of one", "uuid of nobody"])) == []
        assert owners(await two.leases.view()) == ["uuid of one"] * 4

    async def test_a_member_whose_lease_is_over_is_fenced_and_its_shards_are_free(
        self, cluster: Cluster, one: Process, two: Process
    ) -> None:
        view = await one.leases.join(member("one"), LEASE_S)
        own = await one.leases.claim("uuid of one", view.shards)
        await two.leases.join(member("two"), 60.0)
        await cluster.pass_s(LEASE_S + 0.01)
        assert list(await two.leases.fence(["uuid of one", "uuid of two"])) == ["uuid of one"]
        assert list(await two.leases.fence(["uuid of one"])) == []
        view = await two.leases.view()
        assert [each.name for each in view.members] == ["two"]
        assert owners(view) == [""] * 4
        got = await two.leases.claim("uuid of two", view.shards)
        epochs = {each.shard: each.epoch for each in own}
        assert len(got) == 4
        assert all(each.epoch > epochs[each.shard] for each in got)
        assert await one.leases.renew("uuid of one", LEASE_S, is_leaving=False) is None

    # --- who may append ----------------------------------------------------------------------------------------------

    async def test_the_owner_appends_under_the_shards_epoch(self, one: Process) -> None:
        own = await all_claimed(one, "one")
        assert await written(one, "a", own[0]) is None
        assert await written(one, "a", own[0], after=1) is None
        assert len(await one.journal.read(append("a").saga_id)) == 2

    async def test_an_append_under_another_epoch_changes_nothing(self, one: Process) -> None:
        own = await all_claimed(one, "one")
        for off in (-1, 1):
            refused = await written(one, "a", changed(own[0], epoch=own[0].epoch + off))
            assert isinstance(refused, Fenced)
        assert await one.journal.row(append("a").saga_id) is None

    async def test_after_a_shard_was_given_away_only_its_new_owner_appends(self, one: Process, two: Process) -> None:
        own = await all_claimed(one, "one")
        assert await written(one, "a", own[0]) is None
        await two.leases.join(member("two"), 60.0)
        (given,) = await one.leases.give("uuid of one", own[:1], "uuid of two")
        assert isinstance(await written(one, "a", own[0], after=1), Fenced)
        assert isinstance(await written(one, "a", given, after=1), Fenced), "the epoch alone is no right"
        assert await written(two, "a", given, after=1) is None
        assert [each.epoch for each in await two.journal.read(append("a").saga_id)] == [own[0].epoch, given.epoch]

    async def test_a_fenced_member_appends_nothing_from_then_on(
        self, cluster: Cluster, one: Process, two: Process
    ) -> None:
        view = await one.leases.join(member("one"), LEASE_S)
        own = await one.leases.claim("uuid of one", view.shards)
        assert await written(one, "a", own[0]) is None
        await cluster.pass_s(LEASE_S + 0.01)
        assert await written(one, "a", own[0], after=1) is None, "the lease is over, and nobody has fenced it"
        await two.leases.fence(["uuid of one"])
        assert isinstance(await written(one, "a", own[0], after=2), Fenced)
        assert isinstance(await written(one, "b", own[0]), Fenced)

    async def test_a_new_life_does_not_write_under_what_the_old_one_had(self, one: Process) -> None:
        own = await all_claimed(one, "one")
        await one.leases.leave("uuid of one")
        await one.leases.join(member("one again"), 60.0)
        assert isinstance(await written(one, "a", own[0]), Fenced)

    async def test_one_stream_that_is_fenced_does_not_hinder_the_others(self, one: Process, two: Process) -> None:
        own = sorted(await all_claimed(one, "one"), key=lambda each: each.shard)
        await two.leases.join(member("two"), 60.0)
        await one.leases.give("uuid of one", own[:1], "uuid of two")
        results = await one.journal.append(
            [
                append("a", epoch=own[0].epoch, shard=0),
                append("b", epoch=own[1].epoch, shard=1),
                append("c", epoch=own[2].epoch, shard=2),
            ]
        )
        assert isinstance(results[0], Fenced)
        assert list(results[1:]) == [None, None]

    async def test_a_saga_stays_in_the_shard_it_began_in(self, one: Process, two: Process) -> None:
        own = sorted(await all_claimed(one, "one"), key=lambda each: each.shard)
        assert await written(one, "a", own[0]) is None
        await two.leases.join(member("two"), 60.0)
        await one.leases.give("uuid of one", own[:1], "uuid of two")
        moved = await written(one, "a", own[1], after=1)
        assert isinstance(moved, Fenced), "naming a shard that one has is no way to another's saga"

    # --- letter boxes ------------------------------------------------------------------------------------------------

    async def test_a_post_waits_for_its_shards_owner_and_its_answer_for_whoever_asked(
        self, one: Process, two: Process
    ) -> None:
        first = await one.posts.post(2, METHOD, b"\x00request", (("traceparent", "00-ab"), ("who", "ann")))
        second = await one.posts.post(2, METHOD, b"", ())
        await one.posts.post(3, METHOD, b"", ())
        posts = await two.posts.posted([0, 2], 9)
        assert [each.number for each in posts] == [first, second]
        assert (posts[0].shard, posts[0].method, posts[0].request) == (2, METHOD, b"\x00request")
        assert posts[0].metadata == (("traceparent", "00-ab"), ("who", "ann"))
        view = await two.leases.view()
        assert view.at - 5.0 < posts[0].posted_at <= view.at
        assert [each.number for each in await two.posts.posted([2, 3], 1)] == [first]
        assert await self._answers(one, [first, second]) == {}
        await two.posts.answer(first, Answer(response=b"\x00done"))
        assert await self._answers(one, [first, second]) == {first: Answer(response=b"\x00done")}
        assert [each.number for each in await two.posts.posted([2], 9)] == [second]

    async def test_the_first_answer_counts(self, one: Process) -> None:
        number = await one.posts.post(0, METHOD, b"", ())
        await one.posts.answer(number, Answer(status=b"first"))
        await one.posts.answer(number, Answer(response=b"second"))
        assert await self._answers(one, [number]) == {number: Answer(status=b"first")}

    async def test_what_was_answered_long_ago_is_cleared_and_nothing_else(self, cluster: Cluster, one: Process) -> None:
        old = [await one.posts.post(0, METHOD, b"", ()) for _ in range(3)]
        for number in old:
            await one.posts.answer(number, Answer(response=b"x"))
        await cluster.pass_s(0.05)
        until_at = (await one.leases.view()).at
        await cluster.pass_s(0.05)
        waiting = await one.posts.post(0, METHOD, b"", ())
        fresh = await one.posts.post(0, METHOD, b"", ())
        await one.posts.answer(fresh, Answer(response=b"y"))
        assert await one.posts.clear(until_at, 2) == 2
        assert await one.posts.clear(until_at, 2) == 1
        assert await one.posts.clear(until_at, 2) == 0
        assert await self._answers(one, [*old, fresh]) == {fresh: Answer(response=b"y")}
        assert [each.number for each in await one.posts.posted([0], 9)] == [waiting]

    async def _answers(self, process: Process, numbers: Collection[int]) -> dict[int, Answer]:
        return dict(await process.posts.answers(numbers))
