"""What a service's owner wrote beside its methods arrives, by whichever way the descriptors come."""

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc import aio
from grpc_reflection.v1alpha import reflection

from orchestrator.definition.annotated import Declared, declared
from orchestrator.definition.descriptors import Types, closure, merge
from orchestrator.invoker import DescriptorSetFile, ProtoFiles, TargetConfig
from orchestrator.ports.methods import TargetFacts
from orchestrator.saga.plan import OutcomeProfile
from tests.integration.invoker.calling import calling
from tests.integration.invoker.peers import dead_address, started

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process

PROTOS = Path(__file__).parents[3] / "protos"
STOCK = """
syntax = "proto3";
package stock.v1;
import "orchestrator/v1/annotations.proto";
message Amount { string sku = 1; }
service Stock {
  rpc Reserve(Amount) returns (Amount) {
    option (orchestrator.v1.saga) = {idempotent: true, barrier: true, effect: COMPENSATABLE, outcome_profile: DTM};
  }
  rpc Put(Amount) returns (Amount) { option idempotency_level = IDEMPOTENT; }
}
"""


def believed(data: bytes) -> dict[str, Declared]:
    """What a revision that pins these descriptors believes."""
    files = merge({"stock": data}).files
    methods = Types(closure(files, ["stock.proto"])).methods("stock.v1.Stock")
    return {name: declared(TargetFacts(name="stock"), method) for name, method in methods.items()}


EXPECTED = {
    "Reserve": Declared(idempotent=True, repeatable=True, barrier=True, profile=OutcomeProfile.DTM),
    "Put": Declared(idempotent=False, repeatable=True, barrier=False, profile=OutcomeProfile.DEFAULT),
}


def compiled(folder: Path) -> Path:
    """Write the service's file and compile it as its team would, with all it imports."""
    (folder / "stock.proto").write_text(STOCK, encoding="utf-8")
    out = folder / "stock.binpb"
    arguments = ["--include_imports", f"--descriptor_set_out={out}", f"-I{folder}", f"-I{PROTOS}", "stock.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], cwd=folder, check=True)
    return out


async def test_facts_arrive_by_files(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    compiled(tmp_path)
    source = ProtoFiles(files=(tmp_path / "stock.proto",), include=(PROTOS,))
    async with calling(TargetConfig(name="stock", address=dead_address(), descriptors=source)) as caller:
        assert believed(await caller.invoker.methods.descriptors("stock")) == EXPECTED


async def test_facts_arrive_by_a_descriptor_set(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    source = DescriptorSetFile(path=compiled(tmp_path))
    async with calling(TargetConfig(name="stock", address=dead_address(), descriptors=source)) as caller:
        assert believed(await caller.invoker.methods.descriptors("stock")) == EXPECTED


async def test_facts_arrive_by_reflection(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(compiled(tmp_path).read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    server = aio.server()
    reflection.enable_server_reflection(["stock.v1.Stock", reflection.SERVICE_NAME], server, pool=pool)
    async with started(server) as address, calling(TargetConfig(name="stock", address=address)) as caller:
        assert believed(await caller.invoker.methods.descriptors("stock")) == EXPECTED
