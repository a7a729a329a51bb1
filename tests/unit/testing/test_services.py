from collections.abc import Callable

import pytest

from orchestrator.saga.events import Phase
from orchestrator.saga.plan import Operation, Plan
from orchestrator.testing import Fates
from orchestrator.testing.services import Services, Word
from orchestrator.testing.shorthand import items, plan, retry, step
from orchestrator.values import Payload
from tests.unit.testing.worlds import BARE, BARRED, KEPT, call, services_of

SITE = "s1/a/forward/1"
DTM = plan(step("a", idempotent=True, dtm=True))
PIVOT = plan(step("a", pivot=True, probe=True))
READ = plan(step("a", read=True, probe=True, idempotent=True))
POLLED = plan(step("a", idempotent=True, poll=True))
AWAITED = plan(step("a", idempotent=True, awaits=True))


def asked(services: Services, operation: Operation = Operation.FORWARD, attempt: int = 1) -> tuple[str, bytes]:
    """Ask, and return the code and the words of the answer."""
    request = call(operation, attempt=attempt)
    said = services.answer(request, f"s1/a/{operation.value}/{attempt}")
    assert said.phase is Phase.REPLIED, "what a service says, it has said"
    return said.code, said.reply.data if said.reply is not None else b""


def counts(services: Services) -> list[tuple[str, int]]:
    return [(line.operation, line.count) for line in services.ledger]


OK = ("OK", b"yes")
NOT_YET = ("OK", b"wait")


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_service_that_keeps_keys_acts_once_and_replays_its_answer() -> None:
    services = services_of(KEPT)
    assert [asked(services), asked(services, attempt=2)] == [OK, OK]
    assert counts(services) == [("forward", 1)]
    assert services.standing == {"s1/a": 1}


def test_one_that_declares_nothing_acts_as_often_as_it_is_asked() -> None:
    services = services_of(BARE)
    assert [asked(services), asked(services, attempt=2)] == [OK, OK]
    assert services.standing == {"s1/a": 2}


def test_a_policy_that_the_author_wrote_vouches_for_the_method() -> None:
    services = services_of(plan(step("a", policy=retry(explicit=True))))
    asked(services), asked(services, attempt=2)
    assert services.standing == {"s1/a": 1}


def test_another_key_is_another_request() -> None:
    services = services_of(KEPT)
    asked(services)
    services.answer(call(epoch="'"), "s1/a/forward/2")
    assert services.standing == {"s1/a": 1, "s1/a'": 1}


def test_a_service_that_forgets_its_word_acts_again() -> None:
    services = services_of(KEPT, "forgets.key s1/a/forward/2")
    asked(services), asked(services, attempt=2), asked(services, attempt=3)
    assert services.standing == {"s1/a": 2}


# --- undoing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "stood"), [(KEPT, 1), (BARE, 2)])
def test_an_undo_takes_back_all_that_stands_and_says_how_much(given: Plan, stood: int) -> None:
    services = services_of(given)
    asked(services), asked(services, attempt=2)
    assert asked(services, Operation.COMPENSATE) == OK
    assert counts(services)[-1] == ("compensate", stood)
    assert not services.standing


def test_an_undo_of_nothing_is_done_and_takes_no_effect() -> None:
    services = services_of(KEPT)
    assert asked(services, Operation.COMPENSATE) == OK
    assert counts(services) == [("compensate", 0)]


def test_behind_the_barrier_a_forward_call_after_its_undo_is_refused() -> None:
    services = services_of(BARRED)
    asked(services, Operation.COMPENSATE)
    assert asked(services)[0] == "FAILED_PRECONDITION"
    assert counts(services) == [("compensate", 0)]


def test_without_the_barrier_a_forward_call_after_its_undo_takes_effect() -> None:
    services = services_of(KEPT)
    asked(services), asked(services, Operation.COMPENSATE)
    assert asked(services, attempt=2) == OK
    assert services.standing == {"s1/a": 1}


def test_the_barrier_is_of_one_key() -> None:
    services = services_of(BARRED)
    asked(services, Operation.COMPENSATE)
    assert services.answer(call(epoch="'"), "s1/a/forward/2").code == "OK"


def test_a_refused_undo_leaves_all_that_stands() -> None:
    services = services_of(KEPT, "refuses.undo s1/a/compensate/1")
    asked(services)
    assert asked(services, Operation.COMPENSATE)[0] == "FAILED_PRECONDITION"
    assert services.standing == {"s1/a": 1}
    assert counts(services) == [("forward", 1)]


# --- saying no -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["refuses", "says.aborted", "says.busy", "says.denied"])
def test_a_no_leaves_nothing_behind_and_the_key_is_free(fault: str) -> None:
    services = services_of(KEPT, f"{fault} {SITE}")
    assert asked(services)[0] != "OK"
    assert counts(services) == []
    assert asked(services, attempt=2) == OK


def test_who_is_busy_says_that_nothing_was_done_and_now_and_then_when_to_come_back() -> None:
    said = [services_of(KEPT, f"says.busy {SITE}", seed=seed).answer(call(), SITE) for seed in range(20)]
    assert {each.applied for each in said} == {False}
    pauses = {each.retry_after_s for each in said}
    assert None in pauses
    assert all(1.0 < pause <= 2.0 for pause in pauses if pause is not None)
    assert len(pauses) > 3


def test_refusing_and_asking_to_come_back_trade_places_under_dtm() -> None:
    assert asked(services_of(DTM, f"refuses {SITE}"))[0] == "ABORTED"
    assert asked(services_of(DTM, f"says.aborted {SITE}"))[0] == "FAILED_PRECONDITION"
    assert asked(services_of(KEPT, f"refuses {SITE}"))[0] == "FAILED_PRECONDITION"
    assert asked(services_of(KEPT, f"says.aborted {SITE}"))[0] == "ABORTED"


# --- probes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [PIVOT, READ])
def test_a_probe_tells_whether_it_was_done(given: Plan) -> None:
    services = services_of(given)
    assert asked(services, Operation.PROBE)[0] == "NOT_FOUND"
    asked(services)
    assert asked(services, Operation.PROBE) == OK
    assert len(services.ledger) == (given is PIVOT), "a read leaves no effect, and a probe neither"


def test_a_probe_that_withholds_says_not_yet() -> None:
    services = services_of(PIVOT, "withholds s1/a/probe/1")
    asked(services)
    assert [asked(services, Operation.PROBE), asked(services, Operation.PROBE, 2)] == [NOT_YET, OK]


def test_what_no_message_says_is_an_error_to_ask_again_after() -> None:
    services = services_of(
        PIVOT,
        "withholds s1/a/probe/1",
        replies=lambda call, word: None if word is Word.NOT_YET else Payload(call.reply_type, b"yes"),
    )
    asked(services)
    assert [asked(services, Operation.PROBE)[0], asked(services, Operation.PROBE, 2)[0]] == ["UNAVAILABLE", "OK"]


# --- what takes its time ---------------------------------------------------------------------------------------------


def rounds(said: Callable[[int], tuple[str, bytes]]) -> int:
    """Ask until it is done, and return how often it was not yet."""
    found = next(number for number in range(10) if said(number + 1) == OK)
    assert all(said(number) == OK for number in range(20, 23)), "done stays done"
    return found


def test_a_poll_is_not_yet_for_a_while_and_takes_effect_once_it_is_done() -> None:
    found: set[int] = set()
    for seed in range(20):
        services = services_of(POLLED, seed=seed)
        found.add(rounds(lambda attempt, services=services: asked(services, attempt=attempt)))  # type: ignore[misc]  # of this turn
        assert counts(services) == [("forward", 1)]
    assert found == {0, 1, 2}


def test_an_operation_is_begun_once_and_takes_effect_where_it_ends_as_its_forward_call() -> None:
    found: set[int] = set()
    for seed in range(20):
        services = services_of(AWAITED, seed=seed)
        assert [asked(services), asked(services, attempt=2)] == [NOT_YET, NOT_YET]
        assert counts(services) == []
        look = lambda attempt, services=services: asked(services, Operation.AWAIT, attempt)  # noqa: E731  # of this turn
        found.add(rounds(look))
        assert counts(services) == [("forward", 1)]
        assert services.standing == {"s1/a": 1}
    assert found == {0, 1, 2}


def test_nobody_knows_an_operation_that_was_never_begun() -> None:
    assert asked(services_of(AWAITED), Operation.AWAIT)[0] == "NOT_FOUND"


def test_a_stopped_operation_comes_to_nothing_and_a_finished_one_cannot_be_stopped() -> None:
    stopped = services_of(AWAITED)
    asked(stopped)
    assert asked(stopped, Operation.STOP) == OK
    assert [asked(stopped, Operation.AWAIT, attempt) for attempt in range(1, 5)] == [("OK", b"not")] * 4
    assert counts(stopped) == []
    finished = services_of(AWAITED)
    asked(finished)
    rounds(lambda attempt: asked(finished, Operation.AWAIT, attempt))
    assert asked(finished, Operation.STOP) == OK
    assert asked(finished, Operation.AWAIT, 9) == OK
    assert finished.standing == {"s1/a": 1}


def test_an_operation_that_withholds_its_stop_goes_on() -> None:
    services = services_of(AWAITED, "withholds s1/a/stop/1")
    asked(services), asked(services, Operation.STOP)
    assert rounds(lambda attempt: asked(services, Operation.AWAIT, attempt)) < 3
    assert services.standing == {"s1/a": 1}


# --- the ledger ------------------------------------------------------------------------------------------------------


def test_reading_leaves_no_line() -> None:
    services = services_of(READ)
    assert asked(services) == OK
    assert counts(services) == []


def test_a_call_of_a_saga_that_nobody_recorded_takes_effect_and_the_ledger_tells() -> None:
    services = services_of(None)
    assert asked(services) == OK
    assert counts(services) == [("forward", 1)]


def test_whoever_listens_hears_every_line_and_an_item_is_a_step_of_its_own() -> None:
    services = services_of(plan(step("a", for_each=items(2), idempotent=True)))
    heard: list[str] = []
    services.on_written = lambda line: heard.append(f"{line.service} {line.saga_id}/{line.step} {line.key}")
    for number in range(2):
        services.answer(call(step=f"a[{number}]"), f"s1/a[{number}]/forward/1")
    assert heard == ["service s1/a[0] s1/a[0]", "service s1/a[1] s1/a[1]"]


def test_luck_is_the_same_for_the_same_seed() -> None:
    assert Fates(1).draw("rounds/s1/a") != Fates(2).draw("rounds/s1/a")
    for seed in range(5):
        found = {rounds(_asking(services_of(POLLED, seed=seed))) for _ in range(3)}
        assert len(found) == 1


def _asking(services: Services) -> Callable[[int], tuple[str, bytes]]:
    return lambda attempt: asked(services, attempt=attempt)
