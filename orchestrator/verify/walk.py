"""Walks a whole store and holds every saga against every invariant that the given witnesses allow.

The search rows of all sagas are held in memory, because the ledgers and the answers are compared with the whole set:
about 1 KB a saga with two attributes, a gigabyte for a million. Records are not: one saga's at a time.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace

from orchestrator.errors import IntegrityError, NotFound
from orchestrator.ids import SagaId
from orchestrator.limits import READ_RECORDS_MAX, VERIFY_PAGE_ROWS
from orchestrator.ports.journal import Journal, Record, SearchQuery, SearchRow
from orchestrator.ports.plans import Plans
from orchestrator.verify.families import Families
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.stream import Stream
from orchestrator.verify.streams import check_stream
from orchestrator.verify.witnesses import (
    Ledgers,
    check_answers,
    check_effects,
    check_signals,
    check_strangers,
    left_standing,
)

Progress = Callable[[int, int], None]
"""Hears how many sagas are done, of how many."""


async def verify(
    journal: Journal,
    plans: Plans,
    *,
    ledgers: Ledgers | None = None,
    answers: Mapping[SagaId, str] | None = None,
    signals: Mapping[SagaId, Collection[str]] | None = None,
    on_progress: Progress | None = None,
) -> Findings:
    """Check a store that nobody writes to.

    `answers`: saga -> the end a caller was told, "" for accepted. `signals`: saga -> request ids of signals that their
    senders were told are recorded.
    """
    findings = Findings()
    rows = [row async for row in _rows(journal)]
    definitions = {row.saga_id: row.definition for row in rows}
    _check_rows(len(rows), (await journal.count(SearchQuery())).get("", 0), findings)
    keeping = None if ledgers is None else ledgers.keeping(definitions)
    families = Families()
    for number, row in enumerate(rows, 1):
        stream = await _check_saga(row, journal, plans, findings)
        if stream is not None:
            families.take(stream)
            findings.leave(left_standing(stream))
            if signals is not None:
                check_signals(stream, signals.get(row.saga_id, ()), findings)
            if ledgers is not None and keeping is not None:
                check_effects(stream, ledgers, keeping.get(row.definition, frozenset()), findings)
        if on_progress is not None:
            on_progress(number, len(rows))
    families.check(set(definitions), findings)
    if ledgers is None:
        findings.not_checked |= dict.fromkeys(("I10", "I13", "I24"), "no ledgers were given")
    else:
        findings.effects = ledgers.count
        check_strangers(set(definitions), ledgers, findings)
    if answers is None:
        findings.not_checked["I7"] = "no answers of callers were given"
    else:
        check_answers(answers, {row.saga_id: row.status.value for row in rows}, families.all_children(), findings)
    findings.finish()
    return findings


async def _rows(journal: Journal) -> AsyncIterator[SearchRow]:
    query = SearchQuery(order_by="saga_id", descending=False, limit=VERIFY_PAGE_ROWS)
    while page := await journal.search(query):
        for row in page:
            yield row
        query = replace(query, after=(page[-1].saga_id, page[-1].saga_id))


def _check_rows(readable: int, present: int, findings: Findings) -> None:
    """I4 for whole rows: a store leaves a row that it cannot read out of its lists."""
    message = f"{present - readable} of {present} search rows cannot be read, nor their sagas checked; see the log"
    findings.add("I4", [Violation(invariant="I4", saga_id="?", message=message)] if readable != present else [])


async def _check_saga(row: SearchRow, journal: Journal, plans: Plans, findings: Findings) -> Stream | None:
    try:
        records = await _records(row.saga_id, journal)
        plan = await plans.plan(row.definition, row.revision)
    except (IntegrityError, NotFound) as error:
        findings.sagas += 1
        findings.add("I5", [Violation(invariant="I5", saga_id=row.saga_id, message=error.message)])
        return None
    return check_stream(row, plan, records, findings)


async def _records(saga_id: SagaId, journal: Journal) -> list[Record]:
    found: list[Record] = []
    while page := await journal.read(saga_id, len(found), READ_RECORDS_MAX):
        found += page
        if len(page) < READ_RECORDS_MAX:
            break
    return found
