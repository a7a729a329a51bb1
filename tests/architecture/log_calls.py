"""What a call of logging has to obey (docs/logs.md), as functions from a source to findings, like those of tidy.py."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.architecture.tidy import Source

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
LOGGERS = frozenset({"logger", "_log", "log"})
ABOUT_A_SAGA = re.compile(r"\bsaga %|\bsaga_id\b")
FOR_A_PERSON = frozenset({"message", "payload", "request", "reply", "data", "input", "output", "metadata"})
"""Attributes of values that hold what a caller or a service sent, or said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCall:
    """One call: where, how bad, and its parts."""

    place: str
    level: int
    text: str | None
    """None where it is no literal."""
    node: ast.Call


def log_calls(source: Source) -> Iterator[LogCall]:
    """Yield the calls of a module's logger, by the names that this project gives them."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr), args=[first, *_]) if (
                name in LOGGERS and attr in LEVELS
            ):
                text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
                yield LogCall(place=f"{source.path}:{node.lineno}", level=LEVELS[attr], text=text, node=node)


def made_texts(source: Source) -> Iterator[str]:
    """Alike lines are counted by their text, and an alert looks for it."""
    for call in log_calls(source):
        if call.text is None:
            yield f"{call.place}: the text of a line is written where it is said; fill it in with arguments"


def nameless(source: Source) -> Iterator[str]:
    """A line about a saga has its id as a field, and not in a sentence alone."""
    for call in log_calls(source):
        has_field = any(keyword.arg == "extra" for keyword in call.node.keywords)
        if call.text is not None and ABOUT_A_SAGA.search(call.text) and not has_field:
            yield f"{call.place}: the line is about a saga; give it extra=of_saga(...)"


def chatty(source: Source) -> Iterator[str]:
    """INFO is the life of the process: a line per saga would be a million lines."""
    for call in log_calls(source):
        is_about_one = call.text is not None and ABOUT_A_SAGA.search(call.text)
        if call.level == LEVELS["info"] and (is_about_one or any(k.arg == "extra" for k in call.node.keywords)):
            yield f"{call.place}: a line about one saga is no INFO; DEBUG, or WARNING if something is wrong"


def telling(source: Source) -> Iterator[str]:
    """What a caller or a service sent or said is in no line; of an error, its message is its own."""
    for call in log_calls(source):
        for argument in call.node.args[1:]:
            match argument:
                case ast.Attribute(attr=attr, value=of) if attr in FOR_A_PERSON and not _is_error(of):
                    yield f"{call.place}: {ast.unparse(argument)} may hold somebody's data; say what kind it is instead"


def root_calls(source: Source) -> Iterator[str]:
    """A line of nobody's logger cannot be told from a library's."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="logging"), attr=attr)) if attr in LEVELS:
                yield f"{source.path}:{node.lineno}: logging.{attr} is nobody's; use the module's logger"
            case ast.Call(func=ast.Name(id="print")):
                yield f"{source.path}:{node.lineno}: print is no log; use the module's logger"


def _is_error(of: ast.expr) -> bool:
    return isinstance(of, ast.Name) and of.id in {"error", "exc", "refused", "away", "later"}
