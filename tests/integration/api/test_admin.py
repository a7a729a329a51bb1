"""Any process shows the cluster: who is there, who holds what, and how the one that answers stands."""

import grpc
import grpc.aio
import pytest

import orchestrator
from orchestrator.errors import JournalUnavailable
from orchestrator.frozen import changed
from orchestrator.ports.cluster import Look, Standing
from orchestrator.ports.leases import Member, Shard, View
from orchestrator.v1 import admin_service_pb2 as rpc
from tests.integration.api.rig import Rig, running, status_of

AT = 1_790_000_000.0
ONE = Member(member="b-1", name="one", address="one:7500", joined_at=AT - 60, expires_at=AT + 4.5)
TWO = Member(member="a-2", name="two", address="two:7500", joined_at=AT - 30, expires_at=AT + 2.25, is_leaving=True)
OWNERS = ("b-1", "a-2", "b-1", "gone", "", "a-2", "a-2")
SHARDS = tuple(Shard(shard=number, owner=owner, epoch=10 + number) for number, owner in enumerate(OWNERS))
LOOK = Look(
    view=View(at=AT, members=(TWO, ONE), shards=SHARDS),
    is_current=True,
    member="b-1",
    name="one",
    address="one:7500",
    trust_s=2.5,
    obstacle=None,
    owed_since_at=None,
)


class Shown:
    """`ClusterView` of what the test says."""

    def __init__(self, look: Look | None = LOOK) -> None:
        self.found = look

    def standing(self) -> Standing:
        return Standing()

    async def look(self) -> Look:
        if self.found is None:
            raise JournalUnavailable("the store is away")
        return self.found


async def info(rig: Rig) -> rpc.GetClusterInfoResponse:
    return await rig.admin.GetClusterInfo(rpc.GetClusterInfoRequest())


async def test_members_are_shown_by_name_with_what_they_hold() -> None:
    async with running(cluster=Shown()) as rig:
        answer = await info(rig)
    assert [(each.name, each.member_id, each.address) for each in answer.members] == [
        ("one", "b-1", "one:7500"),
        ("two", "a-2", "two:7500"),
    ]
    one, two = answer.members
    assert (one.shard_count, one.epoch_min, one.epoch_max, one.leaving) == (2, 10, 12, False)
    assert (two.shard_count, two.epoch_min, two.epoch_max, two.leaving) == (3, 11, 16, True)
    assert one.lease_expire_time.ToMilliseconds() == (AT + 4.5) * 1e3
    assert two.join_time.ToMilliseconds() == (AT - 30) * 1e3
    assert (answer.shard_count, answer.free_shard_count) == (7, 2)
    assert answer.as_of_time.ToMilliseconds() == AT * 1e3
    assert not answer.stale
    assert not answer.HasField("timers_behind_since_time")


async def test_the_process_that_answers_tells_how_it_stands() -> None:
    async with running(cluster=Shown()) as rig:
        me = (await info(rig)).answered_by
        assert (me.member_id, me.name, me.address) == ("b-1", "one", "one:7500")
        assert me.version == orchestrator.__version__
        assert (await rig.admin.GetVersion(rpc.GetVersionRequest())).version == orchestrator.__version__
        assert me.trust_left.ToMilliseconds() == 2_500
        assert me.obstacle == ""


async def test_what_is_wrong_is_shown() -> None:
    broken = changed(LOOK, is_current=False, member="", trust_s=0.0, obstacle="it joins", owed_since_at=AT - 9)
    async with running(cluster=Shown(broken)) as rig:
        answer = await info(rig)
    assert answer.stale
    assert answer.answered_by.obstacle == "it joins"
    assert answer.answered_by.trust_left.ToMilliseconds() == 0
    assert answer.answered_by.HasField("trust_left")
    assert answer.timers_behind_since_time.ToMilliseconds() == (AT - 9) * 1e3


async def test_shards_are_listed_page_by_page_and_by_member() -> None:
    async with running(cluster=Shown()) as rig:
        seen: list[rpc.ClusterShard] = []
        request = rpc.ListShardsRequest(page_size=3)
        while True:
            page = await rig.admin.ListShards(request)
            seen += page.shards
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert [(each.shard, each.epoch) for each in seen] == [(number, 10 + number) for number in range(7)]
        assert [each.member_name for each in seen] == ["one", "two", "one", "", "", "two", "two"]
        assert [each.member_id for each in seen] == ["b-1", "a-2", "b-1", "", "", "a-2", "a-2"]
        only = await rig.admin.ListShards(rpc.ListShardsRequest(member_id="b-1"))
        assert [each.shard for each in only.shards] == [0, 2]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rig.admin.ListShards(rpc.ListShardsRequest(page_token=request.page_token, member_id="b-1"))
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_store_that_is_away_before_anything_was_seen_is_an_error() -> None:
    async with running(cluster=Shown(None)) as rig:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await info(rig)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert status_of(caught.value) is not None


async def test_a_process_that_has_its_store_to_itself_is_a_cluster_of_one() -> None:
    async with running() as rig:
        answer = await info(rig)
        (me,) = answer.members
        assert (me.name, me.shard_count, me.epoch_min) == ("alone", 1, rig.journal.epoch)
        assert me.member_id == answer.answered_by.member_id != ""
        assert not me.HasField("lease_expire_time")
        assert not answer.answered_by.HasField("trust_left")
        (shard,) = (await rig.admin.ListShards(rpc.ListShardsRequest())).shards
        assert (shard.shard, shard.member_name) == (0, "alone")
