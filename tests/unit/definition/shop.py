"""A service with a field of every kind, described without generated code."""

from google.longrunning import operations_pb2
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodOptions,
)

from orchestrator.v1.annotations_pb2 import SagaMethod
from orchestrator.v1.annotations_pb2 import saga as annotation

F = FieldDescriptorProto
_SCALARS = {
    "double": F.TYPE_DOUBLE,
    "float": F.TYPE_FLOAT,
    "int32": F.TYPE_INT32,
    "int64": F.TYPE_INT64,
    "uint32": F.TYPE_UINT32,
    "uint64": F.TYPE_UINT64,
    "bool": F.TYPE_BOOL,
    "string": F.TYPE_STRING,
    "bytes": F.TYPE_BYTES,
}
_ORDER = """
order_id string; count int32; total int64; seats uint32; mass uint64; price double; ratio float; paid bool; raw bytes;
status Status; tags *string; sizes *int32; money Money; items *Item; counts map(string,int32);
by_number map(int32,Item);
flags map(bool,string); placed_at google.protobuf.Timestamp; lasting google.protobuf.Duration;
extra google.protobuf.Struct; anything google.protobuf.Value; list google.protobuf.ListValue;
packed google.protobuf.Any; limit google.protobuf.Int64Value;
mask google.protobuf.FieldMask; nothing google.protobuf.Empty;
note ?string; history *google.protobuf.Timestamp; card |pay string; cash |pay Money; nested_name string;
statuses *Status; words map(string,string); doubles *double; amounts map(string,Money); empty_list *google.protobuf.Any;
due ?google.protobuf.Timestamp; stock ?Status
"""


def shop_file(name: str = "shop/v1/shop.proto") -> FileDescriptorProto:
    """Return the file; services of other languages would send the very same."""
    file = FileDescriptorProto(name=name, package="shop.v1", syntax="proto3")
    file.dependency.extend(
        f"google/protobuf/{one}.proto"
        for one in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
    )
    status = file.enum_type.add(name="Status")
    for number, value in enumerate(("STATUS_UNSPECIFIED", "STATUS_OPEN", "STATUS_PAID")):
        status.value.add(name=value, number=number)
    _message(file, "Money", "units int64; currency string")
    _message(file, "Item", "sku string; qty int32; price Money; parent Item")
    _message(file, "Order", _ORDER)
    _message(file, "Receipt", "receipt_id string; order Order; ok bool")
    _message(file, "CancelRequest", "order_id string; receipt_id string; reason string")
    service = file.service.add(name="Shop")
    service.method.add(name="Place", input_type=".shop.v1.Order", output_type=".shop.v1.Receipt")
    service.method.add(name="Cancel", input_type=".shop.v1.CancelRequest", output_type=".google.protobuf.Empty")
    service.method.add(
        name="Watch", input_type=".shop.v1.CancelRequest", output_type=".shop.v1.Receipt", server_streaming=True
    )
    service.method.add(
        name="Upload", input_type=".shop.v1.CancelRequest", output_type=".shop.v1.Receipt", client_streaming=True
    )
    return file


def legacy_file() -> FileDescriptorProto:
    """Return a proto2 file, beside the shop's: its texts are any bytes, and its open enums are closed to some."""
    file = FileDescriptorProto(name="shop/v1/legacy.proto", package="shop.v1", syntax="proto2")
    file.dependency.append("shop/v1/shop.proto")
    kind = file.enum_type.add(name="Kind")
    for number, value in enumerate(("KIND_A", "KIND_B"), start=2):
        kind.value.add(name=value, number=number)
    _message(
        file,
        "Legacy",
        "text string; texts *string; number int32; status Status; statuses *Status; by_name map(string,Status); "
        "HasField int32; parent Legacy; kind int32",
    )
    fields = {field.name: field for field in file.message_type[0].field}
    fields["number"].default_value = "7"
    fields["kind"].type, fields["kind"].type_name = F.TYPE_ENUM, ".shop.v1.Kind"
    return file


def stock_file(**said: SagaMethod) -> FileDescriptorProto:
    """Return a service whose owner says what its methods are; `said` takes a method's name."""
    file = FileDescriptorProto(name="stock/v1/stock.proto", package="stock.v1", syntax="proto3")
    file.dependency.append("orchestrator/v1/annotations.proto")
    _message(file, "Amount", "sku string")
    service = file.service.add(name="Stock")
    facts: dict[str, SagaMethod] = {
        "Count": SagaMethod(effect=SagaMethod.READ, probes="stock.v1.Stock/Reserve"),
        "Reserve": SagaMethod(idempotent=True, barrier=True, effect=SagaMethod.COMPENSATABLE),
        "Release": SagaMethod(idempotent=True, compensates="stock.v1.Stock/Reserve"),
        "Ship": SagaMethod(effect=SagaMethod.PIVOT, outcome_profile=SagaMethod.DTM),
        "Announce": SagaMethod(effect=SagaMethod.RETRIABLE),
        "Move": SagaMethod(),
        **said,
    }
    for name, options in facts.items():
        method = service.method.add(name=name, input_type=".stock.v1.Amount", output_type=".stock.v1.Amount")
        method.options.Extensions[annotation].CopyFrom(options)
    for name, level in (("Look", MethodOptions.NO_SIDE_EFFECTS), ("Put", MethodOptions.IDEMPOTENT)):
        method = service.method.add(name=name, input_type=".stock.v1.Amount", output_type=".stock.v1.Amount")
        method.options.idempotency_level = level
    return file


def jobs_file() -> FileDescriptorProto:
    """Return a service whose methods answer with long-running operations; the file of those is not brought along."""
    file = FileDescriptorProto(name="jobs/v1/jobs.proto", package="jobs.v1", syntax="proto3")
    file.dependency.append("google/longrunning/operations.proto")
    _message(file, "Job", "job_id string")
    _message(file, "Result", "result_id string")
    service = file.service.add(name="Jobs")
    for name, response in (("Run", "Result"), ("Begin", ""), ("Lose", "Nowhere")):
        method = service.method.add(name=name, input_type=".jobs.v1.Job", output_type=".google.longrunning.Operation")
        if response:
            method.options.Extensions[operations_pb2.operation_info].response_type = response
    return file


def old_file() -> FileDescriptorProto:
    """Return a proto2 file with a required field."""
    file = FileDescriptorProto(name="old.proto", package="old", syntax="proto2")
    message = file.message_type.add(name="Must")
    message.field.add(name="key", number=1, type=F.TYPE_STRING, label=F.LABEL_REQUIRED)
    message.field.add(name="more", number=2, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    outer = file.message_type.add(name="Outer")
    outer.field.add(name="must", number=1, type=F.TYPE_MESSAGE, type_name=".old.Must", label=F.LABEL_OPTIONAL)
    service = file.service.add(name="Old")
    service.method.add(name="Put", input_type=".old.Outer", output_type=".old.Must")
    return file


def as_set(*files: FileDescriptorProto) -> bytes:
    """Return files as a descriptor set."""
    return FileDescriptorSet(file=files).SerializeToString()


def _message(file: FileDescriptorProto, name: str, fields: str) -> None:
    message = file.message_type.add(name=name)
    if "|pay" in fields:  # real oneofs stand before the synthetic ones of `optional`
        message.oneof_decl.add(name="pay")
    for number, text in enumerate(fields.replace("\n", " ").split(";"), start=1):
        words = text.split()
        _field(message, words[0], number, words[-1], words[1] if len(words) > 2 else "")


def _field(message: DescriptorProto, name: str, number: int, kind: str, oneof: str) -> None:
    field = message.field.add(name=name, number=number, label=F.LABEL_OPTIONAL)
    if kind.startswith("map("):
        key, value = kind[4:-1].split(",")
        entry = message.nested_type.add(name="".join(part.title() for part in name.split("_")) + "Entry")
        entry.options.map_entry = True
        _field(entry, "key", 1, key, "")
        _field(entry, "value", 2, value, "")
        field.label = F.LABEL_REPEATED
        field.type = F.TYPE_MESSAGE
        field.type_name = f".shop.v1.{message.name}.{entry.name}"
        return
    if kind.startswith("*"):
        field.label = F.LABEL_REPEATED
    if oneof:
        field.oneof_index = 0
    bare = kind.lstrip("*?")
    if bare in _SCALARS:
        field.type = _SCALARS[bare]
    else:
        field.type = F.TYPE_ENUM if bare == "Status" else F.TYPE_MESSAGE
        field.type_name = f".{bare}" if "." in bare else f".shop.v1.{bare}"
    if kind.startswith("?"):
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
