from orchestrator.cluster.holding import Change, Holding
from orchestrator.ports.leases import Shard


def shard(number: int, owner: str, epoch: int) -> Shard:
    return Shard(shard=number, owner=owner, epoch=epoch)


NOTHING = Change(took=(), lost=())


def holding(*own: Shard) -> Holding:
    mine = Holding("me")
    mine.see(own, is_latest=True)
    return mine


def test_what_a_view_says_is_mine_is_taken() -> None:
    mine = Holding("me")
    assert mine.see([shard(0, "me", 3), shard(1, "other", 1)], is_latest=True) == Change(took=(0,), lost=())
    assert mine.held == {0: 3}
    assert mine.owner(1) == "other"
    assert mine.owner(7) == ""


def test_what_a_view_says_is_anothers_is_lost() -> None:
    mine = holding(shard(0, "me", 3))
    assert mine.see([shard(0, "other", 4)], is_latest=True) == Change(took=(), lost=(0,))
    assert mine.held == {}


def test_a_shard_that_came_back_under_a_higher_epoch_was_lost_in_between() -> None:
    mine = holding(shard(0, "me", 3))
    assert mine.see([shard(0, "me", 5)], is_latest=True) == Change(took=(0,), lost=(0,))
    assert mine.held == {0: 5}


def test_a_view_that_is_older_than_a_gift_does_not_bring_the_shard_back() -> None:
    mine = holding(shard(0, "me", 3))
    mine.begin_leaving([0])
    mine.let_go([0])
    mine.given([shard(0, "other", 4)])
    assert mine.see([shard(0, "me", 3)], is_latest=False) == NOTHING
    assert (mine.held, mine.left) == ({}, {})


def test_a_view_that_stands_alone_counts_even_where_its_epoch_is_lower() -> None:
    mine = holding(shard(0, "me", 3))
    assert mine.see([shard(0, "other", 2)], is_latest=True) == Change(took=(), lost=(0,))


def test_a_shard_that_was_left_stays_left_until_it_is_given() -> None:
    mine = holding(shard(0, "me", 3), shard(1, "me", 3))
    mine.begin_leaving([0, 1])
    assert [mine.order(number) for number in (0, 1, 2)] == [1, 1, 2]
    mine.let_go([0])
    assert mine.order(0) == 0
    assert mine.see([shard(0, "me", 3), shard(1, "me", 3)], is_latest=True) == NOTHING
    assert mine.left == {0: shard(0, "me", 3)}
    assert mine.held == {1: 3}


def test_a_gift_whose_answer_was_lost_is_noticed_in_the_next_view() -> None:
    mine = holding(shard(0, "me", 3))
    mine.let_go([0])
    assert mine.see([shard(0, "other", 4)], is_latest=True) == NOTHING
    assert mine.left == {}


def test_what_was_left_and_comes_back_is_taken() -> None:
    mine = holding(shard(0, "me", 3))
    mine.let_go([0])
    assert mine.see([shard(0, "me", 5)], is_latest=True) == Change(took=(0,), lost=())
    assert (mine.held, mine.left) == ({0: 5}, {})


def test_a_shard_that_need_not_go_is_held_again_under_its_epoch() -> None:
    mine = holding(shard(0, "me", 3))
    mine.let_go([0])
    mine.take_back([0])
    assert mine.held == {0: 3}


def test_letting_go_of_what_was_lost_meanwhile_leaves_nothing() -> None:
    mine = holding(shard(0, "me", 3))
    mine.begin_leaving([0])
    mine.see([shard(0, "other", 4)], is_latest=True)
    mine.let_go([0])
    assert mine.left == {}


def test_a_shard_set_free_under_the_same_epoch_is_free() -> None:
    mine = holding(shard(0, "other", 3))
    mine.see([shard(0, "", 3)], is_latest=False)
    assert mine.owner(0) == ""
    mine.see([shard(0, "other", 3)], is_latest=False)
    assert mine.owner(0) == ""


def test_dropping_everything_names_what_was_held() -> None:
    mine = holding(shard(1, "me", 3), shard(0, "me", 3), shard(2, "me", 1))
    mine.let_go([2])
    assert mine.drop() == (0, 1)
    assert (mine.held, mine.left, mine.leaving) == ({}, {}, set())
