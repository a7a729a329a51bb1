"""docs/api.md leaves out nothing that is on the wire."""

from pathlib import Path

from google.protobuf.descriptor import FileDescriptor

from orchestrator import errors
from orchestrator.api import status
from orchestrator.v1 import definition_pb2, definition_service_pb2, saga_pb2, saga_service_pb2

DOCS = Path(__file__).parents[3] / "docs"
FILES: tuple[FileDescriptor, ...] = (
    saga_pb2.DESCRIPTOR,
    saga_service_pb2.DESCRIPTOR,
    definition_pb2.DESCRIPTOR,
    definition_service_pb2.DESCRIPTOR,
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
    for name in ("QUEUE_FULL", "MAILBOX_FULL", "READER_TOO_SLOW", "TERMINAL_STATE", "RESPONSE_TOO_LARGE", "INTERNAL"):
        assert f"`{name}`" in text
    for kind in status.TABLE:
        if "reason" in vars(kind) and issubclass(kind, errors.OrchestratorError):
            assert f"`{kind.reason}`" in text
