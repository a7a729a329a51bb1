"""The steps of a saga written in Python, and what they are made of: the same tree as YAML, one method for each kind.

A `Block` is the steps of a saga, of a scope, or of a scope's `else`. Nothing is checked before `SagaBuilder.build`.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from pydantic import JsonValue

from orchestrator.definition.diagnostics import Path, Place
from orchestrator.definition.durations import lasting
from orchestrator.definition.model import KindName, OnFailureName, TriggerName

Lasting = str | timedelta
"""`2s`, or a timedelta."""
Tree = Mapping[str, JsonValue] | str
"""Fields of a message, or one expression that gives it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying:
    """What `retry` gives."""

    tree: Mapping[str, JsonValue]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Undoing:
    """What `undo` gives."""

    tree: Mapping[str, JsonValue]
    places: Mapping[Path, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """What `probe` gives."""

    tree: Mapping[str, JsonValue]
    places: Mapping[Path, Place]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looping:
    """What `for_each` gives."""

    tree: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """What `until` gives."""

    tree: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class StepRef:
    """A step that was added: for `after`, and for the names expressions read it by."""

    id: str

    @property
    def reply(self) -> str:
        """The name of its reply: `steps.score.reply`."""
        return f"steps.{self.id}.reply"

    @property
    def replies(self) -> str:
        """The name of the list of its items' replies, of a step with `for_each`."""
        return f"steps.{self.id}.replies"

    @property
    def applied_count(self) -> str:
        """The name of the number of its items that were applied."""
        return f"steps.{self.id}.applied_count"

    @property
    def failed_count(self) -> str:
        """The name of the number of its items that failed."""
        return f"steps.{self.id}.failed_count"

    @property
    def applied(self) -> str:
        """The name of the fact that it was applied."""
        return f"steps.{self.id}.applied"

    @property
    def skipped(self) -> str:
        """The name of the fact that it was skipped."""
        return f"steps.{self.id}.skipped"

    @property
    def status(self) -> str:
        """The name of its status word."""
        return f"steps.{self.id}.status"


def cel(expression: str) -> str:
    """Return an expression as it stands in a tree: `${ … }`."""
    return f"${{{expression}}}"


def retry(
    *,
    max_attempts: int | Literal["unlimited"] | None = None,
    initial_backoff: Lasting | None = None,
    max_backoff: Lasting | None = None,
    multiplier: float | None = None,
) -> Retrying:
    """Say how often and how patiently an operation is tried."""
    tree: dict[str, JsonValue | None] = {
        "max_attempts": max_attempts,
        "initial_backoff": lasting(initial_backoff),
        "max_backoff": lasting(max_backoff),
        "multiplier": multiplier,
    }
    return Retrying(tree=given(tree), place=caller())


def undo(
    call: str,
    *,
    request: Tree | None = None,
    timeout: Lasting | None = None,
    retry: Retrying | None = None,
    after: Sequence["After"] = (),
    first: bool = False,
) -> Undoing:
    """Say how a step is undone."""
    tree: dict[str, JsonValue | None] = {
        "call": call,
        "request": fields(request),
        "timeout": lasting(timeout),
        "retry": dict(retry.tree) if retry is not None else None,
        "after": _ids(after),
        "first": first or None,
    }
    places: dict[Path, Place] = {(): caller()}
    if retry is not None:
        places["retry",] = retry.place
    return Undoing(tree=given(tree), places=places)


def probe(
    call: str,
    *,
    applied: str,
    request: Tree | None = None,
    reply: Tree | None = None,
    timeout: Lasting | None = None,
    retry: Retrying | None = None,
) -> Probing:
    """Say how to find out whether a call whose outcome is unknown took place."""
    tree: dict[str, JsonValue | None] = {
        "call": call,
        "request": fields(request),
        "applied": applied,
        "reply": fields(reply),
        "timeout": lasting(timeout),
        "retry": dict(retry.tree) if retry is not None else None,
    }
    places: dict[Path, Place] = {(): caller()}
    if retry is not None:
        places["retry",] = retry.place
    return Probing(tree=given(tree), places=places)


def for_each(
    items: str, *, item: str | None = None, parallel: int | None = None, tolerate: int | None = None
) -> Looping:
    """Say that a call is made for each element of a list; `item` is what expressions call the element."""
    tree: dict[str, JsonValue | None] = {"for_each": items, "as": item, "parallel": parallel, "tolerate": tolerate}
    return Looping(tree=given(tree))


def until(condition: str, *, at_most: Lasting, every: Lasting | None = None) -> Polling:
    """Say that a call is made again until its reply says that it is enough."""
    tree: dict[str, JsonValue | None] = {
        "until": condition,
        "every": lasting(every),
        "at_most": lasting(at_most),
    }
    return Polling(tree=given(tree))


@dataclass(slots=True)
class Parts:
    """A definition as it grows."""

    tree: dict[str, JsonValue]
    places: dict[Path, Place]
    twice: list[tuple[Path, Place]] = field(default_factory=list[tuple[Path, Place]])


class Block:
    """The steps of a saga, of a scope, or of a scope's `else`."""

    __slots__ = ("_parts", "_path", "_steps", "id")

    def __init__(self, parts: Parts, path: Path, steps: dict[str, JsonValue], name: str = "") -> None:
        """Add to `steps`, which stands at `path`; `name` is the scope's, for `after`."""
        self._parts = parts
        self._path = path
        self._steps = steps
        self.id = name

    def step(
        self,
        name: str,
        call: str,
        *,
        request: Tree | None = None,
        after: Sequence["After"] = (),
        when: str | None = None,
        for_each: Looping | None = None,
        until: Polling | None = None,
        refuse: str | None = None,
        reason: str | None = None,
        kind: KindName | None = None,
        compensate: Undoing | Literal["none"] | None = None,
        probe: Probing | None = None,
        response: str | None = None,
        poll: Lasting | None = None,
        timeout: Lasting | None = None,
        retry: Retrying | None = None,
        optional: bool = False,
        trigger: TriggerName | int | None = None,
    ) -> StepRef:
        """Add a call; the keys are the language's, a number as `trigger` means `at_least`."""
        tree: dict[str, JsonValue | None] = {
            "call": call,
            "request": fields(request),
            **_common(after, when, trigger, optional=optional),
            **(for_each.tree if for_each is not None else {}),
            **(until.tree if until is not None else {}),
            "refuse": refuse,
            "reason": reason,
            "kind": kind,
            "compensate": dict(compensate.tree) if isinstance(compensate, Undoing) else compensate,
            "probe": dict(probe.tree) if probe is not None else None,
            "response": response,
            "poll": lasting(poll),
            "timeout": lasting(timeout),
            "retry": dict(retry.tree) if retry is not None else None,
        }
        places: dict[Path, Place] = {(): caller()}
        if retry is not None:
            places["retry",] = retry.place
        for key, part in (("compensate", compensate), ("probe", probe)):
            if isinstance(part, (Undoing, Probing)):
                places |= {(key, *path): at for path, at in part.places.items()}
        return self._add(name, tree, places)

    def sleep(
        self,
        name: str,
        duration: Lasting,
        *,
        after: Sequence["After"] = (),
        when: str | None = None,
        optional: bool = False,
        trigger: TriggerName | int | None = None,
    ) -> StepRef:
        """Let time pass: a duration, or an expression that gives one or a number of seconds."""
        tree = {"sleep": lasting(duration), **_common(after, when, trigger, optional=optional)}
        return self._add(name, tree, {(): caller()})

    def wait(
        self,
        name: str,
        signal: str,
        *,
        type: str,  # noqa: A002  (the language's word)
        timeout: Lasting | None = None,
        after: Sequence["After"] = (),
        when: str | None = None,
        optional: bool = False,
        trigger: TriggerName | int | None = None,
    ) -> StepRef:
        """Wait for a signal."""
        waited: dict[str, JsonValue | None] = {"signal": signal, "type": type, "timeout": lasting(timeout)}
        tree = {"wait": given(waited), **_common(after, when, trigger, optional=optional)}
        return self._add(name, tree, {(): caller()})

    def child(
        self,
        name: str,
        saga: str,
        *,
        compensate: Literal["undo", "none"],
        input: Tree | None = None,  # noqa: A002  (the language's word)
        for_each: Looping | None = None,
        after: Sequence["After"] = (),
        when: str | None = None,
        optional: bool = False,
        trigger: TriggerName | int | None = None,
    ) -> StepRef:
        """Run another definition as a child."""
        tree: dict[str, JsonValue | None] = {
            "saga": saga,
            "input": fields(input),
            **_common(after, when, trigger, optional=optional),
            **(for_each.tree if for_each is not None else {}),
            "compensate": compensate,
        }
        return self._add(name, tree, {(): caller()})

    def scope(
        self,
        name: str,
        *,
        on_failure: OnFailureName | None = None,
        timeout: Lasting | None = None,
        after: Sequence["After"] = (),
        when: str | None = None,
        optional: bool = False,
        trigger: TriggerName | int | None = None,
    ) -> "Block":
        """Add a scope and return the block of its steps."""
        inside: dict[str, JsonValue] = {}
        about: dict[str, JsonValue | None] = {"on_failure": on_failure, "timeout": lasting(timeout)}
        scope: JsonValue = {"steps": inside, **given(about)}
        tree = {"scope": scope, **_common(after, when, trigger, optional=optional)}
        self._add(name, tree, {(): caller()})
        return Block(self._parts, (*self._path, name, "scope", "steps"), inside, name)

    def otherwise(self, scope: "Block") -> "Block":
        """Return the block of steps that begin when those of a scope of this block have been undone."""
        step = self._steps[scope.id]
        assert isinstance(step, dict)  # it was added by `scope`
        inside = step.setdefault("else", {})
        assert isinstance(inside, dict)  # as above
        self._parts.places[*self._path, scope.id, "else"] = caller()
        return Block(self._parts, (*self._path, scope.id, "else"), inside)

    def _add(self, name: str, tree: Mapping[str, JsonValue | None], places: Mapping[Path, Place]) -> StepRef:
        path = (*self._path, name)
        if name in self._steps:
            self._parts.twice.append((path, places[()]))
        self._steps[name] = given(tree)
        self._parts.places |= {(*path, *below): at for below, at in places.items()}
        return StepRef(name)


After = StepRef | Block | str
"""A step that was added, a scope, or an id."""


def caller() -> Place:
    """Return where the author's call stands: two frames up, this function and the one the author called."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return Place(frame.f_code.co_filename, frame.f_lineno, 1) if frame is not None else Place("<python>", 1, 1)


def given(tree: Mapping[str, JsonValue | None]) -> dict[str, JsonValue]:
    """Return a tree without the keys that say nothing."""
    return {key: value for key, value in tree.items() if value is not None}


def fields(tree: Tree | None) -> JsonValue:
    """Return a message's fields as a tree of its own."""
    return dict(tree) if isinstance(tree, Mapping) else tree


def _common(
    after: Sequence[After], when: str | None, trigger: TriggerName | int | None, *, optional: bool
) -> dict[str, JsonValue | None]:
    return {
        "after": _ids(after),
        "when": when,
        "trigger": {"at_least": trigger} if isinstance(trigger, int) else trigger,
        "optional": optional or None,
    }


def _ids(steps: Sequence[After]) -> JsonValue:
    return [step if isinstance(step, str) else step.id for step in steps] or None
