"""`saga cluster`: the processes over one store, what each of them holds, and the shards one by one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.output import duration, echo, note, seconds_of, tame
from orchestrator.cli.session import Session, connected, pages
from orchestrator.limits import API_PAGE_SIZE_MAX, CLI_CALL_S

if TYPE_CHECKING:
    from orchestrator.v1.admin_service_pb2 import ClusterMember, ClusterShard, GetClusterInfoResponse


@click.group(invoke_without_command=True)
@connected
@click.pass_context
def cluster(context: click.Context, session: Session) -> None:
    """Show the processes over one store: what each holds, how long its lease is good, and which of them answered.

    Any process answers for all. A process that has its store to itself is a cluster of one member and one shard.
    """
    if context.invoked_subcommand is not None:
        return
    from orchestrator.v1.admin_service_pb2 import GetClusterInfoRequest

    found = session.admin.GetClusterInfo(GetClusterInfoRequest(), timeout=CLI_CALL_S)
    if not session.printer.is_table:
        session.printer.message(found)
        return
    if found.stale:
        note("the store does not answer: this is how the process that answered saw the cluster last")
    header = ("name", "shards", "epochs", "lease", "address", "member", "")
    session.printer.columns(header, [_member(each, found) for each in found.members])
    if not session.printer.quiet:
        for line in _state(found):
            echo(line)


@cluster.command()
@click.option("--member", default="", metavar="ID", help="Only those of this member.")
@connected
def shards(session: Session, *, member: str) -> None:
    """List the shards, each with its owner and its epoch, which grows by one with every change of owner."""
    from orchestrator.v1.admin_service_pb2 import ListShardsRequest

    def fetch(token: str) -> "tuple[Sequence[ClusterShard], str]":
        request = ListShardsRequest(member_id=member, page_size=API_PAGE_SIZE_MAX, page_token=token)
        response = session.admin.ListShards(request, timeout=CLI_CALL_S)
        return response.shards, response.next_page_token

    found: list[ClusterShard] = list(pages(fetch, 0))
    if not session.printer.is_table:
        session.printer.messages(found)
        return
    rows = [(str(each.shard), str(each.epoch), tame(each.member_name) or "(free)", each.member_id) for each in found]
    session.printer.columns(("shard", "epoch", "owner", "member"), rows)


def _member(member: "ClusterMember", found: "GetClusterInfoResponse") -> tuple[str, ...]:
    low, high = member.epoch_min, member.epoch_max
    said = ["answered"] if member.member_id == found.answered_by.member_id else []
    return (
        tame(member.name),
        str(member.shard_count),
        "" if not member.shard_count else str(low) if low == high else f"{low} to {high}",
        _lease(member, found),
        tame(member.address),
        member.member_id,
        ", ".join([*said, *(["leaving"] if member.leaving else [])]),
    )


def _lease(member: "ClusterMember", found: "GetClusterInfoResponse") -> str:
    """Say how long a lease is still good, by the store's clock."""
    if not member.HasField("lease_expire_time"):
        return "for ever"
    left_s = seconds_of(member.lease_expire_time) - seconds_of(found.as_of_time)
    return duration(left_s) if left_s > 0.0 else f"over for {duration(-left_s)}"


def _state(found: "GetClusterInfoResponse") -> list[str]:
    """Say what no member's line says: free shards, the process that answered, timers that are behind."""
    free = f", {found.free_shard_count} of them free" if found.free_shard_count else ""
    one = found.answered_by
    trust = ""
    if one.HasField("trust_left"):
        trust_s = one.trust_left.seconds + one.trust_left.nanos / 1e9
        trust = f", may write for {duration(trust_s)} without the store" if trust_s else ", may write nothing now"
    lines = [
        f"{found.shard_count} shards{free}; answered by {tame(one.name)}, version {tame(one.version)}{trust}",
    ]
    if one.obstacle:
        lines.append(tame(one.obstacle))
    if found.HasField("timers_behind_since_time"):
        late_s = seconds_of(found.as_of_time) - seconds_of(found.timers_behind_since_time)
        lines.append(f"timers are {duration(late_s)} behind")
    return lines
