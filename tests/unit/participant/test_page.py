"""What docs/participants.md says about the kit is what the kit does."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from orchestrator.participant import POSTGRES, SQLITE, Barrier
from orchestrator.proving import RULES
from tests.unit.participant.doubles import Context

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "participants.md").read_text(encoding="utf-8")


def block(opening: str) -> str:
    found = re.search(rf"^```{re.escape(opening)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, opening
    return found[1]


def payment_types() -> SimpleNamespace:
    file = descriptor_pb2.FileDescriptorProto(name="payment.proto", package="payment.v1", syntax="proto3")
    for name, fields in {
        "ChargeRequest": {"order_id": 9, "cents": 5},
        "ChargeReply": {"receipt": 9},
        "RefundRequest": {"order_id": 9},
        "RefundReply": {},
    }.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, label=1, type=kind)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return SimpleNamespace(
        **{
            each.name: GetMessageClass(pool.FindMessageTypeByName(f"payment.v1.{each.name}"))
            for each in file.message_type
        }
    )


@pytest.fixture
def pb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    types = payment_types()
    monkeypatch.setitem(sys.modules, "payment_pb2", types)
    monkeypatch.setitem(sys.modules, "payment_pb2_grpc", SimpleNamespace(PaymentServicer=object))
    return types


@pytest.fixture
def payment(pb: SimpleNamespace, tmp_path: Path) -> Any:
    names: dict[str, Any] = {}
    exec(block("python payment.py"), names)  # the page's own example
    return names["Payment"](tmp_path / "payment.sqlite")


def charges(payment: Any) -> int:
    return int(payment.db.execute("SELECT count(*) FROM charges").fetchone()[0])


def test_the_shown_service_charges_once_and_refunds_once(payment: Any, pb: SimpleNamespace) -> None:
    request = pb.ChargeRequest(order_id="O1", cents=100)
    first = payment.Charge(request, Context(idempotency_key="F"))
    assert payment.Charge(request, Context(idempotency_key="F")) == first
    assert (first.receipt, charges(payment)) == ("receipt-O1", 1)
    for _ in range(2):
        payment.Refund(pb.RefundRequest(order_id="O1"), Context(idempotency_key="C", saga_forward_key="F"))
    assert charges(payment) == 0


def test_the_shown_service_refuses_as_the_page_says(payment: Any, pb: SimpleNamespace) -> None:
    context = Context(idempotency_key="F")
    with pytest.raises(RuntimeError):
        payment.Charge(pb.ChargeRequest(order_id="O1", cents=50_001), context)
    assert context.ended == (grpc.StatusCode.FAILED_PRECONDITION, "the card's limit is 500.00")
    assert context.info.reason == "OVER_LIMIT"
    payment.Refund(pb.RefundRequest(order_id="O1"), Context(idempotency_key="C", saga_forward_key="F"))
    late = Context(idempotency_key="F")
    with pytest.raises(RuntimeError):
        payment.Charge(pb.ChargeRequest(order_id="O1", cents=1), late)
    assert late.info.reason == "SAGA_STEP_ALREADY_COMPENSATED"
    assert charges(payment) == 0


def test_the_shown_table_is_the_kits() -> None:
    shown = " ".join(re.sub(r"--.*", "", block("sql")).replace(";", "").split())
    made = " ".join(Barrier(POSTGRES).ddl()[0].replace(" IF NOT EXISTS", "").split())
    assert shown == made
    assert "request BLOB" in " ".join(Barrier(SQLITE).ddl()[0].split())


def test_every_field_of_the_vectors_is_explained() -> None:
    calls = [
        call
        for vector in json.loads((DOCS / "participants/vectors.json").read_text(encoding="utf-8"))["vectors"]
        for call in vector["calls"]
    ]
    used = {name for call in calls for name in call} - {"expect"}
    used |= {f"expect.{name}" for call in calls for name in call["expect"]}
    explained = {
        name
        for line in PAGE.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w.]+)`", line.split(" | ")[0])
    }
    assert used <= explained


def test_every_rule_of_the_proving_ground_is_on_the_page() -> None:
    told = [found[1] for found in re.finditer(r"^\| `([a-z-]+)` \| .* \| .* \|$", PAGE, re.MULTILINE)]
    assert [name for name in told if name in RULES] == list(RULES)
