"""What a target serves, from the running service or from files: complete, in one order, or a clear refusal."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from msgspec import Struct
from msgspec.structs import force_setattr

from orchestrator.errors import ConfigError, TargetUnreachable
from orchestrator.invoker import DescriptorSetFile, ProtoFiles, TargetConfig
from orchestrator.invoker.descriptors import pool_of
from orchestrator.limits import REFLECTION_ATTEMPTS_MAX
from orchestrator.ports.methods import MethodFacts
from orchestrator.saga.events import Phase
from orchestrator.saga.plan import OutcomeProfile
from tests.integration.invoker.calling import Caller, calling
from tests.integration.invoker.peers import Context, dead_address, serving, started

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

HEALTH = "grpc.health.v1.Health"
Request = reflection_pb2.ServerReflectionRequest
Response = reflection_pb2.ServerReflectionResponse


class FewWords:
    """Reflection as some servers do it: one file per answer, or not even that."""

    def __init__(self, *files: FileDescriptorProto, hidden: Iterable[str] = ()) -> None:
        self.files = {file.name: file for file in files}
        self.hidden = set(hidden)
        self.questions: list[str] = []

    async def answer(self, requests: AsyncIterator[Request], _context: object) -> AsyncIterator[Response]:
        async for request in requests:
            yield self._one(request)

    def _one(self, request: Request) -> Response:
        response = Response(original_request=request)
        self.questions.append(request.file_by_filename or request.file_containing_symbol or "list")
        if request.HasField("list_services"):
            response.list_services_response.service.add(name="shop.v1.Shop")
            return response
        name = request.file_by_filename or "shop.proto"
        if name in self.files and name not in self.hidden:
            response.file_descriptor_response.file_descriptor_proto.append(self.files[name].SerializeToString())
        else:
            response.error_response.error_code = 5
        return response

    def server(self, version: str = "v1") -> aio.Server:
        return self.served_by(aio.server(), version)

    def served_by(self, server: aio.Server, version: str) -> aio.Server:
        handlers: dict[str, Any] = {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                self.answer, request_deserializer=Request.FromString, response_serializer=Response.SerializeToString
            )
        }
        service = f"grpc.reflection.{version}.ServerReflection"
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        return server


def file_proto(name: str, *imports: str, field: str = "") -> FileDescriptorProto:
    """A file with one message `Stem`, importing others."""
    stem = Path(name).stem
    file = FileDescriptorProto(name=name, package="shop.v1", syntax="proto3", dependency=imports)
    message = file.message_type.add(name=stem.capitalize())
    if field:
        message.field.add(
            name="it", number=1, type=FieldDescriptorProto.TYPE_MESSAGE, type_name=field, label=1, json_name="it"
        )
    file.source_code_info.location.add(leading_comments="a comment")
    return file


SHOP = file_proto("shop.proto", "order.proto", field=".shop.v1.Order")
ORDER = file_proto("order.proto", "google/protobuf/timestamp.proto", field=".google.protobuf.Timestamp")
TIMESTAMP = FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb)


def names(data: bytes) -> list[str]:
    return [file.name for file in FileDescriptorSet.FromString(data).file]


# --- reflection ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_a_service_with_one_version_of_reflection_is_understood(version: str) -> None:
    async with started(FewWords(SHOP, ORDER, TIMESTAMP).server(version)) as address, calling(address) as caller:
        data = await caller.invoker.methods.descriptors("shop")
    assert names(data) == ["google/protobuf/timestamp.proto", "order.proto", "shop.proto"]
    order = pool_of(data).FindMessageTypeByName("shop.v1.Shop").fields_by_name["it"].message_type
    assert order is not None
    assert order.full_name == "shop.v1.Order"


class Stumbling(FewWords):
    """Ends its first conversations as grpc.aio reports a stream that was ended under a write."""

    def __init__(self, stumbles: int) -> None:
        super().__init__(SHOP, ORDER, TIMESTAMP)
        self.stumbles = stumbles

    async def answer(self, requests: AsyncIterator[Request], _context: Any) -> AsyncIterator[Response]:
        if self.stumbles > 0:
            self.stumbles -= 1
            await _context.abort(grpc.StatusCode.INTERNAL, "Internal error from Core")
        async for response in super().answer(requests, _context):
            yield response


async def test_a_conversation_that_ended_without_a_clear_word_is_begun_anew() -> None:
    async with started(Stumbling(REFLECTION_ATTEMPTS_MAX - 1).server()) as address, calling(address) as caller:
        assert "shop.proto" in names(await caller.invoker.methods.descriptors("shop"))
    async with started(Stumbling(REFLECTION_ATTEMPTS_MAX).server()) as address, calling(address) as caller:
        with pytest.raises(TargetUnreachable, match="INTERNAL"):
            await caller.invoker.methods.descriptors("shop")


async def test_a_version_whose_end_stays_unclear_gives_way_to_the_other() -> None:
    older = FewWords(SHOP, ORDER, TIMESTAMP).server("v1alpha")
    both = Stumbling(REFLECTION_ATTEMPTS_MAX).served_by(older, "v1")
    async with started(both) as address, calling(address) as caller:
        assert "shop.proto" in names(await caller.invoker.methods.descriptors("shop"))


async def test_a_python_service_with_standard_reflection_is_understood() -> None:
    server = aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.aio.HealthServicer(), server)
    reflection.enable_server_reflection([HEALTH, reflection.SERVICE_NAME], server)
    async with started(server) as address, calling(address) as caller:
        data = await caller.invoker.methods.descriptors("shop")
    assert pool_of(data).FindServiceByName(HEALTH).methods_by_name["Check"].input_type.name == "HealthCheckRequest"


async def test_imports_are_asked_for_once_each_and_well_known_types_may_be_missing() -> None:
    peer = FewWords(SHOP, ORDER)
    async with started(peer.server()) as address, calling(address) as caller:
        data = await caller.invoker.methods.descriptors("shop")
    assert peer.questions == ["list", "shop.v1.Shop", "order.proto", "google/protobuf/timestamp.proto"]
    assert names(data) == ["google/protobuf/timestamp.proto", "order.proto", "shop.proto"]


async def test_equal_descriptors_are_equal_bytes_and_comments_do_not_count() -> None:
    bare = FileDescriptorProto.FromString(SHOP.SerializeToString())
    bare.ClearField("source_code_info")
    seen = set()
    for peer in (FewWords(SHOP, ORDER, TIMESTAMP), FewWords(TIMESTAMP, ORDER, bare)):
        async with started(peer.server()) as address, calling(address) as caller:
            seen.add(await caller.invoker.methods.descriptors("shop"))
            seen.add(await caller.invoker.methods.descriptors("shop"))
    assert len(seen) == 1


async def test_a_service_without_reflection_is_told_apart_from_one_that_is_away() -> None:
    async with serving({}) as address, calling(address) as caller:
        with pytest.raises(TargetUnreachable, match=r"serves no reflection; enable .*descriptors: {set: FILE}") as told:
            await caller.invoker.methods.descriptors("shop")
        assert told.value.metadata == {"target": "shop", "address": address}
    address = dead_address()
    async with calling(address) as caller:
        with pytest.raises(TargetUnreachable, match=f"'shop' at {address} .*Connection refused.*is it running"):
            await caller.invoker.methods.descriptors("shop")


async def test_a_missing_import_is_named() -> None:
    async with started(FewWords(SHOP, ORDER, hidden=["order.proto"]).server()) as address, calling(address) as caller:
        with pytest.raises(TargetUnreachable, match=r"does not serve the imported file 'order.proto'"):
            await caller.invoker.methods.descriptors("shop")


async def test_files_that_contradict_each_other_are_refused() -> None:
    liar = file_proto("order.proto", field=".shop.v1.Nothing")
    async with started(FewWords(SHOP, liar).server()) as address, calling(address) as caller:
        with pytest.raises(TargetUnreachable, match=r"contradict each other: .*shop\.v1\.Nothing"):
            await caller.invoker.methods.descriptors("shop")


async def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.invoker.reflection.DESCRIPTORS_FILES_MAX", 2)
    async with started(FewWords(SHOP, ORDER, TIMESTAMP).server()) as address, calling(address) as caller:
        with pytest.raises(TargetUnreachable, match="more than 2 files"):
            await caller.invoker.methods.descriptors("shop")


async def test_an_endless_chain_of_imports_ends_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.invoker.reflection.DESCRIPTORS_FILES_MAX", 50)

    class Endless(FewWords):
        def _one(self, request: Request) -> Response:
            number = int(request.file_by_filename.removesuffix(".proto") or 0)
            if not request.HasField("list_services"):
                self.files = {f"{number}.proto": file_proto(f"{number}.proto", f"{number + 1}.proto")}
                self.files["shop.proto"] = self.files[f"{number}.proto"]
            return super()._one(request)

    async with started(Endless().server()) as address, calling(address) as caller:
        with pytest.raises(TargetUnreachable, match="more than 50 files"):
            await caller.invoker.methods.descriptors("shop")


async def test_an_unconfigured_target_is_told_which_are_configured() -> None:
    async with calling(dead_address()) as caller:
        with pytest.raises(TargetUnreachable, match="'ship' is not configured; configured are: shop"):
            await caller.invoker.methods.descriptors("ship")


# --- files ---------------------------------------------------------------------------------------------------------


def from_files(source: DescriptorSetFile | ProtoFiles) -> TargetConfig:
    return TargetConfig(name="shop", address=dead_address(), descriptors=source)


async def test_a_descriptor_set_needs_no_running_service(tmp_path: Path) -> None:
    path = tmp_path / "set.binpb"
    path.write_bytes(FileDescriptorSet(file=[SHOP, ORDER, TIMESTAMP]).SerializeToString())
    async with calling(from_files(DescriptorSetFile(path=path))) as caller:
        data = await caller.invoker.methods.descriptors("shop")
    assert names(data) == ["google/protobuf/timestamp.proto", "order.proto", "shop.proto"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (FileDescriptorSet(file=[SHOP]).SerializeToString(), "imports are missing: order.proto; .*--include_imports"),
        (b"not a set", "is not a serialised FileDescriptorSet"),
    ],
)
async def test_a_set_that_cannot_be_used_says_why(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "set.binpb"
    path.write_bytes(content)
    async with calling(from_files(DescriptorSetFile(path=path))) as caller:
        with pytest.raises(TargetUnreachable, match=why):
            await caller.invoker.methods.descriptors("shop")
        path.unlink()
        with pytest.raises(TargetUnreachable, match="cannot be read"):
            await caller.invoker.methods.descriptors("shop")


async def test_proto_files_are_compiled(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed, so nothing can compile .proto files")
    folder = tmp_path / "protos" / "shop" / "v1"
    folder.mkdir(parents=True)
    (folder / "order.proto").write_text(
        'syntax = "proto3"; package shop.v1; import "google/protobuf/timestamp.proto";'
        " message Order { google.protobuf.Timestamp at = 1; }"
    )
    shop = folder / "shop.proto"
    shop.write_text(
        'syntax = "proto3"; package shop.v1; import "shop/v1/order.proto"; message Receipt {}'
        " service Shop { rpc Buy(Order) returns (Receipt); }"
    )
    async with calling(from_files(ProtoFiles(files=(shop,), include=(tmp_path / "protos",)))) as caller:
        data = await caller.invoker.methods.descriptors("shop")
    assert names(data) == ["google/protobuf/timestamp.proto", "shop/v1/order.proto", "shop/v1/shop.proto"]
    async with calling(from_files(ProtoFiles(files=(shop,)))) as caller:
        with pytest.raises(TargetUnreachable, match=r"protoc failed: (.|\n)*order\.proto(.|\n)*include: \[FOLDER\]"):
            await caller.invoker.methods.descriptors("shop")


async def test_without_a_compiler_proto_files_are_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shop.proto"
    path.write_text('syntax = "proto3";')
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"grpcio-tools, which is not installed.*{set: FILE}"):
        Caller(from_files(ProtoFiles(files=(path,))))


# --- replies -------------------------------------------------------------------------------------------------------


def set_of(folder: Path) -> DescriptorSetFile:
    """The descriptors of google.rpc, whose messages the tests below reply with."""
    path = folder / "set.binpb"
    files = (status_pb2, error_details_pb2)
    protos = [FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in files]
    for dependency in ("any", "duration"):
        module = __import__(f"google.protobuf.{dependency}_pb2", fromlist=["DESCRIPTOR"])
        protos.append(FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb))
    path.write_bytes(FileDescriptorSet(file=protos).SerializeToString())
    return DescriptorSetFile(path=path)


async def test_an_answer_that_is_not_its_type_may_have_been_applied(tmp_path: Path) -> None:
    good = status_pb2.Status(code=5, message="fine").SerializeToString()

    async def echo(request: bytes, _context: Context) -> bytes:
        return request

    async with serving({"Buy": echo}) as address:
        target = TargetConfig(name="shop", address=address, descriptors=set_of(tmp_path))
        async with calling(target) as caller:
            await caller.invoker.methods.descriptors("shop")

            async def reply(data: bytes, type_name: str = "google.rpc.Status") -> Any:
                request = caller.request(data=data)
                force_setattr(cast("Struct", request), "reply_type", type_name)
                return await caller.begin(request)[1]

            assert (await reply(good)).code == "OK"
            bad = await reply(b"\x12\x05abc")
            assert (bad.code, bad.phase, bad.applied, bad.reply) == ("INTERNAL", Phase.REPLIED, None, None)
            assert "'shop'" in bad.message
            assert "google.rpc.Status" in bad.message
            assert (await reply(b"\x12\x02\xff\xfe")).code == "INTERNAL", "text that is not UTF-8"
            assert (await reply(b"\x12\x05abc", "shop.v1.Unknown")).code == "OK", (
                "a type nobody described is not judged"
            )


async def test_types_are_learnt_in_the_background_after_a_restart(tmp_path: Path) -> None:
    async def echo(request: bytes, _context: Context) -> bytes:
        return request

    async with serving({"Buy": echo}) as address:
        target = TargetConfig(name="shop", address=address, descriptors=set_of(tmp_path))
        async with calling(target) as caller:
            request = caller.request(data=b"\x12\x05abc")
            force_setattr(cast("Struct", request), "reply_type", "google.rpc.Status")
            while (await caller.begin(request)[1]).code != "INTERNAL":
                pass  # every turn is a whole call, so the background gets its turns


async def test_a_target_that_describes_nothing_is_still_called() -> None:
    async def echo(request: bytes, _context: Context) -> bytes:
        return request

    async with serving({"Buy": echo}) as address, calling(address) as caller:
        for _ in range(20):
            assert (await caller.call(data=b"\xff\xff")).code == "OK"


async def test_facts_are_what_was_declared() -> None:
    target = TargetConfig(
        name="shop",
        address=dead_address(),
        every=MethodFacts(idempotent=True),
        methods={"shop.v1.Shop/Buy": MethodFacts(idempotent=False, profile=OutcomeProfile.DTM)},
    )
    other = TargetConfig(name="archive", address=dead_address(), every=MethodFacts(barrier=True))
    async with calling(target, other) as caller:
        methods = caller.invoker.methods
        assert methods.targets() == ("archive", "shop")
        shop, archive = methods.facts("shop"), methods.facts("archive")
        assert shop
        assert archive
        assert shop.of("shop.v1.Shop/Sell") == MethodFacts(idempotent=True)
        assert shop.of("shop.v1.Shop/Buy") == MethodFacts(idempotent=False, profile=OutcomeProfile.DTM)
        assert archive.of("shop.v1.Shop/Buy") == MethodFacts(barrier=True)
        assert methods.facts("nowhere") is None
