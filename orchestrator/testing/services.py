"""The services that simulated sagas call: honest, as good as their declarations and no better, and never gone for good.

A service keeps keys where its method is declared idempotent, and the barrier where it is declared; where nothing is
declared it does what it is asked, as often as it is asked. What it did stands in a ledger that no process can see:
the second witness. Refusing, hesitating and failing in the middle are its fates (`fates.py`); without any it does
everything, at once.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum

from orchestrator.ids import SagaId, StepId
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Operation, OutcomeProfile, Plan, Step, StepKind
from orchestrator.testing.fates import Faults, Kind
from orchestrator.values import Payload
from orchestrator.verify.witnesses import LedgerLine

_BUSY_S = 2.0
_POLLS_MAX = 2
"""Times that work polled for, or awaited, is not done yet."""


class Word(StrEnum):
    """What a service says when it answers OK."""

    DONE = "done"
    NOT_YET = "not yet"
    NOT_DONE = "not done"
    """Of a probe, or of an operation that was stopped or has come to nothing."""


Replies = Callable[[CallRequest, Word], Payload | None]
"""Makes the message in which a service says a word, of the call's reply type; None where no message says it."""


def shorthand_reply(call: CallRequest, word: Word) -> Payload:
    """Say it as plans written in `shorthand` understand it."""
    return Payload(call.reply_type, {Word.DONE: b"yes", Word.NOT_YET: b"wait", Word.NOT_DONE: b"not"}[word])


class Services:
    """All services of a run."""

    def __init__(self, plan_of: Callable[[SagaId], Plan | None], replies: Replies, faults: Faults) -> None:
        """`plan_of` tells what is declared about a saga's calls; None of a saga that nobody has recorded."""
        self._plan_of = plan_of
        self._replies = replies
        self._faults = faults
        self.ledger: list[LedgerLine] = []
        self.on_written: Callable[[LedgerLine], None] = lambda _: None
        self.standing: Counter[str] = Counter()
        """Forward key -> effects of it that stand."""
        self._answers: dict[str, Report] = {}
        """Key -> its first answer that is for good."""
        self._tombstones: set[str] = set()
        self._operations: dict[tuple[SagaId, StepId], Word] = {}
        self._rounds: Counter[tuple[SagaId, StepId]] = Counter()

    def step_of(self, call: CallRequest) -> Step | None:
        """Return what is declared about a call's step."""
        plan = self._plan_of(call.saga_id)
        return None if plan is None else plan.step_of(call.step)

    def keeps_keys(self, call: CallRequest) -> bool:
        """Return whether the service replays its answer to a key."""
        step = self.step_of(call)
        if step is None:
            return True
        asked = step.call_of(call.operation)
        return asked.idempotent or asked.retry.explicit or call.operation is not Operation.FORWARD

    def bears_repeating(self, call: CallRequest) -> bool:
        """Return whether a request may come again at any time: its key is remembered even past its undo."""
        step = self.step_of(call)
        return step is not None and (step.call.barrier or call.operation is not Operation.FORWARD)

    def answer(self, call: CallRequest, site: str) -> Report:
        """Do what a call asks, or not, and say so."""
        step = self.step_of(call)
        if step is None:
            self._write(call, 1)  # nobody has recorded this saga: the ledger tells (I10)
            return self._ok(call, Word.DONE)
        answers: Mapping[Operation, Callable[[CallRequest, Step, str], Report]] = {
            Operation.FORWARD: self._forward,
            Operation.COMPENSATE: self._undo,
            Operation.PROBE: self._probe,
            Operation.AWAIT: self._look,
            Operation.STOP: self._stop,
        }
        said = self._refused_at_the_gate(call, step, site)
        return answers[call.operation](call, step, site) if said is None else said

    def _refused_at_the_gate(self, call: CallRequest, step: Step, site: str) -> Report | None:
        """Say no before anything was looked at, keys included."""
        strike = self._faults.strike
        if strike(Kind.SAYS_ABORTED, site):
            dtm = step.call_of(call.operation).profile is OutcomeProfile.DTM
            return _status("FAILED_PRECONDITION" if dtm else "ABORTED")
        if strike(Kind.SAYS_BUSY, site):
            pause_s = _BUSY_S * self._faults.fates.draw(f"{site}/pushback")
            return _status("RESOURCE_EXHAUSTED", applied=False, retry_after_s=pause_s if pause_s > 1.0 else None)
        if strike(Kind.SAYS_DENIED, site):
            return _status("PERMISSION_DENIED")
        if strike(Kind.SAYS_INTERNAL, site) and self._faults.fates.coin(f"{site}/never"):
            return _status("INTERNAL")
        return None

    def _forward(self, call: CallRequest, step: Step, site: str) -> Report:
        keeps = self.keeps_keys(call) and not self._faults.strike(Kind.FORGETS_KEY, site)
        if call.key in self._tombstones:
            return _refusal(step, call)
        if keeps and (before := self._answers.get(call.key)) is not None:
            return before
        if self._faults.strike(Kind.REFUSES, site):
            return _refusal(step, call)
        place = call.saga_id, call.step
        if step.awaits is not None:
            self._operations[place] = Word.NOT_YET
            return self._kept(call, Word.NOT_YET)
        if step.poll is not None and self._is_not_yet(place, site):
            return self._ok(call, Word.NOT_YET)
        if step.kind is not StepKind.READ:
            self._take_effect(call)
        return self._kept(call, Word.DONE)

    def _undo(self, call: CallRequest, step: Step, site: str) -> Report:
        if self._faults.strike(Kind.REFUSES_UNDO, site):
            return _refusal(step, call)
        self._write(call, self.standing.pop(call.forward_key, 0))
        self._operations.pop((call.saga_id, call.step), None)
        self._answers.pop(call.forward_key, None)
        if step.call.barrier:
            self._tombstones.add(call.forward_key)
        return self._ok(call, Word.DONE)

    def _probe(self, call: CallRequest, step: Step, site: str) -> Report:
        if self._faults.strike(Kind.WITHHOLDS, site):
            return self._ok(call, Word.NOT_YET)
        is_read = step.kind is StepKind.READ
        done = call.forward_key in self._answers if is_read else self.standing[call.forward_key] > 0
        return self._ok(call, Word.DONE) if done else _status("NOT_FOUND")

    def _look(self, call: CallRequest, step: Step, site: str) -> Report:
        place = call.saga_id, call.step
        word = self._operations.get(place)
        if word is None:
            return _status("NOT_FOUND")
        if word is Word.NOT_YET and not self._is_not_yet(place, site):
            self._operations[place] = word = Word.DONE
            if step.kind is not StepKind.READ:
                self._take_effect(call)
        return self._ok(call, word)

    def _stop(self, call: CallRequest, _step: Step, site: str) -> Report:
        place = call.saga_id, call.step
        if self._operations.get(place) is Word.NOT_YET and not self._faults.strike(Kind.WITHHOLDS, site):
            self._operations[place] = Word.NOT_DONE
            self._answers.pop(call.forward_key, None)
        return self._ok(call, Word.DONE)

    def _is_not_yet(self, place: tuple[SagaId, StepId], site: str) -> bool:
        self._rounds[place] += 1
        if self._faults.strike(Kind.WITHHOLDS, site):
            return True
        return self._rounds[place] <= int((_POLLS_MAX + 1) * self._faults.fates.draw(f"rounds/{place[0]}/{place[1]}"))

    def _take_effect(self, call: CallRequest) -> None:
        self.standing[call.forward_key] += 1
        self._write(call, 1)

    def _write(self, call: CallRequest, count: int) -> None:
        """Write a ledger's line; an effect that comes at the end of a long operation is its forward call's."""
        is_undo = call.operation is Operation.COMPENSATE
        line = LedgerLine(
            service=call.target,
            saga_id=call.saga_id,
            step=call.step,
            operation=(Operation.COMPENSATE if is_undo else Operation.FORWARD).value,
            key=call.key if is_undo else call.forward_key,
            count=count,
        )
        self.ledger.append(line)
        self.on_written(line)

    def _kept(self, call: CallRequest, word: Word) -> Report:
        self._answers[call.key] = said = self._ok(call, word)
        return said

    def _ok(self, call: CallRequest, word: Word) -> Report:
        reply = self._replies(call, word)
        return _status("UNAVAILABLE") if reply is None else Report(code="OK", phase=Phase.REPLIED, reply=reply)


def _status(code: str, *, applied: bool | None = None, retry_after_s: float | None = None) -> Report:
    return Report(code=code, phase=Phase.REPLIED, message="simulated", applied=applied, retry_after_s=retry_after_s)


def _refusal(step: Step, call: CallRequest) -> Report:
    dtm = step.call_of(call.operation).profile is OutcomeProfile.DTM
    return _status("ABORTED" if dtm else "FAILED_PRECONDITION")
