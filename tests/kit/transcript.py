"""The language of `tests/scenarios/*.txt`: what a saga is told, and what it answered.

A file is a comment (why), then blocks of a command, `----` and its output. The first command is the plan::

    plan [forward=S] [reserve=S] [sequential] [output=STEP|fails] [attributes=input|fails]
      STEP [needs=a,b] [read] [optional] [trigger=RULE[:N]] [when=no|fails|applied:STEP] [request=fails] [refuse=fails]
           [reason=fails|text:WORD] [undo=none|reply|fails] [after=a,b] [first] [retry=N] [explicit] [undo_retry=N]
           [timeout=S] [idempotent] [barrier]

Then `start [forward=S]`, `reply STEP[.undo] CODE [data=no] [phase=…] [applied=true|false] [pause=S] [parked]
[reason=…] [attempt=N] [writer=N]`, `cancel [WHY]`, `pass SECONDS`, `asleep SECONDS` (time passes and no timer fires),
`fire KIND [STEP] [undo] [N]` (whether it is due or not), `crash [drain]`, `drain`, `luck 0.5`. The output is every
event with its time since the start, what is owed, and where the saga and its steps are.
"""

from collections.abc import Callable, Iterable

from orchestrator.ids import StepId
from orchestrator.saga.commands import TimerFired
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer, TimerKind
from orchestrator.saga.events import Event, Phase
from orchestrator.saga.plan import Guard, Operation, Plan, Render, Step
from orchestrator.values import Payload
from tests.kit import plans
from tests.kit.machine import BEGIN_AT, Machine, report

_HIDDEN = {"at", "step", "operation", "report", "opened_at", "started_at", "compensation_began_at", "key", "epoch"}
_HIDDEN |= {"saga_id", "uid", "definition", "revision", "input", "request_id", "compensation_s", "trace"}

Options = dict[str, str]


def options_of(words: Iterable[str]) -> Options:
    """Read `name=value` and bare `name`."""
    return {name: value for name, _, value in (word.partition("=") for word in words)}


def _names(text: str | None) -> list[str]:
    return text.split(",") if text else []


def _guard(text: str | None) -> Guard | None:
    if text is None:
        return None
    if text == "fails":
        return plans.fails
    return plans.applied(text.removeprefix("applied:")) if text.startswith("applied:") else lambda _facts: False


def read_plan(lines: list[str]) -> Plan:
    """Read the `plan` command."""
    given = options_of(lines[0].split()[1:])
    output = given.get("output")
    attributes = given.get("attributes")
    return plans.plan(
        *(_read_step(line) for line in lines[1:]),
        forward_s=float(given.get("forward", 100)),
        compensation_s=float(given.get("reserve", 50)),
        sequential="sequential" in given,
        output=None if output is None else plans.fails if output == "fails" else plans.output_of(output),
        attributes=None if attributes is None else plans.fails if attributes == "fails" else plans.attributes_of_input,
    )


def _read_step(line: str) -> Step:
    name, *words = line.split()
    given = options_of(words)
    undos: dict[str, Render] = {"reply": plans.undo_by_reply(name), "fails": plans.fails}
    reason = given.get("reason")
    return plans.step(
        name,
        *_names(given.get("needs")),
        read="read" in given,
        trigger=given.get("trigger", "all_success"),
        optional="optional" in given,
        when=_guard(given.get("when")),
        request=plans.fails if "request" in given else None,
        refuse=plans.fails if "refuse" in given else plans.says_no,
        reason=plans.fails if reason == "fails" else (lambda _facts: reason[5:]) if reason else None,
        undo=undos.get(given.get("undo", "")),
        no_undo=given.get("undo") == "none",
        undo_after=_names(given.get("after")),
        undo_first="first" in given,
        policy=plans.retry(int(given.get("retry", 3)), explicit="explicit" in given),
        undo_policy=plans.retry(int(given.get("undo_retry", 0))),
        timeout_s=float(given.get("timeout", 10)),
        idempotent="idempotent" in given,
        barrier="barrier" in given,
    )


class Transcript:
    """One scenario under way."""

    def __init__(self) -> None:
        self._machine: Machine | None = None

    def run(self, block: str) -> str:
        """Carry out one command and return its output."""
        lines = block.splitlines()
        word, *rest = lines[0].split()
        if word == "plan":
            self._machine = Machine(read_plan(lines))
            return "ok"
        assert self._machine is not None, "a scenario begins with its plan"
        machine, seen = self._machine, len(self._machine.events)
        _COMMANDS[word](machine, rest)
        told = [_event(each) for each in machine.events[seen:]] or ["(nothing)"]
        if machine.rejected is not None:
            told = [f"rejected {machine.rejected.reason}: {machine.rejected.message}"]
        owed = [f"owes {_effect(each)}" for each in sorted(machine.owed, key=_by_kind)]
        return "\n".join([*told, *owed, _where(machine)])


def _start(machine: Machine, words: list[str]) -> None:
    given = options_of(words)
    machine.start(forward_s=float(given["forward"]) if "forward" in given else None)


def _reply(machine: Machine, words: list[str]) -> None:
    step, code, *more = words
    given = options_of(more)
    said = report(
        code,
        phase=Phase(given["phase"]) if "phase" in given else None,
        data=None if given.get("data") == "none" else given.get("data", "yes").encode(),
        applied={"true": True, "false": False}.get(given.get("applied", "")),
        retry_after_s=float(given["pause"]) if "pause" in given else None,
        parked="parked" in given,
        error_reason=given.get("reason", ""),
    )
    mine, machine.epoch = machine.epoch, int(given.get("writer", machine.epoch))
    machine.reply(step, said, attempt=int(given["attempt"]) if "attempt" in given else None)
    machine.epoch = mine


def _fire(machine: Machine, words: list[str]) -> None:
    kind, *more = words
    step = next((StepId(word) for word in more if word != "undo" and not word.isdigit()), None)
    attempt = next((int(word) for word in more if word.isdigit()), 0)
    operation = Operation.COMPENSATE if "undo" in more else Operation.FORWARD if kind == "retry" else None
    machine.tell(TimerFired(timer=Timer(TimerKind(kind), step, operation, attempt)))


def _asleep(machine: Machine, words: list[str]) -> None:
    machine.at += float(words[0])


def _drain(machine: Machine, _words: list[str]) -> None:
    machine.is_draining = True


def _luck(machine: Machine, words: list[str]) -> None:
    machine.entropy = float(words[0])


_COMMANDS: dict[str, Callable[[Machine, list[str]], object]] = {
    "start": _start,
    "reply": _reply,
    "cancel": lambda machine, words: machine.cancel(" ".join(words)),
    "pass": lambda machine, words: machine.pass_time(float(words[0])),
    "asleep": _asleep,
    "fire": _fire,
    "crash": lambda machine, words: machine.crash(is_draining="drain" in words),
    "drain": _drain,
    "luck": _luck,
}


def _when(at: float) -> str:
    return f"{round(at - BEGIN_AT, 3):g}"


def _event(event: Event) -> str:
    words = [f"{_when(event.at):>5} {type(event).__name__}"]
    words += [str(each) for name in ("step", "operation") if (each := getattr(event, name, None))]
    if (said := getattr(event, "report", None)) is not None:
        words.append(f"{said.code}/{said.phase}")
    shown = ((name, getattr(event, name)) for name in type(event).__dataclass_fields__ if name not in _HIDDEN)
    return " ".join(words + [f"{name}={_value(name, value)}" for name, value in shown if _is_told(name, value)])


def _is_told(name: str, value: object) -> bool:
    return value not in (None, "", {}) and (name != "manual_epoch" or value != 0)


def _value(name: str, value: object) -> str:
    if isinstance(value, float) and name.endswith("_at"):
        return _when(value)
    if isinstance(value, Payload):
        return f"<{value.data.decode()}>"
    if name == "cause":
        told = [str(getattr(value, each)) for each in ("kind", "step", "code", "reason", "message")]
        return "/".join(each for each in told if each not in {"", "None"})
    return repr(value) if name == "message" else str(value)


def _by_kind(effect: Effect) -> str:
    return f"{[SendCall, AbortCall, SetTimer].index(type(effect))} {effect}"


def _effect(effect: Effect) -> str:
    if isinstance(effect, SetTimer):
        timer = effect.timer
        words = [timer.kind.value, timer.step, timer.operation, timer.attempt or None]
        return f"timer {' '.join(str(word) for word in words if word)} at {_when(effect.due_at)}"
    verb = "call" if isinstance(effect, SendCall) else "abort"
    return f"{verb} {effect.step} {effect.operation} {effect.attempt}"


def _where(machine: Machine) -> str:
    steps = " ".join(f"{step.id}={step.status}" for step in machine.state.steps.values())
    attention = f" ({', '.join(machine.state.attention)})" if machine.state.attention else ""
    return f"{machine.status}{attention}: {steps}"
