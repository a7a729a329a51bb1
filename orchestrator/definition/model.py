"""The tree of a definition, as an author writes it: shapes only, no meaning.

The same models stand behind YAML, the Python builder and the JSON Schema that editors use, so there is one list of
keys. Wrong shapes are explained by `shapes.py`; which keys go together is `bodies.py`'s business, what the names mean
(targets, methods, steps, fields) is `check.py`'s.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    Tag,
    WithJsonSchema,
)
from pydantic_core import CoreSchema

from orchestrator import fielddocs
from orchestrator.definition.durations import Asleep, Duration, Timeout
from orchestrator.limits import ITEMS_MAX, ITEMS_PARALLEL_DEFAULT, ITEMS_PARALLEL_MAX
from orchestrator.saga.plan import OnFailure, TriggerRule


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


Text = Annotated[str, AfterValidator(_unspaced)]
Request = Annotated[JsonValue, AfterValidator(_fields), WithJsonSchema({"type": ["object", "string"]})]
Guard = Annotated[Text, BeforeValidator(_guard)]
Attempts = Annotated[
    int,
    BeforeValidator(_attempts),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "unlimited"}]}),
]
Names = Annotated[tuple[str, ...], Field(strict=False)]
SIGNAL: Final = r"^[a-z][a-z0-9_]{0,62}$"
ITEM: Final = r"^[a-z][a-z0-9_]*$"
OnFailureName = Literal["compensate", "retry", "ask"]
Steps = Annotated[
    dict[str, "Step"], Field(min_length=1, json_schema_extra={"propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"}})
]
Scalar = Annotated[JsonValue, AfterValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_by_name=False,
        validate_by_alias=True,
        serialize_by_alias=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        names = {name: field.alias or name for name, field in cls.model_fields.items()}
        fielddocs.describe(cls, handler.resolve_ref_schema(schema)["properties"], names)
        return schema


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


class Probe(_Part):
    """How to find out whether a call whose outcome is unknown took place."""

    call: Text
    """`target/package.Service/Method`, a method that only reads."""
    request: Request = Field(default_factory=dict[str, JsonValue])
    """Its fields; it reads what the step's own request may read."""
    applied: Guard
    """A condition on the probe's reply: whether the call took place."""
    reply: Request | None = None
    """The step's reply, made of the probe's; by default the probe's own, where it has the same type."""
    timeout: Timeout | None = None
    """One attempt's time."""
    retry: Retry | None = None
    """How often and how patiently it is asked."""


class Wait(_Part):
    """What a step waits for."""

    signal: Annotated[str, Field(pattern=SIGNAL)]
    """The signal's name."""
    type: Text
    """A message type's full name, or `json`."""
    timeout: Duration | None = None
    """The step fails when it has waited so long; without it, it waits as long as the saga has."""


class Scope(_Part):
    """Steps that are undone together, alone, when one of them fails."""

    steps: Steps
    """The steps inside, by id; no id is used twice in a definition."""
    on_failure: OnFailureName | None = None
    """What follows when a step in here fails for good."""
    timeout: Duration | None = None
    """Past it the scope is undone."""


def _shape(value: object) -> str:
    return "text" if isinstance(value, str) else "mapping"


TriggerName = Literal["all_success", "all_done", "one_success", "one_done", "all_failed", "none_failed"]
Trigger = Annotated[Annotated[TriggerName, Tag("text")] | Annotated[AtLeast, Tag("mapping")], Discriminator(_shape)]
UndoName = Literal["none", "undo"]
Undo = Annotated[Annotated[UndoName, Tag("text")] | Annotated[Compensate, Tag("mapping")], Discriminator(_shape)]
KindName = Literal["compensatable", "pivot", "retriable", "read"]
BodyName = Literal["call", "sleep", "wait", "saga", "scope"]
BODIES: Final[tuple[BodyName, ...]] = ("call", "sleep", "wait", "saga", "scope")
"""What a step can be: it has exactly one of these keys."""


class Step(_Part):
    """One step of the saga: a call, or one of `sleep`, `wait`, `saga` and `scope`."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [name]} for name in BODIES]})

    call: Text | None = None
    """`target/package.Service/Method`."""
    sleep: Asleep | None = None
    """How long to let pass: a duration, or an expression that gives one or a number of seconds."""
    wait: Wait | None = None
    """A signal to wait for; its payload is the step's reply."""
    saga: Text | None = None
    """The name of another definition, run as a child."""
    scope: Scope | None = None
    """Steps that are undone together, alone, when one of them fails."""
    otherwise: Annotated[Steps | None, Field(alias="else")] = None
    """Steps that begin when those of `scope` have been undone."""
    request: Request = Field(default_factory=dict[str, JsonValue])
    """The request's fields, or one expression that gives the whole message."""
    input: Request | None = None
    """The child's input: its fields, or one expression that gives the whole message."""
    after: Names = ()
    """Steps this one waits for, beside those its `request` and `when` read."""
    when: Guard | None = None
    """A condition; where it is false the step is skipped."""
    for_each: Text | None = None
    """A list: the call is made once for each of its elements."""
    item: Annotated[Annotated[str, Field(pattern=ITEM)], Field(alias="as")] = "item"
    """What expressions call the element."""
    parallel: Annotated[int, Field(ge=1, le=ITEMS_PARALLEL_MAX)] = ITEMS_PARALLEL_DEFAULT
    """How many items are under way at once."""
    tolerate: Annotated[int, Field(ge=0, le=ITEMS_MAX)] = 0
    """How many items may fail before the step does."""
    until: Guard | None = None
    """A condition on the reply: the call is made again until it holds."""
    every: Duration | None = None
    """The pause between two calls of an `until`."""
    at_most: Duration | None = None
    """How long an `until` is waited for; the step fails then."""
    response: Text | None = None
    """The message type of a long-running operation's response, where its method does not say."""
    poll: Duration | None = None
    """The pause between two questions how a long-running operation is doing."""
    refuse: Guard | None = None
    """A condition on the reply that means no: the step was not applied."""
    reason: Text | None = None
    """A sentence that explains a refusal."""
    kind: KindName | None = None
    """What its effect means for undoing; `read` has no effect and nothing to undo."""
    compensate: Undo | None = None
    """The call that undoes this one; `none` where its effect may stay; `undo` for a child saga."""
    probe: Probe | None = None
    """How to find out whether a call whose outcome is unknown took place."""
    timeout: Timeout | None = None
    """One attempt's time."""
    retry: Retry | None = None
    """How often and how patiently it is tried."""
    optional: bool = False
    """Its failure is recorded and does not fail the saga."""
    trigger: Trigger = TriggerRule.ALL_SUCCESS.value
    """When a step with several predecessors may start."""

    @property
    def bodies(self) -> tuple[BodyName, ...]:
        """The keys that say what kind of step it is; all but one of them are a finding."""
        return tuple(name for name in BODIES if getattr(self, name) is not None)

    @property
    def body(self) -> BodyName:
        """What kind of step it is; a call where nothing is said, which is a finding of its own."""
        return self.bodies[0] if self.bodies else "call"


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
    targets: Annotated[tuple[Text, ...], Field(strict=False)]
    """Names of the configured services it calls; their addresses are configuration."""
    attributes: dict[str, Scalar] = Field(default_factory=dict[str, Scalar])
    """Searchable facts, read when the saga starts."""
    steps: Steps
    """The steps, by id."""
    on_failure: OnFailureName = OnFailure.COMPENSATE.value
    """What follows when a required step fails for good."""
    compensation: Compensation = Field(default_factory=Compensation)
    """How the saga is undone as a whole."""
    output: Request | None = None
    """What a completed saga answers: a mapping, or one expression that gives a message."""
