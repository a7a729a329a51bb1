"""What a crowd has done for it: one errand, one saga. The demo's, or one of every shape that the examples have."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, cycle
from random import Random  # noqa: TID251  (seeded: the same errands again)
from typing import Any

from orchestrator.ids import SagaId
from tests.kit.mesh import reports

HURRIED = {"timeout: 1d": "timeout: 400ms", "timeout: 2d": "timeout: 600ms", "sleep: 1h": "sleep: 50ms"}
"""The approval's days as moments: many of them shall pass while everything is killed."""

DECLINED_CARD = "4000000000000002"
ROWS_TOLERATED = 2
REVIEW_CENTS_MAX = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What to start, and what a person has to say about it."""

    definition: str
    saga_id: SagaId
    given: dict[str, Any]
    """The saga's input, as JSON."""
    decision: dict[str, Any] | None = None
    """The payload of the signal `decision`, as JSON; None where nobody ever decides."""
    is_decided_at_start: bool = False
    """The decision comes in one piece with the start."""


def of_the_demo() -> Iterator[Errand]:
    """Take in reports, without end."""
    for number, report in zip(count(1), cycle(reports())):
        yield Errand(definition="epro_intake", saga_id=SagaId(f"{report['reportId']}-{number}"), given=report)


def of_every_shape(luck: Random) -> Iterator[Errand]:
    """One of each shape in turn, and a report beside each; about a third of them go backward. Without end."""
    demo = of_the_demo()
    for number in count(1):
        yield from chain.from_iterable(
            (shape(number, luck), next(demo)) for shape in (_order, _travel, _transfer, _approval, _bulk_import)
        )


def _order(number: int, luck: Random) -> Errand:
    order_id = f"order-{number}"
    given = {
        "orderId": order_id,
        "email": "ada@example.com",
        "sku": "book",
        "quantity": 1,
        "amountCents": 1_999,
        "cardNumber": luck.choice(("4242424242424242", "4242424242424242", DECLINED_CARD)),
    }
    return Errand(definition="order", saga_id=SagaId(order_id), given=given)


def _travel(number: int, luck: Random) -> Errand:
    trip_id = f"trip-{number}"
    car = luck.choice(("standby", "standby", "car/vintage"))  # the last one is sold out
    given = {"tripId": trip_id, "traveller": "ada", "flight": "standby", "hotel": "standby", "car": car}
    return Errand(definition="travel", saga_id=SagaId(trip_id), given=given)


def _transfer(number: int, luck: Random) -> Errand:
    """Let pass by the machine, reviewed by a person, refused by that person, or to an account that is closed."""
    transfer_id = f"transfer-{number}"
    destination, cents = luck.choice(
        (("carol", 7), ("carol", 11), ("casino", 13), ("casino", REVIEW_CENTS_MAX + 1), ("dave", 17))
    )
    given = {"transferId": transfer_id, "source": "alice", "destination": destination, "amountCents": cents}
    return Errand(definition="transfer", saga_id=SagaId(transfer_id), given=given)


def _approval(number: int, luck: Random) -> Errand:
    claim_id = f"claim-{number}"
    given = {"claimId": claim_id, "claimant": "cleo", "amountCents": 4_200, "purpose": "a train to Lisbon"}
    agreed = {"approver": "lea", "approved": True}
    return Errand(
        definition="approval",
        saga_id=SagaId(claim_id),
        given=given,
        decision=luck.choice((agreed, agreed, {"approver": "lea", "approved": False}, None)),
        is_decided_at_start=luck.random() < 0.3,
    )


def _bulk_import(number: int, luck: Random) -> Errand:
    """A few bad rows are tolerated, one more is not; an index is built at once, or slowly enough to be met at it."""
    import_id = f"import-{number}"
    bad = luck.choice((0, 0, ROWS_TOLERATED, ROWS_TOLERATED + 1))
    rows = [{"rowId": f"{import_id}-{row}", "name": f"lamp {row}" if row >= bad else ""} for row in range(8)]
    given = {"importId": import_id, "rows": rows, "indexRowsPerSecond": luck.choice((0, 40))}
    return Errand(definition="bulk_import", saga_id=SagaId(import_id), given=given)
