"""What the vectors cannot show: calls without a key, wrong metadata, contention, cleaning up, and what is imported."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2

from orchestrator.participant import ASYNCPG, SQLITE, Barrier, Refused, answering, read_call
from orchestrator.participant.rules import Rules
from tests.unit.participant.doubles import Context


class Till:
    """A service that counts what it does."""

    def __init__(self, path: Path, now: Callable[[], float] = lambda: 100.0) -> None:
        self.db = sqlite3.connect(path, timeout=0)
        self.barrier = Barrier(SQLITE, now=now)
        self.barrier.create_table(self.db)
        self.acts = 0

    def forward(self, **metadata: str) -> str:
        with self.db:
            call = read_call(Context(**metadata), StringValue(value="asked"))
            return self.barrier.forward(self.db, call, StringValue, self.act).value

    def compensate(self, **metadata: str) -> str:
        with self.db:
            call = read_call(Context(**metadata), StringValue(value="undo"))
            return self.barrier.compensate(
                self.db, call, StringValue, self.act, nothing=lambda: StringValue(value="nothing")
            ).value

    def act(self) -> StringValue:
        self.acts += 1
        return StringValue(value=f"act {self.acts}")

    def rows(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM saga_calls").fetchone()[0])


@pytest.fixture
def till(tmp_path: Path) -> Till:
    return Till(tmp_path / "till.sqlite")


def test_without_a_key_each_call_acts_and_nothing_is_kept(till: Till) -> None:
    assert [till.forward(), till.forward(), till.compensate()] == ["act 1", "act 2", "act 3"]
    assert till.rows() == 0


def test_without_a_key_a_late_call_is_still_refused(till: Till) -> None:
    with pytest.raises(Refused, match="SAGA_NOT_AFTER_PASSED"):
        till.forward(saga_not_after="99.999")
    assert till.forward(saga_not_after="100.000") == "act 1", "at the very instant it is not late"


def test_an_undo_without_a_key_still_forbids_its_call(till: Till) -> None:
    assert till.compensate(saga_forward_key="F") == "nothing"
    with pytest.raises(Refused, match="SAGA_STEP_ALREADY_COMPENSATED"):
        till.forward(idempotency_key="F")


def test_an_undo_that_finds_nothing_gives_the_reply_for_nothing(till: Till) -> None:
    assert till.compensate(idempotency_key="C", saga_forward_key="F") == "nothing"
    assert till.compensate(idempotency_key="C", saga_forward_key="F") == "nothing"
    assert till.acts == 0


def test_an_undo_under_another_key_does_not_undo_again(till: Till) -> None:
    till.forward(idempotency_key="F")
    assert till.compensate(idempotency_key="C1", saga_forward_key="F") == "act 2"
    assert till.compensate(idempotency_key="C2", saga_forward_key="F") == "nothing"
    assert till.acts == 2


def test_an_undo_that_fails_is_taken_back_with_its_tombstone(till: Till) -> None:
    till.forward(idempotency_key="F")
    till.act = lambda: (_ for _ in ()).throw(RuntimeError("no"))  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        till.compensate(idempotency_key="C", saga_forward_key="F")
    del till.act
    assert till.compensate(idempotency_key="C", saga_forward_key="F") == "act 2"


@pytest.mark.parametrize(
    ("metadata", "why"),
    [
        ({"saga_not_after": "soon"}, "saga-not-after is 'soon'"),
        ({"saga_not_after": "nan"}, "not a number"),
        ({"idempotency_key": "K", "saga_forward_key": "K"}, "cannot undo itself"),
    ],
)
def test_metadata_that_cannot_be_meant_is_refused(metadata: dict[str, str], why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        read_call(Context(**metadata), StringValue())
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_of_another_type_is_another_request() -> None:
    def digest(request: Any) -> bytes:
        return read_call(Context(), request).digest

    assert digest(StringValue(value="a")) == digest(StringValue(value="a"))
    assert digest(StringValue(value="a")) != digest(StringValue(value="b"))
    assert digest(StringValue()) != digest(error_details_pb2.ErrorInfo())


def test_a_refusal_ends_the_call_with_its_code_and_reason() -> None:
    context = Context()
    with pytest.raises(RuntimeError), answering(context, StringValue(), domain="till.example"):
        raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "CARD_EXPIRED", "the card expired in May")
    assert context.ended == (grpc.StatusCode.FAILED_PRECONDITION, "the card expired in May")
    assert (context.info.reason, context.info.domain) == ("CARD_EXPIRED", "till.example")


def test_a_database_that_is_busy_with_another_call_asks_to_come_again(till: Till, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "till.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    context = Context()
    with pytest.raises(RuntimeError), answering(context, StringValue()):
        till.forward(idempotency_key="F")
    assert context.ended is not None
    assert context.ended[0] is grpc.StatusCode.ABORTED
    assert context.info.reason == "SAGA_ASK_AGAIN"
    other.execute("ROLLBACK")
    assert till.forward(idempotency_key="F") == "act 1"


def test_metadata_that_cannot_be_meant_ends_the_call_before_it_begins() -> None:
    context = Context(saga_not_after="soon")
    with pytest.raises(RuntimeError), answering(context, StringValue()):
        pytest.fail("the service must not be asked")
    assert context.ended is not None
    assert context.ended[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert context.info.reason == "SAGA_METADATA_INVALID"


def test_any_other_error_passes_untouched(till: Till) -> None:
    context = Context()
    with pytest.raises(sqlite3.OperationalError, match="no such table"), answering(context, StringValue()):
        till.db.execute("SELECT * FROM nowhere")
    assert context.ended is None


async def test_an_awaited_server_is_answered_by_awaiting() -> None:
    class Awaited(Context):
        async def abort(self, code: grpc.StatusCode, message: str) -> None:  # type: ignore[override]
            super().abort(code, message)

    context = Awaited(saga_not_after="soon")
    with pytest.raises(RuntimeError):
        async with answering(context, StringValue()):
            pytest.fail("the service must not be asked")
    assert context.info.reason == "SAGA_METADATA_INVALID"
    context = Awaited()
    with pytest.raises(RuntimeError):
        async with answering(context, StringValue()):
            raise Refused(grpc.StatusCode.ABORTED, "BUSY", "come again")
    assert context.ended == (grpc.StatusCode.ABORTED, "come again")


def test_cleaning_up_deletes_the_oldest_in_batches_and_spares_the_rest(tmp_path: Path) -> None:
    clock = iter(float(at) for at in range(1_000))
    till = Till(tmp_path / "till.sqlite", now=lambda: next(clock))
    for each in range(10):
        till.forward(idempotency_key=f"F{each}", saga_not_after="inf")
    kept_at = [row[0] for row in till.db.execute("SELECT kept_at FROM saga_calls ORDER BY kept_at")]

    def prune() -> int:
        with till.db:
            return till.barrier.prune(till.db, before_at=kept_at[7], limit=3)

    assert [prune(), prune(), prune(), prune()] == [3, 3, 1, 0]
    assert [row[0] for row in till.db.execute("SELECT idempotency_key FROM saga_calls")] == ["F7", "F8", "F9"]


def test_an_undo_makes_what_it_undoes_young_again(tmp_path: Path) -> None:
    now = [0.0]
    till = Till(tmp_path / "till.sqlite", now=lambda: now[0])
    till.forward(idempotency_key="F")
    now[0] = 50.0
    till.compensate(idempotency_key="C", saga_forward_key="F")
    with till.db:
        assert till.barrier.prune(till.db, before_at=50.0) == 0, "it must outlive its undo, or a duplicate acts again"


def test_a_table_name_that_is_not_one_is_refused() -> None:
    assert "CREATE TABLE IF NOT EXISTS shop.calls" in Barrier(SQLITE, table="shop.calls").ddl()[0]
    with pytest.raises(ValueError, match="is not a table name"):
        Barrier(SQLITE, table="calls; DROP TABLE calls")


def test_parameters_are_written_as_the_driver_wants_them() -> None:
    rules = Rules(dialect=ASYNCPG, table="t", now=lambda: 0.0)
    assert rules.written("a = ? AND b = ?") == "a = $1 AND b = $2"


def test_a_row_without_a_reply_that_is_no_tombstone_asks_to_come_again(till: Till) -> None:
    """Whoever commits between the claim and the reply breaks the contract; nobody acts twice for it."""
    till.db.execute("INSERT INTO saga_calls VALUES ('F', '', '', NULL, NULL, NULL, 0)")
    with pytest.raises(Refused, match="ABORTED SAGA_ASK_AGAIN"):
        till.forward(idempotency_key="F")


def test_the_kit_brings_nothing_of_the_orchestrator_with_it() -> None:
    code = (
        "import sys, orchestrator.participant\n"
        "print(*sorted(n for n in sys.modules if n.startswith('orchestrator')))\n"
        "print(*{'opentelemetry', 'click', 'apsw', 'ruamel', 'pydantic'}.intersection(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    first, second = shown.splitlines()
    assert all(name == "orchestrator" or name.startswith("orchestrator.participant") for name in first.split())
    assert second == ""
