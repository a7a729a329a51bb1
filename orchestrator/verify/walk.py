"""Walks a whole store and holds every saga against every invariant that the given witnesses allow.

The search rows of all sagas are held in memory, because the ledgers and the answers are compared with the whole set:
about 1 KB a saga with two attributes, a gigabyte for a million. Records are not: one saga's at a time.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from orchestrator.errors import IntegrityError, NotFound
from orchestrator.ids import SagaId
from orchestrator.limits import READ_RECORDS_MAX, VERIFY_PAGE_ROWS
from orchestrator.ports.journal import Journal, Record, SearchQuery, SearchRow
from orchestrator.ports.plans import Plans
from orchestrator.verify.answers import (
    Answers,
    Watched,
    check_answers,
    check_at_rest,
    check_saga_answers,
    check_store_answers,
    missing,
)
from orchestrator.verify.families import Families
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.pauses import Pauses
from orchestrator.verify.stream import Stream
from orchestrator.verify.streams import check_stream
from orchestrator.verify.witnesses import Ledgers, check_effects, check_strangers, left_standing

_NO_LEDGERS = "no ledgers were given"
Progress = Callable[[int, int], None]
"""Hears how many sagas are done, of how many."""


async def verify(
    journal: Journal,
    plans: Plans,
    *,
    ledgers: Ledgers | None = None,
    answers: Answers | Mapping[SagaId, str] | None = None,
    signals: Mapping[SagaId, Collection[str]] | None = None,
    knows_targets: bool = False,
    frontier_is_complete: bool = False,
    in_order: bool = False,
    is_live: bool = False,
    has_forgotten: bool = False,
    on_progress: Progress | None = None,
) -> Findings:
    """Check a store.

    `answers`: what callers were told; of a mapping, saga -> the end a caller was told, "" for accepted. `signals`: as
    `Answers.signals`. `knows_targets`: `plans` know what the targets' configuration declares of methods, which no
    journal records (I13, I18, I19). `is_at_rest`: the caller knows that nothing more is going to happen (I36).
    `in_order`: read the store once more, in the order of its commits, which each shard has by itself (I3). `is_live`:
    others may write to it meanwhile: each saga is checked as its row was when it was read, and what can only be seen
    over several sagas is not checked. `has_forgotten`: ended sagas were removed, and who is missed is no violation.
    """
    findings = Findings()
    told = _told(answers, signals)
    rows = [row async for row in _rows(journal)]
    _check_rows(rows, len(rows) if is_live else (await journal.count(SearchQuery())).get("", 0), findings)
    keeping = None if ledgers is None else ledgers.keeping({row.saga_id: row.definition for row in rows})
    watched: dict[SagaId, list[Watched]] = {}
    for each in told.watched or ():
        watched.setdefault(each.saga_id, []).append(each)
    families, pauses = Families(), Pauses()
    for number, row in enumerate(rows, 1):
        if is_live and await journal.row(row.saga_id) is None:
            continue  # forgotten since
        stream = await _check_saga(row, journal, plans, findings, knows_targets=knows_targets, is_live=is_live)
        if stream is not None:
            families.take(stream)
            pauses.take(stream)
            findings.leave(left_standing(stream))
            check_saga_answers(stream, told, watched.get(row.saga_id, ()), findings)
            if ledgers is not None and keeping is not None:
                check_effects(stream, ledgers, keeping.get(row.definition, frozenset()), findings)
        else:
            families.unread += 1
        if on_progress is not None:
            on_progress(number, len(rows))
    pauses.check(findings)
    if is_live:
        findings.partly["I3"] = "the order of commits over all sagas, while processes may run on the store"
    elif in_order:
        await _check_order({row.saga_id: row.shard for row in rows}, journal, findings)
    else:
        findings.partly["I3"] = "the order of commits over all sagas was not asked for"
    if frontier_is_complete:
        check_at_rest(rows, findings)
    else:
        findings.not_checked["I36"] = "nobody said that the faults have ended"
    if is_live:
        findings.not_checked["I28"] = "processes may run on the store, and families move meanwhile"
    else:
        families.check({row.saga_id for row in rows}, findings, has_forgotten=has_forgotten)
    _check_together(
        rows, families, ledgers, told, findings, knows_targets=knows_targets, has_forgotten=has_forgotten or is_live
    )
    findings.finish()
    return findings


def _told(answers: Answers | Mapping[SagaId, str] | None, signals: Mapping[SagaId, Collection[str]] | None) -> Answers:
    told = answers if isinstance(answers, Answers) else Answers(ends=answers)
    return told if signals is None else replace(told, signals=signals)


def _check_together(
    rows: Sequence[SearchRow],
    families: Families,
    ledgers: Ledgers | None,
    told: Answers,
    findings: Findings,
    *,
    knows_targets: bool,
    has_forgotten: bool,
) -> None:
    """Hold what can be seen over all sagas only."""
    by_id = {row.saga_id: row for row in rows}
    if ledgers is None:
        findings.not_checked |= dict.fromkeys(("I10", "I24"), _NO_LEDGERS)
    else:
        findings.effects = ledgers.count
        if has_forgotten:
            findings.partly["I10"] = "effects of sagas that are not there may be those of sagas that were forgotten"
        else:
            check_strangers(set(by_id), ledgers, findings)
    halves = [_NO_LEDGERS] if ledgers is None else []
    halves += [] if knows_targets else ["what targets declare was not given"]
    findings.partly |= dict.fromkeys(("I13", "I19"), " and ".join(halves)) if halves else {}
    findings.partly |= {} if knows_targets else {"I18": halves[-1]}
    findings.not_checked |= missing(told)
    findings.partly |= _missing_parts(told)
    if told.ends is not None:
        statuses = {row.saga_id: row.status.value for row in rows}
        check_answers(told.ends, statuses, families.all_children(), findings)
    check_store_answers(by_id, told, findings)


def _missing_parts(told: Answers) -> Mapping[str, str]:
    given = {
        "I7": (told.ends is None or told.cancels is None, "starts" if told.ends is None else "cancels"),
        "I9": (told.requests is None, "starts by request id"),
        "I29": (told.signals is None, "signals"),
    }
    return {name: f"no answers to {what} were given" for name, (is_missing, what) in given.items() if is_missing}


async def _rows(journal: Journal) -> AsyncIterator[SearchRow]:
    query = SearchQuery(order_by="saga_id", descending=False, limit=VERIFY_PAGE_ROWS)
    while page := await journal.search(query):
        for row in page:
            yield row
        query = replace(query, after=(page[-1].saga_id, page[-1].saga_id))


def _check_rows(rows: Sequence[SearchRow], present: int, findings: Findings) -> None:
    """I6 for rows, which a store that cannot read them leaves out of its lists; I9 and I12: names that are had once."""
    message = f"{present - len(rows)} of {present} search rows cannot be read, nor their sagas checked; see the log"
    findings.add(
        "I6", [Violation(invariant="I6", saga_id="?", message=message)] if len(rows) != present else [], present
    )
    requests: dict[str, SagaId] = {}
    uids: dict[str, SagaId] = {}
    for row in rows:
        if row.request_id and (other := requests.setdefault(row.request_id, row.saga_id)) != row.saga_id:
            message = f"request {row.request_id} started it, and saga {other} as well"
            findings.add("I9", [Violation(invariant="I9", saga_id=row.saga_id, message=message)], 0)
        if (other := uids.setdefault(row.uid, row.saga_id)) != row.saga_id:
            message = f"it has the uid of saga {other}, and so the same keys"
            findings.add("I12", [Violation(invariant="I12", saga_id=row.saga_id, message=message)], 0)
    findings.checked["I9"] += len(requests)


async def _check_order(shards: Mapping[SagaId, int], journal: Journal, findings: Findings) -> None:
    """I3 over the whole store: in no shard a commit of an older writer after one of a newer."""
    position, newest = 0, dict[int, int]()
    while True:
        try:
            page = await journal.since(position, READ_RECORDS_MAX)
        except IntegrityError as error:
            # Its own saga's finding says more; what comes after it cannot be put in order.
            findings.partly["I3"] = f"the order of commits after position {position}: {error.message}"
            return
        if not page:
            return
        for each in page:
            shard = shards.get(each.saga_id, 0)
            highest = newest.get(shard, 0)
            if each.record.epoch < highest:
                message = f"it was written under epoch {each.record.epoch}, after another saga under {highest}"
                late = Violation(invariant="I3", saga_id=each.saga_id, message=message, versions=(each.record.version,))
                findings.add("I3", [late], 0)
            newest[shard] = max(highest, each.record.epoch)
        position = page[-1].position
        findings.checked["I3"] += len(page)


async def _check_saga(
    row: SearchRow, journal: Journal, plans: Plans, findings: Findings, *, knows_targets: bool, is_live: bool
) -> Stream | None:
    """Read and check one saga; where that cannot be, that is what is found."""
    broken: Violation | None = None
    records: Sequence[Record] = ()
    try:
        records = await _records(row.saga_id, journal)
        if is_live:
            records = records[: row.version]  # what came after the row was read has a row of its own
    except IntegrityError as error:
        broken = Violation(invariant="I6", saga_id=row.saga_id, message=error.message)
    findings.add("I6", () if broken is None else (broken,), len(records) or 1)
    if broken is None:
        try:
            plan = await plans.plan(row.definition, row.revision)
        except (IntegrityError, NotFound) as error:
            broken = Violation(invariant="I41", saga_id=row.saga_id, message=error.message)
            findings.add("I41", (broken,))
        else:
            return check_stream(row, plan, records, findings, knows_targets=knows_targets)
    findings.sagas += 1
    return None


async def _records(saga_id: SagaId, journal: Journal) -> list[Record]:
    found: list[Record] = []
    while page := await journal.read(saga_id, len(found), READ_RECORDS_MAX):
        found += page
        if len(page) < READ_RECORDS_MAX:
            break
    return found
