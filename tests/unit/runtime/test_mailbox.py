import pytest

from orchestrator.errors import Draining, OrchestratorError, Overloaded
from orchestrator.ids import StepId
from orchestrator.limits import MAILBOX_MESSAGES_MAX
from orchestrator.runtime.mailbox import Envelope, Mailbox
from orchestrator.saga import SagaState
from orchestrator.saga.commands import (
    Audit,
    CancelSaga,
    Command,
    PauseSaga,
    Recovered,
    RetryStep,
    SignalSaga,
    TerminateSaga,
    TimerFired,
    UndoChild,
)
from orchestrator.saga.effects import Timer, TimerKind
from orchestrator.values import Payload

BY = Audit(by="ann", reason="looked at it")
TICK = TimerFired(timer=Timer(TimerKind.DRAIN))


def ignored(_result: SagaState | OrchestratorError) -> None: ...


def test_a_cancel_and_a_recovery_overtake_what_waits() -> None:
    mailbox = Mailbox()
    for command in (TICK, CancelSaga(reason=""), TICK, Recovered()):
        mailbox.put(Envelope(command))
    taken = [envelope.command for envelope in iter(mailbox.take, None)]
    assert taken == [CancelSaga(reason=""), Recovered(), TICK, TICK]


def test_a_caller_beyond_the_bound_is_told_to_come_back_and_the_sagas_own_news_is_not() -> None:
    mailbox = Mailbox()
    for _ in range(MAILBOX_MESSAGES_MAX):
        mailbox.put(Envelope(CancelSaga(reason=""), ignored))
    with pytest.raises(Overloaded) as caught:
        mailbox.put(Envelope(CancelSaga(reason=""), ignored))
    assert caught.value.reason == "MAILBOX_FULL"
    assert caught.value.retry_after_s > 0
    mailbox.put(Envelope(TICK))
    assert len(mailbox) == MAILBOX_MESSAGES_MAX + 1


@pytest.mark.parametrize(
    "control",
    [
        CancelSaga(reason=""),
        UndoChild(reason=""),
        TerminateSaga(audit=BY),
        PauseSaga(audit=BY),
        RetryStep(audit=BY, step=StepId("a")),
    ],
    ids=lambda command: type(command).__name__,
)
def test_a_flood_of_signals_keeps_nobody_out_who_stops_or_mends_the_saga(control: Command) -> None:
    mailbox = Mailbox()
    signal = SignalSaga(signal="go", request_id="r", payload=Payload("Signal", b""))
    for _ in range(MAILBOX_MESSAGES_MAX):
        mailbox.put(Envelope(signal, ignored))
    with pytest.raises(Overloaded):
        mailbox.put(Envelope(signal, ignored))
    mailbox.put(Envelope(control, ignored))
    first = mailbox.take()
    assert first is not None
    assert first.command == control


def test_everybody_who_waits_is_answered_at_the_end() -> None:
    mailbox, answers = Mailbox(), list[object]()
    error = Draining("stopping")
    mailbox.put(Envelope(TICK))
    mailbox.put(Envelope(CancelSaga(reason=""), answers.append))
    mailbox.close(error)
    assert answers == [error]
    assert len(mailbox) == 0
