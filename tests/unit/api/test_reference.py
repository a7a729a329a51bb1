"""docs/api.md leaves out nothing that is on the wire."""

import ast
import re
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor

from orchestrator import errors
from orchestrator.api import status
from orchestrator.v1 import (
    admin_service_pb2,
    definition_pb2,
    definition_service_pb2,
    diagnostics_service_pb2,
    operator_service_pb2,
    saga_pb2,
    saga_service_pb2,
)

DOCS = Path(__file__).parents[3] / "docs"
FILES: tuple[FileDescriptor, ...] = (
    saga_pb2.DESCRIPTOR,
    saga_service_pb2.DESCRIPTOR,
    operator_service_pb2.DESCRIPTOR,
    definition_pb2.DESCRIPTOR,
    definition_service_pb2.DESCRIPTOR,
    admin_service_pb2.DESCRIPTOR,
    diagnostics_service_pb2.DESCRIPTOR,
)


def sections() -> dict[str, str]:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    parts = [part.partition("\n") for part in text.replace("\n## ", "\n### ").split("\n### ")[1:]]
    return {name: body for name, _, body in parts}


def test_every_method_has_its_errors_and_its_retry() -> None:
    shown = sections()
    for file in FILES:
        for service in file.services_by_name.values():
            assert service.name in shown
            for method in service.methods:
                assert "Retry: " in shown[method.name], method.full_name
                assert "Reasons: " in shown[method.name], method.full_name
                assert f"[{method.input_type.name}]" in shown[method.name]


def test_every_message_has_its_fields_and_every_enum_its_values() -> None:
    shown = sections()
    for file in FILES:
        for message in file.message_types_by_name.values():
            for field in message.fields:
                assert f"\n| `{field.name}` | " in shown[message.name], field.full_name
        for enum in file.enum_types_by_name.values():
            for value in enum.values:
                assert f"\n| `{value.name}` | " in shown[enum.name], value.name


def test_every_reason_a_method_names_is_one_we_give() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    known = set(re.findall(r"`([A-Z][A-Z_]+)`", text))
    for name in ("QUEUE_FULL", "MAILBOX_FULL", "READER_TOO_SLOW", "INTERNAL"):
        assert name in known
    for kind in status.TABLE:
        if "reason" in vars(kind) and issubclass(kind, errors.OrchestratorError):
            assert kind.reason in known
    shown = sections()
    for file in FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                reasons = shown[method.name].partition("Reasons: ")[2].partition("Retry: ")[0]
                named = {word for word in re.findall(r"`([A-Z][A-Z_]+)`", reasons) if "_" in word or word == "DRAINING"}
                assert named <= known | {"COMPENSATED"}, method.full_name


def test_every_refusal_in_the_code_is_in_the_table_and_the_other_way_round() -> None:
    used: set[str] = set()
    for path in (DOCS.parent / "orchestrator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Rejected":
                (reason, *_) = node.args
                assert isinstance(reason, ast.Constant), f"{path}: a reason is a word, not made up on the way"
                used.add(str(reason.value))
    assert used == set(errors.REFUSALS)
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    for word in used:
        assert f"\n| `{word}` | " in page
