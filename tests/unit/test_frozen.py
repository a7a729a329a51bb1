"""`@frozen` makes values that nobody can change; `changed` is `dataclasses.replace` for them."""

import subprocess
import sys
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.frozen import changed, frozen, frozen_tuple


@frozen
class Point:
    x: int
    y: str
    z: tuple[int, ...] = ()


@frozen_tuple
class Pair:
    left: int
    right: int = 0


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
    with pytest.raises(TypeError, match="nope"):
        changed(Point(x=1, y="a"), nope=1)


def test_equal_values_are_one_member_of_a_set() -> None:
    assert {Point(x=1, y="a"), Point(x=1, y="a"), Pair(1, 2), Pair(1, 2)} == {Point(x=1, y="a"), Pair(1, 2)}


def test_a_value_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Point(x=1, y="a").x = 2  # type: ignore[misc]  # that it is refused twice is the point
    with pytest.raises(AttributeError, match="immutable"):
        Pair(1).left = 2  # type: ignore[misc]


@frozen
class Derived:
    x: int
    double: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "double", 2 * self.x)


def test_a_field_may_be_derived_from_the_others() -> None:
    assert Derived(x=3) == Derived(x=3)
    assert Derived(x=3).double == 6


def test_the_standard_library_knows_its_fields() -> None:
    assert [each.name for each in fields(Point)] == ["x", "y", "z"]
    assert asdict(Point(x=1, y="a")) == {"x": 1, "y": "a", "z": ()}
    assert get_type_hints(Point) == {"x": int, "y": str, "z": tuple[int, ...]}


CHANGING = """
from orchestrator.saga.state import SagaState
from orchestrator.values import Payload

def change(state: SagaState, payload: Payload) -> None:
    state.version = 3
    payload.data = b""
"""


def test_the_type_checker_refuses_an_assignment(tmp_path: Path) -> None:
    source = tmp_path / "changing.py"
    source.write_text(CHANGING)
    command = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent", str(source)]
    if subprocess.run([sys.executable, "-c", "import mypy"], check=False, capture_output=True).returncode:
        pytest.skip("mypy is not installed here; `make check` runs where it is")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 'Property "version" defined in "SagaState" is read-only' in done.stdout, done.stdout + done.stderr
    assert 'Property "data" defined in "Payload" is read-only' in done.stdout
