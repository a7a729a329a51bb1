"""The tree of a definition, as an author writes it: shapes only, no meaning.

The same models stand behind YAML, the Python builder and the JSON Schema that editors use, so there is one list of
keys. Wrong shapes are explained by `shapes.py`; what the names mean (targets, methods, steps, fields) is `check.py`'s
business.
"""

import re
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    PlainSerializer,
    Tag,
    WithJsonSchema,
)

from orchestrator.limits import API_DEADLINE_S_MAX, CALL_TIMEOUT_S_MAX
from orchestrator.saga.plan import TriggerRule

_UNITS_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")


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


def _sensible(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than zero")
    if value > API_DEADLINE_S_MAX:
        raise ValueError(f"must be at most {duration_text(API_DEADLINE_S_MAX)}")
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


_DURATION_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$",
    "examples": ["250ms", "2s", "1h"],
}
Duration = Annotated[
    float,
    BeforeValidator(_duration),
    AfterValidator(_sensible),
    PlainSerializer(duration_text),
    WithJsonSchema(_DURATION_SCHEMA),
]
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
Names = Annotated[tuple[str, ...], Field(strict=False)]
Scalar = Annotated[JsonValue, AfterValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Retry(_Part):
    """How often and how patiently an operation is tried; the words are the gRPC service config's."""

    max_attempts: Attempts | None = None
    """Attempts that count; 0 or `unlimited` for no limit."""
    initial_backoff: Duration | None = None
    """Pause before the second attempt."""
    max_backoff: Duration | None = None
    """Longest pause."""
    multiplier: Annotated[float, Field(ge=1, le=100)] | None = None
    """Each pause is this many times the one before."""


class Compensate(_Part):
    """The call that undoes a step."""

    call: Text
    """`target/package.Service/Method`."""
    request: Request = Field(default_factory=dict[str, JsonValue])
    """Its fields; rendered and stored when the step settles, so it reads only what is known then."""
    timeout: Timeout | None = None
    """One attempt's time."""
    retry: Retry | None = None
    """How often it is tried; without limit by default."""
    after: Names = ()
    """Steps that are undone before this one."""
    first: bool = False
    """Undo this step before every other one that is not marked so."""


class AtLeast(_Part):
    """A trigger that wants a number of successes."""

    at_least: Annotated[int, Field(ge=1)]
    """How many predecessors must have been applied."""


def _shape(value: object) -> str:
    return "text" if isinstance(value, str) else "mapping"


TriggerName = Literal["all_success", "all_done", "one_success", "one_done", "all_failed", "none_failed"]
Trigger = Annotated[Annotated[TriggerName, Tag("text")] | Annotated[AtLeast, Tag("mapping")], Discriminator(_shape)]
Undo = Annotated[Annotated[Literal["none"], Tag("text")] | Annotated[Compensate, Tag("mapping")], Discriminator(_shape)]


class Step(_Part):
    """One call of the saga."""

    call: Text
    """`target/package.Service/Method`."""
    request: Request = Field(default_factory=dict[str, JsonValue])
    """Its fields, or one expression that gives the whole message."""
    after: Names = ()
    """Steps this one waits for, beside those its `request` and `when` read."""
    when: Guard | None = None
    """A condition; where it is false the step is skipped."""
    refuse: Guard | None = None
    """A condition on the reply that means no: the step was not applied."""
    reason: Text | None = None
    """A sentence that explains a refusal."""
    kind: Literal["compensatable", "read"] | None = None
    """`read` has no effect and nothing to undo."""
    compensate: Undo | None = None
    """The call that undoes this one, or `none` where its effect may stay."""
    timeout: Timeout | None = None
    """One attempt's time."""
    retry: Retry | None = None
    """How often and how patiently it is tried."""
    optional: bool = False
    """Its failure is recorded and does not fail the saga."""
    trigger: Trigger = TriggerRule.ALL_SUCCESS.value
    """When a step with several predecessors may start."""


class Deadline(_Part):
    """How long the saga may take forward, and what is kept back for undoing."""

    forward: Duration | None = None
    """From the start to the last step."""
    compensation: Duration | None = None
    """Kept back for undoing; past it a person is asked."""


class Compensation(_Part):
    """How a saga is undone as a whole."""

    order: Literal["parallel", "sequential"] = "parallel"
    """Whether independent steps are undone at the same time."""


class Definition(_Part):
    """A saga: steps that call services, and how each is undone."""

    saga: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    """The definition's name."""
    description: str = ""
    """One or two sentences for people."""
    input: Text
    """A message type's full name, or `json`."""
    deadline: Deadline = Field(default_factory=Deadline)
    """Time budgets."""
    targets: Annotated[tuple[Text, ...], Field(min_length=1, strict=False)]
    """Names of the configured services it calls; their addresses are configuration."""
    attributes: dict[str, Scalar] = Field(default_factory=dict[str, Scalar])
    """Searchable facts, read when the saga starts."""
    steps: Annotated[
        dict[str, Step], Field(min_length=1, json_schema_extra={"propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"}})
    ]
    """The steps, by id."""
    compensation: Compensation = Field(default_factory=Compensation)
    """How the saga is undone as a whole."""
    output: Request | None = None
    """What a completed saga answers: a mapping, or one expression that gives a message."""
