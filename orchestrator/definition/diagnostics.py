"""What is wrong with a definition: where, why, and what to write instead.

A finding is a value. Rules never stop at the first one: they add to `Findings`, and the author gets all of them at
once, in the order of the text. A code is published (people search for it, editors switch it off by it) and is never
given a second meaning; `docs/definitions.md` has a row for each.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from orchestrator.limits import DIAGNOSTICS_MAX

Path = tuple[str | int, ...]
"""Keys and indices from the root of the tree: `("steps", "score", "after", 0)`."""


class Severity(StrEnum):
    """Whether a revision with this finding can be created."""

    ERROR = "error"
    WARNING = "warning"


class Code(StrEnum):
    """Every kind of finding; the value is what is published."""

    SYNTAX = "E001 yaml-syntax"
    DUPLICATE_KEY = "E002 duplicate-key"
    FORBIDDEN_YAML = "E003 forbidden-yaml"
    TOO_LARGE = "E004 too-large"
    NOT_A_MAPPING = "E005 not-a-mapping"

    UNKNOWN_KEY = "E101 unknown-key"
    MISSING_KEY = "E102 missing-key"
    WRONG_SHAPE = "E103 wrong-shape"
    INVALID_VALUE = "E104 invalid-value"
    NOT_SUPPORTED_YET = "E105 not-supported-yet"
    MISPLACED_KEY = "E106 misplaced-key"

    UNKNOWN_TARGET = "E201 unknown-target"
    UNDECLARED_TARGET = "E202 undeclared-target"
    UNKNOWN_METHOD = "E203 unknown-method"
    STREAMING_METHOD = "E204 streaming-method"
    TARGET_UNREACHABLE = "E205 target-unreachable"
    DESCRIPTOR_CONFLICT = "E206 descriptor-conflict"
    UNKNOWN_TYPE = "E207 unknown-type"
    UNKNOWN_DEFINITION = "E208 unknown-definition"
    DEFINITION_CYCLE = "E209 definition-cycle"

    UNKNOWN_STEP = "E301 unknown-step"
    SELF_REFERENCE = "E302 self-reference"
    CYCLE = "E303 cycle"
    NOT_UPSTREAM = "E304 not-upstream"
    UNREACHABLE_STEP = "E305 unreachable-step"
    UNDO_UNSAID = "E306 undo-unsaid"
    READ_HAS_UNDO = "E307 read-has-undo"
    NOTHING_TO_UNDO = "E308 nothing-to-undo"
    UNDO_CYCLE = "E309 undo-cycle"
    PIVOT_MISPLACED = "E310 pivot-misplaced"
    BESIDE_PIVOT = "E311 beside-pivot"
    AFTER_PIVOT = "E312 after-pivot"
    RETRIABLE_MISPLACED = "E313 retriable-misplaced"
    CANNOT_UNDO = "E314 cannot-undo"
    UNSAFE_POLL = "E315 unsafe-poll"
    PAST_DEADLINE = "E316 past-deadline"

    EXPRESSION_SYNTAX = "E401 expression-syntax"
    EXPRESSION_INVALID = "E402 expression-invalid"
    RESULT_TYPE = "E403 result-type"
    NOT_KNOWN_HERE = "E404 not-known-here"

    UNKNOWN_FIELD = "E501 unknown-field"
    FIELD_TYPE = "E502 field-type"
    ONEOF_CONFLICT = "E503 oneof-conflict"
    ANY_FIELD = "E504 any-field"
    REQUIRED_FIELD = "E505 required-field"

    UNDO_READS_REPLY = "W601 undo-reads-reply"
    TRIGGER_POINTLESS = "W602 trigger-pointless"
    UNUSED_TARGET = "W603 unused-target"
    CONSTANT_GUARD = "W604 constant-guard"
    REPLY_MAY_BE_ABSENT = "W605 reply-may-be-absent"
    ENDLESS_REFUSAL = "W606 endless-refusal"
    UNLIKE_ANNOTATION = "W610 unlike-annotation"

    @property
    def number(self) -> str:
        """Return the short form, `E101`."""
        return self.value[:4]

    @property
    def severity(self) -> Severity:
        """Return what the first letter says."""
        return Severity.ERROR if self.value[0] == "E" else Severity.WARNING


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a text, both numbers from 1; columns count characters."""

    file: str
    line: int
    column: int


class Origins(Protocol):
    """Where each part of a tree was written; an unknown path gives the nearest known one above it."""

    def key(self, path: Path) -> Place:
        """Return where the key of this path stands."""
        ...

    def value(self, path: Path) -> Place:
        """Return where the value of this path starts."""
        ...

    def inside(self, path: Path, offset: int) -> Place:
        """Return where the character at `offset` of the text at this path stands."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One finding."""

    code: Code
    place: Place
    path: str
    """Field path, `steps.score.request.report`."""
    step: str
    """The step it is about; empty where it is about the definition."""
    saga: str
    message: str
    fix: str = ""
    """What to write instead, in the imperative; empty where nothing helpful can be said."""

    @property
    def severity(self) -> Severity:
        """Return whether it prevents a revision."""
        return self.code.severity

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """Return the one line a person reads."""
        at = f"{self.place.file}:{self.place.line}:{self.place.column}"
        about = f"{self.path}: " if self.path else ""
        fix = f" (fix: {self.fix})" if self.fix else ""
        return f"{at}: {self.severity}[{self.code.number}]: {about}{self.message}{fix}"


@dataclass(slots=True, kw_only=True)
class Findings:
    """The findings of one check, as they come in; at most `DIAGNOSTICS_MAX` are kept, the rest is counted."""

    origins: Origins
    saga: str = ""
    kept: list[Diagnostic] = field(default_factory=list[Diagnostic])
    dropped: int = 0
    has_errors: bool = False

    def at_key(self, code: Code, path: Path, message: str, fix: str = "") -> None:
        """Add a finding about a key."""
        self.add(code, self.origins.key(path), path, message, fix)

    def at_value(self, code: Code, path: Path, message: str, fix: str = "") -> None:
        """Add a finding about a value."""
        self.add(code, self.origins.value(path), path, message, fix)

    def inside(self, code: Code, path: Path, offset: int, message: str, fix: str = "") -> None:
        """Add a finding about the character at `offset` of a text."""
        self.add(code, self.origins.inside(path, offset), path, message, fix)

    def add(self, code: Code, place: Place, path: Path, message: str, fix: str = "") -> None:
        """Add a finding at a place."""
        found = Diagnostic(
            code=code, place=place, path=dotted(path), step=part_of(path)[0], saga=self.saga, message=message, fix=fix
        )
        self.keep(found)

    def keep(self, found: Diagnostic) -> None:
        """Add a finding that is complete."""
        self.has_errors = self.has_errors or found.severity is Severity.ERROR
        if found in self.kept:  # two rules may see one mistake from two sides
            return
        if len(self.kept) < DIAGNOSTICS_MAX:
            self.kept.append(found)
        else:
            self.dropped += 1

    def sorted(self) -> Sequence[Diagnostic]:
        """Return what was kept in the order of the text, and a last line that counts what was not."""
        found = sorted(self.kept, key=lambda one: (one.place.file, one.place.line, one.place.column, one.code))
        if self.dropped:
            note = f"{self.dropped} more findings are not shown: mend these first"
            found.append(
                Diagnostic(code=Code.TOO_LARGE, place=found[-1].place, path="", step="", saga=self.saga, message=note)
            )
        return found


@dataclass(frozen=True, slots=True)
class At:
    """A place in the tree together with the findings that belong there: what a rule is handed to speak through."""

    findings: Findings
    path: Path

    def __truediv__(self, key: str | int) -> "At":
        """Return the place of a child."""
        return At(self.findings, (*self.path, key))

    @property
    def dotted(self) -> str:
        """The path as a person reads it."""
        return dotted(self.path)

    def key(self, code: Code, message: str, fix: str = "") -> None:
        """Add a finding about the key here."""
        self.findings.at_key(code, self.path, message, fix)

    def value(self, code: Code, message: str, fix: str = "") -> None:
        """Add a finding about the value here."""
        self.findings.at_value(code, self.path, message, fix)

    def inside(self, code: Code, offset: int, message: str, fix: str = "") -> None:
        """Add a finding about a character of the text here."""
        self.findings.inside(code, self.path, offset, message, fix)


def dotted(path: Path) -> str:
    """Return `steps.score.after[0]` for `("steps", "score", "after", 0)`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def part_of(path: Path) -> tuple[str, Path]:
    """Return the innermost step that a path leads into, and the rest of the path; no step outside of `steps`."""
    step, rest = "", path
    while True:
        match rest:
            case ("steps", name, *_) if not step:
                step, rest = str(name), rest[2:]
            case ("scope", "steps", name, *_) if step:
                step, rest = str(name), rest[3:]
            case ("else", name, *_) if step:
                step, rest = str(name), rest[2:]
            case _:
                return step, rest


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a fix that names the closest known word, or an empty text where none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def listing(words: Iterable[str], most: int = 12) -> str:
    """Return a readable, bounded list of names."""
    names = list(words)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Origins of a tree that has no text: every place is the start of the named file."""

    file: str
    places: Mapping[Path, Place] = field(default_factory=dict[Path, Place])

    def key(self, path: Path) -> Place:
        """Return the nearest known place at or above the path."""
        return next((self.places[part] for part in _upwards(path) if part in self.places), Place(self.file, 1, 1))

    def value(self, path: Path) -> Place:
        """Return the same: only lines are known here."""
        return self.key(path)

    def inside(self, path: Path, offset: int) -> Place:
        """Return the same."""
        return self.key(path)


def _upwards(path: Path) -> Iterator[Path]:
    return (path[:length] for length in range(len(path), -1, -1))
