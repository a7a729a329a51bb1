"""What a state remembers besides its value, so that nothing is evaluated twice."""

from collections.abc import Sequence

from orchestrator.ids import StepId


class Memo(dict[StepId, tuple[int, Sequence[object]]]):
    """A cache of the lists that `for_each` expressions gave: step -> the version it began at, and its list.

    It holds at most one list a step, the last that was asked for: a step that begins anew leaves nothing of its earlier
    life in memory. What was recorded gives the same list again, so a list that is missed costs one evaluation. A cache
    is no part of a state's value: it is equal to any other, is never shown, and a state read anew begins without it.
    """

    def with_list(self, step: StepId, version: int, items: Sequence[object]) -> "Memo":
        """Return it with the list of a step that begins.

        A copy, for that beginning may never be recorded: several decisions may follow from one state, where somebody
        only asks what would happen, and in each the step may begin at the same version with another list.
        """
        return Memo({**self, step: (version, items)})

    def __eq__(self, other: object) -> bool:
        """Take no part in comparing."""
        return isinstance(other, Memo)

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none, since it may change what it is equal to
        """Take no part in hashing."""
        return 0

    def __repr__(self) -> str:
        """Show nothing: a list may have 100,000 items."""
        return "Memo"
