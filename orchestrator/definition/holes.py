"""Finding `${ … }` in texts; what is inside is CEL's business.

A text that is one hole keeps its expression's type; inside other text a hole is interpolated; `$${` stands for a
literal `${`. Conditions may be written bare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.definition.diagnostics import At, Code

_QUOTES: Final = ('"""', "'''", '"', "'")


@dataclass(frozen=True, slots=True)
class Hole:
    """One `${ … }`: its source, and where that starts in the text."""

    source: str
    offset: int


Parts = Sequence[str | Hole]


class Unterminated(Exception):
    """A `${` without its `}`; `offset` is where it starts."""

    def __init__(self, offset: int) -> None:
        """Keep the place."""
        super().__init__(offset)
        self.offset = offset


def scan(text: str) -> Parts:
    """Split a text into literals and holes; raise `Unterminated`."""
    found: list[str | Hole] = []
    literal = ""
    at = 0
    while (start := text.find("${", at)) >= 0:
        if start > at and text[start - 1] == "$":
            literal += text[at : start - 1] + "${"
            at = start + 2
            continue
        literal += text[at:start]
        end = _close(text, start + 2)
        if end < 0:
            raise Unterminated(start)
        if literal:
            found.append(literal)
        found.append(Hole(text[start + 2 : end], start + 2))
        literal = ""
        at = end + 1
    literal += text[at:]
    return [*found, literal] if literal else found


def _close(text: str, at: int) -> int:
    """Return where the closing brace is; braces inside CEL's own texts and literals do not count."""
    depth = 0
    while at < len(text):
        quote = next((one for one in _QUOTES if text.startswith(one, at)), None)
        if quote is not None:
            at = _skip_text(text, at + len(quote), quote, is_raw=text[at - 1] in "rR")
            continue
        if text[at] == "}" and depth == 0:
            return at
        depth += (text[at] == "{") - (text[at] == "}")
        at += 1
    return -1


def _skip_text(text: str, at: int, quote: str, *, is_raw: bool) -> int:
    while at < len(text) and not text.startswith(quote, at):
        at += 2 if text[at] == "\\" and not is_raw else 1
    return at + len(quote)


def split(text: str, at: At) -> Parts | None:
    """Scan a text of the definition; a hole that is not closed becomes a finding."""
    try:
        return scan(text)
    except Unterminated as unterminated:
        message = "this `${` has no closing `}`"
        at.inside(Code.EXPRESSION_SYNTAX, unterminated.offset, message, "close it, or write $${ for the text `${`")
        return None


def only(parts: Parts) -> Hole | None:
    """Return the hole of a text that is nothing else; a block text's last line break does not count."""
    kept = [part for part in parts if isinstance(part, Hole) or part.strip()]
    return kept[0] if len(kept) == 1 and isinstance(kept[0], Hole) else None


def whole(text: str, at: At) -> Hole | None:
    """Return the one expression a text must be."""
    parts = split(text, at)
    hole = only(parts) if parts is not None else None
    if parts is not None and hole is None:
        at.value(Code.RESULT_TYPE, "one expression is needed here, not a text", "write ${ … } or a mapping")
    return hole


def bare(text: str, at: At) -> Hole | None:
    """Return the expression of a condition: all of the text, or what is inside its one `${ … }`."""
    if not text.lstrip().startswith("${"):
        return Hole(text, 0)
    parts = split(text, at)
    hole = only(parts) if parts is not None else None
    if parts is not None and hole is None:
        at.value(Code.EXPRESSION_SYNTAX, "a condition is one expression", "put all of it inside one ${ … }")
    return hole
