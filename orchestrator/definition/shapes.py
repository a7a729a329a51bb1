"""Plain values -> the tree, or every wrong shape as a finding at its place.

Pydantic finds all of them in one pass. Its own words are for Python programmers; here they are said in the language's.
"""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.definition.diagnostics import Code, Findings, Path, did_you_mean, listing
from orchestrator.definition.misfit import clipped, kind
from orchestrator.definition.model import (
    AtLeast,
    Compensate,
    Compensation,
    Deadline,
    Definition,
    Retry,
    Step,
    duration_text,
)

# Keys of the language that this version does not run yet: refused by name, so that nobody takes them for a typo.
_LATER: Final = frozenset({
    # of a definition
    "locks", "priority", "concurrency", "schedule", "on_failure", "imports", "serialize_by",
    # of a step
    "for_each", "as", "parallel", "until", "every", "at_most", "sleep", "wait", "saga", "input", "scope", "else",
    "probe", "confirm", "expect",
})  # fmt: skip
_LATER_KINDS: Final = ("pivot", "retriable")
_TAGS: Final = frozenset({"text", "mapping"})
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
            findings.at_value(Code.INVALID_VALUE, path, str(error.get("ctx", {}).get("error", error["msg"])))
        case "literal_error" if name == "kind" and error["input"] in _LATER_KINDS:
            message = f"`kind: {error['input']}` is not supported yet by this version"
            findings.at_value(Code.NOT_SUPPORTED_YET, path, message, "use `compensatable` or `read`")
        case "literal_error":
            expected = str(error.get("ctx", {}).get("expected", ""))
            words = re.findall(r"'([^']+)'", expected)
            fix = did_you_mean(str(error["input"]), words) or f"one of {listing(words)}"
            findings.at_value(Code.INVALID_VALUE, path, f"`{clipped(str(error['input']))}` is not known here", fix)
        case "string_pattern_mismatch":
            message = "a saga's name is 1 to 63 characters out of a-z 0-9 _ and starts with a letter"
            findings.at_value(Code.INVALID_VALUE, path, message)
        case "too_short":
            findings.at_value(Code.INVALID_VALUE, path, "must not be empty", "write at least one entry")
        case "invalid-json-value":
            message = "a tree holds texts, numbers, booleans, lists and mappings only"
            findings.at_value(Code.WRONG_SHAPE, path, message)
        case "greater_than_equal" | "less_than_equal":
            bound = next(iter(error.get("ctx", {}).values()), 0)
            is_low = error["type"].startswith("greater")
            shown = duration_text(bound) if name == "timeout" else f"{bound:g}"
            findings.at_value(Code.INVALID_VALUE, path, f"must be at {'least' if is_low else 'most'} {shown}")
        case _:
            message = error["msg"].replace("Input should be", "must be").replace("valid ", "")
            findings.at_value(Code.WRONG_SHAPE, path, f"{_words(message)}, not {kind(error['input'])}")


def _path(loc: tuple[int | str, ...]) -> Path:
    """Drop what pydantic puts between keys: the tag of a union's member, the type of a JSON value."""
    kept: list[int | str] = []
    values_from: int | None = None
    for index, part in enumerate(loc):
        before = loc[index - 1] if index else ""
        is_tag = before in {"compensate", "trigger"} and part in _TAGS
        # below a request every key comes after the type of what holds it
        is_type = values_from is not None and (index - values_from) % 2 == 1
        if is_tag or is_type or part == "[key]":
            continue
        if values_from is None and (part == "output" or (part == "request" and len(kept) > 1)):
            values_from = index
        kept.append(part)
    return tuple(kept)


def _keys(path: Path) -> list[str]:
    """Return the keys known at a path."""
    part: type[BaseModel] = Definition
    for index, name in enumerate(path):
        if isinstance(name, str) and name in _PARTS and not (index == 1 and path[0] == "steps"):
            part = _PARTS[name]
    return list(part.model_fields)


def _words(message: str) -> str:
    text = re.sub(r" or instance of \w+", "", message)
    return {
        "must be a dictionary": "must be a mapping",
        "must be a string": "must be a text",
        "must be a tuple": "must be a list",
        "must be a integer": "must be a whole number",
    }.get(text, text)
