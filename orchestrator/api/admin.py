"""`orchestrator.v1.AdminService`: the processes over one store."""

import math
from collections import defaultdict

import orchestrator
from orchestrator.api import paging
from orchestrator.api.caller import Context
from orchestrator.api.mapping import duration, instant
from orchestrator.ports.cluster import ClusterView, Look
from orchestrator.ports.leases import Member, View
from orchestrator.v1 import admin_service_pb2 as rpc
from orchestrator.v1 import admin_service_pb2_grpc as wire


class AdminService(wire.AdminServiceServicer):
    """The cluster on the wire."""

    def __init__(self, *, cluster: ClusterView) -> None:
        self._cluster = cluster

    async def GetClusterInfo(self, request: rpc.GetClusterInfoRequest, context: Context) -> rpc.GetClusterInfoResponse:
        return info(await self._cluster.look())

    async def ListShards(self, request: rpc.ListShardsRequest, context: Context) -> rpc.ListShardsResponse:
        size = paging.page_size(request.page_size)
        seen = paging.after(request.page_token, (int,), "ListShards", request.member_id)
        last = int(seen[0]) if seen else -1
        view = (await self._cluster.look()).view
        names = {each.member: each.name for each in view.members}
        rest = [each for each in view.shards if each.shard > last]
        if request.member_id:
            rest = [each for each in rest if each.owner == request.member_id]
        answer = rpc.ListShardsResponse()
        for each in rest[:size]:
            owner = each.owner if each.owner in names else ""
            answer.shards.add(shard=each.shard, member_id=owner, member_name=names.get(owner, ""), epoch=each.epoch)
        if len(rest) > size:
            answer.next_page_token = paging.token((rest[size - 1].shard,), "ListShards", request.member_id)
        return answer

    async def GetVersion(self, request: rpc.GetVersionRequest, context: Context) -> rpc.GetVersionResponse:
        return rpc.GetVersionResponse(version=orchestrator.__version__)


def info(look: Look) -> rpc.GetClusterInfoResponse:
    """Return a look in the words of the wire."""
    view = look.view
    epochs = _epochs(view)
    answer = rpc.GetClusterInfoResponse(
        members=[
            _member(each, epochs.get(each.member, []))
            for each in sorted(view.members, key=lambda each: (each.name, each.member))
        ],
        shard_count=len(view.shards),
        free_shard_count=len(view.shards) - sum(len(epochs.get(each.member, [])) for each in view.members),
        as_of_time=instant(view.at),
        stale=not look.is_current,
        answered_by=rpc.AnsweringProcess(
            member_id=look.member,
            name=look.name,
            address=look.address,
            version=orchestrator.__version__,
            obstacle=look.obstacle or "",
        ),
    )
    if math.isfinite(look.trust_s):
        answer.answered_by.trust_left.CopyFrom(duration(look.trust_s))
    if look.owed_since_at is not None:
        answer.timers_behind_since_time.CopyFrom(instant(look.owed_since_at))
    return answer


def _epochs(view: View) -> dict[str, list[int]]:
    found = defaultdict[str, list[int]](list)
    for each in view.shards:
        found[each.owner].append(each.epoch)
    return found


def _member(member: Member, epochs: list[int]) -> rpc.ClusterMember:
    return rpc.ClusterMember(
        member_id=member.member,
        name=member.name,
        address=member.address,
        join_time=instant(member.joined_at),
        lease_expire_time=instant(member.expires_at) if math.isfinite(member.expires_at) else None,
        leaving=member.is_leaving,
        shard_count=len(epochs),
        epoch_min=min(epochs, default=0),
        epoch_max=max(epochs, default=0),
    )
