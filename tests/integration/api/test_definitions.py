"""DefinitionService over loopback: revisions are checked, kept, shown and activated."""

from collections.abc import Awaitable

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2

from orchestrator import limits
from orchestrator.v1 import definition_pb2 as pb
from orchestrator.v1 import definition_service_pb2 as rpc
from tests.integration.api.rig import kept, running, status_of


async def failed(
    call: Awaitable[object],
) -> tuple[grpc.StatusCode, error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = status_of(caught.value)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert any(detail.Unpack(bad) for detail in status.details) or info.reason != "INPUT_INVALID"
    return caught.value.code(), info, bad


async def test_a_revision_is_kept_shown_and_activated() -> None:
    async with running() as rig:
        created = await rig.definitions.CreateRevision(rpc.CreateRevisionRequest(source="r2"))
        assert (created.revision.revision, created.revision.active) == ("r2", False)
        shown = await rig.definitions.GetDefinition(rpc.GetDefinitionRequest(definition="job"))
        assert (shown.definition.active_revision, shown.definition.revision.revision) == ("r1", "r1")
        assert shown.definition.revision.source == "saga: job"
        assert shown.definition.revision.input_type == "google.protobuf.Struct"
        named = await rig.definitions.GetDefinition(rpc.GetDefinitionRequest(definition="job", revision="r2"))
        assert (named.definition.active_revision, named.definition.revision.revision) == ("r1", "r2")
        active = await rig.definitions.ActivateRevision(rpc.ActivateRevisionRequest(definition="job", revision="r2"))
        assert active.definition.active_revision == "r2"
        listed = await rig.definitions.ListRevisions(rpc.ListRevisionsRequest(definition="job"))
        assert [(one.revision, one.active, one.source) for one in listed.revisions] == [
            ("r2", True, ""),
            ("r1", False, ""),
        ]


async def test_findings_are_an_answer_when_only_validating_and_an_error_otherwise() -> None:
    async with running() as rig:
        request = rpc.CreateRevisionRequest(source="broken", filename="job.yaml", validate_only=True)
        (found,) = (await rig.definitions.CreateRevision(request)).diagnostics
        assert (found.code, found.severity) == ("E203", pb.DIAGNOSTIC_SEVERITY_ERROR)
        assert (found.filename, found.line, found.column, found.path) == ("job.yaml", 3, 7, "steps.work.call")
        assert found.fix == "did you mean Do?"
        code, info, bad = await failed(
            rig.definitions.CreateRevision(rpc.CreateRevisionRequest(source="broken", filename="job.yaml"))
        )
        assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DEFINITION_INVALID")
        (violation,) = bad.field_violations
        assert violation.field == "job.yaml:3:7"
        assert "did you mean Do?" in violation.description
        assert len(rig.shelf.kept) == 1


async def test_a_hundred_findings_still_arrive_as_a_status() -> None:
    async with running() as rig:
        code, info, bad = await failed(rig.definitions.CreateRevision(rpc.CreateRevisionRequest(source="broken 100")))
        assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "DEFINITION_INVALID")
        assert info.metadata["errors"] == "100"
        *shown, last = bad.field_violations
        assert shown
        assert last.description.startswith(f"and {100 - len(shown)} more")


async def test_validating_keeps_nothing() -> None:
    async with running() as rig:
        answer = await rig.definitions.CreateRevision(rpc.CreateRevisionRequest(source="r2", validate_only=True))
        assert not answer.HasField("revision")
        assert len(rig.shelf.kept) == 1


async def test_definitions_and_revisions_come_in_pages() -> None:
    async with running() as rig:
        rig.shelf.kept = [kept(f"r{number}", definition=f"d{number}", active=True) for number in (3, 1, 2)]
        rig.shelf.kept += [kept(f"q{number}", definition="d1") for number in range(5)]
        names: list[str] = []
        token = ""
        while True:
            page = await rig.definitions.ListDefinitions(rpc.ListDefinitionsRequest(page_size=2, page_token=token))
            names += [one.definition for one in page.definitions]
            token = page.next_page_token
            if not token:
                break
        assert names == ["d1", "d2", "d3"]
        revisions: list[str] = []
        while True:
            request = rpc.ListRevisionsRequest(definition="d1", page_size=2, page_token=token)
            found = await rig.definitions.ListRevisions(request)
            revisions += [one.revision for one in found.revisions]
            token = found.next_page_token
            if not token:
                break
            rig.shelf.kept.insert(0, kept(f"new{len(revisions)}", definition="d1"))
        assert revisions == ["r1", "q0", "q1", "q2", "q3", "q4"]


async def test_what_is_missing_or_unknown_is_named() -> None:
    async with running() as rig:
        for call, code, reason in (
            (rig.definitions.CreateRevision(rpc.CreateRevisionRequest()), "INVALID_ARGUMENT", "INPUT_INVALID"),
            (
                rig.definitions.CreateRevision(
                    rpc.CreateRevisionRequest(source="r2", filename="x" * (limits.API_FILENAME_CHARS_MAX + 1))
                ),
                "INVALID_ARGUMENT",
                "INPUT_INVALID",
            ),
            (rig.definitions.GetDefinition(rpc.GetDefinitionRequest()), "INVALID_ARGUMENT", "INPUT_INVALID"),
            (
                rig.definitions.GetDefinition(rpc.GetDefinitionRequest(definition="x")),
                "NOT_FOUND",
                "DEFINITION_NOT_FOUND",
            ),
            (
                rig.definitions.ListRevisions(rpc.ListRevisionsRequest(definition="x")),
                "NOT_FOUND",
                "DEFINITION_NOT_FOUND",
            ),
            (
                rig.definitions.ActivateRevision(rpc.ActivateRevisionRequest(definition="job", revision="r9")),
                "NOT_FOUND",
                "REVISION_NOT_FOUND",
            ),
        ):
            found = await failed(call)
            assert (found[0].name, found[1].reason) == (code, reason)
