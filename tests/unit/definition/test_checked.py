"""What CEL's checker says of an expression."""

import pytest

from orchestrator.definition import checked
from orchestrator.definition.checked import Call, Checked, Constant, Path, Tree
from tests.unit.definition.probe import compiled, every_name

COUNT, NOTE = Path("input", ("count",)), Path("input", ("note",))


def read(source: str) -> Checked:
    serialised = compiled(source)._program.serialize()
    return checked.read(serialised, frozenset(every_name().names))


@pytest.mark.parametrize(
    ("source", "tree"),
    [
        ("1", Constant("INT", 1)),
        ("2u", Constant("UINT", 2)),
        ("1.5", Constant("DOUBLE", 1.5)),
        ("'a'", Constant("STRING", "a")),
        ("b'a'", Constant("BYTES", b"a")),
        ("true", Constant("BOOL", True)),
        ("shop.v1.Status.STATUS_PAID", Constant("INT", 2)),
        ("input", Path("input", ())),
        ("steps.place.reply.order.count", Path("steps.place.reply", ("order", "count"))),
        ("has(input.note)", Path("input", ("note",), is_asked=True)),
        ("input.count < 3", Call("less_int64", (COUNT, Constant("INT", 3)))),
        ("input.note.contains('a')", Call("contains_string", (NOTE, Constant("STRING", "a")))),
        ("!(input.count == 0)", Call("logical_not", (Call("equals", (COUNT, Constant("INT", 0))),))),
        ("null", None),
        ("[1]", None),
        ("{'a': 1}", None),
        ("input.tags.exists(tag, tag == 'a')", None),
        ("dyn(input.count) + dyn(1)", None),  # which overload it is, is seen when it is evaluated
        ("[input.count].size() == 1", None),
    ],
)
def test_the_tree_of_a_simple_expression_is_read_and_of_no_other(source: str, tree: Tree | None) -> None:
    assert read(source).tree == tree


@pytest.mark.parametrize(
    ("source", "names", "fields"),
    [
        ("1", set(), {}),
        ("input", {"input"}, {}),
        ("input.count + input.items[0].qty", {"input"}, {"input": {"count", "items"}}),
        ("input.count == 1 && input == input", {"input"}, {}),
        ("input.tags.all(tag, tag == item.sku)", {"input", "item"}, {"input": {"tags"}, "item": {"sku"}}),
        ("has(steps.place.reply.order) || reply.ok", {"steps.place.reply", "reply"},
         {"steps.place.reply": {"order"}, "reply": {"ok"}}),
    ],
)  # fmt: skip
def test_it_is_known_which_names_are_read_and_what_of_them(
    source: str, names: set[str], fields: dict[str, set[str]]
) -> None:
    found = read(source)

    assert found.names == names
    assert found.fields == fields
