import pytest

from orchestrator import limits
from orchestrator.ids import StepId
from orchestrator.journal import wire
from orchestrator.saga.events import StepBegan, StepLeft
from orchestrator.v1 import journal_pb2


@pytest.mark.parametrize("size", [0, 1, 127, 128, 4095, 4096, 70_000, 2_100_000])
def test_a_text_of_any_length_is_what_protobuf_reads(size: int) -> None:
    step = "s" * size
    data = wire.writer_of(StepLeft)(StepLeft(at=1.0, step=StepId(step)))
    assert journal_pb2.StepLeft.FromString(data) == journal_pb2.StepLeft(at=1.0, step=step)


@pytest.mark.parametrize("count", [None, 0, 1, 127, 128, 2**31, 2**32 - 1])
def test_a_number_of_any_size_is_what_protobuf_writes(count: int | None) -> None:
    data = wire.writer_of(StepBegan)(StepBegan(at=1.0, step=StepId("s"), due_at=None, count=count))
    assert data == journal_pb2.StepBegan(at=1.0, step="s", count=count).SerializeToString()


def test_an_instant_is_written_even_if_it_is_zero() -> None:
    data = wire.writer_of(StepLeft)(StepLeft(at=0.0, step=StepId("")))
    assert data == b"\t" + bytes(8)


def test_what_is_kept_of_the_steps_of_a_long_list_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "RECORD_WORDS_KEPT_MAX", 10)
    field = journal_pb2.StepLeft.DESCRIPTOR.fields_by_name["step"]
    kept = wire.Kept(field)
    for item in range(25):
        assert kept[f"reserve[{item}]"] == b"\x12" + bytes([len(f"reserve[{item}]")]) + f"reserve[{item}]".encode()
        assert len(kept) <= 10
    assert limits.RECORD_WORDS_KEPT_MAX > 10


def test_what_cannot_be_written_is_not_kept() -> None:
    kept = wire.Kept(journal_pb2.StepBegan.DESCRIPTOR.fields_by_name["count"])
    for _ in range(2):
        with pytest.raises(ValueError, match="-1 is not from 0"):
            kept[-1]
    assert not kept
