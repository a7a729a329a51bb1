"""What CEL's library says is wrong, in words that help: its own are parsed here, and nowhere else.

Two kinds: faults of a source, each with its place, and the reason why an evaluation has no value.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_REPORT: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")
_QUOTES: Final = re.compile(r'(Key not found in map|invalid regular expression)(?: : |: )"?(.*?)"?$', re.DOTALL)
"""What the library fails with that quotes a value."""
_TRAILER: Final = re.compile(r" \[[A-Z_]+\]$")
_UNBOUND: Final = re.compile(r'No value with name "([^"]+)"')
_UNEXPECTED: Final = re.compile(r"(?:input|at:) (?:'(.*?)'|(\S+))(?: expecting|$)")
_MISSING: Final = re.compile(r"missing '(.*?)' at")
_TOO_DEEP: Final = re.compile(r"recursion limit exceeded. limit: (\d+)")
_NO_FIELD: Final = re.compile(r"undefined field '([^']+)' not found in struct '([^']+)'")
_NO_OVERLOAD: Final = re.compile(r"found no matching overload for '([^']+)' applied to '\(?(.*?)\)?'$")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']+)'")


@dataclass(frozen=True, slots=True)
class Fault:
    """One compile error; `offset` counts characters from the start of the source."""

    offset: int
    message: str
    undeclared: str = ""
    """The name that is not known, where that is what is wrong."""
    missing_field: tuple[str, str] | None = None
    """The message type and the field it has not, where that is what is wrong."""
    is_syntax: bool = False


def unbound(text: str) -> str:
    """Return the name that has no value, where that is why an evaluation failed."""
    found = _UNBOUND.search(text)
    return found[1] if found is not None else ""


def without_data(why: str, source: str) -> str:
    """Leave out of the library's words what an expression computed: it is data, and the words are shown in spans."""
    why = _TRAILER.sub("", why)
    found = _QUOTES.match(why)
    return why if found is None or found[2] in source else found[1]


def faults(source: str, text: str) -> Sequence[Fault]:
    """Return what the checker's report names, each at its place in the source."""
    lines = source.split("\n")
    found: list[Fault] = []
    for line, column, message in _REPORT.findall(text):
        before = sum(len(one) + 1 for one in lines[: int(line) - 1])
        found.append(_fault(source, before + int(column) - 1, _TRAILER.sub("", message)))
    too_deep = _TOO_DEEP.search(text)
    if too_deep is not None:
        return [Fault(0, f"an expression is nested at most {too_deep[1]} deep", is_syntax=True)]
    # the text of an error without a position is still better than none
    return found or [Fault(0, _TRAILER.sub("", text.splitlines()[0]), is_syntax=True)]


def _fault(source: str, offset: int, message: str) -> Fault:
    undeclared = _UNDECLARED.match(message)
    if undeclared:
        name = undeclared[1].lstrip(".")
        # the library points at the last dot of a qualified name; its start says more
        start = source.rfind(name, 0, offset + len(name.rpartition(".")[2]) + 1)
        return Fault(start if start >= 0 else offset, f"`{name}` is not known", undeclared=name)
    if message.startswith("Syntax error"):
        return Fault(offset, _syntax(message), is_syntax=True)
    field = _NO_FIELD.match(message)
    if field:
        return Fault(offset, f"{field[2]} has no field `{field[1]}`", missing_field=(field[2], field[1]))
    return Fault(offset, _of_types(message))


def _syntax(message: str) -> str:
    """Keep what was met; the parser's list of all tokens that might follow helps nobody."""
    met = _UNEXPECTED.search(message)
    missing = _MISSING.search(message)
    if missing is not None:
        return f"`{missing[1]}` is missing"
    if met is None:
        return f"not an expression: {message.removeprefix('Syntax error: ')}"
    token = met[1] if met[1] is not None else met[2]
    return "the expression ends too early" if "<EOF>" in token else f"`{token}` is not expected here"


def _of_types(message: str) -> str:
    overload = _NO_OVERLOAD.match(message)
    if overload:
        sign = overload[1].strip("_").replace("?_:", "? :").replace("_", "")
        hint = ""
        if {"int", "uint"} <= set(overload[2].split(", ")) or {"int", "double"} <= set(overload[2].split(", ")):
            hint = "; CEL never converts numbers by itself: write int(x), uint(x) or double(x)"
        return f"`{sign}` does not work on ({overload[2]}){hint}"
    return message
