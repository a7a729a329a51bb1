"""The language of `tests/scenarios/*.txt`: what a saga is told, and what it answered.

A file is a comment (why), then blocks of a command, `----` and its output. The first command is the plan::

    plan [forward=S] [reserve=S] [sequential] [output=STEP|fails] [attributes=input|fails]
      STEP [needs=a,b] [read|pivot|retriable] [optional] [trigger=RULE[:N]] [when=no|fails|applied:STEP] [request=fails]
           [refuse=fails|none] [reason=fails|text:WORD] [undo=none|reply|fails] [after=a,b] [first] [retry=N] [explicit]
           [undo_retry=N] [timeout=S] [idempotent] [barrier] [dtm] [child] [on_failure=retry|ask]
           [in=SCOPE | else=SCOPE] [probe[=fails]] [probe_retry=N] [awaits[=fails]] [stop=none|fails]
           [poll] [every=S] [at_most=S] [for_each=N|fails] [parallel=N] [tolerate=N]
      STEP sleep=S|fails …    STEP wait=SIGNAL [within=S] …    STEP scope [within=S] …

Then `start [forward=S] [child] [signal=NAME:ID]`, `reply STEP[[N]][.undo|.probe|.await|.stop] CODE [data=no] [phase=…]
[applied=true|false] [pause=S] [parked] [reason=…] [attempt=N] [writer=N]`, `cancel [WHY]`, `signal NAME ID [DATA]`,
`pass SECONDS`, `asleep SECONDS` (time passes and no timer fires), `fire KIND [STEP] [undo] [N]` (whether it is due or
not), `crash [drain]`, `drain`, `luck 0.5`, `undo_child`; and a person's verbs, `retry STEP [new]`, `resolve STEP
applied|not_applied|unknown [reply=…]`, `skip STEP`, `override STEP DATA`, `force`, `terminate`, `pause`, `resume`,
`rerun STEP`, each with `[version=N]`, of which +N or -N is counted from the saga's own. The output is every
event with its time since the start, what is owed, and where the saga and its steps are. `explain` and `undo_plan` tell
the saga nothing; their output is what they say.
"""

from collections.abc import Callable, Iterable, Iterator

from orchestrator.ids import StepId
from orchestrator.saga.commands import (
    Audit,
    ForceComplete,
    OverrideStepRequest,
    PauseSaga,
    RerunFromStep,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    SignalSaga,
    SkipStep,
    TerminateSaga,
    TimerFired,
    UndoChild,
)
from orchestrator.saga.effects import AbortCall, Effect, SendCall, SetTimer, Timer, TimerKind
from orchestrator.saga.events import Event, Phase
from orchestrator.saga.explain import attention_of, explain
from orchestrator.saga.plan import Guard, Operation, Outcome, Plan, Render, Step
from orchestrator.saga.state import SagaState, StepState
from orchestrator.saga.undoplan import UndoPlan, undo_plan
from orchestrator.testing import shorthand as plans
from orchestrator.values import Payload
from tests.kit.machine import BEGIN_AT, PARENT, Machine, report

_HIDDEN = {"at", "step", "operation", "report", "opened_at", "started_at", "compensation_began_at", "key", "epoch"}
_HIDDEN |= {"saga_id", "uid", "definition", "revision", "input", "request_id", "compensation_s", "trace", "parent"}
ITEMS_SHOWN = 8

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
        *(_read_step(line, _members(lines[1:])) for line in lines[1:]),
        forward_s=float(given.get("forward", 100)),
        compensation_s=float(given.get("reserve", 50)),
        sequential="sequential" in given,
        output=None if output is None else plans.fails if output == "fails" else plans.output_of(output),
        attributes=None if attributes is None else plans.fails if attributes == "fails" else plans.attributes_of_input,
    )


def _read_step(line: str, members: dict[str, tuple[list[str], list[str]]]) -> Step:
    name, *words = line.split()
    given = options_of(words)
    undos: dict[str, Render] = {"reply": plans.undo_by_reply(name), "fails": plans.fails}
    reason = given.get("reason")
    refuse = {"fails": plans.fails, "none": None}
    count = given.get("for_each")
    options: dict[str, object] = {
        "read": "read" in given,
        "trigger": given.get("trigger", "all_success"),
        "optional": "optional" in given,
        "when": _guard(given.get("when")),
        "request": plans.fails if "request" in given else None,
        "refuse": refuse[given["refuse"]] if "refuse" in given else plans.says_no,
        "reason": plans.fails if reason == "fails" else (lambda _facts: reason[5:]) if reason else None,
        "undo": undos.get(given.get("undo", "")),
        "no_undo": given.get("undo") == "none",
        "undo_after": _names(given.get("after")),
        "undo_first": "first" in given,
        "policy": plans.retry(int(given.get("retry", 3)), explicit="explicit" in given),
        "undo_policy": plans.retry(int(given.get("undo_retry", 0))),
        "timeout_s": float(given.get("timeout", 10)),
        "on_failure": given.get("on_failure", "compensate"),
        "inside": given.get("in") or given.get("else"),
        "probe": "probe" in given,
        "probe_request": plans.fails if given.get("probe") == "fails" else None,
        "probe_policy": plans.retry(int(given.get("probe_retry", 3))),
        "awaits": "awaits" in given,
        "await_request": plans.fails if given.get("awaits") == "fails" else None,
        "stoppable": given.get("stop") != "none",
        "stop_request": plans.fails if given.get("stop") == "fails" else None,
        "poll": "poll" in given,
        "every_s": float(given.get("every", 2)),
        "at_most_s": float(given.get("at_most", 20)),
        "for_each": None if count is None else plans.fails if count == "fails" else plans.items(int(count)),
        "parallel": int(given.get("parallel", 2)),
        "tolerate": int(given.get("tolerate", 0)),
    }
    options |= {flag: flag in given for flag in ("idempotent", "barrier", "pivot", "retriable", "dtm", "child")}
    needs, within = _names(given.get("needs")), float(given["within"]) if "within" in given else None
    if "sleep" in given:
        seconds = None if given["sleep"] == "fails" else float(given["sleep"])
        return plans.sleep(name, *needs, seconds=seconds, **options)
    if "wait" in given:
        return plans.wait(name, *needs, signal=given["wait"], within_s=within, **options)
    if "scope" in given:
        steps, otherwise = members.get(name, ([], []))
        return plans.scope(name, *needs, steps=steps, otherwise=otherwise, within_s=within, **options)
    return plans.step(name, *needs, **options)  # type: ignore[arg-type]  # `step`'s own options


def _members(lines: list[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Scope -> its steps, and those of its alternative."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for line in lines:
        name, *words = line.split()
        given = options_of(words)
        if "in" in given or "else" in given:
            found.setdefault(given.get("in") or given["else"], ([], []))["else" in given].append(name)
    return found


class Transcript:
    """One scenario under way."""

    def __init__(self) -> None:
        self._machine: Machine | None = None

    @property
    def machine(self) -> Machine:
        """Return the saga it is about."""
        assert self._machine is not None, "a scenario begins with its plan"
        return self._machine

    def run(self, block: str) -> str:
        """Carry out one command and return its output."""
        lines = block.splitlines()
        word, *rest = lines[0].split()
        if word == "plan":
            self._machine = Machine(read_plan(lines))
            return "ok"
        if word in _LOOKS:
            return "\n".join(_LOOKS[word](self.machine)) or "(nothing)"
        machine, seen = self.machine, len(self.machine.events)
        _COMMANDS[word](machine, rest)
        told = [_event(each) for each in machine.events[seen:]] or ["(nothing)"]
        if machine.rejected is not None:
            told = [f"rejected {machine.rejected.reason}: {machine.rejected.message}"]
        owed = [f"owes {_effect(each)}" for each in sorted(machine.owed, key=_by_kind)]
        return "\n".join([*told, *owed, _where(machine)])


def _start(machine: Machine, words: list[str]) -> None:
    given = options_of(words)
    name, _, request_id = given.get("signal", "").partition(":")
    machine.start(
        forward_s=float(given["forward"]) if "forward" in given else None,
        parent=PARENT if "child" in given else None,
        signal=SignalSaga(signal=name, request_id=request_id, payload=Payload("Signal", b"sent")) if name else None,
    )


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


def _signal(machine: Machine, words: list[str]) -> None:
    name, request_id, *data = words
    machine.signal(name, request_id, (data[0] if data else "sent").encode())


def _audit(machine: Machine, words: list[str]) -> Audit:
    version = options_of(words).get("version")
    if version is None:
        return machine.audit()
    is_relative = version[0] in "+-"
    return machine.audit(if_version=int(version) + (machine.state.version if is_relative else 0))


def _of_step(machine: Machine, words: list[str]) -> tuple[StepId, Audit, dict[str, str], list[str]]:
    return StepId(words[0]), _audit(machine, words), options_of(words[1:]), words[1:]


def _retry(machine: Machine, words: list[str]) -> None:
    step, audit, given, _ = _of_step(machine, words)
    machine.tell(RetryStep(audit=audit, step=step, as_new="new" in given))


def _resolve(machine: Machine, words: list[str]) -> None:
    step, audit, given, more = _of_step(machine, words)
    reply = Payload("Reply", given["reply"].encode()) if "reply" in given else None
    machine.tell(ResolveStep(audit=audit, step=step, outcome=Outcome(more[0].upper()), reply=reply))


def _override(machine: Machine, words: list[str]) -> None:
    step, audit, _, more = _of_step(machine, words)
    machine.tell(OverrideStepRequest(audit=audit, step=step, request=Payload("Do", more[0].encode())))


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
    "signal": _signal,
    "undo_child": lambda machine, words: machine.tell(UndoChild(reason=" ".join(words))),
    "retry": _retry,
    "resolve": _resolve,
    "override": _override,
    "skip": lambda machine, words: machine.tell(SkipStep(audit=_audit(machine, words), step=StepId(words[0]))),
    "rerun": lambda machine, words: machine.tell(RerunFromStep(audit=_audit(machine, words), step=StepId(words[0]))),
    "force": lambda machine, words: machine.tell(ForceComplete(audit=_audit(machine, words))),
    "terminate": lambda machine, words: machine.tell(TerminateSaga(audit=_audit(machine, words))),
    "pause": lambda machine, words: machine.tell(PauseSaga(audit=_audit(machine, words))),
    "resume": lambda machine, words: machine.tell(ResumeSaga(audit=_audit(machine, words))),
}


def _explanation(machine: Machine) -> Iterator[str]:
    told = explain(machine.state, machine.at)
    yield told.summary
    for wait in told.waits:
        words = [wait.kind, wait.step, wait.operation, wait.signal]
        times = [("since", wait.since_at), ("until", wait.until_at)]
        words += [f"{word} {_when(at)}" for word, at in times if at is not None]
        yield f"waits: {' '.join(word for word in words if word)}: {wait.message}"
    yield f"wakes at {_when(told.wake_at)}" if told.wake_at is not None else "wakes by itself at no time"
    for entry in attention_of(machine.state):
        words = [entry.reason, entry.step, entry.operation]
        yield f"attention: {' '.join(word for word in words if word)}: {entry.message}"
    yield from (f"remark: {remark}" for remark in told.remarks)
    for each in told.possible:
        yield f"may: {' '.join(word for word in (each.verb, each.step, each.outcome) if word)}: {each.message}"


def _undo_plan(machine: Machine) -> Iterator[str]:
    told = undo_plan(machine.state, machine.at)
    if not isinstance(told, UndoPlan):
        yield f"refused {told.reason}: {told.message}"
        return
    for call in told.calls:
        more = [f"tried {call.attempts} times"] if call.attempts else []
        more += [f"not before {_when(call.not_before_at)}"] if call.not_before_at is not None else []
        more += ["probed first"] if call.probed_first else []
        what = f"{call.wave}. {call.step} {call.outcome} <{call.request.data.decode()}>"
        yield " ".join([what, *more])
    yield from (f"stays: {each.step} {each.reason}: {each.message}" for each in told.stays)
    yield from (f"if: {each}" for each in told.conditions)


_LOOKS: dict[str, Callable[[Machine], Iterator[str]]] = {"explain": _explanation, "undo_plan": _undo_plan}


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
    return value not in (None, "", {}, ()) and (name not in {"manual_epoch", "as_new"} or bool(value))


def _value(name: str, value: object) -> str:
    if isinstance(value, float) and name.endswith("_at"):
        return _when(value)
    if isinstance(value, Payload):
        return f"<{value.data.decode()}>"
    if name == "cause":
        told = [str(getattr(value, each)) for each in ("kind", "step", "code", "reason", "message")]
        return "/".join(each for each in told if each not in {"", "None"})
    if isinstance(value, tuple):
        return ",".join(map(str, value))
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
    state = machine.state
    steps = " ".join(_step(state, step) for step in state.in_plan_order())
    attention = f" ({', '.join(state.attention)})" if state.attention else ""
    more = " paused" if state.is_paused else ""
    more += "".join(f" {signal}*{len(waiting)}" for signal, waiting in state.signals.items() if waiting)
    return f"{machine.status}{attention}{more}: {steps}"


def _step(state: SagaState, step: StepState) -> str:
    told = f"{step.id}={step.status}"
    if step.items is None or not 0 < step.items.count <= ITEMS_SHOWN:
        return told
    return told + "[" + " ".join(item.status for item in state.items_of(step.id)) + "]"
