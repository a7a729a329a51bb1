"""What every verb of repair wants of its caller, which sagas need one, and what the audit keeps."""

from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import any_pb2

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId
from orchestrator.saga.state import SagaState
from orchestrator.v1 import operator_service_pb2 as op
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.integration.api.refusals import refused, struct
from tests.integration.api.rig import running
from tests.integration.api.test_operators import ANN, APPLIED, NOT_APPLIED, asking, napping, undo_refused
from tests.integration.api.test_signals import start

ALL: list[tuple[str, Any]] = [
    ("RetryStep", op.RetryStepRequest(step="b")),
    ("ResolveStep", op.ResolveStepRequest(step="b", outcome=APPLIED)),
    ("SkipStep", op.SkipStepRequest(step="b")),
    ("OverrideStepRequest", op.OverrideStepRequestRequest(step="b", json=struct(n=2))),
    ("ForceComplete", op.ForceCompleteRequest()),
    ("TerminateSaga", op.TerminateSagaRequest()),
    ("PauseSaga", op.PauseSagaRequest()),
    ("ResumeSaga", op.ResumeSagaRequest()),
    ("RerunFromStep", op.RerunFromStepRequest(step="b")),
]


@pytest.mark.parametrize(("method", "request_"), ALL)
async def test_every_verb_wants_a_reason_a_saga_and_words_that_make_sense(method: str, request_: Any) -> None:
    async with running() as rig:
        await asking(rig)
        call = getattr(rig.operators, method)

        def asked(**more: Any) -> Any:
            copy = type(request_)()
            copy.CopyFrom(request_)
            copy.MergeFrom(type(request_)(**{"saga_id": "s-1", "reason": "x", **more}))
            return copy

        wrong = [
            ("reason", asked(reason="")),
            ("reason", asked(reason=" ")),
            ("reason", asked(reason="x" * 1_001)),
            ("saga_id", asked(saga_id="")),
            ("saga_id", asked(saga_id="no spaces")),
            ("etag", asked(etag="W/7")),
            ("etag", asked(etag="9" * 30)),
            ("view", asked(view=99)),
        ]
        if hasattr(request_, "step"):
            empty = asked()
            empty.step = ""
            long = asked()
            long.step = "x" * 1_000
            wrong += [("step", empty), ("step", long)]
        for field, given in wrong:
            code, found = await refused(call(given))
            assert code is grpc.StatusCode.INVALID_ARGUMENT, field
            assert found["BadRequest"].field_violations[0].field == field  # type: ignore[attr-defined]  # it is one
        for by in ("", "x" * 1_000, "a%0Ab"):
            code, _ = await refused(call(asked(), metadata=(("x-operator", by),)))
            assert code is grpc.StatusCode.INVALID_ARGUMENT, by
        code, found = await refused(call(asked(saga_id="nobody")))
        assert (code, found["reason"]) == (grpc.StatusCode.NOT_FOUND, "SAGA_NOT_FOUND")
        assert not (await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest())).entries


@pytest.mark.parametrize(("method", "request_"), ALL)
async def test_every_verb_is_refused_by_a_saga_that_has_ended(method: str, request_: Any) -> None:
    async with running() as rig:
        await rig.sagas.StartSaga(start("asking", wait=rpc.START_WAIT_TERMINAL))
        request_.saga_id, request_.reason = "s-1", "x"
        code, found = await refused(getattr(rig.operators, method)(request_))
        assert (code, found["reason"]) == (grpc.StatusCode.FAILED_PRECONDITION, "TERMINAL_STATE")


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (op.ResolveStepRequest(saga_id="s-1", reason="x", step="b"), "outcome"),
        (op.ResolveStepRequest(saga_id="s-1", reason="x", step="b", outcome=pb.STEP_OUTCOME_UNKNOWN), "outcome"),
        (op.ResolveStepRequest(saga_id="s-1", reason="x", step="b", outcome=NOT_APPLIED, json=struct(n=1)), "reply"),
        (op.ResolveStepRequest(saga_id="s-1", reason="x", step="b", outcome=APPLIED, typed=any_pb2.Any()), "reply"),
        (
            op.ResolveStepRequest(saga_id="s-1", reason="x", step="b", outcome=APPLIED, json=struct(nonsense=1)),
            "reply.nonsense",
        ),
        (op.OverrideStepRequestRequest(saga_id="s-1", reason="x", step="b"), "request"),
        (
            op.OverrideStepRequestRequest(saga_id="s-1", reason="x", step="b", json=struct(nonsense=1)),
            "request.nonsense",
        ),
    ],
)
async def test_a_message_that_a_person_gives_is_checked_like_any_other(request_: Any, field: str) -> None:
    async with running() as rig:
        await asking(rig)
        method = type(request_).__name__.removesuffix("Request")
        code, found = await refused(getattr(rig.operators, method)(request_))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert found["BadRequest"].field_violations[0].field == field  # type: ignore[attr-defined]  # it is one


async def test_who_acts_is_the_name_given_else_the_callers_address() -> None:
    async with running() as rig:
        await napping(rig)
        named = await rig.operators.PauseSaga(
            op.PauseSagaRequest(saga_id="s-1", reason="x"), metadata=(("x-operator", "Andr%C3%A9 (desk 2)"),)
        )
        assert named.audit_entry.by == "Andr\N{LATIN SMALL LETTER E WITH ACUTE} (desk 2)"
        unnamed = await rig.operators.ResumeSaga(op.ResumeSagaRequest(saga_id="s-1", reason="x"))
        assert unnamed.audit_entry.by == "ipv4:127.0.0.1"


async def test_attention_is_listed_with_every_reason_and_by_reason_and_definition() -> None:
    async with running() as rig:
        await undo_refused(rig, "s-1")
        await asking(rig, "s-2")
        await undo_refused(rig, "s-3")
        await napping(rig, "s-4")

        async def listed(**more: Any) -> list[str]:
            seen: list[str] = []
            request = op.ListAttentionRequest(page_size=1, **more)
            while True:
                page = await rig.operators.ListAttention(request)
                assert len(page.sagas) <= 1
                seen += [each.saga.saga_id for each in page.sagas]
                if not page.next_page_token:
                    return seen
                request.page_token = page.next_page_token

        assert await listed() == ["s-1", "s-2", "s-3"]
        assert await listed(reason="UNDO_REFUSED") == ["s-1", "s-3"]
        assert await listed(reason="DATA_LOSS") == []
        assert await listed(definition="asking") == ["s-2"]
        first = (await rig.operators.ListAttention(op.ListAttentionRequest())).sagas[0].saga
        (entry,) = first.attention_entries
        assert (entry.reason, entry.step, entry.operation) == ("UNDO_REFUSED", "b", pb.OPERATION_KIND_COMPENSATE)
        assert "undo_b will not" in entry.message
        for wrong in (
            op.ListAttentionRequest(reason="SAD"),
            op.ListAttentionRequest(page_size=-1),
            op.ListAttentionRequest(page_token="x"),
        ):
            code, _ = await refused(rig.operators.ListAttention(wrong))
            assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_attention_shows_also_a_saga_whose_records_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as rig:
        await undo_refused(rig)

        async def unreadable(_: SagaId) -> SagaState:
            raise JournalCorrupted("record 3 of saga 's-1' cannot be read")

        monkeypatch.setattr(rig.orchestrator, "get", unreadable)
        (found,) = (await rig.operators.ListAttention(op.ListAttentionRequest())).sagas
        assert (found.saga.saga_id, list(found.saga.attention)) == ("s-1", ["UNDO_REFUSED"])


async def test_the_audit_is_paged_newest_first_for_one_saga_and_for_all() -> None:
    async with running() as rig:
        for name in ("s-1", "s-2"):
            await napping(rig, name)
        for number in range(3):
            for name in ("s-1", "s-2"):
                for ask, request in (
                    (rig.operators.PauseSaga, op.PauseSagaRequest),
                    (rig.operators.ResumeSaga, op.ResumeSagaRequest),
                ):
                    await ask(request(saga_id=name, reason=f"round {number}"), metadata=ANN)  # type: ignore[arg-type]  # each takes its own

        async def entries(saga_id: str) -> list[str]:
            seen: list[str] = []
            request = op.ListAuditEntriesRequest(saga_id=saga_id, page_size=2)
            while True:
                page = await rig.operators.ListAuditEntries(request)
                assert len(page.entries) <= 2
                seen += [f"{each.saga_id} {each.verb} {each.reason}" for each in page.entries]
                if not page.next_page_token:
                    return seen
                request.page_token = page.next_page_token

        one = [f"s-1 {word} round {number}" for number in (2, 1, 0) for word in ("RESUME", "PAUSE")]
        assert await entries("s-1") == one
        everything = await entries("")
        assert len(everything) == 12
        assert everything[0] == "s-2 RESUME round 2"
        assert [each for each in everything if each.startswith("s-1")] == one
        code, found = await refused(rig.operators.ListAuditEntries(op.ListAuditEntriesRequest(saga_id="nobody")))
        assert (code, found["reason"]) == (grpc.StatusCode.NOT_FOUND, "SAGA_NOT_FOUND")
        for wrong in (op.ListAuditEntriesRequest(page_size=-1), op.ListAuditEntriesRequest(page_token="x")):
            code, _ = await refused(rig.operators.ListAuditEntries(wrong))
            assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_audit_holds_no_payload() -> None:
    async with running() as rig:
        await undo_refused(rig)
        await rig.operators.OverrideStepRequest(
            op.OverrideStepRequestRequest(saga_id="s-1", reason="by hand", step="b", json=struct(secret="x"))
        )
        page = await rig.operators.ListAuditEntries(op.ListAuditEntriesRequest())
        assert len(page.entries) == 1
        assert b"secret" not in page.SerializeToString()
