"""What a person is told about a saga that does not move, and what to type next."""

import json
import uuid

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.saga.explain import WaitKind
from orchestrator.v1 import saga_pb2 as pb
from orchestrator.v1 import saga_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga
from tests.unit.cli.test_sagas import made

AT = Timestamp(seconds=1_767_600_000)
PLAN = pb.UndoPlan(
    saga_id="R-1",
    calls=[
        pb.PlannedUndo(
            step="ship",
            wave=1,
            target="shop",
            method="shop.v1.Shop/Undo",
            outcome=pb.STEP_OUTCOME_UNKNOWN,
            not_before=AT,
        ),
        pb.PlannedUndo(
            step="pay", wave=2, target="bank", method="bank.v1.Bank/Undo", outcome=pb.STEP_OUTCOME_APPLIED, attempts=2
        ),
    ],
    omitted=3,
    stays=[pb.StayingEffect(step="mail", reason=pb.STAYING_REASON_NO_UNDO, message="its definition says so")],
    conditions=["the saga is paused"],
)


def told(*verbs: pb.PossibleVerb, **more: object) -> rpc.ExplainSagaResponse:
    found = pb.Explanation(
        saga_id="R-1", status=pb.SAGA_STATUS_NEEDS_ATTENTION, summary="the undo of step ship is stuck", possible=verbs
    )
    found.MergeFrom(pb.Explanation(**more))  # type: ignore[arg-type]  # the caller names fields
    return rpc.ExplainSagaResponse(explanation=found)


def test_an_explanation_ends_with_the_commands_to_type(server: FakeServer, saga: Saga) -> None:
    verbs = [
        pb.PossibleVerb(verb="RETRY", step="ship[3]", message="try it again"),
        pb.PossibleVerb(verb="RESOLVE", step="ship", outcome=pb.STEP_OUTCOME_NOT_APPLIED, message="say no"),
        pb.PossibleVerb(verb="SKIP", step="ship", message="leave it"),
        pb.PossibleVerb(verb="OVERRIDE_REQUEST", step="ship", message="send another"),
        pb.PossibleVerb(verb="FORCE_COMPLETE", message="end it"),
        pb.PossibleVerb(verb="TERMINATE", message="end it as it is"),
        pb.PossibleVerb(verb="RESUME", message="go on"),
        pb.PossibleVerb(verb="CANCEL", message="undo"),
        pb.PossibleVerb(verb="TELEPORT", message="of a newer server"),
    ]
    server.answer("ExplainSaga", told(*verbs, next_wake_time=AT, remarks=["it is late"]))
    ended = saga("explain", "R-1")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "R-1 is NEEDS_ATTENTION: the undo of step ship is stuck"
    assert "It wakes by itself at 2026-01-05 08:00:00.000Z at the latest." in lines
    assert "  - it is late" in lines
    commands = [line.strip().rpartition("  # ")[0].strip() for line in lines[lines.index("What you can do:") + 1 :]]
    assert commands == [
        "saga repair retry R-1 'ship[3]' --reason '…'",
        "saga repair resolve R-1 ship not-applied --reason '…'",
        "saga repair skip R-1 ship --reason '…'",
        "saga repair override R-1 ship --request '{…}' --reason '…'",
        "saga repair force-complete R-1 --reason '…'",
        "saga repair terminate R-1 --reason '…'",
        "saga repair resume R-1 --reason '…'",
        "saga cancel R-1",
        "# TELEPORT: this program does not know it; use a newer one",
    ]


def test_a_saga_that_waits_for_a_signal_is_told_how_to_get_it(server: FakeServer, saga: Saga) -> None:
    wait = pb.SagaWait(kind=pb.SAGA_WAIT_KIND_SIGNAL, step="ok", signal="approved", message="waits")
    server.answer("ExplainSaga", told(waits=[wait]))
    assert "saga signal R-1 approved --payload '{…}'" in saga("explain", "R-1").out


def test_a_quiet_explanation_is_its_first_line_and_json_is_all_of_it(server: FakeServer, saga: Saga) -> None:
    server.answer("ExplainSaga", told(remarks=["x"]))
    assert saga("explain", "R-1", "-q").out == "R-1 is NEEDS_ATTENTION: the undo of step ship is stuck\n"
    assert json.loads(saga("explain", "R-1", "-o", "json").out)["remarks"] == ["x"]


@pytest.mark.parametrize("command", [("undo-plan", "R-1"), ("cancel", "R-1", "--dry-run", "--etag", "7")])
def test_an_undo_plan_is_in_order_with_what_stays_and_what_it_rests_on(
    server: FakeServer, saga: Saga, command: tuple[str, ...]
) -> None:
    server.answer("PreviewCompensation", rpc.PreviewCompensationResponse(undo_plan=PLAN))
    server.answer("CancelSaga", rpc.CancelSagaResponse(saga=made(), undo_plan=PLAN))
    ended = saga(*command)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[1].split() == (
        ["1", "ship", "UNKNOWN", "shop", "shop.v1.Shop/Undo", "not", "before", "2026-01-05", "08:00:00.000Z"]
    )
    assert lines[2].split() == ["2", "pay", "APPLIED", "bank", "bank.v1.Bank/Undo", "under", "way,", "attempt", "2"]
    assert lines[3] == "and 3 more"
    assert lines[-1].split() == ["mail", "NO_UNDO", "its", "definition", "says", "so"]
    assert ended.err == "note: the saga is paused\n"
    if command[0] == "cancel":
        (sent,) = server.requests("CancelSaga")
        assert (sent.validate_only, sent.etag) == (True, "7")


def test_an_undo_plan_has_payloads_where_asked(server: FakeServer, saga: Saga) -> None:
    server.answer("PreviewCompensation", rpc.PreviewCompensationResponse(undo_plan=PLAN))
    assert json.loads(saga("undo-plan", "R-1", "--payloads", "-o", "json").out)["omitted"] == "3"
    assert server.requests("PreviewCompensation")[0].view == pb.SAGA_VIEW_FULL
    saga("undo-plan", "R-1")
    assert server.requests("PreviewCompensation")[1].view == pb.SAGA_VIEW_BASIC


def test_nothing_to_undo_is_said(server: FakeServer, saga: Saga) -> None:
    server.answer("PreviewCompensation", rpc.PreviewCompensationResponse(undo_plan=pb.UndoPlan(saga_id="R-1")))
    assert saga("undo-plan", "R-1").out == "R-1: nothing would be called\n"


def test_a_cancel_that_waits_for_its_pivot_says_so(server: FakeServer, saga: Saga) -> None:
    wait = pb.SagaWait(kind=pb.SAGA_WAIT_KIND_PIVOT, message="a cancel waits until the pivot is known")
    waiting = made(pb.SAGA_STATUS_RUNNING, waiting_for=[wait])
    server.answer("CancelSaga", rpc.CancelSagaResponse(saga=waiting))
    assert saga("cancel", "R-1").out == "R-1 is RUNNING: a cancel waits until the pivot is known\n"


def test_a_signal_is_sent_once_under_an_id_of_its_own(server: FakeServer, saga: Saga) -> None:
    server.answer("SignalSaga", rpc.SignalSagaResponse(saga=made(pb.SAGA_STATUS_RUNNING)))
    ended = saga("signal", "R-1", "approved", "--payload", '{"by": "ann"}')
    assert ended.out == "R-1 has signal approved; it is RUNNING\n"
    saga("signal", "R-1", "approved", "--request-id", "u-1", "-q")
    first, second = server.requests("SignalSaga")
    assert (first.saga_id, first.signal, dict(first.json)) == ("R-1", "approved", {"by": "ann"})
    assert str(uuid.UUID(first.request_id)) == first.request_id
    assert second.request_id == "u-1"
    assert json.loads(saga("signal", "R-1", "approved", "-o", "json").out)["saga"]["saga_id"] == "R-1"


@pytest.mark.parametrize(("created", "says"), [(True, "started R-1"), (False, "exists already: R-1")])
def test_a_signal_may_start_its_saga(server: FakeServer, saga: Saga, created: bool, says: str) -> None:
    server.answer("SignalWithStart", rpc.SignalWithStartResponse(saga=made(), created=created))
    ended = saga("signal", "R-1", "approved", "--start", "job", "--input", '{"n": 1}')
    assert ended.out == f"{says}, and it has signal approved\n"
    (sent,) = server.requests("SignalWithStart")
    assert (sent.start.saga_id, sent.start.definition, dict(sent.start.json)) == ("R-1", "job", {"n": 1})
    assert (sent.signal.signal, sent.signal.saga_id) == ("approved", "")


def test_get_shows_what_the_saga_waits_for_its_items_children_and_people(server: FakeServer, saga: Saga) -> None:
    shown = made(
        pb.SAGA_STATUS_NEEDS_ATTENTION,
        paused=True,
        parent=pb.SagaParent(saga_id="P-1", step="trip"),
        children=[pb.SagaChild(step="sub", saga_id="R-1.sub")],
        attention_entries=[pb.AttentionEntry(reason="UNDO_REFUSED", step="ship", message="gone")],
        waiting_for=[
            pb.SagaWait(kind=pb.SAGA_WAIT_KIND_SLEEP, message="step nap sleeps until tomorrow"),
            pb.SagaWait(kind=pb.SAGA_WAIT_KIND_CALL, message="the call of step x is open"),
        ],
        pending_signals=[pb.PendingSignal(signal="paid")],
        rollbacks=[pb.SagaRollback(step="part", steps=["a", "b"])],
        steps=[
            pb.SagaStep(
                step="each",
                status=pb.STEP_STATUS_WAITING,
                items=pb.StepItems(count=9, began=5, applied=3, failed=1, under_way=1),
            ),
            pb.SagaStep(step="nap", status=pb.STEP_STATUS_WAITING, due_time=AT),
            pb.SagaStep(step="ok", status=pb.STEP_STATUS_WAITING, signal="approved"),
            pb.SagaStep(
                step="sub",
                status=pb.STEP_STATUS_PROBING,
                child_saga_id="R-1.sub",
                forward=pb.StepOperation(attempts=1),
                probe=pb.StepOperation(attempts=2),
            ),
        ],
    )
    server.answer("GetSaga", rpc.GetSagaResponse(saga=shown))
    ended = saga("get", "R-1")
    out = " ".join(ended.out.split())
    for part in (
        "status NEEDS_ATTENTION (paused)",
        "parent P-1, step trip",
        "attention UNDO_REFUSED ship: gone",
        "waits for step nap sleeps until tomorrow",
        "undoing part: a, b",
        "signals paid, not taken yet",
        "children sub: R-1.sub",
        "each WAITING 5 of 9 items begun: 3 applied, 1 failed, 1 under way",
        "nap WAITING until 2026-01-05 08:00:00.000Z",
        "ok WAITING for signal approved",
        "sub PROBING 1 + 2 probe saga R-1.sub",
    ):
        assert part in out, part
    assert "the call of step x" not in out
    assert ended.err == "next: saga explain R-1\n"


def test_a_long_list_of_waits_is_cut_for_people(server: FakeServer, saga: Saga) -> None:
    waits = [pb.SagaWait(kind=pb.SAGA_WAIT_KIND_RETRY, message=f"wait {n}") for n in range(20)]
    server.answer("GetSaga", rpc.GetSagaResponse(saga=made(pb.SAGA_STATUS_RUNNING, waiting_for=waits)))
    out = saga("get", "R-1").out
    assert "wait 7" in out
    assert "wait 8" not in out
    assert "and 12 more" in out


def test_every_kind_of_wait_has_a_word_for_programs() -> None:
    assert {f"SAGA_WAIT_KIND_{kind}" for kind in WaitKind} < set(pb.SagaWaitKind.keys())
