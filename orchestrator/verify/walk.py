"""Walks a whole store and holds every saga against every invariant that the given witnesses allow."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from orchestrator.errors import IntegrityError
from orchestrator.ids import SagaId
from orchestrator.limits import READ_RECORDS_MAX, VERIFY_PAGE_ROWS
from orchestrator.ports.journal import Journal, Record, SearchQuery, SearchRow
from orchestrator.ports.plans import Plans
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.streams import check_stream
from orchestrator.verify.witnesses import Ledgers, check_answers, check_effects, check_strangers

Progress = Callable[[int], None]


async def verify(
    journal: Journal,
    plans: Plans,
    *,
    ledgers: Ledgers | None = None,
    answers: Mapping[SagaId, str] | None = None,
    on_progress: Progress | None = None,
) -> Findings:
    """Check a store that nobody writes to. `on_progress` hears the number of sagas done, page by page."""
    findings = Findings()
    statuses: dict[SagaId, str] = {}
    query = SearchQuery(order_by="saga_id", descending=False, limit=VERIFY_PAGE_ROWS)
    while rows := await journal.search(query):
        for row in rows:
            statuses[row.saga_id] = row.status.value
            await _check_saga(row, journal, plans, ledgers, findings)
        query = replace(query, after=(rows[-1].saga_id, rows[-1].saga_id))
        if on_progress is not None:
            on_progress(len(statuses))
    if ledgers is None:
        findings.not_checked |= dict.fromkeys(("I10", "I13", "I24"), "no ledgers were given")
    else:
        findings.effects = ledgers.count
        check_strangers(set(statuses), ledgers, findings)
    if answers is None:
        findings.not_checked["I7"] = "no answers of callers were given"
    else:
        check_answers(answers, statuses, findings)
    findings.finish()
    return findings


async def _check_saga(
    row: SearchRow, journal: Journal, plans: Plans, ledgers: Ledgers | None, findings: Findings
) -> None:
    try:
        records = await _records(row.saga_id, journal)
        plan = await plans.plan(row.definition, row.revision)
    except IntegrityError as error:
        findings.add("I5", [Violation(invariant="I5", saga_id=row.saga_id, message=error.message)])
        return
    stream = check_stream(row, plan, records, findings)
    if stream is not None and ledgers is not None:
        check_effects(stream, ledgers, findings)


async def _records(saga_id: SagaId, journal: Journal) -> list[Record]:
    found: list[Record] = []
    while page := await journal.read(saga_id, len(found), READ_RECORDS_MAX):
        found += page
        if len(page) < READ_RECORDS_MAX:
            break
    return found
