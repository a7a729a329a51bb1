"""What alerts compare is on the page before it first happens: a series' first count is no increase to Prometheus."""

import asyncio
import re
from contextlib import suppress

from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import METRIC_LABEL_SETS_MAX
from orchestrator.ports.observer import Backlog
from orchestrator.saga.state import TERMINAL
from orchestrator.telemetry import Metrics
from tests.kit.rules import rules
from tests.unit.telemetry.histories import Teller
from tests.unit.telemetry.test_metrics import watch

METHOD = "orchestrator.v1.SagaService/StartSaga"


def found(metrics: Metrics, name: str, label: str, **where: str) -> dict[str, float]:
    """The numbers of a metric by one of its labels."""
    return {
        each.labels[label]: each.value
        for each in metrics.figures()
        if each.name == name and all(each.labels[key] == value for key, value in where.items())
    }


def compared(metric: str, label: str) -> set[str]:
    """The values of a label that rules choose a metric's series by."""
    chosen = rf'{metric}{{[^}}]*?\b{label}=~?"([^"]*)"'
    return {value for rule in rules() for text in re.findall(chosen, rule["expr"]) for value in text.split("|")}


def test_every_code_that_an_alert_compares_is_there_for_every_method() -> None:
    metrics = Metrics()
    metrics.expect_methods([METHOD])
    codes = compared("saga_api_requests_total", "code")
    assert {"UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED"} <= codes
    assert found(metrics, "saga_api_requests_total", "code", method=METHOD) == dict.fromkeys({"OK", *codes}, 0)


def test_every_end_and_every_cause_that_an_alert_compares_is_there_for_a_definition() -> None:
    metrics = Metrics()
    metrics.expect_definition("order")
    causes = compared("saga_compensations_total", "cause")
    assert len(causes) == 3
    assert found(metrics, "saga_compensations_total", "cause", definition="order") == dict.fromkeys(causes, 0)
    ends = {status.value for status in TERMINAL}
    assert found(metrics, "saga_ended_total", "status", definition="order") == dict.fromkeys(ends, 0)
    assert found(metrics, "saga_started_total", "definition") == {"order": 0}


def test_a_definition_that_is_met_in_a_saga_is_there_from_its_first_event() -> None:
    metrics = Metrics()
    watch(metrics, Teller(1))
    assert found(metrics, "saga_ended_total", "status") == {"COMPLETED": 1, "COMPENSATED": 0, "TERMINATED": 0}
    assert set(found(metrics, "saga_compensations_total", "cause").values()) == {0}


class Registered(MemoryJournal):
    """A store in which one definition is active."""

    async def active(self) -> dict[str, str]:
        return {"order": "1"}


async def test_a_definition_is_there_before_the_first_of_its_sagas() -> None:
    metrics, looked = Metrics(), asyncio.Event()

    async def backlog() -> Backlog:
        looked.set()
        return Backlog()

    async with asyncio.TaskGroup() as tasks:
        sampling = tasks.create_task(metrics.sample(Registered(), backlog))
        await looked.wait()
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
    assert found(metrics, "saga_ended_total", "status", definition="order") != {}


def test_what_has_not_happened_takes_at_most_half_of_the_room() -> None:
    metrics = Metrics()
    for number in range(METRIC_LABEL_SETS_MAX):
        metrics.expect_definition(f"definition-{number}")
    for name in ("saga_started_total", "saga_ended_total", "saga_compensations_total"):
        assert sum(each.name == name for each in metrics.figures()) == METRIC_LABEL_SETS_MAX // 2
    watch(metrics, Teller(1))
    assert found(metrics, "saga_ended_total", "status", definition="epro") == {"COMPLETED": 1}


def test_what_happened_stays_as_it_was_counted() -> None:
    metrics = Metrics()
    watch(metrics, Teller(1))
    metrics.answered(METHOD, "OK", 1.0, None, lambda: None)
    metrics.expect_definition("epro")
    metrics.expect_methods([METHOD])
    assert found(metrics, "saga_started_total", "definition") == {"epro": 1}
    assert found(metrics, "saga_api_requests_total", "code")["OK"] == 1
