"""The filter language of lists: a small part of AIP-160, read into a `SearchQuery`.

::

    filter  = choice { "AND" choice }
    choice  = term { "OR" term } | "(" choice ")"      OR binds closer than AND, as in AIP-160; status only
    term    = name operator value
    name    = status | definition | revision | start_time | attributes.NAME | attributes."NAME"
    operator= "=" | "<" | "<=" | ">" | ">="             the last four for start_time
    value   = word | number | "text"

What the store cannot answer by its indexes is not in the language. Every error names the position, from 1.
Source: https://google.aip.dev/160.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator import limits
from orchestrator.errors import InputInvalid
from orchestrator.ports.journal import SearchQuery
from orchestrator.saga.state import SagaStatus
from orchestrator.values import AttributeValue

NAMES = ("status", "definition", "revision", "start_time", "attributes.<name>")
ORDERS = {"start_time": "started_at", "update_time": "updated_at", "saga_id": "saga_id"}
GROUPS = ("", "status", "definition", "revision")

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<operator><=|>=|!=|[=<>():])|(?P<word>[^\s"=<>!():]+))""", re.DOTALL
)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_INT64 = 2**63
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int
    """Position of its first character, from 1."""


@dataclass(frozen=True, slots=True)
class _Term:
    name: _Token
    attribute: str
    operator: str
    value: _Token


@dataclass(slots=True)
class _Found:
    statuses: frozenset[SagaStatus] | None = None
    words: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    from_at: float | None = None
    before_at: float | None = None


def parse(text: str) -> SearchQuery:
    """Return the query of a filter; the empty filter matches every saga."""
    if len(text) > limits.API_FILTER_CHARS_MAX:
        raise InputInvalid("filter", f"has {len(text)} characters, more than {limits.API_FILTER_CHARS_MAX}")
    found = _Found()
    tokens = list(_tokens(text))
    while len(tokens) > 1:
        _add(found, list(_choice(tokens)))
        if len(tokens) > 1:
            joint = tokens.pop(0)
            if joint.kind != "word" or joint.text != "AND":
                raise _wrong(joint, "expected AND here")
            if len(tokens) == 1:
                raise _wrong(tokens[0], "expected a term after AND")
    return SearchQuery(
        statuses=found.statuses or frozenset(),
        definition=found.words.get("definition", ""),
        revision=found.words.get("revision", ""),
        attributes=found.attributes,
        started_from_at=found.from_at,
        started_before_at=found.before_at,
    )


def ordered(query: SearchQuery, order_by: str) -> SearchQuery:
    """Return the query with an order such as `start_time desc`; newest first where none is given."""
    words = order_by.split() or ["start_time", "desc"]
    if words[0] not in ORDERS or words[1:] not in ([], ["asc"], ["desc"]):
        raise InputInvalid("order_by", f"{order_by!r} is not one of {', '.join(ORDERS)}, with or without desc")
    return replace(query, order_by=ORDERS[words[0]], descending=words[1:] == ["desc"])


def group_by(name: str) -> str:
    """Return the name of a group that can be counted."""
    if name not in GROUPS:
        raise InputInvalid("group_by", f"{name!r} is not one of {', '.join(GROUPS[1:])}")
    return name


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while found := _TOKEN.match(text, at):
        kind = found.lastgroup or ""
        yield _Token(kind, found[kind], found.start(kind) + 1)
        at = found.end()
    if rest := text[at:].strip():
        start = text.index(rest, at) + 1
        why = "a text without its closing quote" if rest[0] == '"' else f"{rest[0]!r} means nothing here"
        raise InputInvalid("filter", f"position {start}: {why}")
    yield _Token("end", "the end", len(text) + 1)


def _choice(tokens: list[_Token]) -> Iterator[_Term]:
    depth = 0
    while tokens[0].text == "(" and tokens[0].kind == "operator":
        tokens.pop(0)
        depth += 1
    yield _term(tokens)
    while (tokens[0].kind, tokens[0].text) == ("word", "OR"):
        tokens.pop(0)
        yield _term(tokens)
    for _ in range(depth):
        if (tokens[0].kind, tokens[0].text) != ("operator", ")"):
            raise _wrong(tokens[0], "expected ) here")
        tokens.pop(0)


def _term(tokens: list[_Token]) -> _Term:
    name = tokens.pop(0)
    if name.kind != "word":
        raise _wrong(name, f"expected a name here, one of {', '.join(NAMES)}")
    if name.text in {"NOT", "-"} or name.text.startswith("-"):
        raise _wrong(name, "NOT is not supported; name what you want instead")
    attribute = ""
    if name.text.startswith("attributes."):
        attribute = name.text.removeprefix("attributes.")
        if not attribute and tokens[0].kind == "text":
            attribute = _unquoted(tokens.pop(0).text)
        if not attribute:
            raise _wrong(name, "attributes. wants the attribute's name after the dot")
    elif name.text not in NAMES:
        raise _wrong(name, f"{name.text!r} is not a name to filter by; those are {', '.join(NAMES)}")
    operator = tokens.pop(0)
    allowed = ("<", "<=", ">", ">=") if name.text == "start_time" else ("=",)
    if operator.kind != "operator" or operator.text not in allowed:
        raise _wrong(operator, f"expected {' or '.join(allowed)} after {name.text}")
    value = tokens.pop(0)
    if value.kind not in {"word", "text"}:
        raise _wrong(value, f"expected a value for {name.text}")
    return _Term(name, attribute, operator.text, value)


def _add(found: _Found, terms: Sequence[_Term]) -> None:
    first = terms[0]
    if len(terms) > 1 and any(term.name.text != "status" for term in terms):
        raise _wrong(first.name, "OR joins statuses only; ask twice for the rest")
    match first.name.text:
        case "status":
            chosen = frozenset(_status(term.value) for term in terms)
            found.statuses = chosen if found.statuses is None else found.statuses & chosen
            if not found.statuses:
                raise _wrong(first.name, "no saga has two statuses at once; join them by OR")
        case "start_time":
            _bound(found, first)
        case "definition" | "revision" as word:
            if not _plain(first.value):
                raise _wrong(first.value, f"{word} is never empty; leave the term out to match every one")
            _once(found.words, word, _plain(first.value), first)
        case _:
            _once(found.attributes, first.attribute, _typed(first.value), first)


def _once(known: dict[str, AttributeValue] | dict[str, str], name: str, value: AttributeValue, term: _Term) -> None:
    if name in known and known[name] != value:
        raise _wrong(term.name, f"{term.name.text} is asked to have two values at once")
    known[name] = value  # type: ignore[assignment]  # each caller passes a value of its own dictionary's type


def _bound(found: _Found, term: _Term) -> None:
    at = _instant(term.value)
    # The store knows "at or after" and "before"; the other two begin at the next instant a float can tell.
    if term.operator in {">", "<="}:
        at = math.nextafter(at, math.inf)
    if term.operator in {">", ">="}:
        found.from_at = at if found.from_at is None else max(at, found.from_at)
    else:
        found.before_at = at if found.before_at is None else min(at, found.before_at)


def _status(value: _Token) -> SagaStatus:
    try:
        return SagaStatus(_plain(value))
    except ValueError:
        known = ", ".join(SagaStatus)
        raise _wrong(value, f"{_plain(value)!r} is not a status; those are {known}") from None


def _instant(value: _Token) -> float:
    try:
        moment = datetime.fromisoformat(_plain(value))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _wrong(value, f'{_plain(value)!r} is not an instant such as "2026-01-31T00:00:00Z"')
    return moment.timestamp()


def _typed(value: _Token) -> AttributeValue:
    """A bare word is a boolean or a number where it looks like one, as in JSON; a quoted one is text."""
    if value.kind == "word" and value.text in {"true", "false"}:
        return value.text == "true"
    if value.kind == "word" and (number := _NUMBER.fullmatch(value.text)):
        exact = number[1] is None and number[2] is None and abs(int(value.text)) < _INT64
        known = int(value.text) if exact else float(value.text)
        if math.isinf(known):
            raise _wrong(value, f"{value.text} is too large a number")
        return known
    return _plain(value)


def _plain(value: _Token) -> str:
    return _unquoted(value.text) if value.kind == "text" else value.text


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(r"\1", text[1:-1])


def _wrong(token: _Token, why: str) -> InputInvalid:
    return InputInvalid("filter", f"position {token.at}: {why}")
