"""A shard is left out of a look while a record may come to light in it behind later ones."""

from orchestrator.ids import SagaId
from orchestrator.journal.postgres.late import Late

ONE, TWO = SagaId("one"), SagaId("two")


def test_a_shard_is_left_out_from_the_beginning_to_the_end_of_what_is_late_there() -> None:
    late = Late()
    late.begin(ONE, 3)
    late.begin(TWO, 3)
    assert late.marks([3, 4]).keys() == {4}
    late.end(ONE)
    assert late.marks([3, 4]).keys() == {4}, "another is still late"
    late.end(TWO)
    assert late.marks([3, 4]).keys() == {3, 4}


def test_a_look_holds_nothing_of_a_shard_where_something_began_meanwhile_though_it_has_ended() -> None:
    late = Late()
    mark = late.marks([3, 4])
    late.begin(ONE, 3)
    late.end(ONE)
    assert not late.holds(mark, 3)
    assert late.holds(mark, 4)
    assert late.holds(late.marks([3]), 3), "the next look does"


def test_shards_that_somebody_else_has_are_forgotten() -> None:
    late = Late()
    late.begin(ONE, 3)
    late.begin(TWO, 4)
    late.leave({3})
    assert late.marks([3, 4]).keys() == {3}


def test_with_another_member_all_is_read_again() -> None:
    late = Late()
    late.begin(ONE, 3)
    mark = {3: 0}
    late.clear()
    assert late.marks([3]).keys() == {3}
    assert not late.holds(mark, 3), "a look from before still holds nothing"
