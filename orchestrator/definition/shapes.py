"""Plain values -> the tree, or every wrong shape as a finding at its place.

Pydantic finds all of them in one pass. Its own words are for Python programmers; here they are said in the language's.
"""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.definition.diagnostics import Code, Findings, Path, did_you_mean, listing
from orchestrator.definition.durations import duration_text
from orchestrator.definition.misfit import clipped, literal
from orchestrator.definition.model import (
    AtLeast,
    Compensate,
    Compensation,
    Deadline,
    Definition,
    Probe,
    Retry,
    Scope,
    Step,
    Wait,
)

# Keys of the language that this version does not run yet: refused by name, so that nobody takes them for a typo.
_LATER: Final = frozenset({
    # of a definition
    "locks", "priority", "concurrency", "schedule", "imports", "serialize_by",
    # of a step
    "confirm", "expect",
})  # fmt: skip
_TAGS: Final = frozenset({"text", "mapping"})
_TREES: Final = frozenset({(Definition, "output"), *((part, "request") for part in (Step, Compensate, Probe)),
                           (Step, "input"), (Probe, "reply")})  # fmt: skip
"""Keys that hold a tree of any depth."""
_UNIONS: Final = frozenset({(Step, "compensate"), (Step, "trigger")})
_STEPS: Final = frozenset({(Definition, "steps"), (Scope, "steps"), (Step, "else")})
_PARTS: Final[Mapping[tuple[type[BaseModel], str], type[BaseModel]]] = {
    (Definition, "deadline"): Deadline,
    (Definition, "compensation"): Compensation,
    (Step, "compensate"): Compensate,
    (Step, "trigger"): AtLeast,
    (Step, "retry"): Retry,
    (Step, "probe"): Probe,
    (Step, "wait"): Wait,
    (Step, "scope"): Scope,
    (Compensate, "retry"): Retry,
    (Probe, "retry"): Retry,
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
    path, part = _path(error["loc"])
    known = [field.alias or key for key, field in part.model_fields.items()]
    name = str(path[-1]) if path else ""
    match error["type"]:
        case "extra_forbidden" if name in _LATER:
            message = f"`{name}` is not supported yet by this version"
            findings.at_key(Code.NOT_SUPPORTED_YET, path, message, "remove it")
        case "extra_forbidden":
            fix = did_you_mean(name, known) or f"known keys here: {listing(known, 16)}"
            findings.at_key(Code.UNKNOWN_KEY, path, f"unknown key `{name}`", fix)
        case "missing":
            findings.at_key(Code.MISSING_KEY, path[:-1], f"the key `{name}` is missing", f"add `{name}:`")
        case "value_error":
            findings.at_value(Code.INVALID_VALUE, path, str(error.get("ctx", {}).get("error", error["msg"])))
        case "literal_error":
            expected = str(error.get("ctx", {}).get("expected", ""))
            words = re.findall(r"'([^']+)'", expected)
            fix = did_you_mean(str(error["input"]), words) or f"one of {listing(words)}"
            findings.at_value(Code.INVALID_VALUE, path, f"`{clipped(str(error['input']))}` is not known here", fix)
        case "string_pattern_mismatch":
            what = {"saga": "a saga's name", "signal": "a signal's name"}.get(name, "a name")
            message = f"{what} is 1 to 63 characters out of a-z 0-9 _ and starts with a letter"
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
            findings.at_value(Code.WRONG_SHAPE, path, f"{_words(message)}, not {literal(error['input'])}")


def _path(loc: tuple[int | str, ...]) -> tuple[Path, type[BaseModel]]:
    """Drop what pydantic puts between keys: tags of unions, types of JSON values. Say in which part the last key is."""
    kept: list[int | str] = []
    part: type[BaseModel] = Definition
    tree_from: int | None = None
    is_id = is_union = False
    last = part
    for index, word in enumerate(loc):
        is_type = tree_from is not None and (index - tree_from) % 2 == 1
        if is_type or word == "[key]" or (is_union and word in _TAGS):
            is_union = False
            continue
        kept.append(word)
        last, at = part, (part, str(word))
        is_union = not is_id and at in _UNIONS
        if tree_from is not None:
            continue
        if is_id:
            part, is_id = Step, False
        elif at in _TREES:
            tree_from = index
        elif at in _STEPS:
            is_id = True
        else:
            part = _PARTS.get(at, part)
    return tuple(kept), last


def _words(message: str) -> str:
    text = re.sub(r" or instance of \w+", "", message)
    return {
        "must be a dictionary": "must be a mapping",
        "must be a string": "must be a text",
        "must be a tuple": "must be a list",
        "must be a integer": "must be a whole number",
    }.get(text, text)
