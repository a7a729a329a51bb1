"""A saga written in Python: the same tree as YAML, the same checks, findings that point at the Python line.

::

    saga = SagaBuilder("transfer", input="bank.v1.Transfer", targets=["accounts"])
    debit = saga.step(
        "debit",
        "accounts/bank.v1.Accounts/Debit",
        request={"account": "${input.source}", "amount": "${input.amount}"},
        compensate=undo("accounts/bank.v1.Accounts/Refund", request={"transfer_id": "${input.transfer_id}"}),
    )
    saga.step("credit", "accounts/bank.v1.Accounts/Credit", after=[debit], compensate="none", request={...})
    built = saga.build()

`built.source` is the YAML of the tree, which is what a catalogue keeps. No code of an author runs in a saga: Python
only writes the tree.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from pydantic import JsonValue

from orchestrator.definition.diagnostics import Code, Diagnostic, Findings, Nowhere, Path, Place
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.model import Definition, TriggerName, duration_text
from orchestrator.definition.shapes import parse
from orchestrator.definition.yaml import read
from orchestrator.errors import DefinitionInvalid

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


@dataclass(frozen=True, slots=True)
class StepRef:
    """A step that was added: for `after`, and for the names expressions read it by."""

    id: str

    @property
    def reply(self) -> str:
        """The name of its reply: `steps.score.reply`."""
        return f"steps.{self.id}.reply"

    @property
    def applied(self) -> str:
        """The name of the fact that it was applied."""
        return f"steps.{self.id}.applied"

    @property
    def skipped(self) -> str:
        """The name of the fact that it was skipped."""
        return f"steps.{self.id}.skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A tree whose shape is right, for `Revisions.create_from`."""

    definition: Definition
    origins: Nowhere
    source: str
    """The same tree as YAML."""


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
        "initial_backoff": _duration(initial_backoff),
        "max_backoff": _duration(max_backoff),
        "multiplier": multiplier,
    }
    return Retrying(tree=_given(tree), place=_caller())


def undo(
    call: str,
    *,
    request: Tree | None = None,
    timeout: Lasting | None = None,
    retry: Retrying | None = None,
    after: Sequence[StepRef | str] = (),
    first: bool = False,
) -> Undoing:
    """Say how a step is undone."""
    tree: dict[str, JsonValue | None] = {
        "call": call,
        "request": _fields(request),
        "timeout": _duration(timeout),
        "retry": dict(retry.tree) if retry is not None else None,
        "after": _ids(after),
        "first": first or None,
    }
    places: dict[Path, Place] = {(): _caller()}
    if retry is not None:
        places["retry",] = retry.place
    return Undoing(tree=_given(tree), places=places)


@dataclass(slots=True)
class _Parts:
    tree: dict[str, JsonValue]
    places: dict[Path, Place]
    steps: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    twice: list[tuple[str, Place]] = field(default_factory=list[tuple[str, Place]])


class SagaBuilder:
    """Collects a definition; nothing is checked before `build`."""

    def __init__(
        self,
        name: str,
        *,
        input: str,  # noqa: A002  (the language's word)
        targets: Sequence[str],
        description: str = "",
        attributes: Mapping[str, str | float | bool] | None = None,
        forward: Lasting | None = None,
        compensation: Lasting | None = None,
        undo_order: Literal["parallel", "sequential"] | None = None,
    ) -> None:
        """Begin a definition; `forward` and `compensation` are its deadline."""
        deadline: dict[str, JsonValue | None] = {
            "forward": _duration(forward),
            "compensation": _duration(compensation),
        }
        tree: dict[str, JsonValue | None] = {
            "saga": name,
            "description": description or None,
            "input": input,
            "deadline": _given(deadline) or None,
            "targets": list(targets),
            "attributes": dict(attributes) if attributes else None,
            "compensation": {"order": undo_order} if undo_order else None,
        }
        self._parts = _Parts(tree=_given(tree), places={(): _caller()})

    def step(
        self,
        name: str,
        call: str,
        *,
        request: Tree | None = None,
        after: Sequence[StepRef | str] = (),
        when: str | None = None,
        refuse: str | None = None,
        reason: str | None = None,
        kind: Literal["compensatable", "read"] | None = None,
        compensate: Undoing | Literal["none"] | None = None,
        timeout: Lasting | None = None,
        retry: Retrying | None = None,
        optional: bool = False,
        trigger: TriggerName | int | None = None,
    ) -> StepRef:
        """Add a step; the keys are the language's, a number as `trigger` means `at_least`."""
        parts, place = self._parts, _caller()
        if name in parts.steps:
            parts.twice.append((name, place))
        tree: dict[str, JsonValue | None] = {
            "call": call,
            "request": _fields(request),
            "after": _ids(after),
            "when": when,
            "refuse": refuse,
            "reason": reason,
            "kind": kind,
            "compensate": dict(compensate.tree) if isinstance(compensate, Undoing) else compensate,
            "timeout": _duration(timeout),
            "retry": dict(retry.tree) if retry is not None else None,
            "optional": optional or None,
            "trigger": {"at_least": trigger} if isinstance(trigger, int) else trigger,
        }
        parts.steps[name] = _given(tree)
        parts.places["steps", name] = place
        if retry is not None:
            parts.places["steps", name, "retry"] = retry.place
        if isinstance(compensate, Undoing):
            parts.places |= {("steps", name, "compensate", *path): at for path, at in compensate.places.items()}
        return StepRef(name)

    def output(self, tree: Tree) -> None:
        """Say what a completed saga answers."""
        self._parts.tree["output"] = _fields(tree)
        self._parts.places["output",] = _caller()

    def build(self) -> Built:
        """Return the tree; raise `DefinitionInvalid` with every wrong shape."""
        parts = self._parts
        origins = Nowhere(parts.places[()].file, parts.places)
        findings = Findings(origins=origins, saga=str(parts.tree["saga"]))
        for name, place in parts.twice:
            message = f"step `{name}` is added twice"
            findings.add(Code.DUPLICATE_KEY, place, ("steps", name), message, "rename one of them")
        tree = {**parts.tree, "steps": parts.steps}
        definition = parse(tree, findings)
        if definition is None or findings.has_errors:
            raise invalid(str(parts.tree["saga"]), findings.sorted())
        source = to_yaml(definition)
        # what is kept must be readable for ever: the text has limits and forbidden characters that a tree has not
        document, diagnostics = read(source, origins.file)
        if document is None:
            raise invalid(definition.saga, diagnostics)
        return Built(definition=definition, origins=origins, source=source)


def invalid(saga: str, found: Sequence[Diagnostic]) -> DefinitionInvalid:
    """Return findings as the error that a caller sees."""
    lines = [one.render() for one in found]
    return DefinitionInvalid(f"definition {saga} has {len(lines)} findings: {lines[0]}", lines)


def _caller() -> Place:
    """Return where the author's call stands: two frames up, this function and the one the author called."""
    frame = inspect.currentframe()
    for _ in range(2):
        frame = frame.f_back if frame is not None else None
    return Place(frame.f_code.co_filename, frame.f_lineno, 1) if frame is not None else Place("<python>", 1, 1)


def _given(tree: Mapping[str, JsonValue | None]) -> dict[str, JsonValue]:
    return {key: value for key, value in tree.items() if value is not None}


def _fields(tree: Tree | None) -> JsonValue:
    return dict(tree) if isinstance(tree, Mapping) else tree


def _ids(steps: Sequence[StepRef | str]) -> JsonValue:
    return [step.id if isinstance(step, StepRef) else step for step in steps] or None


def _duration(value: Lasting | None) -> str | None:
    return duration_text(value.total_seconds()) if isinstance(value, timedelta) else value
