"""YAML text -> plain values and the place of each; the only reader of YAML for definitions.

Works on the parser's *events*, so that nothing is built before it is judged: anchors, aliases, tags, merge keys,
duplicate keys, several documents and anything past the caps are refused where they start (D-42). There is no alias,
therefore no bomb; there is no recursion below the depth cap, therefore no stack to break. Scalars are resolved by the
YAML 1.2 core schema, so `on`, `no` and `1:30` stay texts.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

from orchestrator.definition.diagnostics import Code, Diagnostic, Findings, Nowhere, Path, Place
from orchestrator.limits import DEFINITION_BYTES_MAX, DEFINITION_DEPTH_MAX, DEFINITION_NODES_MAX

Tree = None | bool | int | float | str | list["Tree"] | dict[str, "Tree"]

_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o([0-7]+)")
_HEX: Final = re.compile(r"0x([0-9a-fA-F]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, None | bool | float]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# CPython refuses to turn longer texts into integers and back; no field of any type needs more than 20 digits.
_NUMBER_CHARS_MAX: Final = 400
# Widths of \x41, \u0041 and \U00000041 after the backslash and the letter.
_ESCAPE_WIDTHS: Final = {"x": 2, "u": 4, "U": 8}


@dataclass(frozen=True, slots=True)
class _Spot:
    key: Place
    value: Place
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text that was read: its values, and where each of them stands (implements `Origins`)."""

    file: str
    root: Tree
    lines: Sequence[str] = ()
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
        found: Tree = self.root
        for part in path:
            if (isinstance(found, dict) and isinstance(part, str)) or (isinstance(found, list) and isinstance(part, int)):
                found = found[part]
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
    reader = _Reader(file=file, findings=findings, events=_events(text))
    try:
        root = reader.document()
    except _Refused as refused:
        findings.add(refused.code, refused.place, refused.path, refused.message, refused.fix)
        return None, findings.sorted()
    except MarkedYAMLError as error:
        findings.add(Code.SYNTAX, _mark(file, error), (), _sentence(error), "")
        return None, findings.sorted()
    except ReaderError as error:
        before = text[: error.position]
        place = Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"character U+{ord(error.character[:1] or chr(0)):04X} is not allowed in YAML"
        findings.add(Code.SYNTAX, place, (), message, "remove it")
        return None, findings.sorted()
    except (YAMLError, ValueError) as error:
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
    events: Iterator[Event]
    spots: dict[Path, _Spot] = field(default_factory=dict[Path, _Spot])
    nodes: int = 0

    def document(self) -> Tree:
        root: Tree = None
        documents = 0
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                self._refuse_document(event, documents)
            elif isinstance(event, NodeEvent):
                root = self.node(event, (), None)
        return root

    def node(self, event: Event, path: Path, key: Place | None) -> Tree:
        place = self._place(event)
        self._refuse(event, path, place)
        self.nodes += 1
        if self.nodes > DEFINITION_NODES_MAX:
            message = f"more than {DEFINITION_NODES_MAX} values"
            raise _Refused(Code.TOO_LARGE, place, (), message, "split it into several definitions")
        style = str(event.style or "") if isinstance(event, ScalarEvent) else ""
        self.spots[path] = _Spot(key or place, place, style)
        if isinstance(event, ScalarEvent):
            return self._scalar(event, path, place)
        if len(path) >= DEFINITION_DEPTH_MAX:
            message = f"nested more than {DEFINITION_DEPTH_MAX} deep"
            raise _Refused(Code.TOO_LARGE, place, path[:4], message, "flatten it")
        return self._mapping(path) if isinstance(event, MappingStartEvent) else self._sequence(path)

    def _mapping(self, path: Path) -> Tree:
        found: dict[str, Tree] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            place = self._place(event)
            self._refuse(event, path, place)
            if not isinstance(event, ScalarEvent):
                message = "a key must be a plain text"
                raise _Refused(Code.FORBIDDEN_YAML, place, path, message, "quote a text that starts with a bracket")
            name = str(event.value)
            if name == "<<" and not event.style:
                message = "merge keys (<<) are not allowed"
                raise _Refused(Code.FORBIDDEN_YAML, place, path, message, "write the keys out")
            value = self.node(next(self.events), (*path, name), place)
            if name in found:
                message = f"key `{name}` is written twice"
                self.findings.add(Code.DUPLICATE_KEY, place, (*path, name), message, "keep one of them")
            else:
                found[name] = value
        return found

    def _sequence(self, path: Path) -> Tree:
        found: list[Tree] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            found.append(self.node(event, (*path, len(found)), None))
        return found

    def _scalar(self, event: ScalarEvent, path: Path, place: Place) -> Tree:
        text = str(event.value)
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise _Refused(Code.SYNTAX, place, path, "half of a surrogate pair is not a character", "remove it")
        return text if event.style else _resolve(text)

    def _refuse(self, event: Event, path: Path, place: Place) -> None:
        what = ""
        if isinstance(event, AliasEvent):
            what = f"aliases (*{event.anchor}) are not allowed"
        elif isinstance(event, NodeEvent) and event.anchor is not None:
            what = f"anchors (&{event.anchor}) are not allowed"
        elif isinstance(event, (ScalarEvent, MappingStartEvent, SequenceStartEvent)) and event.tag is not None:
            what = f"tags ({event.tag}) are not allowed"
        if what:
            raise _Refused(Code.FORBIDDEN_YAML, place, path, what, "write the value out")

    def _refuse_document(self, event: DocumentStartEvent, documents: int) -> None:
        place = self._place(event)
        if documents > 1:
            message = "a file holds one definition, here a second document starts"
            raise _Refused(Code.FORBIDDEN_YAML, place, (), message, "put it into a file of its own")
        if event.tags or event.version not in (None, (1, 2)):
            message = "only the directive %YAML 1.2 is allowed"
            raise _Refused(Code.FORBIDDEN_YAML, place, (), message, "remove the lines that start with %")

    def _place(self, event: Event) -> Place:
        mark = event.start_mark
        return Place(self.file, mark.line + 1, mark.column + 1)


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return iter(events)


def _resolve(text: str) -> Tree:
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


def _mark(file: str, error: MarkedYAMLError) -> Place:
    mark = error.problem_mark or error.context_mark
    return Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file, 1, 1)


def _sentence(error: MarkedYAMLError) -> str:
    parts = [str(part) for part in (error.context, error.problem) if part]
    return f"not YAML: {', '.join(parts)}"
