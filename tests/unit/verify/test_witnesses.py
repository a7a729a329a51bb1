import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.ids import SagaId, StepId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.ports.journal import Append, Record, SearchQuery, SearchRow
from orchestrator.saga.commands import ForceComplete, ResolveStep, SkipStep, TerminateSaga, UndoChild
from orchestrator.saga.events import AttemptOpened, AttemptSettled, Report
from orchestrator.saga.plan import Operation, Outcome
from orchestrator.verify import INVARIANTS, Findings, Ledgers, read_ledgers, verify
from orchestrator.verify.answers import check_answers, check_signals
from orchestrator.verify.witnesses import LedgerLine, check_effects, left_standing
from tests.unit.telemetry.histories import unavailable
from tests.unit.telemetry.shapes import (
    AUDIT,
    PARENT,
    Guide,
    guide,
    items,
    no,
    plan_of,
    replied,
    run,
    run_plain,
    step,
    until,
)
from tests.unit.verify.samples import SAGA, Sample, compensated, completed, running, sample_of_guide
from tests.unit.verify.stores import Plans, kept


async def judged(
    sample: Sample, *, effects: Iterable[LedgerLine] | None = None, answers: dict[SagaId, str] | None = None
) -> Findings:
    journal = await kept(sample)
    return await verify(journal, Plans(), ledgers=None if effects is None else Ledgers(effects), answers=answers)


def key(sample: Sample, step: str, operation: Operation = Operation.FORWARD) -> str:
    event = sample.events[sample.find(AttemptOpened, step=StepId(step), operation=operation)]
    assert isinstance(event, AttemptOpened)
    return event.key


def effect(sample: Sample, step: str, operation: Operation = Operation.FORWARD, count: int = 1) -> LedgerLine:
    return LedgerLine(
        service="service",
        saga_id=SAGA,
        step=StepId(step),
        operation=operation.value,
        key=key(sample, step, operation),
        count=count,
    )


def effects_of(sample: Sample) -> list[LedgerLine]:
    """What services that keep their keys would have written of the steps that have an effect."""
    found = [effect(sample, name) for name in ("book", "pay")]
    if sample.row.status == "COMPENSATED":
        return found + [effect(sample, name, Operation.COMPENSATE) for name in ("book", "pay")]
    return found


@pytest.mark.parametrize("make", [completed, compensated])
async def test_services_that_did_what_was_recorded_break_no_rule(make: Callable[[], Sample]) -> None:
    sample = make()
    findings = await judged(sample, effects=effects_of(sample), answers={SAGA: sample.row.status.value})
    assert findings.violations == []
    assert not {"I7", "I10", "I13", "I24"} & findings.not_checked.keys(), "all three witnesses were heard"
    assert {name for name in INVARIANTS if not findings.checked[name]} == findings.not_checked.keys()


async def test_a_repeated_call_without_an_effect_is_no_second_effect() -> None:
    sample = completed()
    findings = await judged(sample, effects=[*effects_of(sample), effect(sample, "book", count=0)])
    assert findings.violation_count == 0


def only(findings: Findings) -> set[str]:
    return set(findings.by_invariant)


async def test_an_effect_under_a_key_that_nobody_recorded_is_found() -> None:
    sample = completed()
    stray = replace(effect(sample, "book", count=0), key="6f1c4a2e-0000-4000-8000-00000000000f")
    assert only(await judged(sample, effects=[*effects_of(sample), stray])) == {"I10"}


async def test_an_effect_for_a_saga_that_the_journal_does_not_have_is_found() -> None:
    sample = completed()
    stray = replace(effect(sample, "book"), saga_id=SagaId("other"), key="k")
    findings = await judged(sample, effects=[*effects_of(sample), stray])
    assert [(found.invariant, found.saga_id) for found in findings.violations] == [("I10", "other")]


async def test_two_effects_under_one_key_are_found() -> None:
    sample = completed()
    assert only(await judged(sample, effects=[*effects_of(sample), effect(sample, "pay")])) == {"I13", "I24"}


async def test_a_completed_saga_without_an_effect_is_found() -> None:
    # another saga of the definition has a line of `pay`, so its service does keep a ledger
    sample = completed()
    nothing = replace(effect(sample, "pay"), count=0)
    assert only(await judged(sample, effects=[effect(sample, "book"), nothing])) == {"I24"}


async def test_a_compensated_saga_whose_effect_stands_is_found() -> None:
    sample = compensated()
    done = [each for each in effects_of(sample) if (each.step, each.operation) != ("pay", "compensate")]
    findings = await judged(sample, effects=done)
    assert [found.message for found in findings.violations] == ["pay is UNDONE, and 1 of its effect stands"]


async def test_steps_whose_service_keeps_no_ledger_are_not_held_against_one() -> None:
    sample = completed()
    findings = await judged(sample, effects=[effect(sample, "book")])
    assert findings.violation_count == 0
    assert findings.checked["I24"] == 1


async def test_a_ledger_of_another_definition_says_nothing_about_a_step_of_the_same_name() -> None:
    sample = completed()
    other = replace(effect(sample, "pay", count=0), saga_id=SagaId("other"), key="k")
    findings = await judged(sample, effects=[effect(sample, "book"), other])
    assert only(findings) == {"I10"}, "the stranger is found, and `pay` of this saga is not accused"


@pytest.mark.parametrize(
    ("told", "make"), [("COMPLETED", compensated), ("COMPENSATED", completed), ("COMPLETED", running)]
)
async def test_a_caller_who_was_told_another_end_is_found(told: str, make: Callable[[], Sample]) -> None:
    findings = await judged(make(), answers={SAGA: told})
    assert only(findings) == {"I7"}
    assert f"a caller was told {told}" in findings.violations[0].message


async def test_a_saga_that_was_accepted_and_is_not_there_is_found() -> None:
    findings = await judged(running(), answers={SAGA: "", SagaId("lost"): ""})
    assert [(found.invariant, found.saga_id) for found in findings.violations] == [("I7", "lost")]


async def test_what_no_witness_bears_on_is_said_not_to_be_checked() -> None:
    findings = await judged(running())
    told = findings.not_checked
    assert told["I7"] == "no answers of callers were given"
    assert told["I10"] == told["I24"] == "no ledgers were given"
    assert told["I28"] == told["I21"] == "nothing in these witnesses bears on it"
    assert told["I36"] == "nobody said that the faults have ended"
    assert told.keys().isdisjoint(name for name, count in findings.checked.items() if count)
    unknown = "no ledgers were given and what targets declare was not given"
    assert findings.partly["I13"] == findings.partly["I19"] == unknown
    assert findings.partly["I3"] == "the order of commits over all sagas was not asked for"


async def test_a_saga_whose_revision_is_gone_is_a_finding_and_no_error() -> None:
    sample = completed()
    findings = await judged(replace(sample, row=replace(sample.row, definition="gone")))
    assert [(found.invariant, found.saga_id) for found in findings.violations] == [("I41", "s")]
    assert "'gone' does not exist" in findings.violations[0].message


class OneRowShort(MemoryJournal):
    """A store that cannot read a search row leaves it out of its lists, and counts it."""

    async def search(self, query: SearchQuery) -> Sequence[SearchRow]:
        return ()


async def test_a_saga_whose_row_cannot_be_read_is_not_silently_passed_over() -> None:
    journal = OneRowShort()
    sample = running()
    records = tuple(Record(version=each.version, epoch=journal.epoch, event=each.event) for each in sample.records)
    row = replace(sample.row, epoch=journal.epoch)
    await journal.append([Append(saga_id=SAGA, expected_version=0, epoch=journal.epoch, records=records, row=row)])
    findings = await verify(journal, Plans())
    assert only(findings) == {"I6"}
    assert "1 of 1 search rows cannot be read" in findings.violations[0].message


LINE = {"saga_id": "s", "saga_step": "book", "op": "forward", "key": "k", "effect": 1, "more": "fields are allowed"}


def test_a_torn_last_line_was_never_acknowledged_and_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "hotel.ledger.jsonl").write_text(json.dumps(LINE) + "\n" + json.dumps(LINE)[:20])
    assert [(each.service, each.step, each.count) for each in read_ledgers(tmp_path)] == [("hotel", "book", 1)]


@pytest.mark.parametrize("line", ["{}", "[]", "nonsense", json.dumps({**LINE, "effect": "many"})])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "hotel.ledger.jsonl").write_text(json.dumps(LINE) + "\n" + line + "\n")
    with pytest.raises(ConfigError, match=r"hotel\.ledger\.jsonl:2: not a ledger line"):
        list(read_ledgers(tmp_path))


def test_a_folder_without_ledgers_is_an_error_and_not_an_empty_check(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no \*\.ledger\.jsonl"):
        list(read_ledgers(tmp_path))


def test_calls_that_no_saga_made_are_nobodys_business() -> None:
    nobody = LedgerLine(service="x", saga_id=SagaId(""), step=StepId(""), operation="forward", key="", count=1)
    assert Ledgers([nobody, nobody]).count == 0


# --- lists, people, signals ------------------------------------------------------------------------------------------

LISTED = plan_of("listed", step("reserve", for_each=items(3)), step("last", "reserve"))
ITEM = StepId("reserve[1]")


def listed(last: Report) -> Guide:
    told = guide(LISTED)
    for _ in range(3):
        told.report(told.calls()[0], replied())
    told.reply("last", last)
    return told


def ledger_of(told: Guide, *, without: Iterable[tuple[str, str]] = ()) -> list[LedgerLine]:
    """What services that keep their keys would have written of all calls that were applied."""
    opened = {}
    for record in told.records:
        if isinstance(record.event, AttemptOpened):
            opened[record.event.step, record.event.operation, record.event.attempt] = record.event.key
    return [
        LedgerLine(
            service="shop",
            saga_id=told.saga_id,
            step=event.step,
            operation=event.operation.value,
            key=opened[event.step, event.operation, event.attempt],
            count=1,
        )
        for event in (record.event for record in told.records)
        if isinstance(event, AttemptSettled)
        and event.outcome == "APPLIED"
        and (event.step, event.operation.value) not in set(without)
    ]


def held(told: Guide, ledger: Iterable[LedgerLine] = ()) -> Findings:
    findings, stream = sample_of_guide(told).check()
    ledgers = Ledgers(ledger)
    keeping = ledgers.keeping({told.saga_id: told.plan.definition})
    check_effects(stream, ledgers, keeping.get(told.plan.definition, frozenset()), findings)
    findings.leave(left_standing(stream))
    return findings


def test_each_item_of_a_list_answers_for_its_own_effect() -> None:
    told = listed(replied())
    findings = held(told, ledger_of(told))
    assert findings.violations == []
    assert findings.checked["I24"] == 4, "three items and the step after them"


def test_an_item_whose_effect_stands_after_its_undo_is_found() -> None:
    told = run_plain(listed(no()))
    findings = held(told, ledger_of(told, without=[(ITEM, "compensate")]))
    assert [found.message for found in findings.violations] == ["reserve[1] is UNDONE, and 1 of its effect stands"]


def test_an_item_that_never_took_effect_is_found() -> None:
    told = listed(replied())
    findings = held(told, ledger_of(told, without=[(ITEM, "forward")]))
    assert [found.message for found in findings.violations] == ["reserve[1] is APPLIED, and 0 of its effect stands"]


def test_what_a_person_leaves_is_listed_and_no_violation() -> None:
    told = listed(no())
    while not told.state.attention:
        path = told.calls()[0].step
        told.report(told.calls()[0], no() if path == ITEM else replied())
    told.tell(SkipStep(audit=AUDIT, step=ITEM))
    run_plain(told)
    findings = held(told, ledger_of(told))
    assert findings.violations == []
    assert list(map(str, findings.left)) == ["saga report-1: reserve[1] was left as it is"]


def test_what_a_person_says_is_listed_and_not_held_against_a_service() -> None:
    told = listed(no())
    while not told.state.attention:
        path = told.calls()[0].step
        told.report(told.calls()[0], no() if path == ITEM else replied())
    told.tell(ResolveStep(audit=AUDIT, step=ITEM, outcome=Outcome.APPLIED))
    run_plain(told)
    findings = held(told, ledger_of(told))
    assert findings.violations == []
    assert [left.path for left in findings.left] == [ITEM]


def test_a_terminated_saga_may_leave_effects_and_each_is_listed() -> None:
    told = guide(LISTED)
    for _ in range(3):
        told.report(told.calls()[0], replied())
    told.tell(TerminateSaga(audit=AUDIT))
    findings = held(told, ledger_of(told))
    assert findings.violations == []
    assert {left.path for left in findings.left} >= {"reserve[0]", "reserve[1]", "reserve[2]"}
    assert findings.left_count == len(findings.left)


def test_what_a_person_cut_short_is_listed_until_the_sagas_parent_has_it_brought_to_its_end() -> None:
    told = until(guide(parent=PARENT), "pay")
    for _ in ("the call", "its probe"):
        told.reply("pay", unavailable(told.calls()[0], told.at))
    told.tell(ForceComplete(audit=AUDIT))
    cut_short = held(told)
    assert cut_short.violations == []
    assert [str(each) for each in cut_short.left] == [
        "saga report-1: pay had not come to its end when a person ended the saga"
    ]
    told.tell(UndoChild(reason="the trip is off"))
    findings = held(run(told))
    assert (findings.violations, findings.left) == ([], [])


def test_asking_about_a_call_is_no_effect_of_its_step() -> None:
    told = listed(replied())
    asked = [replace(line, operation="probe", key="p", count=1) for line in ledger_of(told) if line.step == ITEM]
    ledgers = Ledgers([*ledger_of(told), *asked])
    assert ledgers.net[told.saga_id, ITEM] == 1


async def test_a_signal_that_its_sender_was_told_of_is_in_the_journal() -> None:
    told = run(guide())
    findings, stream = sample_of_guide(told).check()
    check_signals(stream, ["r1"], findings)
    assert findings.violations == []
    check_signals(stream, ["r1", "r2"], findings)
    (found,) = findings.violations
    assert (found.invariant, found.message) == ("I29", "the sender of signal r2 was told that it is recorded")


async def test_a_caller_may_have_been_told_that_a_child_completed_which_was_undone_since() -> None:
    findings = Findings()
    statuses = {SagaId("child"): "COMPENSATED", SagaId("other"): "COMPENSATED"}
    check_answers(dict.fromkeys(statuses, "COMPLETED"), statuses, {SagaId("child")}, findings)
    assert [found.saga_id for found in findings.violations] == ["other"]


async def test_the_walk_holds_signals_against_their_senders() -> None:
    findings = await verify(await kept(running()), Plans(), signals={SAGA: ["r1"]})
    assert only(findings) == {"I29"}
