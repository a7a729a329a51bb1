import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from orchestrator.cli.exits import Exit
from services.epro.v1 import archive_service_pb2, validator_service_pb2
from tests.unit.cli.conftest import Saga

GOOD = """\
saga: take_in
input: epro.v1.Report
targets: [validator, archive]
steps:
  validate:
    call: validator/epro.v1.Validator/Validate
    kind: read
    request: {report: "${input}"}
  archive:
    after: [validate]
    call: archive/epro.v1.Archive/Store
    request: {report: "${input}"}
    compensate: {call: archive/epro.v1.Archive/Withdraw, request: {report_id: "${input.report_id}"}}
"""


def with_imports(*files: FileDescriptor) -> Iterator[FileDescriptor]:
    for file in files:
        yield from with_imports(*file.dependencies)
        yield file


@pytest.fixture
def descriptors(tmp_path: Path) -> str:
    found = FileDescriptorSet()
    names: set[str] = set()
    for file in with_imports(validator_service_pb2.DESCRIPTOR, archive_service_pb2.DESCRIPTOR):
        if file.name not in names:
            names.add(file.name)
            file.CopyToProto(found.file.add())
    path = tmp_path / "image.binpb"
    path.write_bytes(found.SerializeToString())
    return str(path)


def test_a_good_definition_passes_without_a_server_or_targets(saga: Saga, tmp_path: Path, descriptors: str) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    ended = saga("check", str(tmp_path / "good.yaml"), "--descriptors", descriptors)
    assert (ended.code, ended.out, ended.err) == (0, "", "1 definition: 0 errors, 0 warnings\n")
    assert saga("check", str(tmp_path / "good.yaml"), "--descriptors", descriptors, "-q").err == ""


def test_every_mistake_of_every_file_is_told_with_its_place(saga: Saga, tmp_path: Path, descriptors: str) -> None:
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "a.yaml").write_text(GOOD.replace("report: ", "reprt: "))
    (folder / "b.yaml").write_text(GOOD.replace("[validate]", "[validat]"))
    ended = saga("check", str(folder), "--descriptors", descriptors)
    assert ended.code == Exit.FAILED
    lines = ended.out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        f"{folder}/a.yaml:8:15",
        f"{folder}/a.yaml:12:15",
        f"{folder}/b.yaml:10:13",
    ]
    assert all(": error[E" in line for line in lines)
    assert ended.err == "2 definitions: 3 errors, 0 warnings\n"


def test_findings_for_programs_have_their_parts(saga: Saga, tmp_path: Path, descriptors: str) -> None:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("kind: read", "kind: raed"))
    ended = saga("check", str(tmp_path / "bad.yaml"), "--descriptors", descriptors, "-o", "json")
    (found,) = json.loads(ended.out)
    assert (found["severity"], found["line"], found["path"]) == ("error", 7, "steps.validate.kind")
    assert found["filename"] == str(tmp_path / "bad.yaml")


def test_a_target_that_is_not_configured_is_a_finding(saga: Saga, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    ended = saga("check", str(tmp_path / "good.yaml"))
    assert ended.code == Exit.FAILED
    assert "target `validator` is not configured" in ended.out


def test_a_target_that_is_down_is_a_finding(saga: Saga, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    targets = "targets.validator={address: '127.0.0.1:1'}", "targets.archive={address: '127.0.0.1:1'}"
    ended = saga("check", str(tmp_path / "good.yaml"), "--set", targets[0], "--set", targets[1])
    assert ended.code == Exit.FAILED
    assert "127.0.0.1:1" in ended.out


def test_what_is_no_descriptor_set_is_refused_with_how_to_make_one(saga: Saga, tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    for content in (b"", b"\xff\xff\xff"):
        (tmp_path / "wrong.binpb").write_bytes(content)
        ended = saga("check", str(tmp_path / "good.yaml"), "--descriptors", str(tmp_path / "wrong.binpb"))
        assert ended.code == Exit.USAGE
        assert "is not a FileDescriptorSet; make one with `buf build -o FILE`" in ended.err
