import io
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest

from orchestrator.cli.definitions import children_first, sources
from orchestrator.cli.exits import Exit, Failure
from orchestrator.v1 import definition_pb2 as pb
from orchestrator.v1 import definition_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga, fail

WARNING = pb.Diagnostic(
    code="W601",
    severity=pb.DIAGNOSTIC_SEVERITY_WARNING,
    message="the undo reads the reply",
    fix="use the input",
    filename="epro.yaml",
    line=3,
    column=5,
)
ERROR = pb.Diagnostic(code="E101", severity=pb.DIAGNOSTIC_SEVERITY_ERROR, message="unknown key", filename="epro.yaml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "epro.yaml"
    path.write_text("saga: epro\n")
    return path


def test_create_sends_the_source_and_shows_what_was_kept(server: FakeServer, saga: Saga, file: Path) -> None:
    revision = pb.Revision(definition="epro", revision="r1", active=True)
    server.answer("CreateRevision", rpc.CreateRevisionResponse(revision=revision, diagnostics=[WARNING]))
    ended = saga("definitions", "create", str(file), "--activate")
    assert ended.code == 0
    assert ended.out == "DEFINITION  REVISION  ACTIVE\nepro        r1        yes\n"
    assert ended.err == "epro.yaml:3:5: WARNING W601: the undo reads the reply (use the input)\n"
    (sent,) = server.requests("CreateRevision")
    assert (sent.source, sent.filename, sent.validate_only) == ("saga: epro\n", str(file), False)
    assert not server.requests("ActivateRevision"), "it is active already"


def test_create_activates_where_asked_and_not_active_yet(server: FakeServer, saga: Saga, file: Path) -> None:
    server.answer("CreateRevision", rpc.CreateRevisionResponse(revision=pb.Revision(definition="epro", revision="r2")))
    server.answer("ActivateRevision", rpc.ActivateRevisionResponse())
    assert saga("definitions", "create", str(file)).out.endswith("epro        r2        no\n")
    assert saga("definitions", "create", str(file), "--activate").out.endswith("epro        r2        yes\n")
    (sent,) = server.requests("ActivateRevision")
    assert (sent.definition, sent.revision) == ("epro", "r2")


def test_a_dry_run_with_errors_ends_with_1(server: FakeServer, saga: Saga, file: Path) -> None:
    server.answer("CreateRevision", rpc.CreateRevisionResponse(diagnostics=[ERROR]))
    ended = saga("definitions", "create", str(file), "--dry-run")
    assert (ended.code, ended.out) == (Exit.FAILED, "")
    assert ended.err == "epro.yaml: ERROR E101: unknown key\n"
    assert server.requests("CreateRevision")[0].validate_only


def test_refused_definitions_show_every_finding(server: FakeServer, saga: Saga, file: Path) -> None:
    violations = [BadRequest.FieldViolation(field="epro.yaml:1:1", description="unknown key")]
    failure = fail(
        grpc.StatusCode.INVALID_ARGUMENT, "1 finding", "DEFINITION_INVALID", BadRequest(field_violations=violations)
    )
    server.answer("CreateRevision", failure)
    ended = saga("definitions", "create", str(file))
    assert (ended.code, ended.err) == (Exit.FAILED, "saga: 1 finding\n  epro.yaml:1:1: unknown key\n")


def test_sources_are_files_folders_and_standard_input(
    server: FakeServer, saga: Saga, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.yml").write_text("two")
    (tmp_path / "1.yaml").write_text("one")
    (tmp_path / "notes.txt").write_text("no")
    monkeypatch.setattr("sys.stdin", io.StringIO("three"))
    server.answer("CreateRevision", rpc.CreateRevisionResponse())
    assert saga("definitions", "create", str(tmp_path), "-").code == 0
    assert [one.source for one in server.requests("CreateRevision")] == ["one", "two", "three"]


def test_a_folder_without_definitions_and_a_binary_file_are_refused(saga: Saga, tmp_path: Path) -> None:
    ended = saga("definitions", "create", str(tmp_path))
    assert (ended.code, ended.err) == (Exit.USAGE, f"saga: {tmp_path} holds no .yaml file\n")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe")
    ended = saga("definitions", "create", str(tmp_path))
    assert (ended.code, ended.err) == (Exit.FAILED, f"saga: cannot read {tmp_path}/x.yaml: it is not UTF-8 text\n")


def test_list_and_revisions_show_what_is_active(server: FakeServer, saga: Saga) -> None:
    server.answer(
        "ListDefinitions",
        rpc.ListDefinitionsResponse(definitions=[pb.Definition(definition="epro", active_revision="r2")]),
    )
    server.answer(
        "ListRevisions",
        rpc.ListRevisionsResponse(revisions=[pb.Revision(revision="r2", active=True), pb.Revision(revision="r1")]),
    )
    assert saga("definitions", "list").out == "DEFINITION  ACTIVE  CREATED\nepro        r2\n"
    assert saga("definitions", "revisions", "epro").out == "REVISION  ACTIVE  CREATED\nr2        yes\nr1\n"
    assert json.loads(saga("definitions", "list", "-o", "json").out)[0]["active_revision"] == "r2"


def test_get_prints_the_source_alone_on_standard_output(server: FakeServer, saga: Saga) -> None:
    revision = pb.Revision(definition="epro", revision="r1", source="saga: epro\n", input_type="epro.v1.Report")
    found = pb.Definition(definition="epro", active_revision="r2", revision=revision)
    server.answer("GetDefinition", rpc.GetDefinitionResponse(definition=found))
    ended = saga("definitions", "get", "epro", "--revision", "r1")
    assert ended.out == "saga: epro\n"
    assert "not active; r2 is" in ended.err


def test_activate_says_what_holds_now(server: FakeServer, saga: Saga) -> None:
    found = pb.Definition(definition="epro", active_revision="r1")
    server.answer("ActivateRevision", rpc.ActivateRevisionResponse(definition=found))
    ended = saga("definitions", "activate", "epro", "r1")
    assert ended.out == "epro is at r1 now; running sagas keep the revision they started with\n"


def test_definitions_are_created_children_first_whatever_the_order_of_the_files() -> None:
    parent = "saga: trip\nsteps: {fly: {saga: flight}, rest: {scope: {steps: {sleep_in: {saga: hotel}}}}}"
    texts = [("trip", parent), ("flight", "saga: flight\nsteps: {a: {saga: hotel}}"), ("hotel", "saga: hotel")]
    assert [name for name, _ in children_first(texts)] == ["hotel", "flight", "trip"]
    circle = [("a", "saga: a\nsteps: {b: {saga: b}}"), ("b", "saga: b\nsteps: {a: {saga: a}}")]
    assert children_first(circle) == circle
    broken = [("bad", "saga: ["), ("hotel", "saga: hotel")]
    assert sorted(children_first(broken)) == sorted(broken)


def test_standard_input_and_folders_that_cannot_be_read_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), "utf-8"))
    with pytest.raises(Failure, match="cannot read standard input: it is not UTF-8 text"):
        sources([Path("-")])

    class Moody(type(tmp_path)):  # type: ignore[misc]  # the folder of a process that has ended: it is there, and is not
        def rglob(self, pattern: str) -> Iterator[Path]:
            raise OSError(22, "Invalid argument", "/proc/1/net")

    with pytest.raises(Failure, match="cannot look into /proc/1/net: Invalid argument"):
        sources([Moody(tmp_path)])


def test_a_folder_that_holds_more_than_definitions_is_not_searched_to_its_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("orchestrator.cli.definitions.CLI_FOLDER_ENTRIES_MAX", 3)
    for name in ("a.yaml", "b.txt", "c.yml"):
        (tmp_path / name).write_text("saga: x")
    assert [Path(name).name for name, _ in sources([tmp_path])] == ["a.yaml", "c.yml"]
    (tmp_path / "d").mkdir()
    with pytest.raises(Failure, match="holds more than 3 files and folders; name the definitions") as refused:
        sources([tmp_path])
    assert refused.value.code == Exit.USAGE
