"""The worked examples: each is compiled without a finding, against the services it is written for."""

from pathlib import Path

import pytest

from orchestrator.definition import Revisions
from orchestrator.ids import StepId
from orchestrator.saga.plan import CHILD_TARGET, Scope, Sleep, StepKind, Wait
from services.bank.v1 import bank_pb2
from services.expenses.v1 import expenses_pb2
from services.importer.v1 import importer_pb2
from services.shop.v1 import shop_pb2
from services.travel.v1 import travel_pb2
from tests.unit.definition.world import EPRO, DictCatalogue, FixedClock, FixedMethods, descriptor_set

FOLDER = Path(__file__).parents[3] / "compose" / "definitions"
FILES = sorted(FOLDER.glob("*.yaml"))
TARGETS = {
    **EPRO,
    **dict.fromkeys(("stock", "payments", "shipping"), shop_pb2.DESCRIPTOR),
    **dict.fromkeys(("accounts", "screening"), bank_pb2.DESCRIPTOR),
    **dict.fromkeys(("claims", "payouts"), expenses_pb2.DESCRIPTOR),
    **dict.fromkeys(("catalogue", "search"), importer_pb2.DESCRIPTOR),
    **dict.fromkeys(("flights", "hotels", "cars", "agency"), travel_pb2.DESCRIPTOR),
}


@pytest.fixture
def revisions() -> Revisions:
    methods = FixedMethods({target: descriptor_set(file) for target, file in TARGETS.items()})
    return Revisions(DictCatalogue(), methods, FixedClock())


async def test_they_are_compiled_without_a_finding(revisions: Revisions) -> None:
    texts = [(file.name, file.read_text(encoding="utf-8")) for file in FILES]

    created = await revisions.create_together(texts)

    assert [str(one) for _, found in created for one in found] == []
    assert all(revision is not None for revision, _ in created)


async def test_a_journey_is_made_of_children(revisions: Revisions) -> None:
    texts = [(file.name, file.read_text(encoding="utf-8")) for file in FILES]
    created = {one.definition: one.revision for one, _ in await revisions.create_together(texts) if one is not None}

    travel = await revisions.plan("travel")

    flight = travel.steps[StepId("flight")]
    assert (flight.call.target, flight.call.method) == (CHILD_TARGET, f"book_flight/{created['book_flight']}")
    assert flight.compensation is not None
    assert flight.compensation.call.method == flight.call.method
    assert travel.steps[StepId("itinerary")].needs == {"flight", "hotel", "car"}


async def test_what_the_examples_are_made_of(revisions: Revisions) -> None:
    await revisions.create_together([(file.name, file.read_text(encoding="utf-8")) for file in FILES])
    order, approval = await revisions.plan("order"), await revisions.plan("approval")
    imports, transfer = await revisions.plan("bulk_import"), await revisions.plan("transfer")

    assert order.pivot == "capture"
    assert order.steps[StepId("ship")].kind is StepKind.RETRIABLE
    assert approval.signals == {"decision": "expenses.v1.Approval"}
    assert isinstance(approval.steps[StepId("decision")].body, Wait)
    assert isinstance(approval.steps[StepId("second_thoughts")].body, Sleep)
    insert, index = imports.steps[StepId("insert")], imports.steps[StepId("index")]
    assert insert.for_each is not None
    assert (insert.for_each.parallel, insert.for_each.tolerate) == (16, 2)
    assert index.awaits is not None
    assert index.awaits.every_s == 0.2
    assert transfer.steps[StepId("fraud_check")].body == Scope(
        steps=(StepId("open_case"), StepId("assess")), otherwise=(StepId("review"),)
    )
    assert transfer.members[StepId("fraud_check")] == ("open_case", "assess", "review")
