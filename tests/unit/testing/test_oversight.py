"""Every rule that the database's own books hold a cluster to, broken once."""

from collections.abc import Callable

import pytest

from orchestrator.ids import SagaId
from orchestrator.ports.journal import Append
from orchestrator.ports.leases import Member, Shard, View
from orchestrator.testing.loop import Life
from orchestrator.testing.oversight import Oversight
from tests.conformance.journal_values import append
from tests.unit.testing.worlds import call, passes, told

LEASE_S = 6.0


class Books:
    """Oversight over one shard, of which members `a` and `b` are lives `n1` and `n2`; `a` has it under epoch 1."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.oversight = Oversight(LEASE_S, self.broken)
        self.one, self.two = Life("n1"), Life("n2")
        self.members = ["a", "b"]
        self.shard = Shard(shard=0, owner="", epoch=0)
        for life, member in ((self.one, "a"), (self.two, "b")):
            self.oversight.joins(life, member)
            self.oversight.renewed(member, LEASE_S)
        self.see("a", "join", self.one)
        self.owned_by("a", 1, "claim", self.one)

    def see(self, actor: str, statement: str, life: Life, at: float = 0.0) -> None:
        members = tuple(Member(member=each, name=each, address=each) for each in self.members)
        self.oversight.seen(View(at=at, members=members, shards=(self.shard,)), actor, statement, life)

    def owned_by(self, owner: str, epoch: int, statement: str, life: Life, *, at: float = 0.0, actor: str = "") -> None:
        self.shard = Shard(shard=0, owner=owner, epoch=epoch)
        self.see(actor or owner, statement, life, at)

    def written(self, life: Life, epoch: int, after: int = 0) -> None:
        self.oversight.landed(life, _of_s1(epoch, after))


def _of_s1(epoch: int, after: int = 0) -> Append:
    return append("s1", epoch=epoch, after=after)


def _sound(books: Books) -> None:
    books.written(books.one, 1)
    books.oversight.begins(books.one, call())
    books.oversight.believed(books.one, 0)
    books.owned_by("b", 2, "give", books.one, actor="a")
    books.written(books.two, 2, after=1)


def _taken(books: Books) -> None:
    books.owned_by("b", 2, "claim", books.two)


def _fenced(books: Books) -> None:
    books.members = ["b"]
    books.owned_by("", 2, "fence", books.two, at=LEASE_S / 2)


def _same_epoch(books: Books) -> None:
    books.owned_by("b", 1, "give", books.one, actor="a")


def _stranger_writes(books: Books) -> None:
    books.written(books.two, 1)


def _late_write(books: Books) -> None:
    books.owned_by("b", 2, "give", books.one, actor="a")
    books.written(books.one, 1)


def _two_writers(books: Books) -> None:
    books.written(books.one, 1)
    books.owned_by("b", 1, "give", books.one, actor="a")
    books.broken.clear()
    books.written(books.two, 1, after=1)


def _stranger_calls(books: Books) -> None:
    books.written(books.one, 1)
    books.oversight.begins(books.two, call())


def _stranger_believes(books: Books) -> None:
    books.oversight.believed(books.two, 0)


def _joins_again(books: Books) -> None:
    books.oversight.joins(books.one, "a")


def _joins_as_another(books: Books) -> None:
    books.oversight.joins(books.one, "b")


def _commit_on_its_way(books: Books) -> None:
    books.owned_by("b", 2, "give", books.one, actor="a")
    books.oversight.refused(books.one, _of_s1(1))


@pytest.mark.parametrize(
    ("story", "found"),
    [
        (_sound, []),
        (_taken, ["I38 shard 0: n2 took it from n1, whose lease was good"]),
        (
            _fenced,
            [
                "I38 member a: n2 fenced it while its lease was good",
                "I38 shard 0: n2 took it from n1, whose lease was good",
            ],
        ),
        (_same_epoch, ["I2 shard 0: it has another owner, and epoch 1 after 1"]),
        (_stranger_writes, ["I3 saga s1: n2 wrote under epoch 1, and shard 0 is n1's under epoch 1"]),
        (_late_write, ["I3 saga s1: n1 wrote under epoch 1, and shard 0 is n2's under epoch 2"]),
        (_two_writers, ["I2 saga s1: n2 wrote under epoch 1 of shard 0, and so did n1"]),
        (_stranger_calls, ["I38 saga s1: n2 begins forward 1 of a, and shard 0 is n1's"]),
        (_stranger_believes, ["I38 shard 0: n2 believes that it is its own, and it is n1's"]),
        (_joins_again, ["I38 member a: n1 joins under it, and it has been a member before"]),
        (_joins_as_another, ["I38 member b: n1 joins under it, and it is n2's"]),
        (_commit_on_its_way, ["I48 saga s1: n1 handed shard 0 over with a commit on its way"]),
    ],
    ids=lambda each: each.__name__.strip("_") if callable(each) else "",
)
def test_what_breaks_a_rule_is_told_and_nothing_else(story: Callable[[Books], None], found: list[str]) -> None:
    async def in_the_loop() -> list[str]:
        books = Books()
        story(books)
        return books.broken

    assert told(in_the_loop) == found


@pytest.mark.parametrize(("away_s", "after_s", "is_early"), [(4.0, 1.0, True), (4.0, 7.0, False), (0.1, 1.0, False)])
def test_nobody_is_fenced_before_all_had_time_to_come_back(away_s: float, after_s: float, *, is_early: bool) -> None:
    async def story() -> list[str]:
        books = Books()
        books.oversight.was_away(is_away=True)
        await passes(away_s)
        books.oversight.was_away(is_away=False)
        await passes(after_s)
        books.members = ["b"]
        books.owned_by("", 2, "fence", books.two, at=2 * LEASE_S)
        return books.broken

    assert [each.partition(" ")[0] for each in told(story)] == (["I39"] if is_early else [])


def test_a_saga_lies_where_its_first_record_says() -> None:
    async def story() -> int:
        books = Books()
        books.written(books.one, 1)
        return books.oversight.shard_of(SagaId("s1"))

    assert told(story) == 0
