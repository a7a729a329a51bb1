"""What is written below a field of a class, read from the source where somebody asks for it.

It is for editors and for pages. Had pydantic read it when the classes are made (`use_attribute_docstrings`), every
start of every program would parse the sources once for each class, which is a tenth of the time until a server listens.
"""

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Any


def below(owner: type) -> Mapping[str, str]:
    """Return field -> its text, for the fields that the class itself declares and that have one."""
    module = sys.modules.get(owner.__module__)
    return _module(getattr(module, "__file__", None) or "").get(owner.__name__, {})


def describe(owner: type, properties: dict[str, Any], names: Mapping[str, str]) -> None:
    """Add what stands below each field to its JSON schema; `names` are those of the schema, by field."""
    for field, text in below(owner).items():
        if field in names:
            properties[names[field]]["description"] = text


@cache
def _module(file: str) -> Mapping[str, Mapping[str, str]]:
    """Return the texts of all classes of a file; none where its source is not there."""
    try:
        with open(file, encoding="utf-8") as source:  # noqa: PTH123  (a name that may be empty)
            tree = ast.parse(source.read())
    except OSError:
        return {}
    return {each.name: _texts(each) for each in tree.body if isinstance(each, ast.ClassDef)}


def _texts(of: ast.ClassDef) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for declared, text in pairwise(of.body):
        match declared, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found[name] = inspect.cleandoc(said)
            case _:
                pass
    return found
