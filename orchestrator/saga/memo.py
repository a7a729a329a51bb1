"""What a state remembers besides its value, so that nothing is evaluated twice."""

from collections.abc import Sequence

from orchestrator.ids import StepId


class Memo(dict[tuple[StepId, int], Sequence[object]]):
    """The lists that `for_each` expressions gave, by step and beginning; like any other, and never shown.

    What was recorded gives the same list again, so this is no part of the state's value, and a state read anew begins
    without it.
    """

    def __eq__(self, other: object) -> bool:
        """Take no part in comparing."""
        return isinstance(other, Memo)

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none, since it may change what it is equal to
        """Take no part in hashing."""
        return 0

    def __repr__(self) -> str:
        """Show nothing: a list may have 100,000 items."""
        return "Memo"
