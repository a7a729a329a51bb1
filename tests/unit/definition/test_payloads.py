"""Input that is taken, and what people see of a payload."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from google.protobuf import json_format

from orchestrator.errors import InputInvalid, JournalCorrupted, PlanMissing
from orchestrator.limits import JSON_DEPTH_MAX, JSON_NODES_MAX, PAYLOAD_BYTES_MAX
from orchestrator.ports.plans import JsonInput
from orchestrator.values import Payload
from services.epro.v1 import report_pb2
from tests.unit.definition.desk import Desk
from tests.unit.definition.probe import ORDER, any_of_an_unknown_type, payload, source

DEMO = Path(__file__).parents[3] / "compose" / "definitions" / "epro_intake.yaml"


async def test_typed_input_is_checked_and_kept_as_it_is(desk: Desk) -> None:
    await desk.keep(source())
    plan = await desk.revisions.plan("probe")
    order = payload(ORDER, order_id="x")

    assert desk.revisions.input(plan, order) is order
    for wrong, why in [
        (Payload("shop.v1.Money", b""), "input: is a shop.v1.Money, definition probe takes shop.v1.Order"),
        (Payload(ORDER, b"\xff"), "input: is not a shop.v1.Order"),
        (Payload(ORDER, b"\0" * (PAYLOAD_BYTES_MAX + 1)), "input: has 4194305 bytes, more than the 4194304 allowed"),
    ]:
        with pytest.raises(InputInvalid, match=why):
            desk.revisions.input(plan, wrong)


async def test_json_input_becomes_the_plans_type(desk: Desk) -> None:
    await desk.keep(source())
    plan = await desk.revisions.plan("probe")

    given = desk.revisions.input(
        plan, JsonInput({"order_id": "x", "items": [{"sku": "a"}], "placedAt": "2026-01-01T00:00:00Z"})
    )

    assert given == payload(ORDER, order_id="x", items=[{"sku": "a"}], placed_at="2026-01-01T00:00:00Z")


async def test_untyped_json_input_stays_json(desk: Desk) -> None:
    await desk.keep(source(input="json"))
    plan = await desk.revisions.plan("probe")

    given = desk.revisions.input(plan, JsonInput({"a": [1, None, {"b": True}]}))

    assert given.type_name == "google.protobuf.Struct"
    assert desk.revisions.to_json(plan, given) == {"a": [1.0, None, {"b": True}]}


def nested(depth: int) -> Mapping[str, object]:
    found: dict[str, object] = {}
    for _ in range(depth - 1):
        found = {"parent": found}
    return found


@pytest.mark.parametrize("shape", ["mapping", "list"])
async def test_the_deepest_json_input_that_is_taken_can_be_read(desk: Desk, shape: str) -> None:
    await desk.keep(source(input="json"))
    plan = await desk.revisions.plan("probe")
    value: object = 1
    for _ in range(JSON_DEPTH_MAX - 2):
        value = {"a": value} if shape == "mapping" else [value]

    kept = desk.revisions.input(plan, JsonInput({"a": value}))

    assert desk.revisions.to_json(plan, kept) == {"a": value}
    with pytest.raises(InputInvalid, match="nested more than 32 deep"):
        desk.revisions.input(plan, JsonInput({"a": [value]}))


@pytest.mark.parametrize(
    ("values", "path", "why"),
    [
        ({"nope": 1}, "input.nope", "shop.v1.Order has no field `nope`"),
        ({"items": [{"sku": "a"}, {"qty": "many"}]}, "input.items[1].qty", "int32 is needed, not a text"),
        ({"order_id": 5}, "input.order_id", "string is needed"),
        ({"status": "NOPE"}, "input.status", "shop.v1.Status has no such value"),
        ({"card": "x", "cash": {}}, "input.cash", "exclude each other"),
        ({"placed_at": "soon"}, "input.placed_at", "the text is not a timestamp"),
        ({"due": {"a": 1}}, "input.due", "a timestamp is needed, not a mapping"),
        ({"lasting": "5m"}, "input", "Failed to parse lasting field"),
        ({"mask": 5}, "input.mask", "FieldMask is needed"),
        ({"by_number": {"x": {}}}, "input.by_number['x']", "int32 is needed"),
        ({"packed": {"@type": "type.googleapis.com/nope.Nope"}}, "input.packed", "Any cannot be filled"),
        ({"list": {"a": 1}}, "input.list", "ListValue is needed"),
        ({"order_id": "\ud800"}, "input.order_id", "surrogate"),
        ({"status": "\ud800"}, "input.status", "shop.v1.Status has no such value"),
        ({"\ud800": 1}, "input.\ud800", "shop.v1.Order has no field"),
        ({"counts": {"\ud800": 1}}, "input.counts['\\ud800']", "surrogate"),
        ({"order_id": "é", "raw": "\ud800"}, "input.raw", "base64"),
        ({"items": [{"parent": nested(JSON_DEPTH_MAX)}]}, "input", "nested more than 32 deep"),
        ({"sizes": [0] * JSON_NODES_MAX}, "input", "has more than 500000 values"),
        ({"order_id": "x" * PAYLOAD_BYTES_MAX}, "input", "more than the 4194304 allowed"),
    ],
)
async def test_json_input_that_does_not_fit_names_the_field(
    desk: Desk, values: Mapping[str, object], path: str, why: str
) -> None:
    await desk.keep(source())
    plan = await desk.revisions.plan("probe")

    with pytest.raises(InputInvalid) as caught:
        desk.revisions.input(plan, JsonInput(values))

    assert caught.value.path == path
    assert why in caught.value.why


async def test_payloads_are_shown_with_the_fields_own_names(desk: Desk) -> None:
    await desk.revisions.create_revision(DEMO.read_text(encoding="utf-8"), DEMO.name)
    plan = await desk.revisions.plan("epro_intake")
    report = json_format.ParseDict({"report_id": "r", "answers": [{"item": 1, "value": 0}]}, report_pb2.Report())

    shown = desk.revisions.to_json(plan, Payload("epro.v1.Report", report.SerializeToString()))

    assert shown == {"report_id": "r", "answers": [{"item": 1, "value": 0}]}


async def test_a_payload_that_cannot_be_shown_says_so(desk: Desk) -> None:
    await desk.keep(source())
    plan = await desk.revisions.plan("probe")

    with pytest.raises(JournalCorrupted, match=r"a recorded shop.v1.Order cannot be shown"):
        desk.revisions.to_json(plan, Payload(ORDER, b"\xff"))
    with pytest.raises(PlanMissing, match=r"does not know the type nope.Nope"):
        desk.revisions.to_json(plan, Payload("nope.Nope", b""))
    with pytest.raises(JournalCorrupted):
        desk.revisions.to_json(plan, Payload(ORDER, any_of_an_unknown_type()))
