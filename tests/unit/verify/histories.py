"""Sound histories in which calls are repeated, sagas turn back, time passes, and people act."""

from dataclasses import replace

from orchestrator.ids import StepId
from orchestrator.limits import ALERT_ATTEMPTS, UNDO_PARALLEL_MAX
from orchestrator.saga.commands import RerunFromStep, ResolveStep, SkipStep
from orchestrator.saga.plan import Operation, Outcome, Scope
from orchestrator.saga.state import SagaStatus
from orchestrator.testing.shorthand import plan, step
from tests.kit.machine import Machine, started
from tests.kit.parts import each, inside, scope, sleep, wait
from tests.unit.verify.samples import (
    PLAN,
    Sample,
    sample_of,
)

UNDO = Operation.COMPENSATE
A, B, C = map(StepId, "abc")
BOOK, PAY, SHIP = map(StepId, ("book", "pay", "ship"))


def crashed() -> Sample:
    """The writer died while `book`, which keeps its key, was called, and again while `pay` was."""
    machine = started(PLAN).replies("check")
    epochs = [1] * len(machine.events)
    machine.crash()
    epochs += [2] * (len(machine.events) - len(epochs))
    machine.replies("book")
    epochs += [2] * (len(machine.events) - len(epochs))
    machine.crash()
    machine.pass_time(60)
    machine.reply("pay.undo")
    machine.reply("book.undo")
    epochs += [3] * (len(machine.events) - len(epochs))
    sample = sample_of(machine)
    records = tuple(replace(record, epoch=epoch) for record, epoch in zip(sample.records, epochs, strict=True))
    return replace(sample, records=records, row=replace(sample.row, epoch=epochs[-1]))


WAITING = plan(sleep("nap", for_s=60.0), wait("a", "nap", timeout_s=30.0), step("b", "a"))


def waited() -> Sample:
    machine = started(WAITING)
    machine.pass_time(60)
    machine.signal("go", "r1")
    return sample_of(machine.replies("b"))


def waited_in_vain() -> Sample:
    machine = started(WAITING)
    machine.pass_time(60)
    machine.pass_time(30)
    return sample_of(machine)


def late() -> Sample:
    """The saga's own deadline passes while `b` is called, and its undo takes too long."""
    machine = started(plan(step("a"), step("b", "a", timeout_s=99.0), forward_s=5.0)).replies("a")
    machine.pass_time(5)
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "UNAVAILABLE")
    machine.pass_time(400)
    machine.reply("a.undo")
    return sample_of(machine)


def late_scope() -> Sample:
    """A scope's time is over while its member sleeps; its alternative has its own time, and is over as well."""
    body = Scope(steps=(A,), otherwise=(B,), timeout_s=10.0)
    trip = replace(scope("trip", members=["a"], otherwise=["b"]), body=body)
    machine = started(plan(trip, inside("trip", sleep("a", for_s=99.0)), inside("trip", sleep("b", for_s=99.0))))
    machine.pass_time(10)
    machine.pass_time(10)
    return sample_of(machine)


LIST = plan(each(step("a"), 4, parallel=2), step("b", "a"))


def listed() -> Sample:
    machine = started(LIST)
    for index in range(4):
        machine.reply(f"a[{index}]")
    return sample_of(machine.replies("b"))


def wide() -> Sample:
    """More steps are undone than may be at once."""
    names = [f"s{number}" for number in range(UNDO_PARALLEL_MAX + 4)]
    machine = started(plan(*(step(name) for name in names), step("last", *names))).replies(*names)
    machine.reply("last", "FAILED_PRECONDITION")
    while machine.status is not SagaStatus.COMPENSATED:
        machine.reply(f"{machine.calls[0].step}.undo")
    return sample_of(machine)


def stubborn() -> Sample:
    """An undo fails again and again, and a person is told while it is tried on."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    for _ in range(ALERT_ATTEMPTS + 2):
        machine.reply("a.undo", "UNAVAILABLE")
        machine.pass_time(100)
    machine.reply("a.undo", "NOT_FOUND")
    return sample_of(machine)


def beside() -> Machine:
    return started(plan(step("a"), step("b"), step("c", "a", "b")))


def stopped() -> Sample:
    """`a` fails while `b` is called."""
    machine = beside()
    machine.reply("a", "FAILED_PRECONDITION")
    machine.reply("b")
    machine.reply("b.undo")
    return sample_of(machine)


def cancelled() -> Sample:
    machine = beside().replies("a")
    machine.cancel("enough")
    machine.reply("b", "CANCELLED")
    machine.pass_time(100)
    for name in ("a", "b"):
        machine.reply(f"{name}.undo")
    return sample_of(machine)


PAID = plan(
    step("a"),
    step("pay", "a", pivot=True),
    step("tell", "pay", retriable=True),
)


def cancelled_at_the_pivot() -> Sample:
    machine = started(PAID).replies("a")
    machine.cancel("enough")
    return sample_of(machine.replies("pay", "tell"))


def mended() -> Sample:
    """An undo is refused; a person has it tried again, then leaves it."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "FAILED_PRECONDITION")
    machine.tell(SkipStep(audit=machine.audit(), step=A))
    return sample_of(machine)


def resolved() -> Sample:
    """An undo is refused, and a person says that it was done by hand."""
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.reply("b", "FAILED_PRECONDITION")
    machine.reply("a.undo", "FAILED_PRECONDITION")
    machine.tell(ResolveStep(audit=machine.audit(), step=A, outcome=Outcome.APPLIED))
    return sample_of(machine)


def again() -> Sample:
    machine = started(plan(step("a"), step("b", "a"))).replies("a")
    machine.tell(RerunFromStep(audit=machine.audit(), step=A))
    machine.reply("b", "CANCELLED")
    machine.pass_time(100)
    machine.reply("b.undo")
    machine.reply("a.undo")
    return sample_of(machine.replies("a", "b"))


SOUND = [
    crashed,
    waited,
    waited_in_vain,
    late,
    late_scope,
    listed,
    wide,
    stubborn,
    stopped,
    cancelled,
    cancelled_at_the_pivot,
    mended,
    resolved,
    again,
]
