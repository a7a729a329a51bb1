"""What is remembered of ended sagas has a bound in bytes as well, and every payload of a state is counted for it."""

import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest
from immutables import Map

from orchestrator.ids import SagaId, StepId
from orchestrator.runtime import passivation
from orchestrator.runtime.passivation import Ended, payload_bytes
from orchestrator.saga import SagaState, blank
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.memo import Memo
from orchestrator.saga.state import OperationState, Signal, StepState
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload

A = StepId("a")
PLAN = plan(step("a", idempotent=True))


def ended(size: int, *, version: int = 5) -> SagaState:
    """Return a state with a payload of so many bytes and no other."""
    return SagaState(plan=PLAN, version=version, input=Payload("T", b"x" * size))


def remembered(ended_ones: Ended, *names: str) -> list[str]:
    return [name for name in names if ended_ones.get(SagaId(name)) is not None]


def keep(ended_ones: Ended, name: str, state: SagaState, shard: int = 0) -> None:
    ended_ones.remember(SagaId(name), state, shard)


def test_the_earliest_go_where_the_payloads_of_all_take_more_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(passivation, "ENDED_BYTES_KEPT_MAX", 100)
    kept = Ended()
    for name in ("s1", "s2", "s3"):
        keep(kept, name, ended(40))
    assert remembered(kept, "s1", "s2", "s3") == ["s2", "s3"]
    keep(kept, "s4", ended(20))
    assert remembered(kept, "s2", "s3", "s4") == ["s2", "s3", "s4"], "exactly as many as there is room for"
    keep(kept, "s5", ended(1_000))
    assert remembered(kept, "s2", "s3", "s4", "s5") == ["s5"], "the last one is kept, however large"
    keep(kept, "s6", ended(1))
    assert remembered(kept, "s5", "s6") == ["s6"]


def test_what_is_let_go_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passivation, "ENDED_BYTES_KEPT_MAX", 100)
    monkeypatch.setattr(passivation, "ENDED_RECORDS_KEPT_MAX", 10)
    kept = Ended()
    keep(kept, "s1", ended(60), shard=1)
    kept.forget(SagaId("s1"))
    kept.forget(SagaId("never there"))
    keep(kept, "s2", ended(60), shard=2)
    keep(kept, "s3", ended(40), shard=3)
    kept.forget_in({2, 4})
    assert remembered(kept, "s1", "s2", "s3") == ["s3"]
    keep(kept, "s4", ended(60), shard=3)
    assert remembered(kept, "s3", "s4") == ["s3", "s4"]
    keep(kept, "s5", ended(0, version=6))
    assert remembered(kept, "s3", "s4", "s5") == ["s5"], "records are counted beside the bytes"


def test_no_more_than_so_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passivation, "ENDED_KEPT_MAX", 2)
    kept = Ended()
    for name in ("s1", "s2", "s3"):
        keep(kept, name, ended(1))
    assert remembered(kept, "s1", "s2", "s3") == ["s2", "s3"]


def test_lists_that_were_evaluated_are_not_kept() -> None:
    kept = Ended()
    keep(kept, "s", SagaState(plan=PLAN, version=1, memo=Memo().with_list(A, 1, ["an item"])))
    found = kept.get(SagaId("s"))
    assert found is not None
    assert found.memo.keys() == set()


def test_every_payload_that_a_state_can_hold_is_counted() -> None:
    sizes: list[int] = []
    step_state = full(StepState, sizes, id=A)
    item = full(StepState, sizes, id=StepId("a[0]"))
    signals = {name: tuple(Signal(request_id="r", payload=payload(sizes)) for _ in range(2)) for name in ("go", "stop")}
    state = full(SagaState, sizes, plan=PLAN, steps=Map({A: step_state}), items=Map({item.id: item}), signals=signals)
    assert len(sizes) == len(set(sizes)) > 20
    assert payload_bytes(state) == sum(sizes)


def test_a_reply_that_is_held_twice_is_counted_once() -> None:
    reply = Payload("T", b"x" * 1_000)
    forward = OperationState(request=Payload("T", b"xyz"), key="", started_at=0.0, last=replied(reply))
    state = SagaState(plan=PLAN, steps=Map({A: StepState(id=A, forward=forward, reply=reply)}))
    assert payload_bytes(state) == 1_003


def test_a_state_before_its_first_record_holds_nothing() -> None:
    assert payload_bytes(blank(PLAN)) == 0


Value = typing.TypeVar("Value")


def replied(reply: Payload) -> Report:
    return Report(code="OK", phase=Phase.REPLIED, reply=reply)


def payload(sizes: list[int]) -> Payload:
    """Return one of a size that no other has."""
    sizes.append(2 ** len(sizes) % 10_007)
    return Payload("T", b"x" * sizes[-1])


def full(of: type[Value], sizes: list[int], **given: object) -> Value:
    """Return a value with a payload wherever its type has a place for one: whoever adds a place counts it."""
    hints: Mapping[str, Any] = typing.get_type_hints(of)
    values = dict(given)
    for field in fields(of):  # type: ignore[arg-type]  # classes of our own, which it knows
        kinds = {hints[field.name], *typing.get_args(hints[field.name])}
        if Payload in kinds:
            values.setdefault(field.name, payload(sizes))
        elif OperationState in kinds:
            values.setdefault(field.name, full(OperationState, sizes, key="", started_at=0.0))
        elif Report in kinds:
            values.setdefault(field.name, replied(payload(sizes)))
    return of(**values)
