"""A saga, the service it calls with every fault a network has, and people, all chosen by a tape.

The service is honest but not kind. It keeps idempotency keys where the plan says so, forgets a key when the effect is
undone unless it keeps the barrier contract, and a call whose caller heard nothing may still be running until its
deadline: such a *hanging* call applies whenever it hurts. A person knows what the service really did, and never says
anything else; beyond that a person does whatever the tape says, allowed or not.
"""

from collections.abc import Callable, Sequence

from orchestrator.ids import StepId
from orchestrator.limits import CLOCK_SKEW_S
from orchestrator.saga.commands import (
    AttemptReported,
    Command,
    ForceComplete,
    OverrideStepRequest,
    PauseSaga,
    Repair,
    RerunFromStep,
    ResolveStep,
    ResumeSaga,
    RetryStep,
    SkipStep,
    TerminateSaga,
    TimerFired,
    UndoChild,
)
from orchestrator.saga.effects import SendCall, Timer, TimerKind
from orchestrator.saga.events import Event, Phase, Report
from orchestrator.saga.plan import CHILD_TARGET, Operation, Outcome, Plan, Scope, Sleep, Step, StepKind, Wait
from orchestrator.saga.repair import stuck_operation
from orchestrator.saga.state import StepState, StepStatus
from orchestrator.values import Payload
from tests.kit.machine import PARENT, Machine, report
from tests.properties.machine_plans import Tape
from tests.properties.machine_service import Hanging, Service, is_dtm, keeps_keys

FAULTS = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED")
REFUSALS = ("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE", "NOT_FOUND")
DTM_REFUSALS = ("INVALID_ARGUMENT", "ABORTED", "OUT_OF_RANGE", "NOT_FOUND")
MISCONFIGURED = ("PERMISSION_DENIED", "UNIMPLEMENTED", "UNAUTHENTICATED")
A_MOMENT_S = 0.001
KIND_TURNS = 900


class World:
    """Drives one saga to its end."""

    def __init__(self, plan: Plan, tape: Tape) -> None:
        self.machine = Machine(plan)
        self.service = Service(plan)
        self.tape = tape
        self.hanging: list[Hanging] = []
        self.signals = 0

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
        """Start, do as the tape says, then be kind until nothing more happens without a person."""
        self.machine.entropy = self.tape.pick((0.5, 0.0, 0.999))
        self.machine.start(parent=PARENT if self.tape.chance(4) else None)
        while not self.tape.is_over and not self.machine.state.is_terminal:
            self._act()
        self.be_kind()
        if self.machine.state.parent is not None and self.tape.chance(2):
            self.machine.tell(UndoChild(reason="the parent goes back"))
            self.be_kind()
        return self.machine

    def _act(self) -> None:
        machine, tape = self.machine, self.tape
        action = tape.pick(
            ("answer",) * 18
            + ("wait",) * 7
            + ("gossip", "crash", "crash", "drain", "cancel", "signal", "signal", "person", "person", "person")
        )
        if action == "answer" and machine.calls:
            self._answer(tape.pick(machine.calls))
        elif action == "wait":
            self._pass_time(tape.pick((0.7, 2.0, 9.0, 40.0)))
        elif action == "gossip":
            self._gossip()
        elif action == "crash":
            self._crash()
        elif action == "drain":
            self._drain()
        elif action == "signal":
            self._signal()
        elif action == "person":
            self._person()
        elif action == "cancel" and tape.chance(2):
            machine.cancel("enough")
        self._hang(tape.chance(4))

    # --- the network -------------------------------------------------------------------------------------------------

    def _answer(self, call: SendCall) -> None:
        answers = {
            Operation.FORWARD: self._forward_report,
            Operation.COMPENSATE: self._undo_report,
            Operation.PROBE: self._probe_report,
            Operation.AWAIT: self._await_report,
            Operation.STOP: self._stop_report,
        }
        said = answers[call.operation](call)
        self.machine.tell(AttemptReported(step=call.step, operation=call.operation, attempt=call.attempt, report=said))

    def _forward_report(self, call: SendCall) -> Report:
        spec, key = self._step(call), self._key(call.step)
        kind = self.tape.pick(
            ("done",) * 7 + ("fault",) * 6 + ("no", "refused", "aborted", "gate", "unsent", "lost data")
        )
        if kind == "fault":
            return self._fault(call)
        if kind == "aborted":
            return report("FAILED_PRECONDITION" if is_dtm(spec) else "ABORTED")
        if kind == "gate":
            return self._gate()
        if kind == "unsent":
            return report("UNAVAILABLE", phase=Phase.NOT_SENT, parked=self.tape.chance(2))
        if kind == "lost data":
            self._maybe_run(call)
            return report("DATA_LOSS", applied=self.tape.pick((None, False, True)))
        # An author who wrote no `refuse` has said that this service never answers OK and means no.
        no = "no" if spec.refuse is not None and spec.awaits is None else "yes"
        refused = self.tape.pick(DTM_REFUSALS if is_dtm(spec) else REFUSALS)
        wanted = {"done": "yes", "no": no, "refused": refused}[kind]
        if wanted == "yes" and spec.poll is not None and self.tape.chance(2):
            wanted = "wait"
        is_repeated = keeps_keys(spec) and key in self.service.answers
        said = self.service.forward(call.step, key, wanted)
        if is_repeated and said == "yes" and not is_dtm(spec) and self.tape.chance(3):
            return report("ALREADY_EXISTS")
        if said == "yes" and spec.awaits is not None:
            return report(data=b"wait")
        return report(data=said.encode()) if said in {"yes", "no", "wait"} else report(said)

    def _gate(self) -> Report:
        """Something before the service says no: it never looks for keys, and a proxy's answer is made on our side."""
        if self.tape.chance(3):
            return report("PERMISSION_DENIED", phase=Phase.SENT)
        return report(self.tape.pick(MISCONFIGURED))

    def _fault(self, call: SendCall) -> Report:
        code = self.tape.pick(FAULTS)
        pause_s = self.tape.pick((None, None, None, 0.0, 2.5, -1.0))
        spec, before = self._step(call), self.service.effects[call.step]
        fate = self._maybe_run(call)
        word: bool | None = None
        if self.tape.chance(4) and spec.awaits is None:
            # An answer of another time, by the service's memory of the key, is no word about this call.
            done = self.service.effects[call.step] > 0 and spec.kind is not StepKind.READ
            word = {"ran": True if done else None, "never": None if before else False, "hangs": None}[fate]
        phase = Phase.REPLIED if word is not None or self.tape.chance(4) else Phase.SENT
        return report(code, phase=phase, applied=word, retry_after_s=pause_s)

    def _maybe_run(self, call: SendCall) -> str:
        """A call nobody heard the end of has run, never will, or runs on."""
        fate = self.tape.pick(("ran", "never", "hangs"))
        key = self._key(call.step)
        if fate == "ran":
            self.service.forward(call.step, key)
        elif fate == "hangs":
            forward = self.machine.state.step(call.step).forward
            assert forward is not None
            assert forward.open is not None
            until_at = forward.open.deadline_at + CLOCK_SKEW_S
            if until_at > self.machine.at:
                self.hanging.append(Hanging(call.step, key, until_at))
        return fate

    def _undo_report(self, call: SendCall) -> Report:
        kind = self.tape.pick(("done",) * 6 + ("fault", "fault", "aborted", "gate", "unsent", "refused", "lost data"))
        key, dtm = self._key(call.step), is_dtm(self._step(call))
        if kind == "done":
            nothing = self.service.effects[call.step] == 0 and self.tape.chance(2)
            self.service.undo(call.step, key)
            return report("NOT_FOUND") if nothing else report()
        if kind == "fault":
            if self.tape.chance(2):
                self.service.undo(call.step, key)
            return report(self.tape.pick(FAULTS), retry_after_s=self.tape.pick((None, 1.0, -1.0)))
        if kind == "gate":
            return self._gate()
        if kind == "unsent":
            return report("UNAVAILABLE", phase=Phase.NOT_SENT)
        again, never = ("FAILED_PRECONDITION", "ABORTED") if dtm else ("ABORTED", "FAILED_PRECONDITION")
        return report({"aborted": again, "refused": never, "lost data": "DATA_LOSS"}[kind])

    def _probe_report(self, call: SendCall) -> Report:
        """What the service knows now; a call that still hangs is not known to it."""
        kind = self.tape.pick(("tell",) * 6 + ("fault", "wait", "lost", "bad", "refused", "gate"))
        if kind == "fault":
            return report(self.tape.pick(FAULTS))
        if kind == "gate":
            return self._gate()
        if kind == "refused":
            return report("INVALID_ARGUMENT")
        if kind != "tell":
            return report(data=kind.encode())
        if self.service.operations.get(call.step) == "running":
            self.service.ends(call.step, self.tape.pick(("yes", "not")), self._key(call.step))
        if self._is_done(call.step):
            return report(data=self.tape.pick((b"yes", b"did")))
        return report("NOT_FOUND") if self.tape.chance(2) else report(data=b"not")

    def _await_report(self, call: SendCall) -> Report:
        kind = self.tape.pick(("yes",) * 5 + ("wait", "wait", "not", "lost", "bad", "fault", "unknown", "gate"))
        key = self._key(call.step)
        if kind == "fault":
            return report(self.tape.pick(FAULTS))
        if kind == "gate":
            return self._gate()
        if kind == "unknown":
            self.service.ends(call.step, self.tape.pick(("lost", "yes")), key)
            return report("NOT_FOUND")
        if kind in {"wait", "bad"}:
            return report(data=kind.encode())
        said = self.service.ends(call.step, kind, key)
        return report(data=said.encode())

    def _stop_report(self, call: SendCall) -> Report:
        if self.tape.chance(3):
            return report(self.tape.pick((*FAULTS, *REFUSALS)))
        if self.tape.chance(2):
            self.service.ends(call.step, "not", self._key(call.step))
        return report()

    def _is_done(self, path: StepId) -> bool:
        if self.machine.plan.step_of(path).kind is StepKind.READ:
            return self.service.answers.get(self._key(path)) == "yes"
        return self.service.effects[path] > 0

    def _step(self, call: SendCall) -> Step:
        return self.machine.plan.step_of(call.step)

    def _key(self, path: StepId) -> str:
        forward = self.machine.state.step(path).forward
        return forward.key if forward is not None else ""

    # --- people ------------------------------------------------------------------------------------------------------

    def _signal(self) -> None:
        self.signals += 0 if self.tape.chance(3) else 1
        name = self.tape.pick(("go", "go", "stop", "nonsense"))
        before = len(self.machine.state.signal_ids)
        events = self.machine.signal(name, f"{name}{self.signals}", f"{name}{self.signals}".encode())
        if self.machine.rejected is None and events:
            assert len(self.machine.state.signal_ids) == before + 1, "M14: a signal that was taken is recorded"

    def _person(self) -> None:
        """Any verb on anything that may take one; what is said about the world is true."""
        machine, tape = self.machine, self.tape
        everything = list(machine.state.in_plan_order())
        stuck = [each for each in self._everything() if each.status is StepStatus.STUCK]
        if stuck and not tape.chance(5):
            everything = stuck
        step, audit = tape.pick(everything), machine.audit()
        self._look()
        verb = tape.pick(
            ("resolve",) * 3
            + ("retry", "retry as new", "skip", "override", "pause", "resume", "rerun", "rerun", "force", "terminate")
        )
        commands: dict[str, Repair] = {
            "retry": RetryStep(audit=audit, step=step.id),
            "retry as new": RetryStep(audit=audit, step=step.id, as_new=True),
            "skip": SkipStep(audit=audit, step=step.id),
            "override": OverrideStepRequest(audit=audit, step=step.id, request=Payload("Do", b"otherwise")),
            "pause": PauseSaga(audit=audit),
            "resume": ResumeSaga(audit=audit),
            "rerun": RerunFromStep(audit=audit, step=step.id),
            "force": ForceComplete(audit=audit),
            "terminate": TerminateSaga(audit=audit),
            "resolve": ResolveStep(audit=audit, step=step.id, outcome=Outcome.UNKNOWN),
        }
        if verb == "resolve" and not tape.chance(8):
            self._resolve(step)
        elif (verb in {"force", "terminate"} and not tape.chance(3)) or (verb == "retry" and self._may_do_twice(step)):
            pass
        else:
            machine.tell(commands[verb])
            assert machine.rejected is not None or verb in {"pause", "resume"} or machine.events[-1].at == machine.at

    def _may_do_twice(self, step: StepState) -> bool:
        """Whether a person who knows the service would not ask again: it would do it twice, or has forgotten."""
        spec = self.machine.plan.step_of(step.id)
        is_forward = isinstance(spec.body, Scope | Wait | Sleep) or stuck_operation(step) is not Operation.FORWARD
        return not is_forward and not keeps_keys(spec) and self.service.effects[step.id] > 0

    def _look(self) -> None:
        """Whoever is to say what is true waits until nothing runs on unheard."""
        if self.hanging:
            self._hang(harm=True)

    def _resolve(self, step: StepState) -> None:
        machine, path = self.machine, step.id
        self._look()
        outcome = Outcome.APPLIED if self._is_done(path) else Outcome.NOT_APPLIED
        reply = None
        spec = machine.plan.step_of(path)
        if stuck_operation(step) is Operation.COMPENSATE:
            self.service.undo(path, self._key(path))  # a person has seen to it
            outcome = Outcome.APPLIED
        elif isinstance(spec.body, Wait | Sleep):
            outcome, reply = self.tape.pick((Outcome.APPLIED, Outcome.NOT_APPLIED)), Payload("Signal", b"by hand")
        elif self.service.operations.get(path) == "running":
            said = self.service.ends(path, self.tape.pick(("yes", "not")), self._key(path))
            outcome = Outcome.APPLIED if said == "yes" else Outcome.NOT_APPLIED
        if outcome is Outcome.APPLIED and reply is None and self.tape.chance(2):
            reply = Payload("Reply", b"yes")
        machine.tell(ResolveStep(audit=machine.audit(), step=path, outcome=outcome, reply=reply))

    def _everything(self) -> list[StepState]:
        state = self.machine.state
        return [*state.in_plan_order(), *(item for step in state.plan.steps for item in state.items_of(step))]

    def settle_everything(self) -> None:
        """Be the person who decides whatever is put before them, until the saga has ended."""
        machine = self.machine
        for _ in range(60):
            self.be_kind()
            if machine.state.is_terminal:
                return
            stuck = [each for each in self._everything() if each.status is StepStatus.STUCK]
            assert stuck or machine.state.is_backward, f"{machine.status} waits for nobody: {machine.state.attention}"
            before = machine.state.version
            for step in stuck[:1]:
                for decide in (self._resolve, self._override, self._skip, self._retry):
                    decide(machine.state.step(step.id))
                    if machine.rejected is None:
                        break
                else:
                    raise AssertionError(f"no verb frees {step.id}: {machine.rejected}")
            assert machine.state.version > before
        raise AssertionError(f"a willing person did not bring it to an end: {machine.state.attention}")

    def _retry(self, step: StepState) -> None:
        self.machine.tell(RetryStep(audit=self.machine.audit(), step=step.id))

    def _skip(self, step: StepState) -> None:
        self.machine.tell(SkipStep(audit=self.machine.audit(), step=step.id))

    def _override(self, step: StepState) -> None:
        request = Payload("Do", b"otherwise")
        self.machine.tell(OverrideStepRequest(audit=self.machine.audit(), step=step.id, request=request))

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
                self.service.forward(each.step, each.key)
            self.hanging.clear()

    def _crash(self) -> None:
        self._hang_up(self.machine.calls)
        self.machine.crash()

    def _drain(self) -> None:
        """Begin to leave, or stay after all: the same writer goes on, whose children did meanwhile."""
        if self.machine.is_draining:
            self._hang_up([call for call in self.machine.calls if not self._is_child(call)])
            self.machine.taken_back()
        else:
            self.machine.is_draining = True

    def _hang_up(self, calls: Sequence[SendCall]) -> None:
        """Nobody will hear the end of these."""
        for call in calls:
            if call.operation is Operation.FORWARD:
                self._maybe_run(call)
            elif call.operation is Operation.COMPENSATE and self.tape.chance(2):
                self.service.undo(call.step, self._key(call.step))

    def _is_child(self, call: SendCall) -> bool:
        return self._step(call).call_of(call.operation).target == CHILD_TARGET

    def _gossip(self) -> None:
        """News that is no news: every one of them must change nothing (M16)."""
        machine = self.machine
        stale: list[Command] = [
            AttemptReported(step=StepId("nobody"), operation=Operation.FORWARD, attempt=1, report=report()),
            TimerFired(timer=Timer(TimerKind.RETRY, StepId("nobody"), Operation.FORWARD, 1)),
            TimerFired(timer=Timer(TimerKind.STEP, StepId("nobody"))),
            TimerFired(timer=Timer(TimerKind.RETRY)),
        ]
        owed = {timer for _, timer in machine.timers}
        for step in (*machine.plan.steps, *machine.state.items):
            for operation in Operation:
                for attempt in (0, 99):
                    stale.append(
                        AttemptReported(step=step, operation=operation, attempt=attempt, report=report("INTERNAL"))
                    )
                    stale.append(TimerFired(timer=Timer(TimerKind.RETRY, step, operation, attempt)))
            if Timer(TimerKind.STEP, step) not in owed:
                stale.append(TimerFired(timer=Timer(TimerKind.STEP, step)))
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
        """No more faults: everything is answered well, what is waited for comes, and time passes."""
        machine = self.machine
        if machine.is_draining:
            self._crash()
        if machine.state.is_paused:
            machine.tell(ResumeSaga(audit=machine.audit()))
        for _ in range(KIND_TURNS):
            waits = [machine.plan.step_of(path).body for path in sorted(machine.state.live)]
            if calls := machine.calls:
                self._answer(calls[0])
            elif wanted := next((body for body in waits if isinstance(body, Wait)), None):
                self.signals += 1
                machine.signal(wanted.signal, f"kind{self.signals}", f"kind{self.signals}".encode())
                if machine.rejected is not None:
                    if not machine.timers:
                        break
                    self._pass_time(max(machine.timers[0][0] - machine.at, 0.0))
            elif machine.timers:
                self._pass_time(max(machine.timers[0][0] - machine.at, 0.0))
            else:
                break
        else:
            raise AssertionError(f"still {machine.status} after {KIND_TURNS} kind turns: {machine.owed}")
        self._hang(harm=True)
