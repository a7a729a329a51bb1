"""What stands below a field in the source is found by the class and the field, and only what is a field's."""

from typing import Any

from orchestrator import fielddocs


class Described:
    """No field's."""

    first: int = 1
    """Of the first,
    in two lines."""
    second: str = ""
    third: str = ""
    """Of the third."""

    def method(self) -> None:
        """No field's either."""


class Other(Described):
    fourth: int = 4


def test_each_field_has_what_is_written_below_it() -> None:
    assert fielddocs.below(Described) == {"first": "Of the first,\nin two lines.", "third": "Of the third."}


def test_a_class_has_no_more_than_its_own() -> None:
    assert fielddocs.below(Other) == {}


def test_a_schema_gets_the_texts_under_its_own_names_and_nothing_for_what_it_leaves_out() -> None:
    properties: dict[str, Any] = {"1st": {"type": "integer"}, "second": {}}
    fielddocs.describe(Described, properties, {"first": "1st", "second": "second"})
    assert properties == {"1st": {"type": "integer", "description": "Of the first,\nin two lines."}, "second": {}}


def test_without_a_source_there_are_no_texts() -> None:
    made = type("Described", (), {"__module__": "nowhere"})
    assert fielddocs.below(made) == {}
