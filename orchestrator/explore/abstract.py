"""A plan whose expressions are choices: what an author's texts would give is left open, and every answer is tried.

The shape stays: steps, edges, triggers, kinds, scopes, who undoes what and in which order, what is idempotent and what
keeps the barrier. Numbers that only make paths longer are made small: two attempts stand for many, two items for a
list.
"""

from dataclasses import replace
from typing import Final

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import StepId
from orchestrator.saga.plan import (
    Answer,
    Await,
    Call,
    Compensation,
    ExpressionFailure,
    Facts,
    Guard,
    Outcome,
    Plan,
    Poll,
    Probe,
    ReadAnswer,
    Render,
    RetryPolicy,
    Scope,
    Sleep,
    Step,
    Wait,
)
from orchestrator.values import Payload

ATTEMPTS: Final = 2
ITEMS: Final = 2
_FAILED: Final = ExpressionFailure("it cannot be evaluated")
_REQUEST: Final = Payload("", b"")
SAYS_NO: Final = b"no"
SAYS_YES: Final = b"yes"
NOT_YET: Final = b"not yet"
HAS_FAILED: Final = b"failed"


@frozen_tuple
class Choice:
    """Something the author's texts decide: a condition, or whether a message can be made."""

    step: StepId
    what: str

    def told(self, *, answer: bool) -> str:
        """Return the answer in words."""
        if self.what == "when":
            return f"{self.step}: its `when` is {'true' if answer else 'false'}"
        if self.what == "items":
            return f"{self.step}: its list has {'items' if answer else 'no item'}"
        name = f"{self.step}'s {self.what}" if self.step else f"the {self.what}"
        return f"{name} can be made" if answer else f"{name} cannot be made"

    @property
    def is_fault(self) -> bool:
        """Return whether one of the answers is a failure."""
        return self.what not in {"when", "items"}


class OpenChoice(Exception):
    """An expression was reached whose answer is not chosen yet."""

    def __init__(self, choice: Choice) -> None:
        """Name the choice."""
        super().__init__(choice)
        self.choice = choice


class Chooser:
    """The answers that hold on the path under way; a path never changes an answer."""

    def __init__(self) -> None:
        """Begin with none."""
        self.answers: dict[Choice, bool] = {}

    def ask(self, step: StepId, what: str) -> bool:
        """Return the answer; raise `OpenChoice` where there is none yet."""
        choice = Choice(step, what)
        if (answer := self.answers.get(choice)) is None:
            raise OpenChoice(choice)
        return answer


def abstract(plan: Plan, chooser: Chooser) -> Plan:
    """Return the plan with every expression replaced."""
    return replace(
        plan,
        steps={step.id: _step(step, chooser) for step in plan.steps.values()},
        attributes=None,
        output=None if plan.output is None else _message(StepId(""), "output", chooser),
    )


def _step(step: Step, chooser: Chooser) -> Step:
    name = step.id
    body = step.body
    if isinstance(body, Call):
        body = _call(body, _message(name, "request", chooser))
    elif isinstance(body, Sleep):
        body = Sleep(duration=lambda _facts: 1.0)
    elif isinstance(body, Wait | Scope):
        body = replace(body, timeout_s=None if body.timeout_s is None else 10.0)
    return replace(
        step,
        body=body,
        when=None if step.when is None else _choice(name, "when", chooser),
        refuse=None if step.refuse is None else _says(SAYS_NO),
        reason=None,
        compensation=None if step.compensation is None else _compensation(step.compensation),
        for_each=None
        if step.for_each is None
        else replace(
            step.for_each,
            items=lambda _facts: range(ITEMS) if chooser.ask(name, "items") else (),
            parallel=min(step.for_each.parallel, ITEMS),
            tolerate=min(step.for_each.tolerate, 1),
        ),
        poll=None if step.poll is None else Poll(until=_says(SAYS_YES), every_s=1.0, at_most_s=1.5),
        awaits=None if step.awaits is None else _awaits(step.awaits),
        probe=None if step.probe is None else Probe(call=_call(step.probe.call, _always, attempts=1), read=_read_probe),
    )


def _call(call: Call, render: Render, attempts: int = ATTEMPTS) -> Call:
    retry = call.retry
    few = 0 if retry.max_attempts == 0 and attempts == ATTEMPTS else min(retry.max_attempts or attempts, attempts)
    return replace(
        call,
        render=render,
        timeout_s=10.0,
        retry=RetryPolicy(
            max_attempts=few, initial_backoff_s=1.0, max_backoff_s=1.0, multiplier=1.0, explicit=retry.explicit
        ),
    )


def _choice(step: StepId, what: str, chooser: Chooser) -> Guard:
    return lambda _facts: chooser.ask(step, what)


def _message(step: StepId, what: str, chooser: Chooser) -> Render:
    return lambda _facts: _REQUEST if chooser.ask(step, what) else _FAILED


def _says(word: bytes) -> Guard:
    return lambda facts: facts.own_reply is not None and facts.own_reply.data == word


def _always(_facts: Facts) -> Payload:
    return _REQUEST


def _compensation(compensation: Compensation) -> Compensation:
    render: Render = _needs_reply if compensation.reads_reply else _always
    return replace(compensation, call=_call(compensation.call, render))


def _needs_reply(facts: Facts) -> Payload | ExpressionFailure:
    return ExpressionFailure("the step's own reply is not known") if facts.own_reply is None else _REQUEST


def _read_probe(facts: Facts) -> Answer:
    said = facts.own_reply.data if facts.own_reply is not None else b""
    if said == SAYS_YES:
        return Answer(outcome=Outcome.APPLIED, reply=Payload("", SAYS_YES))
    return Answer(outcome=Outcome.NOT_APPLIED, message="the probe found nothing")


def _awaits(awaits: Await) -> Await:
    read: ReadAnswer = _read_operation
    stop = None if awaits.stop is None else _call(awaits.stop, _always)
    return Await(read=read, call=_call(awaits.call, _always), stop=stop, every_s=1.0)


def _read_operation(facts: Facts) -> Answer:
    said = facts.own_reply.data if facts.own_reply is not None else b""
    if said in {SAYS_YES, SAYS_NO}:
        return Answer(outcome=Outcome.APPLIED, reply=Payload("", said))
    if said == HAS_FAILED:
        return Answer(outcome=Outcome.NOT_APPLIED, code="ABORTED", message="the operation failed")
    return Answer(outcome=None)
