"""A saga and the service it calls, with every fault a network has, chosen by a tape.

The service is honest but not kind. It keeps idempotency keys where the plan says so, forgets a key when the effect is
undone unless it keeps the barrier contract, and a call whose caller heard nothing may still be running until its
deadline: such a *hanging* call applies whenever it hurts.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.ids import StepId, idempotency_key
from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga.commands import AttemptReported, Command, TimerFired
from orchestrator.saga.effects import SendCall, Timer, TimerKind
from orchestrator.saga.events import Event, Phase, Report
from orchestrator.saga.plan import Operation, Plan, Step, StepKind
from tests.kit.machine import UID, Machine, report
from tests.properties.machine_plans import Tape

FAULTS = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED")
REFUSALS = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND")
MISCONFIGURED = ("PERMISSION_DENIED", "UNIMPLEMENTED", "UNAUTHENTICATED")
A_MOMENT_S = 0.001


def keeps_keys(step: Step) -> bool:
    """Whether the service behind a step replays its first answer to a key, declared or only relied on."""
    return step.call.idempotent or step.call.retry.explicit


def key_of(step: StepId) -> str:
    return idempotency_key(UID, step, "forward")


@dataclass(frozen=True, slots=True)
class Hanging:
    """A call that runs on unheard; it honours its deadline, by a clock that is off by the allowed skew."""

    step: StepId
    until_at: float


class Service:
    """What was really done, by step."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.effects: Counter[StepId] = Counter()
        self.answers: dict[StepId, str] = {}
        self.tombstones: set[StepId] = set()

    def forward(self, step: StepId, wanted: str = "yes") -> str:
        """Do it, or refuse with the wanted answer; a kept key gives its first answer again."""
        spec = self.plan.steps[step]
        if step in self.tombstones:
            return "FAILED_PRECONDITION"
        if keeps_keys(spec) and step in self.answers:
            return self.answers[step]
        if wanted == "yes" and spec.kind is not StepKind.READ:
            self.effects[step] += 1
        self.answers[step] = wanted
        return wanted

    def undo(self, step: StepId) -> None:
        self.effects[step] = 0
        self.answers.pop(step, None)
        if self.plan.steps[step].call.barrier:
            self.tombstones.add(step)


class World:
    """Drives one saga to its end."""

    def __init__(self, plan: Plan, tape: Tape) -> None:
        self.machine = Machine(plan)
        self.service = Service(plan)
        self.tape = tape
        self.hanging: list[Hanging] = []

    def observe(self, look: Callable[[Machine], None]) -> None:
        """Look at the machine after every command that decided something."""
        tell = self.machine.tell

        def observed(command: Command) -> tuple[Event, ...]:
            events = tell(command)
            if events:
                look(self.machine)
            return events

        self.machine.tell = observed  # type: ignore[method-assign]  # an onlooker, not a replacement

    def run(self) -> Machine:
        """Start, do as the tape says, then be kind until nothing more happens."""
        self.machine.entropy = self.tape.pick((0.5, 0.0, 0.999))
        self.machine.start()
        while not self.tape.is_over and not self.machine.state.is_terminal:
            self._act()
        self.be_kind()
        return self.machine

    def _act(self) -> None:
        machine, tape = self.machine, self.tape
        action = tape.pick(("answer",) * 12 + ("wait",) * 5 + ("gossip", "crash", "crash", "drain", "cancel"))
        if action == "answer" and machine.calls:
            self._answer(tape.pick(machine.calls))
        elif action == "wait":
            self._pass_time(tape.pick((0.7, 2.0, 9.0, 40.0)))
        elif action == "gossip":
            self._gossip()
        elif action == "crash":
            self._crash()
        elif action == "drain":
            machine.is_draining = True
        elif action == "cancel" and tape.chance(2):
            machine.cancel("enough")
        self._hang(tape.chance(4))

    # --- the network -------------------------------------------------------------------------------------------------

    def _answer(self, call: SendCall) -> None:
        said = self._undo_report(call) if call.operation is Operation.COMPENSATE else self._forward_report(call)
        self.machine.tell(AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=said))

    def _forward_report(self, call: SendCall) -> Report:
        kind = self.tape.pick(
            ("done",) * 7 + ("fault",) * 6 + ("no", "refused", "aborted", "gate", "unsent", "lost data")
        )
        if kind == "fault":
            return self._fault(call)
        if kind == "aborted":
            return report("ABORTED")
        if kind == "gate":
            return self._gate()
        if kind == "unsent":
            return report("UNAVAILABLE", phase=Phase.NOT_SENT, parked=self.tape.chance(2))
        if kind == "lost data":
            self._maybe_run(call)
            return report("DATA_LOSS", applied=self.tape.pick((None, False, True)))
        # An author who wrote no `refuse` has said that this service never answers OK and means no.
        no = "no" if self._step(call).refuse is not None else "yes"
        wanted = {"done": "yes", "no": no, "refused": self.tape.pick(REFUSALS)}[kind]
        is_repeated = keeps_keys(self._step(call)) and call.step in self.service.answers
        said = self.service.forward(call.step, wanted)
        if is_repeated and said == "yes" and self.tape.chance(3):
            return report("ALREADY_EXISTS")
        return report(data=said.encode()) if said in {"yes", "no"} else report(said)

    def _gate(self) -> Report:
        """Something before the service says no: it never looks for keys, and a proxy's answer is made on our side."""
        if self.tape.chance(3):
            return report("PERMISSION_DENIED", phase=Phase.SENT)
        return report(self.tape.pick(MISCONFIGURED))

    def _fault(self, call: SendCall) -> Report:
        code = self.tape.pick(FAULTS)
        pause_s = self.tape.pick((None, None, None, 0.0, 2.5, -1.0))
        before = self.service.effects[call.step]
        fate = self._maybe_run(call)
        word: bool | None = None
        if self.tape.chance(4):
            done = self.service.answers.get(call.step) == "yes" and self._step(call).kind is not StepKind.READ
            word = {"ran": True if done else None, "never": None if before else False, "hangs": None}[fate]
        phase = Phase.REPLIED if word is not None or self.tape.chance(4) else Phase.SENT
        return report(code, phase=phase, applied=word, retry_after_s=pause_s)

    def _maybe_run(self, call: SendCall) -> str:
        """A call nobody heard the end of has run, never will, or runs on."""
        fate = self.tape.pick(("ran", "never", "hangs"))
        if fate == "ran":
            self.service.forward(call.step)
        elif fate == "hangs":
            forward = self.machine.state.steps[call.step].forward
            assert forward is not None
            assert forward.open is not None
            until_at = forward.open.deadline_at + CLOCK_SKEW_S
            if until_at > self.machine.at:
                self.hanging.append(Hanging(call.step, until_at))
        return fate

    def _undo_report(self, call: SendCall) -> Report:
        kind = self.tape.pick(("done",) * 6 + ("fault", "fault", "aborted", "gate", "unsent", "refused", "lost data"))
        if kind == "done":
            nothing = self.service.effects[call.step] == 0 and self.tape.chance(2)
            self.service.undo(call.step)
            return report("NOT_FOUND") if nothing else report()
        if kind == "fault":
            if self.tape.chance(2):
                self.service.undo(call.step)
            return report(self.tape.pick(FAULTS), retry_after_s=self.tape.pick((None, 1.0, -1.0)))
        if kind == "gate":
            return self._gate()
        if kind == "unsent":
            return report("UNAVAILABLE", phase=Phase.NOT_SENT)
        return report({"aborted": "ABORTED", "refused": "FAILED_PRECONDITION", "lost data": "DATA_LOSS"}[kind])

    def _step(self, call: SendCall) -> Step:
        return self.machine.plan.steps[call.step]

    # --- time and trouble --------------------------------------------------------------------------------------------

    def _pass_time(self, seconds: float) -> None:
        """Stop just before a hanging call must end, which is when it does most harm."""
        until_at = self.machine.at + seconds
        while ends := [each.until_at for each in self.hanging if each.until_at <= until_at]:
            self.machine.pass_time(max(min(ends) - A_MOMENT_S - self.machine.at, 0.0))
            self._hang(harm=not self.tape.chance(3))
            self.hanging = [each for each in self.hanging if each.until_at != min(ends)]
        self.machine.pass_time(until_at - self.machine.at)

    def _hang(self, harm: bool) -> None:
        """Let the hanging calls take effect now, if they do harm at all."""
        if harm:
            for each in self.hanging:
                self.service.forward(each.step)
            self.hanging.clear()

    def _crash(self) -> None:
        for call in self.machine.calls:
            if call.operation is Operation.FORWARD:
                self._maybe_run(call)
            elif self.tape.chance(2):
                self.service.undo(call.step)
        self.machine.crash()

    def _gossip(self) -> None:
        """News that is no news: every one of them must change nothing (M16)."""
        machine = self.machine
        stale: list[Command] = [
            AttemptReported(step=StepId("nobody"), operation=Operation.FORWARD, attempt=1, report=report()),
            TimerFired(timer=Timer(TimerKind.RETRY, StepId("nobody"), Operation.FORWARD, 1)),
            TimerFired(timer=Timer(TimerKind.RETRY)),
        ]
        for step in machine.plan.steps:
            for operation in Operation:
                for attempt in (0, 99):
                    stale.append(
                        AttemptReported(step=step, operation=operation, attempt=attempt, report=report("INTERNAL"))
                    )
                    stale.append(TimerFired(timer=Timer(TimerKind.RETRY, step, operation, attempt)))
        stale += [TimerFired(timer=timer) for due_at, timer in machine.timers if due_at > machine.at]
        for command in stale:
            assert machine.tell(command) == (), f"{command} changed something"
        machine.epoch += 1
        for call in machine.calls:
            late = AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=report())
            assert machine.tell(late) == (), "a report to another epoch changed something"
        machine.epoch -= 1
        assert machine.start() == ()
        assert machine.rejected is not None

    def be_kind(self) -> None:
        """No more faults: everything is answered well, and time passes. The saga must come to an end."""
        if self.machine.is_draining:
            self._crash()
        for _ in range(400):
            if calls := self.machine.calls:
                self._answer(calls[0])
            elif self.machine.timers:
                self._pass_time(max(self.machine.timers[0][0] - self.machine.at, 0.0))
            else:
                break
        else:
            raise AssertionError(f"still {self.machine.status} after 400 kind turns: {self.machine.owed}")
        self._hang(harm=True)
