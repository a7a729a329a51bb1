"""A tree as YAML text that `yaml.read` reads back as the very same tree.

Own, because the promise is about our reader: a text is written plain only where no rule of any YAML version takes it
for something else, and is quoted like JSON otherwise.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from orchestrator.definition.model import Definition

# A lower-case word with the punctuation of calls and types; YAML's own words are lower-case words too.
_PLAIN: Final = re.compile(r"[a-z][a-z0-9_]*([./][A-Za-z][A-Za-z0-9_]*)*")
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
# What JSON leaves as it is and YAML forbids, or takes for a line break.
_FORBIDDEN: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def to_yaml(definition: Definition) -> str:
    """Return the text of a definition; what equals its default is left out."""
    tree: JsonValue = definition.model_dump(exclude_defaults=True, by_alias=True)
    return "".join(f"{line}\n" for line in _lines(tree, 0))


def _lines(tree: JsonValue, depth: int) -> Iterator[str]:
    """Yield a mapping in block style; what holds no mapping is written on its line."""
    assert isinstance(tree, dict)  # called for mappings alone
    for key, value in tree.items():
        name = f"{'  ' * depth}{_text(key)}:"
        if isinstance(value, dict) and value:
            yield name
            yield from _lines(value, depth + 1)
        else:
            yield f"{name} {_flow(value)}"


def _flow(value: JsonValue) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int():
            return str(value)
        case float():
            return _number(value)
        case dict():
            return "{" + ", ".join(f"{_text(key)}: {_flow(item)}" for key, item in value.items()) + "}"
        case _:  # pydantic gives tuples where the model has them
            return "[" + ", ".join(_flow(item) for item in value) + "]"


def _number(value: float) -> str:
    text = repr(value)
    return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text)


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value not in _WORDS:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _FORBIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
