"""`orchestrator.v1.DefinitionService`: check, keep, show and activate definitions."""

from typing import Any, TypeAlias

import grpc.aio

from orchestrator import limits
from orchestrator.api import mapping, paging
from orchestrator.definition.diagnostics import Diagnostic, Severity
from orchestrator.definition.revisions import Revisions
from orchestrator.errors import DefinitionInvalid, InputInvalid, NotFound
from orchestrator.ports.catalogue import Revision
from orchestrator.v1 import definition_pb2 as pb
from orchestrator.v1 import definition_service_pb2 as rpc
from orchestrator.v1 import definition_service_pb2_grpc as wire

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_FILENAME = "definition.yaml"
_SEVERITY = {
    Severity.ERROR: pb.DIAGNOSTIC_SEVERITY_ERROR,
    Severity.WARNING: pb.DIAGNOSTIC_SEVERITY_WARNING,
}


class DefinitionService(wire.DefinitionServiceServicer):
    """The catalogue of definitions on the wire."""

    def __init__(self, *, revisions: Revisions) -> None:
        self._revisions = revisions

    async def CreateRevision(self, request: rpc.CreateRevisionRequest, context: Context) -> rpc.CreateRevisionResponse:
        source = mapping.required(request.source, "source")
        filename = request.filename or _FILENAME
        if len(filename) > limits.API_FILENAME_CHARS_MAX or not filename.isprintable():
            raise InputInvalid("filename", f"is not a name of at most {limits.API_FILENAME_CHARS_MAX} characters")
        kept, found = await self._revisions.create_revision(source, filename, request.validate_only)
        errors = [one for one in found if one.severity is Severity.ERROR]
        if errors and not request.validate_only:
            raise DefinitionInvalid(
                f"{filename}: {len(errors)} of the definition's findings are errors; nothing was kept",
                [one.render() for one in errors],
                errors=str(len(errors)),
            )
        return rpc.CreateRevisionResponse(
            revision=None if kept is None or request.validate_only else _revision(kept),
            diagnostics=[_diagnostic(one) for one in found],
        )

    async def GetDefinition(self, request: rpc.GetDefinitionRequest, context: Context) -> rpc.GetDefinitionResponse:
        name = mapping.required(request.definition, "definition")
        return rpc.GetDefinitionResponse(definition=await self._definition(name, request.revision))

    async def ListDefinitions(
        self, request: rpc.ListDefinitionsRequest, context: Context
    ) -> rpc.ListDefinitionsResponse:
        size = paging.page_size(request.page_size)
        seen = paging.after(request.page_token, (str,), "ListDefinitions")
        last = str(seen[0]) if seen else ""
        rest = [one for one in await self._revisions.definitions() if one.definition > last]
        rest.sort(key=lambda one: one.definition)
        answer = rpc.ListDefinitionsResponse()
        for one in rest[:size]:
            answer.definitions.add(
                definition=one.definition, active_revision=one.revision, revision=_revision(one, with_source=False)
            )
        if len(rest) > size:
            answer.next_page_token = paging.token((rest[size - 1].definition,), "ListDefinitions")
        return answer

    async def ListRevisions(self, request: rpc.ListRevisionsRequest, context: Context) -> rpc.ListRevisionsResponse:
        name = mapping.required(request.definition, "definition")
        size = paging.page_size(request.page_size)
        seen = paging.after(request.page_token, (str,), "ListRevisions", name)
        found = list(await self._revisions.revisions(name))
        if not found:
            raise NotFound("definition", name, "list what there is with ListDefinitions")
        # Revisions are never deleted and new ones come at the front, so the last one seen tells where to go on.
        start = next((number + 1 for number, one in enumerate(found) if seen and one.revision == seen[0]), 0)
        page, rest = found[start : start + size], found[start + size :]
        answer = rpc.ListRevisionsResponse(revisions=[_revision(one, with_source=False) for one in page])
        if rest:
            answer.next_page_token = paging.token((page[-1].revision,), "ListRevisions", name)
        return answer

    async def ActivateRevision(
        self, request: rpc.ActivateRevisionRequest, context: Context
    ) -> rpc.ActivateRevisionResponse:
        name = mapping.required(request.definition, "definition")
        revision = mapping.required(request.revision, "revision")
        await self._revisions.activate(name, revision)
        return rpc.ActivateRevisionResponse(definition=await self._definition(name, revision))

    async def _definition(self, name: str, revision: str) -> pb.Definition:
        found = await self._revisions.get(name, revision)
        active = found if found.active else await self._revisions.get(name, "")
        plan = await self._revisions.plan(name, found.revision)
        shown = _revision(found)
        shown.input_type = plan.input_type
        return pb.Definition(definition=name, active_revision=active.revision, revision=shown)


def _revision(revision: Revision, *, with_source: bool = True) -> pb.Revision:
    return pb.Revision(
        definition=revision.definition,
        revision=revision.revision,
        active=revision.active,
        create_time=mapping.instant(revision.created_at),
        source=revision.source if with_source else "",
    )


def _diagnostic(found: Diagnostic) -> pb.Diagnostic:
    return pb.Diagnostic(
        code=found.code.number,
        severity=_SEVERITY[found.severity],
        message=found.message,
        fix=found.fix,
        filename=found.place.file,
        line=found.place.line,
        column=found.place.column,
        path=found.path,
    )
