"""YAML text -> plain values and the place of each; the only reader of YAML for definitions.

Works on the parser's *events*, so that nothing is built before it is judged: anchors, aliases, tags, merge keys,
duplicate keys, several documents and anything past the caps are refused where they start (D-42). There is no alias,
therefore no bomb; there is no recursion below the depth cap, therefore no stack to break. Scalars are resolved by the
YAML 1.2 core schema, so `on`, `no` and `1:30` stay texts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol, cast

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from orchestrator.definition.diagnostics import Code, Diagnostic, Findings, Nowhere, Path, Place
from orchestrator.limits import DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX, DEFINITION_NODES_MAX

_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o([0-7]+)")
_HEX: Final = re.compile(r"0x([0-9a-fA-F]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# Brackets opened one inside the other: the parser looks at each again for each that follows, up to a fifth of a second.
_NESTED: Final = re.compile(rf"(?:[\[{{]\s*){{{DEFINITION_DEPTH_MAX + 1}}}")
# CPython refuses to turn longer texts into integers and back; no field of any type needs more than 20 digits.
_NUMBER_CHARS_MAX: Final = 400
# Widths of \x41, \u0041 and \U00000041 after the backslash and the letter.
_ESCAPE_WIDTHS: Final = {"x": 2, "u": 4, "U": 8}


class _Kind(Enum):
    DOCUMENT = "document"
    SCALAR = "scalar"
    MAPPING = "mapping"
    SEQUENCE = "sequence"
    END = "end"
    ALIAS = "alias"


_KINDS: Final[Mapping[type, _Kind]] = {
    DocumentStartEvent: _Kind.DOCUMENT,
    ScalarEvent: _Kind.SCALAR,
    MappingStartEvent: _Kind.MAPPING,
    SequenceStartEvent: _Kind.SEQUENCE,
    MappingEndEvent: _Kind.END,
    SequenceEndEvent: _Kind.END,
    AliasEvent: _Kind.ALIAS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """One of the parser's events, with types; what is absent is empty."""

    kind: _Kind
    place: Place
    text: str = ""
    style: str = ""
    anchor: str = ""
    tag: str = ""
    directives: bool = False


@dataclass(frozen=True, slots=True)
class _Spot:
    key: Place
    value: Place
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text that was read: its values, and where each of them stands (implements `Origins`)."""

    file: str
    root: JsonValue
    lines: Sequence[str]
    spots: dict[Path, _Spot] = field(default_factory=dict[Path, _Spot])

    def key(self, path: Path) -> Place:
        """Return where the key of this path stands."""
        return self._spot(path)[0].key

    def value(self, path: Path) -> Place:
        """Return where the value of this path starts."""
        return self._spot(path)[0].value

    def inside(self, path: Path, offset: int) -> Place:
        """Return where a character of a text stands, as exactly as its style allows."""
        spot, exact = self._spot(path)
        at = spot.value
        if not exact:
            return at
        source = self.lines[at.line - 1][at.column - 1 :] if at.line <= len(self.lines) else ""
        if spot.style == "|":
            return self._inside_block(path, at, offset)
        if spot.style == "'":
            return Place(self.file, at.line, at.column + _single_quoted(source, offset))
        if spot.style == '"':
            return Place(self.file, at.line, at.column + _double_quoted(source, offset))
        return Place(self.file, at.line, at.column + offset if offset < len(source) else at.column)

    def _inside_block(self, path: Path, at: Place, offset: int) -> Place:
        text = self._text(path)[:offset]
        line = at.line + 1 + text.count("\n")
        body = next((found for found in self.lines[at.line :] if found.strip()), "")
        indent = len(body) - len(body.lstrip(" "))
        return Place(self.file, line, indent + 1 + len(text) - (text.rfind("\n") + 1))

    def _text(self, path: Path) -> str:
        found = self.root
        for part in path:
            # the path leads to a text that was read, so what holds it is one of the two
            found = found[str(part)] if isinstance(found, dict) else cast("list[JsonValue]", found)[int(part)]
        return str(found)

    def _spot(self, path: Path) -> tuple[_Spot, bool]:
        for length in range(len(path), 0, -1):
            found = self.spots.get(path[:length])
            if found is not None:
                return found, length == len(path)
        start = Place(self.file, 1, 1)
        return _Spot(start, start), False


def read(text: str, file: str) -> tuple[Document | None, Sequence[Diagnostic]]:
    """Read one document. Nothing is raised, whatever the text: what is wrong comes back as findings."""
    findings = Findings(origins=Nowhere(file))
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > DEFINITION_BYTES_MAX:
        message = f"the text has {size} bytes, more than the {DEFINITION_BYTES_MAX} a definition may have"
        findings.add(Code.TOO_LARGE, Place(file, 1, 1), (), message, "split it into several definitions")
        return None, findings.sorted()
    if nested := _NESTED.search(text):
        before = text[: nested.start() + len(nested.group().rstrip()) - 1]  # up to the bracket that is one too many
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"more than {DEFINITION_DEPTH_MAX} brackets are opened one inside the other"
        findings.add(Code.TOO_LARGE, place, (), message, "flatten it")
        return None, findings.sorted()
    reader = _Reader(file=file, findings=findings, events=_events(text, file))
    try:
        root = reader.document()
    except _Refused as refused:
        findings.add(refused.code, refused.place, refused.path, refused.message, refused.fix)
        return None, findings.sorted()
    except MarkedYAMLError as error:
        findings.add(Code.SYNTAX, _error_place(file, error), (), _sentence(error), _hint(error))
        return None, findings.sorted()
    except ReaderError as error:
        position = int(getattr(error, "position", 0))
        before = text[:position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"character U+{ord(text[position : position + 1] or ' '):04X} is not allowed in YAML"
        findings.add(Code.SYNTAX, place, (), message, "remove it")
        return None, findings.sorted()
    except (YAMLError, ValueError, OverflowError) as error:
        # a few malformed escapes and directives surface from the parser as plain errors
        findings.add(Code.SYNTAX, Place(file, 1, 1), (), f"not YAML: {error}".splitlines()[0], "")
        return None, findings.sorted()
    if not isinstance(root, dict):
        message = "a definition is a mapping that starts with `saga:`"
        findings.add(Code.NOT_A_MAPPING, Place(file, 1, 1), (), message, "see docs/definitions.md")
    if findings.has_errors:
        return None, findings.sorted()
    return Document(file=file, root=root, lines=text.splitlines(), spots=reader.spots), findings.sorted()


class _Refused(Exception):
    """Reading stops here: what follows could not be trusted."""

    def __init__(self, code: Code, place: Place, path: Path, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.code, self.place, self.path, self.message, self.fix = code, place, path, message, fix


@dataclass(slots=True, kw_only=True)
class _Reader:
    """Builds values from events; recursion is as deep as the tree, which the cap bounds."""

    file: str
    findings: Findings
    events: Iterator[_Event]
    spots: dict[Path, _Spot] = field(default_factory=dict[Path, _Spot])
    nodes: int = 0

    def document(self) -> JsonValue:
        root: JsonValue = None
        documents = 0
        for event in self.events:
            if event.kind is _Kind.DOCUMENT:
                documents += 1
                self._refuse_document(event, documents)
            else:
                root = self.node(event, (), event.place)
        return root

    def node(self, event: _Event, path: Path, key: Place) -> JsonValue:
        self._refuse(event, path)
        self.nodes += 1
        if self.nodes > DEFINITION_NODES_MAX:
            message = f"more than {DEFINITION_NODES_MAX} values"
            raise _Refused(Code.TOO_LARGE, event.place, (), message, "split it into several definitions")
        self.spots[path] = _Spot(key, event.place, event.style)
        if event.kind is _Kind.SCALAR:
            return event.text if event.style else _resolve(event.text)
        if len(path) >= DEFINITION_DEPTH_MAX:
            message = f"nested more than {DEFINITION_DEPTH_MAX} deep"
            raise _Refused(Code.TOO_LARGE, event.place, path[:4], message, "flatten it")
        return self._mapping(path) if event.kind is _Kind.MAPPING else self._sequence(path)

    def _mapping(self, path: Path) -> JsonValue:
        found: dict[str, JsonValue] = {}
        while (event := next(self.events)).kind is not _Kind.END:
            self._refuse(event, path)
            name = event.text
            if event.kind is not _Kind.SCALAR:
                message = "a key must be a plain text"
                raise _Refused(
                    Code.FORBIDDEN_YAML, event.place, path, message, "quote a text that starts with a bracket"
                )
            if name == "<<" and not event.style:
                message = "merge keys (<<) are not allowed"
                raise _Refused(Code.FORBIDDEN_YAML, event.place, path, message, "write the keys out")
            value = self.node(next(self.events), (*path, name), event.place)
            if name in found:
                message = f"key `{name}` is written twice"
                self.findings.add(Code.DUPLICATE_KEY, event.place, (*path, name), message, "keep one of them")
            else:
                found[name] = value
        return found

    def _sequence(self, path: Path) -> JsonValue:
        found: list[JsonValue] = []
        while (event := next(self.events)).kind is not _Kind.END:
            found.append(self.node(event, (*path, len(found)), event.place))
        return found

    def _refuse(self, event: _Event, path: Path) -> None:
        what = ""
        if event.kind is _Kind.ALIAS:
            what = f"aliases (*{event.anchor}) are not allowed"
        elif event.anchor:
            what = f"anchors (&{event.anchor}) are not allowed"
        elif event.tag:
            what = f"tags ({event.tag}) are not allowed"
        if what:
            raise _Refused(Code.FORBIDDEN_YAML, event.place, path, what, "write the value out")
        if any("\ud800" <= char <= "\udfff" for char in event.text):
            raise _Refused(Code.SYNTAX, event.place, path, "half of a surrogate pair is not a character", "remove it")

    def _refuse_document(self, event: _Event, documents: int) -> None:
        if documents > 1:
            message = "a file holds one definition, here a second document starts"
            raise _Refused(Code.FORBIDDEN_YAML, event.place, (), message, "put it into a file of its own")
        if event.directives:
            message = "only the directive %YAML 1.2 is allowed"
            raise _Refused(Code.FORBIDDEN_YAML, event.place, (), message, "remove the lines that start with %")


def _events(text: str, file: str) -> Iterator[_Event]:
    """Give the parser's events their types; what only marks the end of the stream or a document is left out."""
    parser = cast("_Parser", YAML(typ="safe", pure=True))
    for raw in parser.parse(text):
        kind = _KINDS.get(raw.__class__)
        if kind is not None:
            mark = _mark(file, getattr(raw, "start_mark", None))
            version = getattr(raw, "version", None)
            yield _Event(
                kind=kind,
                place=mark,
                text=str(getattr(raw, "value", None) or ""),
                style=str(getattr(raw, "style", None) or ""),
                anchor=str(getattr(raw, "anchor", None) or ""),
                tag=str(getattr(raw, "tag", None) or ""),
                directives=bool(getattr(raw, "tags", None)) or version not in (None, (1, 2)),
            )


class _Parser(Protocol):
    def parse(self, stream: str) -> Iterator[object]: ...


def _resolve(text: str) -> JsonValue:
    """Give a plain scalar its type by the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _NUMBER_CHARS_MAX:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if octal := _OCTAL.fullmatch(text):
        return int(octal[1], 8)
    if hexadecimal := _HEX.fullmatch(text):
        return int(hexadecimal[1], 16)
    return float(text) if _FLOAT.fullmatch(text) else text


def _single_quoted(source: str, offset: int) -> int:
    at = 1
    for _ in range(offset):
        at += 2 if source[at : at + 2] == "''" else 1
    return at if at < len(source) else 0


def _double_quoted(source: str, offset: int) -> int:
    at = 1
    for _ in range(offset):
        if source[at : at + 1] == "\\":
            at += 2 + _ESCAPE_WIDTHS.get(source[at + 1 : at + 2], 0)
        else:
            at += 1
    return at if at < len(source) else 0


def _error_place(file: str, error: MarkedYAMLError) -> Place:
    return _mark(file, getattr(error, "problem_mark", None) or getattr(error, "context_mark", None))


def _mark(file: str, mark: object) -> Place:
    return Place(file, int(getattr(mark, "line", 0)) + 1, int(getattr(mark, "column", 0)) + 1)


def _sentence(error: MarkedYAMLError) -> str:
    parts = [str(part) for name in ("context", "problem") if (part := getattr(error, name, None))]
    return f"not YAML: {', '.join(parts)}"


def _hint(error: MarkedYAMLError) -> str:
    problem = str(getattr(error, "problem", ""))
    is_colon = "mapping values are not allowed" in problem
    return "quote the text: a colon and a space end a plain one, also inside ${ … }" if is_colon else ""
