"""`changed` is `dataclasses.replace` for frozen, slotted dataclasses."""

from dataclasses import FrozenInstanceError, dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.frozen import changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int
    y: str
    z: tuple[int, ...] = ()


@given(
    st.integers(),
    st.text(),
    st.fixed_dictionaries({}, optional={"x": st.integers(), "y": st.text(), "z": st.tuples(st.integers())}),
)
def test_a_changed_copy_is_what_replace_gives(x: int, y: str, changes: dict[str, object]) -> None:
    before = Point(x=x, y=y)
    after = changed(before, **changes)
    assert after == replace(before, **changes)  # type: ignore[arg-type]  # drawn by name
    assert before == Point(x=x, y=y)


def test_a_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(KeyError, match="nope"):
        changed(Point(x=1, y="a"), nope=1)


def test_a_changed_copy_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        changed(Point(x=1, y="a"), x=2).x = 3  # type: ignore[misc]  # that is the point
