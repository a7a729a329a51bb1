"""One-step definitions against the shop, and what its expressions give."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache

from google.protobuf import json_format
from google.protobuf.message import Message
from pydantic import JsonValue

from orchestrator.definition.descriptors import Types, message_class
from orchestrator.definition.diagnostics import Diagnostic
from orchestrator.definition.emit import to_yaml
from orchestrator.definition.expressions import EvaluationFailed, Expression, ValueType
from orchestrator.definition.model import Definition
from orchestrator.definition.names import Names, Offer, Reading, Replies, during_steps
from orchestrator.definition.revisions import Revisions
from orchestrator.saga.plan import ExpressionFailure, Facts, Plan
from orchestrator.values import Payload
from tests.unit.definition.shop import as_set, legacy_file, shop_file
from tests.unit.definition.world import DictCatalogue, FixedClock, FixedFacts, FixedMethods, every_target

ORDER = "shop.v1.Order"
RECEIPT = "shop.v1.Receipt"
LEGACY = "shop.v1.Legacy"
PLACE = "shop/shop.v1.Shop/Place"
CANCEL = "shop/shop.v1.Shop/Cancel"
TYPES = Types(as_set(shop_file(), legacy_file()))

LEGACY_PARTS: Mapping[str, bytes] = {
    "text a": b"\x0a\x01a",
    "text that is none": b"\x0a\x02\xff\xfe",
    "texts a": b"\x12\x01a",
    "texts with one that is none": b"\x12\x01b\x12\x01\xff",
    "number 5": b"\x18\x05",
    "status 1": b"\x20\x01",
    "status without a name": b"\x20\x4d",
    "statuses, one without a name": b"\x28\x01\x28\x4d",
    "by_name, one without a name": b"\x32\x05\x0a\x01k\x10\x4d",
    "HasField 1": b"\x38\x01",
    "parent": b"\x42\x04\x0a\x02\xff\xfe",
    "kind 2": b"\x48\x02",
    "kind without a name": b"\x48\x4d",
}
"""Parts of a `Legacy` as they may be received; put behind one another they are one."""

GIVEN: Mapping[str, object] = {
    "order_id": "o-1",
    "count": 3,
    "total": "9007199254740993",
    "seats": 4,
    "price": 2.5,
    "ratio": 0.5,
    "paid": True,
    "raw": "AAE=",
    "status": "STATUS_PAID",
    "tags": ["a", "b"],
    "sizes": [1, 2],
    "money": {"units": "5", "currency": "EUR"},
    "items": [{"sku": "x", "qty": 2}, {"sku": "y"}],
    "counts": {"a": 1},
    "by_number": {"7": {"sku": "seven"}},
    "flags": {"true": "yes"},
    "placed_at": "2026-01-01T00:00:00.123456789Z",
    "lasting": "1.000000001s",
    "extra": {"k": [1, None, "x"]},
    "anything": {"deep": True},
    "list": [1, "a"],
    "limit": "9",
    "mask": "a,b",
    "nothing": {},
    "history": ["2026-01-01T00:00:00Z"],
    "statuses": ["STATUS_OPEN"],
    "words": {"w": "v"},
    "doubles": [1.5],
    "amounts": {"m": {"units": "1"}},
    "note": "",
    "cash": {"units": "1"},
}
"""An order with something in every field that may be filled."""


def message(name: str, **values: object) -> Message:
    """Return a message of the shop from JSON values."""
    descriptor = TYPES.message(name)
    assert descriptor is not None
    return json_format.ParseDict(values, message_class(descriptor)())


def payload(name: str, **values: object) -> Payload:
    """Return a recorded message of the shop."""
    return Payload(name, message(name, **values).SerializeToString())


def as_json(found: Payload | ExpressionFailure) -> Mapping[str, object]:
    """Return a rendered payload's fields."""
    assert isinstance(found, Payload), found
    descriptor = TYPES.message(found.type_name)
    assert descriptor is not None
    parsed = message_class(descriptor).FromString(found.data)
    shown: Mapping[str, object] = json_format.MessageToDict(parsed, preserving_proto_field_name=True)
    return shown


def tree(**changes: JsonValue) -> dict[str, JsonValue]:
    """Return a definition of two steps, with changes at its top."""
    return {
        "saga": "probe",
        "input": ORDER,
        "targets": ["shop"],
        "steps": {"first": {"call": PLACE, "kind": "read"}},
        **changes,
    }


def source(**changes: JsonValue) -> str:
    """Return the same as YAML."""
    return to_yaml(Definition.model_validate(tree(**changes)))


def create(text: str) -> tuple[Plan | None, Sequence[Diagnostic]]:
    """Create a revision and return its plan."""

    async def run() -> tuple[Plan | None, Sequence[Diagnostic]]:
        revisions = Revisions(DictCatalogue(), FixedMethods(every_target()), FixedClock())
        revision, found = await revisions.create_revision(text, "probe.yaml")
        return (await revisions.plan("probe") if revision is not None else None), found

    return asyncio.run(run())


def plan(**changes: JsonValue) -> Plan:
    """Return the plan of a definition that has no error."""
    found, diagnostics = create(source(**changes))
    assert found is not None, [str(one) for one in diagnostics]
    return found


def rendered(
    request: JsonValue, given: Mapping[str, object], facts: Facts | None = None, input_type: str = ORDER
) -> Payload | ExpressionFailure:
    """Return what a step's request gives for an input."""
    steps: JsonValue = {
        "first": {"call": PLACE, "compensate": "none"},
        "second": {"call": PLACE, "compensate": "none", "optional": True, "request": request},
    }
    made = plan(input=input_type, steps=steps)
    name = "google.protobuf.Struct" if input_type == "json" else input_type
    return made.steps[list(made.steps)[1]].call.render(facts or FixedFacts(payload(name, **given)))


def any_of_an_unknown_type() -> bytes:
    """Return the bytes of an order whose Any holds a type that nobody knows."""
    number = next(field.number for field in shop_file().message_type[2].field if field.name == "packed")
    inner = b"\x0a\x10type.io/x.v1.Nop\x12\x01\x00"
    key = (number << 3) | 2
    return bytes([key & 0x7F | 0x80, key >> 7, len(inner)]) + inner


@cache
def every_name() -> Names:
    """Return the names of every kind that an expression may read."""
    order_, receipt, old = TYPES.message(ORDER), TYPES.message(RECEIPT), TYPES.message(LEGACY)
    offers = {
        "place": Offer(Replies.ONE, receipt),
        "gone": Offer(Replies.ONE, receipt),
        "many": Offer(Replies.MANY, receipt),
        "old": Offer(Replies.ONE, old),
    }
    names = during_steps(TYPES, order_, offers)
    return names.with_reply(receipt).with_item("item", ValueType("shop.v1.Item"))


def compiled(source: str) -> Expression:
    """Return an expression over these names."""
    found = every_name().language.compile(source)
    assert isinstance(found, Expression), (source, found)
    return found


def told(expression: Expression, facts: FixedFacts) -> str:
    """Return what an evaluation gives, told apart by type, sign of zero, and reason of a failure."""
    try:
        found = Reading(every_name(), expression.names, facts).evaluate(expression)
    except EvaluationFailed as failed:
        return f"failed: {failed.why}"
    # bytes are bytes to whoever reads them, whichever of Python's two types they are
    found = bytes(found) if isinstance(found, bytearray) else found
    return f"{type(found).__name__} {found!r}"
