"""The tree of a definition, as an author writes it: shapes only, no meaning.

The same models stand behind YAML, the Python builder and the JSON Schema that editors use, so there is one list of
keys. Pydantic finds every wrong shape in one pass; `parse` turns what it found into diagnostics at the places of the
text. What the names mean (targets, methods, steps, fields) is `check.py`'s business.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails

from orchestrator.definition.diagnostics import Code, Findings, Path, did_you_mean, listing
from orchestrator.limits import CALL_TIMEOUT_S_MAX
from orchestrator.saga.plan import TriggerRule

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_WHERE: Final = {"steps": "a step", "compensate": "compensate", "retry": "retry"}

_LATER: Final = frozenset(
    ["locks", "priority", "concurrency", "schedule", "on_failure", "imports", "serialize_by", "for_each", "as", "parallel", "until", "every", "at_most", "sleep", "wait", "saga", "input", "scope", "else", "probe", "confirm", "expect", "max_items", "reserve_for_compensation"]
)
"""Keys of the language that this version does not run yet; refused by name, so that nobody takes them for a typo."""
_LATER_KINDS: Final = ("pivot", "retriable")


def seconds(text: str) -> float:
    """Return the seconds of `250ms`, `2s`, `5m`, `1h` or `1d`; `ValueError` says what is expected."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d")
    return round(float(match[1]) * _UNITS_S[match[2]], 9)


def duration_text(value_s: float) -> str:
    """Return the shortest text that `seconds` reads as the same number."""
    for unit in ("d", "h", "m", "s", "ms"):
        count = round(value_s / _UNITS_S[unit], 9)
        if count == int(count) and seconds(f"{int(count)}{unit}") == value_s:
            return f"{int(count)}{unit}"
    return f"{value_s:.9f}".rstrip("0") + "s"


def _duration(value: object) -> object:
    if isinstance(value, str):
        return seconds(value)
    raise ValueError("a duration is a number and a unit: 250ms, 2s, 5m, 1h, 1d")


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than zero")
    return value


def _attempts(value: object) -> object:
    return 0 if value == "unlimited" else value


def _guard(value: object) -> object:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _fields(value: JsonValue) -> JsonValue:
    if not isinstance(value, (dict, str)):
        raise ValueError("a request is a mapping of fields, or one expression that gives the whole message")
    return value


def _scalar(value: JsonValue) -> JsonValue:
    if value is None or isinstance(value, (dict, list)):
        raise ValueError("an attribute is a text, a number or a boolean: attributes are flat")
    return value


def _unspaced(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


_DURATION_SCHEMA: Final = {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h|d)$", "examples": ["250ms", "2s", "1h"]}
Duration = Annotated[float, BeforeValidator(_duration), AfterValidator(_positive), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds; written as a text with its unit."""
Timeout = Annotated[Duration, Field(le=CALL_TIMEOUT_S_MAX)]
Text = Annotated[str, AfterValidator(_unspaced)]
Guard = Annotated[Text, BeforeValidator(_guard)]
Request = Annotated[JsonValue, AfterValidator(_fields), WithJsonSchema({"type": ["object", "string"]})]
Attempts = Annotated[
    int,
    BeforeValidator(_attempts),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "unlimited"}]}),
]
Scalar = Annotated[JsonValue, AfterValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Retry(_Part):
    """How often and how patiently; the words are the gRPC service config's."""

    max_attempts: Attempts | None = None
    """Attempts that count; 0 or `unlimited` for no limit."""
    initial_backoff: Duration | None = None
    max_backoff: Duration | None = None
    multiplier: Annotated[float, Field(ge=1, le=100)] | None = None


class Compensate(_Part):
    """The call that undoes a step."""

    call: Text
    request: Request = Field(default_factory=dict[str, JsonValue])
    timeout: Timeout | None = None
    retry: Retry | None = None
    after: tuple[str, ...] = Field(default=(), strict=False)
    """Steps that must be undone before this one."""
    first: bool = False
    """Undo this step before every other one that is not marked so."""


class AtLeast(_Part):
    """A trigger that wants a number of successes."""

    at_least: Annotated[int, Field(ge=1)]


def _shape(value: object) -> str:
    return "text" if isinstance(value, str) else "mapping"


TriggerName = Literal["all_success", "all_done", "one_success", "one_done", "all_failed", "none_failed"]
Trigger = Annotated[
    Annotated[TriggerName, Tag("text")] | Annotated[AtLeast, Tag("mapping")],
    Discriminator(_shape),
]
Undo = Annotated[
    Annotated[Literal["none"], Tag("text")] | Annotated[Compensate, Tag("mapping")],
    Discriminator(_shape),
]


class Step(_Part):
    """One call of the saga."""

    call: Text
    """`target/package.Service/Method`."""
    request: Request = Field(default_factory=dict[str, JsonValue])
    after: tuple[str, ...] = Field(default=(), strict=False)
    when: Guard | None = None
    refuse: Guard | None = None
    reason: Text | None = None
    kind: Literal["compensatable", "read"] | None = None
    compensate: Undo | None = None
    timeout: Timeout | None = None
    retry: Retry | None = None
    optional: bool = False
    trigger: Trigger = TriggerRule.ALL_SUCCESS.value


class Deadline(_Part):
    """How long the saga may take forward, and what is kept back for undoing."""

    forward: Duration | None = None
    compensation: Duration | None = None


class Compensation(_Part):
    """How a saga is undone as a whole."""

    order: Literal["parallel", "sequential"] = "parallel"


class Definition(_Part):
    """A saga's definition."""

    saga: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    description: str = ""
    input: Text
    """A message type's full name, or `json`."""
    deadline: Deadline = Field(default_factory=Deadline)
    targets: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    attributes: dict[str, Scalar] = Field(default_factory=dict[str, Scalar])
    steps: Annotated[dict[str, Step], Field(min_length=1)]
    compensation: Compensation = Field(default_factory=Compensation)
    output: Request | None = None


_TAGS: Final = frozenset({"text", "mapping", "[key]"})
_PARTS: Final[dict[str, type[BaseModel]]] = {
    "steps": Step,
    "compensate": Compensate,
    "retry": Retry,
    "deadline": Deadline,
    "compensation": Compensation,
    "trigger": AtLeast,
}


def parse(values: Mapping[str, object], findings: Findings) -> Definition | None:
    """Return the definition of a tree of plain values; every wrong shape becomes a finding."""
    try:
        return Definition.model_validate(values)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=True):
            _explain(found, findings)
        return None


def _explain(error: ErrorDetails, findings: Findings) -> None:
    path = _path(error["loc"])
    name = str(path[-1]) if path else ""
    # pydantic's own words are for Python programmers; the frequent ones are said in the language's words
    match error["type"]:
        case "extra_forbidden" if name in _LATER:
            message = f"`{name}` is not supported yet by this version"
            findings.at_key(Code.NOT_SUPPORTED_YET, path, message, "remove it")
        case "extra_forbidden":
            known = _keys(path[:-1])
            fix = did_you_mean(name, known) or f"known keys here: {listing(known, 16)}"
            findings.at_key(Code.UNKNOWN_KEY, path, f"unknown key `{name}`", fix)
        case "missing":
            findings.at_key(Code.MISSING_KEY, path[:-1], f"the key `{name}` is missing", f"add `{name}:`")
        case "value_error":
            findings.at_value(Code.INVALID_VALUE, path, str(error["ctx"]["error"]) if "ctx" in error else error["msg"])
        case "literal_error" if name == "kind" and error["input"] in _LATER_KINDS:
            message = f"`kind: {error['input']}` is not supported yet by this version"
            findings.at_value(Code.NOT_SUPPORTED_YET, path, message, "use `compensatable` or `read`")
        case "literal_error":
            expected = str(error["ctx"]["expected"]) if "ctx" in error else ""
            words = re.findall(r"'([^']+)'", expected)
            fix = did_you_mean(str(error["input"]), words) or f"one of {listing(words)}"
            findings.at_value(Code.INVALID_VALUE, path, f"`{_short(error['input'])}` is not known here", fix)
        case "string_pattern_mismatch":
            message = "a saga's name is 1 to 63 characters out of a-z 0-9 _ and starts with a letter"
            findings.at_value(Code.INVALID_VALUE, path, message)
        case "too_short":
            findings.at_value(Code.INVALID_VALUE, path, "must not be empty", "write at least one entry")
        case "greater_than_equal" | "less_than_equal":
            message = error["msg"].replace("Input should be", "must be")
            findings.at_value(Code.INVALID_VALUE, path, message)
        case _:
            message = error["msg"].replace("Input should be", "must be").replace("valid ", "")
            findings.at_value(Code.WRONG_SHAPE, path, f"{_words(message)}, not {_kind(error['input'])}")


def _path(loc: tuple[int | str, ...]) -> Path:
    """Drop what pydantic puts between keys: the tag of a union's member, the type it tried."""
    kept: list[int | str] = []
    for index, part in enumerate(loc):
        below_union = kept and kept[-1] in {"compensate", "trigger"}
        value_member = index > 0 and isinstance(part, str) and part in {"list", "dict", "nullable"}
        if (below_union and part in _TAGS) or part == "[key]" or (value_member and _in_value(kept)):
            continue
        kept.append(part)
    return tuple(kept)


def _in_value(path: list[int | str]) -> bool:
    return "request" in path or (bool(path) and path[0] == "output")


def _keys(path: Path) -> list[str]:
    """Return the keys known at a path."""
    part: type[BaseModel] = Definition
    for index, name in enumerate(path):
        if isinstance(name, str) and name in _PARTS and not (index == 1 and path[0] == "steps"):
            part = _PARTS[name]
    return list(part.model_fields)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _words(message: str) -> str:
    return {
        "must be a dictionary": "must be a mapping",
        "must be a dictionary or instance of Step": "must be a mapping",
        "must be a string": "must be a text",
        "must be a tuple": "must be a list",
        "must be a integer": "must be a whole number",
    }.get(re.sub(r" or instance of \w+", "", message), re.sub(r" or instance of \w+", "", message))


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text `{_short(value)}`"
        case list() | tuple():
            return "a list"
        case _:
            return "a mapping"
