import pytest

from orchestrator.journal.sqlfile import parse


def test_statements_are_found_by_name_without_comments() -> None:
    text = "-- a file\n\n-- name: one\nSELECT 1;\n\n-- why two\n-- name: two\nSELECT\n  2 -- kept\nFROM t;\n"
    assert parse(text, "q.sql") == {"one": "SELECT 1", "two": "SELECT\n  2 -- kept\nFROM t"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;\n-- name: one\nSELECT 1;\n", "before the first"),
        ("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;\n", "'one' comes twice"),
        ("-- name: one\n-- nothing\n", "'one' is empty"),
    ],
)
def test_a_file_that_could_be_misread_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse(text, "q.sql")
