"""`saga cluster` says who is there, who holds what, and who said so."""

import json

import grpc
import pytest

from orchestrator.cli.exits import Exit
from orchestrator.v1 import admin_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga, fail

AT = 1_790_000_000


def info(**fields: object) -> rpc.GetClusterInfoResponse:
    answer = rpc.GetClusterInfoResponse(shard_count=256, free_shard_count=0)
    answer.as_of_time.seconds = AT
    for name, member, left_s, count, low, high in (("one", "aaaa", 4, 130, 3, 9), ("two", "bbbb", -2, 126, 7, 7)):
        each = answer.members.add(
            name=name, member_id=member, address=f"{name}:7500", shard_count=count, epoch_min=low, epoch_max=high
        )
        each.lease_expire_time.seconds = AT + left_s
    answer.members[1].leaving = True
    answer.answered_by.member_id, answer.answered_by.name, answer.answered_by.version = "bbbb", "two", "0.3.0"
    answer.answered_by.trust_left.seconds = 2
    for name, value in fields.items():
        setattr(answer, name, value)
    return answer


def test_members_are_shown_with_what_they_hold_and_which_of_them_answered(server: FakeServer, saga: Saga) -> None:
    server.answer("GetClusterInfo", info())
    ended = saga("cluster")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "NAME  SHARDS  EPOCHS  LEASE           ADDRESS   MEMBER",
        "one   130     3 to 9  4.0 s           one:7500  aaaa",
        "two   126     7       over for 2.0 s  two:7500  bbbb    answered, leaving",
        "256 shards; answered by two, version 0.3.0, may write for 2.0 s without the store",
    ]
    assert ended.err == ""


def test_what_is_wrong_is_said(server: FakeServer, saga: Saga) -> None:
    answer = info(stale=True, free_shard_count=6)
    answer.answered_by.trust_left.seconds = 0
    answer.answered_by.obstacle = "this process leaves\nthe cluster"
    answer.timers_behind_since_time.seconds = AT - 75
    server.answer("GetClusterInfo", answer)
    ended = saga("cluster")
    assert ended.err == "the store does not answer: this is how the process that answered saw the cluster last\n"
    assert ended.out.splitlines()[-3:] == [
        "256 shards, 6 of them free; answered by two, version 0.3.0, may write nothing now",
        "this process leaves\\nthe cluster",
        "timers are 1 min 15 s behind",
    ]


def test_a_process_that_has_its_store_to_itself_is_a_cluster_of_one(server: FakeServer, saga: Saga) -> None:
    answer = rpc.GetClusterInfoResponse(shard_count=1)
    answer.members.add(name="alone", member_id="aaaa", shard_count=1, epoch_min=4, epoch_max=4)
    answer.answered_by.member_id, answer.answered_by.name, answer.answered_by.version = "aaaa", "alone", "0.3.0"
    server.answer("GetClusterInfo", answer)
    lines = saga("cluster").out.splitlines()
    assert lines[1].split() == ["alone", "1", "4", "for", "ever", "aaaa", "answered"]
    assert lines[2] == "1 shards; answered by alone, version 0.3.0"


def test_programs_get_the_message(server: FakeServer, saga: Saga) -> None:
    server.answer("GetClusterInfo", info())
    told = json.loads(saga("cluster", "-o", "json").out)
    assert [each["name"] for each in told["members"]] == ["one", "two"]
    assert told["answered_by"]["trust_left"] == "2s"
    assert saga("cluster", "-q").out == "one\ntwo\n"


def test_shards_are_listed_to_the_last_page(server: FakeServer, saga: Saga) -> None:
    first = rpc.ListShardsResponse(next_page_token="more")
    first.shards.add(shard=0, member_id="aaaa", member_name="one", epoch=3)
    last = rpc.ListShardsResponse()
    last.shards.add(shard=1, epoch=8)
    server.answer("ListShards", first, last)
    ended = saga("cluster", "shards", "--member", "aaaa")
    assert ended.out.splitlines() == [
        "SHARD  EPOCH  OWNER   MEMBER",
        "0      3      one     aaaa",
        "1      8      (free)",
    ]
    assert [(each.member_id, each.page_token) for each in server.requests("ListShards")] == [
        ("aaaa", ""),
        ("aaaa", "more"),
    ]
    assert not server.requests("GetClusterInfo")


@pytest.mark.parametrize("command", [("cluster",), ("cluster", "shards")])
def test_a_store_that_is_away_before_anything_was_seen_is_said(
    server: FakeServer, saga: Saga, command: tuple[str, ...]
) -> None:
    for method in ("GetClusterInfo", "ListShards"):
        server.answer(method, fail(grpc.StatusCode.UNAVAILABLE, "the store is away", "JOURNAL_UNAVAILABLE"))
    ended = saga(*command)
    assert ended.code == Exit.UNAVAILABLE
    assert "the store is away" in ended.err
