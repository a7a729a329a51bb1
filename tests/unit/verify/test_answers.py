"""What callers were told, and what can be seen over the whole store only."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from orchestrator.errors import JournalCorrupted
from orchestrator.ids import SagaId, StepId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import PositionedRecord, Record
from orchestrator.saga.events import AttemptOpened
from orchestrator.saga.plan import Operation
from orchestrator.verify import INVARIANTS, Answers, Findings, LedgerLine, Ledgers, Listed, Watched, verify
from tests.kit.machine import started
from tests.unit.verify.samples import PLAN, SAGA, Sample, compensated, completed, running, sample_of
from tests.unit.verify.stores import Plans, in_epoch, kept, put, renamed

OTHER = SagaId("other")


def cancelled() -> Sample:
    machine = started(PLAN)
    machine.cancel("enough")
    machine.reply("check", "CANCELLED")
    return sample_of(machine)


async def told(sample: Sample, answers: Answers) -> Findings:
    return await verify(await kept(sample), Plans(), answers=answers)


def found(findings: Findings) -> list[tuple[str, str]]:
    return [(each.invariant, each.saga_id) for each in findings.violations]


def watched(sample: Sample, *versions: int, after: int = 0, is_whole: bool = False) -> Answers:
    events = {record.version: record.event for record in in_epoch(sample, 1)}
    pairs = [(version, events.get(version)) for version in versions]
    return Answers(watched=[Watched(saga_id=SAGA, seen=pairs, after=after, is_whole=is_whole)])


def all_of(sample: Sample) -> range:
    return range(1, len(sample.events) + 1)


async def test_callers_who_were_told_what_is_true_break_no_rule() -> None:
    sample = renamed(cancelled(), "s", request_id="r1")
    answers = Answers(
        ends={SAGA: "COMPENSATED"},
        cancels=[SAGA],
        requests={"r1": SAGA},
        refused=["r2"],
        refused_sagas=[OTHER],
        watched=[Watched(saga_id=SAGA, seen=[(number, None) for number in all_of(sample)], is_whole=True)],
        listed=[Listed(saga_ids=[SAGA], known=[SAGA])],
    )
    findings = await verify(await kept(sample), Plans(), answers=answers, frontier_is_complete=True, in_order=True)
    assert list(map(str, findings.violations)) == []
    counted = {name: findings.checked[name] for name in ("I7", "I8", "I9", "I36", "I45", "I46")}
    assert counted == {"I7": 2, "I8": 2, "I9": 2, "I36": 1, "I45": len(sample.events), "I46": 1}
    assert findings.checked["I3"] == 1 + len(sample.events)
    assert not {"I3", "I7", "I9"} & findings.partly.keys()


async def test_what_nobody_wrote_down_is_said_not_to_be_checked() -> None:
    findings = await told(completed(), Answers())
    assert {"I7", "I8", "I45", "I46", "I36"} <= findings.not_checked.keys()
    assert findings.not_checked["I45"] == "nothing that watchers were handed was given"
    assert findings.partly["I29"] == "no answers to signals were given"


LYING: list[tuple[str, Callable[[], Sample], Answers]] = [
    ("I7", completed, Answers(cancels=[SAGA])),
    ("I7", completed, Answers(cancels=[OTHER])),
    ("I7", completed, Answers(ends={OTHER: ""})),
    ("I29", completed, Answers(signals={SAGA: ["r1"]})),
    ("I29", completed, Answers(signals={OTHER: ["r1"]})),
    ("I8", lambda: renamed(completed(), "s", request_id="r1"), Answers(refused=["r1"])),
    ("I8", completed, Answers(refused_sagas=[SAGA])),
    ("I9", lambda: renamed(completed(), "s", request_id="r1"), Answers(requests={"r1": OTHER})),
    ("I9", completed, Answers(requests={"r1": SAGA})),
    ("I45", completed, watched(completed(), 1, 3)),
    ("I45", completed, watched(completed(), 1, 1)),
    ("I45", completed, watched(completed(), 2, 1)),
    ("I45", completed, watched(completed(), 3, after=1)),
    ("I45", completed, watched(completed(), 1, 2, is_whole=True)),
    ("I45", running, watched(completed(), *all_of(completed()))),
    ("I45", completed, watched(compensated(), *all_of(compensated()))),
    ("I46", completed, Answers(listed=[Listed(saga_ids=[SAGA, SAGA], known=[])])),
    ("I46", completed, Answers(listed=[Listed(saga_ids=[], known=[SAGA])])),
]


@pytest.mark.parametrize(("invariant", "make", "answers"), LYING)
async def test_a_caller_who_was_told_something_else_is_found(
    invariant: str, make: Callable[[], Sample], answers: Answers
) -> None:
    findings = await told(make(), answers)
    assert {name for name, _ in found(findings)} == {invariant}
    assert INVARIANTS[invariant] in str(findings.violations[0])


async def test_a_watcher_that_came_back_and_is_not_at_the_end_misses_nothing() -> None:
    sample = running()
    assert found(await told(sample, watched(sample, 3, 4, after=2))) == []


async def test_a_cancel_of_what_was_being_undone_already_is_kept() -> None:
    assert found(await told(compensated(), Answers(cancels=[SAGA]))) == []


# --- over the whole store ---------------------------------------------------------------------------------------------


async def test_one_request_that_started_two_sagas_is_found() -> None:
    journal = MemoryJournal()
    await put(journal, renamed(running(), "s", request_id="r1"))
    await put(journal, renamed(running(), "other", request_id=""), OTHER)
    rows = journal._contents.rows
    rows[OTHER] = replace(rows[OTHER], request_id="r1")
    findings = await verify(journal, Plans())
    assert ("I9", "s") in found(findings)


async def test_two_sagas_of_one_uid_are_found() -> None:
    journal = await kept(running())
    await put(journal, renamed(running(), "other"), OTHER)
    assert found(await verify(journal, Plans())) == [("I12", "s")]


async def test_a_writer_that_comes_after_its_successor_is_found_where_the_order_is_asked_for() -> None:
    first = MemoryJournal()
    second = first.reopen()
    await put(second, running())
    await put(second, renamed(completed(), "other", uid=7), OTHER, epoch=first.epoch)
    findings = await verify(second, Plans())
    assert findings.by_invariant["I3"] == 0
    findings = await verify(second, Plans(), in_order=True)
    late = [each for each in findings.violations if each.invariant == "I3"]
    assert {each.saga_id for each in late} == {OTHER}
    assert late[0].versions == (1,)


async def test_a_writer_of_one_shard_is_not_the_successor_of_another_shards() -> None:
    first = MemoryJournal()
    second = first.reopen()
    await put(second, running())
    await put(second, renamed(completed(), "other", uid=7), OTHER, epoch=first.epoch, shard=1)
    findings = await verify(second, Plans(), in_order=True)
    assert findings.by_invariant["I3"] == 0


@pytest.mark.parametrize(("make", "is_right"), [(completed, True), (running, False)])
async def test_a_saga_that_goes_on_though_nothing_more_will_happen_is_found(
    make: Callable[[], Sample], is_right: bool
) -> None:
    findings = await verify(await kept(make()), Plans(), frontier_is_complete=True)
    assert findings.checked["I36"] == 1
    assert (found(findings) == []) is is_right


class Damaged(MemoryJournal):
    """One saga's third record cannot be read."""

    async def read(self, saga_id: SagaId, after_version: int = 0, limit: int = READ_RECORDS_MAX) -> Sequence[Record]:
        if saga_id == SAGA:
            raise JournalCorrupted(f"record 3 of saga {saga_id!r} cannot be read", saga_id=saga_id)
        return await super().read(saga_id, after_version, limit)

    async def since(self, position: int, limit: int, shard: int | None = None) -> Sequence[PositionedRecord]:
        raise JournalCorrupted("record 3 cannot be read")


async def test_a_record_that_cannot_be_read_is_a_finding_about_its_saga_and_the_others_are_checked() -> None:
    journal = Damaged()
    await put(journal, running())
    await put(journal, renamed(running(), "other", uid=7), OTHER)
    findings = await verify(journal, Plans(), in_order=True)
    assert ("I6", "s") in found(findings)
    assert findings.partly["I3"] == "the order of commits after position 0: record 3 cannot be read"
    assert {each.saga_id for each in findings.violations if each.invariant == "I6"} == {"s"}
    assert findings.sagas == 2
    assert findings.checked["I1"] == len(running().events)


# --- the order of a ledger --------------------------------------------------------------------------------------------


def lines_of(sample: Sample, *calls: tuple[str, Operation, int], service: str = "bank") -> list[LedgerLine]:
    found: list[LedgerLine] = []
    for name, operation, count in calls:
        opened = sample.events[sample.find(AttemptOpened, step=StepId(name), operation=operation)]
        assert isinstance(opened, AttemptOpened)
        found.append(
            LedgerLine(
                service=service, saga_id=SAGA, step=opened.step, operation=operation, key=opened.key, count=count
            )
        )
    return found


GO, BACK = Operation.FORWARD, Operation.COMPENSATE


async def test_a_call_that_acts_after_its_undo_is_found() -> None:
    sample = compensated()
    lines = lines_of(sample, ("book", GO, 1), ("book", BACK, 1), ("pay", BACK, 0), ("pay", GO, 1))
    findings = await verify(await kept(sample), Plans(), ledgers=Ledgers(lines))
    assert [name for name, _ in found(findings)] == ["I19", "I24"]
    assert "pay acted under" in findings.violations[0].message


@pytest.mark.parametrize(
    "calls",
    [
        [("pay", GO, 1), ("pay", BACK, 1)],
        [("pay", GO, 1), ("pay", BACK, 1), ("pay", GO, 0)],
        [("pay", BACK, 0), ("pay", GO, 1), ("pay", BACK, 1)],
    ],
    ids=["in order", "turned away", "undone once more"],
)
async def test_a_call_that_is_undone_in_the_end_is_none(calls: list[tuple[str, Operation, int]]) -> None:
    sample = compensated()
    lines = lines_of(sample, ("book", GO, 1), ("book", BACK, 1), *calls)
    findings = await verify(await kept(sample), Plans(), ledgers=Ledgers(lines))
    assert found(findings) == []
    assert findings.checked["I19"] >= 4, "two undos, and two calls before them"


async def test_ledgers_of_two_services_have_no_order() -> None:
    sample = compensated()
    lines = lines_of(sample, ("book", GO, 1), ("book", BACK, 1), ("pay", BACK, 1))
    lines += lines_of(sample, ("pay", GO, 1), service="other bank")
    assert found(await verify(await kept(sample), Plans(), ledgers=Ledgers(lines))) == []
