"""The script of `saga simulate`: what services answer, which signals come, and the picture of what followed.

::

    steps:
      score: {reply: {total: 17}, after: 200ms}
      archive:                                  # attempt by attempt; the last entry stands for all that follow
        - {error: UNAVAILABLE, after: 1s}
        - {reply: {record_id: r1}}
      archive.undo: {error: FAILED_PRECONDITION, message: "the record is locked"}
    signals:
      - {at: 2s, signal: approved, payload: {by: "dr. who"}}
    cancel: {at: 5s, reason: "no longer wanted"}
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from orchestrator.cli.events import coloured, glyphs_here, width_here
from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import Printer, echo, note
from orchestrator.errors import InputInvalid
from orchestrator.explore.play import OPERATION_WORDS, Answers, Input, Played, Scripted, from_script
from orchestrator.ids import StepId
from orchestrator.saga.commands import CancelSaga, SignalSaga
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Operation, Plan
from orchestrator.values import Payload

if TYPE_CHECKING:
    from orchestrator.definition import Revisions
    from orchestrator.testing.services import Replies


def _seconds(value: object) -> object:
    from orchestrator.definition.durations import seconds

    return seconds(value) if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Entry(_Part):
    """What a service answers to one attempt."""

    reply: dict[str, JsonValue] | None = None
    error: str | None = Field(default=None, pattern="^[A-Z_]+$")
    message: str = ""
    after: Seconds | None = None
    sent: bool = True
    """False: no connection could be made, so that the service cannot have seen it."""
    applied: bool | None = None
    """What the service says of it in ErrorInfo metadata."""


class SignalEntry(_Part):
    """A signal, so long after the start."""

    at: Seconds
    signal: str
    payload: dict[str, JsonValue] = Field(default_factory=dict[str, JsonValue])


class CancelEntry(_Part):
    """A cancel, so long after the start."""

    at: Seconds
    reason: str = ""


class Script(_Part):
    """All that the world does."""

    steps: dict[str, Entry | list[Entry]] = Field(default_factory=dict[str, Entry | list[Entry]])
    signals: list[SignalEntry] = Field(default_factory=list[SignalEntry])
    cancel: CancelEntry | None = None


def script_of(tree: Mapping[str, object]) -> Script:
    """Return a script; every mistake in it is told, with its path."""
    try:
        return Script.model_validate(tree)
    except ValidationError as wrong:
        told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong.errors())
        raise Failure(f"the script of replies: {told}", Exit.USAGE) from wrong


def answers_of(script: Script, revisions: "Revisions", plan: Plan, latency_s: float) -> Answers:
    """Return what services answer; a reply is checked against its method's type."""
    found: dict[tuple[StepId, Operation], list[Scripted]] = {}
    for name, entries in script.steps.items():
        path, operation = _place(name, plan)
        listed = entries if isinstance(entries, list) else [entries]
        where = f"steps.{name}"
        found[path, operation] = [_scripted(one, where, path, operation, revisions, plan, latency_s) for one in listed]

    def empty(path: StepId, operation: Operation, _attempt: int) -> Scripted:
        call = plan.step_of(path).call_of(operation)
        report = Report(code="OK", phase=Phase.REPLIED, reply=Payload(call.reply_type, b""))
        return Scripted(report=report, after_s=latency_s)

    return from_script(found, empty)


def _place(name: str, plan: Plan) -> tuple[StepId, Operation]:
    path, _, word = name.partition(".")
    step = path.partition("[")[0]
    if step not in plan.steps:
        known = ", ".join(plan.steps)
        raise Failure(f"the script of replies: steps.{name}: no such step; there are {known}", Exit.USAGE)
    operation = OPERATION_WORDS.get(word)
    if operation is None:
        raise Failure(f"the script of replies: steps.{name}: write `{path}` or `{path}.undo`", Exit.USAGE)
    return StepId(path), operation


def _scripted(  # noqa: PLR0917  (what one entry of a script means hangs on all of it)
    entry: Entry,
    where: str,
    path: StepId,
    operation: Operation,
    revisions: "Revisions",
    plan: Plan,
    latency_s: float,
) -> Scripted:
    from orchestrator.ports.plans import JsonInput

    after_s = latency_s if entry.after is None else entry.after
    if entry.error is not None:
        phase = Phase.NOT_SENT if not entry.sent else _phase_of(entry.error)
        report = Report(code=entry.error, phase=phase, message=entry.message, applied=entry.applied)
        return Scripted(report=report, after_s=after_s)
    call = plan.step_of(path).call_of(operation)
    reply = revisions.payload(plan, call.reply_type, JsonInput(entry.reply or {}), where)
    return Scripted(report=Report(code="OK", phase=Phase.REPLIED, reply=reply), after_s=after_s)


def _phase_of(code: str) -> Phase:
    """Return where a status usually comes from: the library makes these six itself, the others only a service."""
    made_here = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED"}
    return Phase.SENT if code in made_here else Phase.REPLIED


def words_of(script: Script, revisions: "Revisions", plans: Sequence[Plan]) -> "Replies":
    """Return what services of `saga sim` answer where all goes well: what the script says, or an empty message."""
    from orchestrator.testing.words import words

    said: dict[str, Mapping[str, object]] = {}
    for name, entries in script.steps.items():
        for one in entries if isinstance(entries, list) else [entries]:
            if one.error is None:
                said[name] = one.reply or {}
    try:
        return words(plans, revisions, said, "steps")
    except InputInvalid as wrong:
        raise Failure(f"--replies: {wrong}", Exit.USAGE) from wrong


def inputs_of(script: Script, revisions: "Revisions", plan: Plan, cancel_at: float | None) -> Sequence[Input]:
    """Return what comes from outside."""
    from orchestrator.ports.plans import JsonInput

    found: list[Input] = []
    for number, entry in enumerate(script.signals):
        type_name = plan.signals.get(entry.signal)
        if type_name is None:
            known = ", ".join(sorted(plan.signals)) or "none"
            where = f"signals[{number}]"
            raise Failure(
                f"the script of replies: {where}: no step waits for {entry.signal!r}; known: {known}", Exit.USAGE
            )
        payload = revisions.payload(plan, type_name, JsonInput(entry.payload), f"signals[{number}].payload")
        command = SignalSaga(signal=entry.signal, request_id=f"signal-{number}", payload=payload)
        found.append(Input(after_s=entry.at, command=command))
    cancel = CancelEntry(at=cancel_at) if cancel_at is not None else script.cancel
    if cancel is not None:
        found.append(Input(after_s=cancel.at, command=CancelSaga(reason=cancel.reason)))
    return found


def drawn(printer: Printer, plan: Plan, revisions: "Revisions", played: Played, width: int | None) -> None:
    """Draw the waterfall, and say how it ended."""
    from orchestrator.api.events import event as message_of
    from orchestrator.cli.story import fold
    from orchestrator.cli.waterfall import draw
    from orchestrator.ports.journal import Record

    records = [Record(version=number, epoch=1, event=event) for number, event in enumerate(played.events, 1)]
    picture = fold(str(played.state.saga_id), (message_of(record, plan, None) for record in records))
    for refused in played.rejected:
        note(refused)
    output = played.state.output
    result = None if output is None else revisions.to_json(plan, output)
    if not printer.is_table:
        printer.values(picture.to_values() | {"output": result, "rejected": list(played.rejected)})
        return
    for line in draw(picture, width or width_here(), glyphs_here()):
        echo(coloured(line))
    if result is not None:
        import json

        echo(f"output {json.dumps(result, ensure_ascii=False)}")
