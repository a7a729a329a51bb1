"""Every example is free of findings, and every way that it can go ends as it must."""

from collections.abc import Iterator
from pathlib import Path
from time import process_time

import pytest
from google.longrunning import operations_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestrator.cli.main import run
from services.bank.v1 import bank_pb2
from services.epro.v1 import (
    archive_service_pb2,
    notifier_service_pb2,
    safety_service_pb2,
    scoring_service_pb2,
    validator_service_pb2,
)
from services.expenses.v1 import expenses_pb2
from services.importer.v1 import importer_pb2
from services.shop.v1 import shop_pb2
from services.travel.v1 import travel_pb2
from tests.kit.examples import EXAMPLES, Example
from tests.kit.mesh import DEFINITION

PROTOS = (
    bank_pb2,
    expenses_pb2,
    importer_pb2,
    shop_pb2,
    travel_pb2,
    operations_pb2,
    archive_service_pb2,
    notifier_service_pb2,
    safety_service_pb2,
    scoring_service_pb2,
    validator_service_pb2,
)


def with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    """The file after everything that it imports."""
    for each in file.dependencies:
        yield from with_imports(each)
    yield file


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with everything that the services would tell by reflection."""
    files = {file.name: file for proto in PROTOS for file in with_imports(proto.DESCRIPTOR)}
    images = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(images.file.add())
    path = tmp_path_factory.mktemp("descriptors") / "examples.binpb"
    path.write_bytes(images.SerializeToString())
    return str(path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.definition)
def test_an_example_is_free_of_findings(example: Example, descriptors: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", *map(str, example.paths), "--descriptors", descriptors]) == 0
    told = capsys.readouterr()
    assert "0 errors, 0 warnings" in told.out + told.err


@pytest.mark.timeout(600)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.definition)
def test_every_way_an_example_can_go_ends_as_it_must(example: Example, descriptors: str, tmp_path: Path) -> None:
    bad_path = tmp_path / "bad.txt"
    command = [
        "explore",
        *map(str, example.paths),
        "--descriptors",
        descriptors,
        "--faults",
        "1",
        "--save",
        str(bad_path),
    ]
    assert run(command) == 0, bad_path.read_text(encoding="utf-8") if bad_path.exists() else "see above"


def test_the_demos_saga_is_proven_with_two_faults_a_path_within_ten_seconds(descriptors: str) -> None:
    command = ["explore", str(DEFINITION), "--descriptors", descriptors, "--faults", "2", "--within", "100s", "-q"]
    began = process_time()
    assert run(command) == 0
    assert process_time() - began < 10.0, "of a processor that does nothing else"
