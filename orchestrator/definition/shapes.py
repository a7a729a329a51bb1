"""Plain values -> the tree, or every wrong shape as a finding at its place.

Pydantic finds all of them in one pass. Its own words are for Python programmers; here they are said in the language's.
"""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.definition.diagnostics import Code, Findings, Path, did_you_mean, listing
from orchestrator.definition.model import AtLeast, Compensate, Compensation, Deadline, Definition, Retry, Step

# Keys of the language that this version does not run yet: refused by name, so that nobody takes them for a typo.
_LATER: Final = frozenset({
    # of a definition
    "locks", "priority", "concurrency", "schedule", "on_failure", "imports", "serialize_by",
    # of a step
    "for_each", "as", "parallel", "until", "every", "at_most", "sleep", "wait", "saga", "input", "scope", "else",
    "probe", "confirm", "expect",
})  # fmt: skip
_LATER_KINDS: Final = ("pivot", "retriable")
# As much of a wrong text as a sentence can bear.
_SHOWN_CHARS: Final = 40
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
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


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
