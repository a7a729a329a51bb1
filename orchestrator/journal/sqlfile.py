"""SQL in `.sql` files, so that an editor, a linter and a person can read it as SQL.

A statement begins with a line `-- name: its_name` and goes on to the next such line.
"""

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

_NAME = re.compile(r"^-- name: ([a-z_]+)\n", re.MULTILINE)


def load(package: str, file: str) -> Mapping[str, str]:
    """Return the statements of a file inside a package, by name."""
    return parse(resources.files(package).joinpath(file).read_text(encoding="utf-8"), file)


def parse(text: str, file: str) -> Mapping[str, str]:
    """Return statements by name; `ValueError` where a name comes twice or a statement has none."""
    head, *parts = _NAME.split(text)
    if _without_comments(head):
        raise ValueError(f"{file}: there is SQL before the first '-- name:' line")
    statements: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        statement = _without_comments(body).rstrip(";")
        if name in statements or not statement:
            raise ValueError(f"{file}: statement {name!r} {'comes twice' if statement else 'is empty'}")
        statements[name] = statement
    return MappingProxyType(statements)


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--")).strip()
