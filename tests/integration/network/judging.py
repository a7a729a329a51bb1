"""What the journal says was sent, held against what a proxy saw pass."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from orchestrator.bootstrap import open_records
from orchestrator.config import Settings
from orchestrator.ids import SagaId
from orchestrator.ports.journal import Journal, SearchQuery
from orchestrator.saga.events import AttemptOpened, AttemptSettled, Phase
from orchestrator.saga.plan import Outcome
from orchestrator.verify import Answers, Findings, Ledgers, verify
from orchestrator.verify.witnesses import LedgerLine
from tests.kit.faults import Request, What

Attempt = tuple[str, str, str, int]
PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came out, and over how much."""

    findings: Findings
    lies: list[str]
    """Where the journal and the network disagree."""
    attempts: int
    phases: Mapping[str, int]
    """Phase -> recorded ends of attempts."""
    late: frozenset[str]
    """Sagas of which a call was not answered in time though nothing had stalled it: the machine was busy."""


async def judge(
    settings: Settings, lines: Iterable[LedgerLine], passed: Iterable[Request], answers: Answers
) -> Verdict:
    """Hold the journal against the ledgers, the callers' answers, and what passed the network."""
    assert settings.sqlite_path is not None
    sent = [each for each in passed if "saga-id" in each.told]
    seen = {each.attempt: each for each in sent}
    phases = dict.fromkeys((phase.value for phase in Phase), 0)
    opened: set[Attempt] = set()
    lies = [
        f"{attempt}: was sent {count} times"
        for attempt, count in Counter(each.attempt for each in sent).items()
        if count > 1
    ]
    late: set[str] = set()
    async with open_records(settings.sqlite_path, settings) as (journal, plans):
        findings = await verify(
            journal,
            plans,
            ledgers=Ledgers(lines),
            answers=answers,
            knows_targets=True,
            frontier_is_complete=True,
            in_order=True,
        )
        async for saga_id, event in _attempts(journal):
            attempt = saga_id, event.step, event.operation.value, event.attempt
            if isinstance(event, AttemptOpened):
                opened.add(attempt)
            else:
                phases[event.report.phase.value] += 1
                request = seen.get(attempt)
                lies += [f"{attempt}: {lie}" for lie in _lies(event, request)]
                if event.report.code == "DEADLINE_EXCEEDED" and not is_stalled(request):
                    late.add(saga_id)
    lies += [f"{attempt}: was sent and is not recorded" for attempt in seen.keys() - opened]
    return Verdict(findings=findings, lies=lies, attempts=len(opened), phases=phases, late=frozenset(late))


def is_stalled(request: Request | None) -> bool:
    """Return whether a call was given no answer on purpose."""
    struck = request.fault if request is not None and request.is_struck else None
    return struck is not None and struck.what is What.STALL


def _lies(settled: AttemptSettled, request: Request | None) -> Iterator[str]:
    phase = settled.report.phase
    if request is not None and phase is Phase.NOT_SENT:
        yield f"came to the proxy ({request.forwarded.name} forwarded), and is recorded as not sent"
    if phase is Phase.REPLIED and (request is None or not request.is_answered):
        yield "is recorded as answered, and no whole answer has passed"
    if settled.outcome is Outcome.NOT_APPLIED and request is not None and not request.is_answered:
        yield f"is recorded as not applied without an answer ({request.forwarded.name} forwarded)"


async def _attempts(journal: Journal) -> AsyncIterator[tuple[SagaId, AttemptOpened | AttemptSettled]]:
    query = SearchQuery(order_by="saga_id", descending=False, limit=PAGE)
    while rows := await journal.search(query):
        for row in rows:
            for record in await journal.read(row.saga_id):
                if isinstance(record.event, AttemptOpened | AttemptSettled):
                    yield row.saga_id, record.event
        query = replace(query, after=(rows[-1].saga_id, rows[-1].saga_id))
