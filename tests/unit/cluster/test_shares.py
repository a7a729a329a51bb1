from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from time import process_time

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster.shares import Part, deal, part_of
from orchestrator.ports.leases import Member, Shard

Members = tuple[Member, ...]
Shards = tuple[Shard, ...]

NAMES = "ABCDEF"


def members_of(names: str, leaving: str = "") -> Members:
    return tuple(Member(member=each, name=each, address=each, is_leaving=each in leaving) for each in names)


def shards_of(owners: str) -> Shards:
    """One shard per letter; `.` is free."""
    return tuple(Shard(shard=number, owner=owner.strip("."), epoch=number + 1) for number, owner in enumerate(owners))


def parts(members: Members, shards: Shards) -> dict[str, Part]:
    return {each.member: part_of(each.member, members, shards) for each in members}


def done(members: Members, shards: Shards) -> Shards:
    """The shards after every member has done its part of one view."""
    now = {each.shard: each for each in shards}
    for member, part in parts(members, shards).items():
        for receiver, given_ in [(member, part.claim), *part.give.items()]:
            for each in given_:
                assert now[each.shard] == each, "two members move one shard"
                now[each.shard] = Shard(shard=each.shard, owner=receiver, epoch=each.epoch + 1)
    return tuple(now.values())


def counts(members: Members, shards: Shards) -> dict[str, int]:
    had = Counter(each.owner for each in shards)
    return {each.member: had[each.member] for each in members}


def is_fair(members: Members, shards: Shards) -> bool:
    had = counts(members, shards)
    staying = [had[each.member] for each in members if not each.is_leaving]
    if not staying:
        return True
    return sum(staying) == len(shards) and max(staying) - min(staying) <= 1


def fewest_moves(members: Members, shards: Shards) -> int:
    """Try every way to say who has one more: the fewest shards that must change hands."""
    staying = [each.member for each in members if not each.is_leaving]
    had = counts(members, shards)
    fair, more = divmod(len(shards), len(staying))
    kept = max(sum(min(had[each], fair + (each in lucky)) for each in staying) for lucky in combinations(staying, more))
    return len(shards) - kept


@st.composite
def states(draw: st.DrawFn) -> tuple[Members, Shards]:
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    leaving = draw(st.sets(st.sampled_from(names), max_size=len(names) - 1))
    owners = draw(st.text(alphabet=names + ".X", min_size=1, max_size=24))
    return members_of(names, "".join(leaving)), shards_of(owners)


# --- by example ------------------------------------------------------------------------------------------------------


def test_the_drawn_example() -> None:
    members, shards = members_of("ABC"), shards_of("AAAAAABB..")
    each = parts(members, shards)
    assert [shard.shard for shard in each["B"].claim] == [8]
    assert [shard.shard for shard in each["C"].claim] == [9]
    assert {to: [shard.shard for shard in given] for to, given in each["A"].give.items()} == {"C": [5, 4]}
    assert counts(members, done(members, shards)) == {"A": 4, "B": 3, "C": 3}


def test_nothing_moves_where_shares_are_fair() -> None:
    members, shards = members_of("ABC"), shards_of("AAABBBBCCC")
    assert done(members, shards) == shards


def test_whoever_has_one_more_keeps_it() -> None:
    assert deal(members_of("AB"), shards_of("ABB")).targets == {"A": 1, "B": 2}


def test_who_gets_one_more_does_not_change_while_the_deal_is_done() -> None:
    first = deal(members_of("ABC"), shards_of("A" * 8 + "B" * 8))
    half = deal(members_of("ABC"), shards_of("A" * 6 + "CC" + "B" * 8))
    assert first.targets == half.targets == {"A": 6, "B": 5, "C": 5}


def test_a_member_that_leaves_gives_everything_and_gets_nothing() -> None:
    members, shards = members_of("ABC", leaving="A"), shards_of("AAAA..BC")
    assert counts(members, done(members, shards)) == {"A": 0, "B": 4, "C": 4}
    assert part_of("A", members, shards).claim == ()


def test_where_all_leave_nobody_moves_anything() -> None:
    members, shards = members_of("AB", leaving="AB"), shards_of("AB.")
    assert done(members, shards) == shards


def test_what_a_stranger_owns_is_free() -> None:
    members, shards = members_of("A"), shards_of("XX")
    assert [shard.shard for shard in part_of("A", members, shards).claim] == [0, 1]


def test_who_is_no_member_has_no_part() -> None:
    assert part_of("Z", members_of("AB"), shards_of("AAAA..")) == Part(give={})


def test_a_giver_chooses_which_of_its_shards_go() -> None:
    part = part_of("A", members_of("AB"), shards_of("AAAA"), lambda shard: 0 if shard == 1 else 1)
    assert [shard.shard for shard in part.give["B"]] == [1, 3]


def test_those_who_have_too_much_are_named() -> None:
    dealt = deal(members_of("ABC", leaving="C"), shards_of("AAAABC"))
    assert sorted(dealt.givers) == ["A", "C"]


# --- by property -----------------------------------------------------------------------------------------------------


@given(states())
def test_all_parts_of_one_view_together_are_fair_and_move_as_little_as_can_be(state: tuple[Members, Shards]) -> None:
    members, shards = state
    after = done(members, shards)
    assert is_fair(members, after)
    moved = sum(before != now for before, now in zip(shards, after, strict=True))
    assert moved == fewest_moves(members, shards)
    assert done(members, after) == after


def stepped(members: Members, seen: dict[str, Shards], now: Shards, batch: int) -> Shards:
    """Return the shards after everybody has acted on what it has seen, as a store lets them."""
    held = {each.shard: each for each in now}
    living = {each.member for each in members}
    for member in members:
        part = part_of(member.member, members, seen[member.member])
        for each in part.claim[:batch]:
            current = held[each.shard]
            if current.epoch == each.epoch and current.owner not in living:
                held[each.shard] = Shard(shard=each.shard, owner=member.member, epoch=each.epoch + 1)
        for receiver, given_ in part.give.items():
            for each in given_[:batch]:
                if held[each.shard] == each and each.owner == member.member:
                    held[each.shard] = Shard(shard=each.shard, owner=receiver, epoch=each.epoch + 1)
    return tuple(held.values())


@given(states(), st.lists(st.sets(st.sampled_from(NAMES)), min_size=40, max_size=40), st.integers(3, 24))
def test_members_whose_views_are_a_round_old_agree_all_the_same(
    state: tuple[Members, Shards], late: Sequence[set[str]], batch: int
) -> None:
    members, now = state
    before = now
    rounds = 0
    for late_ones in late:
        if is_fair(members, now):
            break
        seen = {each.member: before if each.member in late_ones else now for each in members}
        before, now = now, stepped(members, seen, now, batch)
        rounds += 1
    assert is_fair(members, now), (rounds, counts(members, now))
    assert rounds <= ROUNDS_MAX


ROUNDS_MAX = 14
"""24 shards in batches of three are eight rounds, and a view that is a round old may cost as many again."""


def test_a_large_cluster_is_dealt_in_no_time() -> None:
    members = tuple(Member(member=f"{n:04}", name="", address="") for n in range(500))
    owners = [f"{n % 499:04}" for n in range(100_000)]
    shards = tuple(Shard(shard=n, owner=owner, epoch=1) for n, owner in enumerate(owners))
    began = process_time()
    part = part_of("0000", members, shards)
    assert process_time() - began < 1.0, "some tens of milliseconds"
    assert {receiver: len(each) for receiver, each in part.give.items()} == {"0499": 1}
