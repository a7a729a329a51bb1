"""The three witnesses of a run with real processes, held against each other, and its figures."""

from collections.abc import AsyncIterator

from orchestrator.bootstrap import open_records
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import Journal
from orchestrator.saga.events import CancelRequested, CompensationBegan
from orchestrator.verify import Findings, Ledgers, Violation, read_ledgers, verify
from tests.e2e import town
from tests.e2e.crowd import Crowd
from tests.kit import figures
from tests.kit.mesh import Mesh

PIVOTAL = ("order-", "transfer-", "claim-")
"""Sagas that have a pivot: a cancel may come too late to turn them around, and yet be recorded."""


async def judged(mesh: Mesh, crowd: Crowd) -> Findings:
    """Stop everything, and hold the three witnesses against each other. A bug that was survived is still a bug."""
    mesh.orchestrator.signal()
    assert await mesh.orchestrator.ended(within_s=30) == 0
    for service in mesh.services.values():
        service.signal()
    for service in mesh.services.values():
        await service.ended(within_s=10)
    assert "Traceback" not in mesh.orchestrator.log
    town.gather_ledgers(mesh)
    async with open_records(mesh.journal) as (journal, plans):
        ledgers = Ledgers(read_ledgers(mesh.data))
        findings = await verify(journal, plans, ledgers=ledgers, answers=crowd.answers, signals=crowd.signals)
        findings.add("I7", [each async for each in forgotten_cancels(journal, crowd)], len(crowd.cancelled))
    return findings


async def forgotten_cancels(journal: Journal, crowd: Crowd) -> AsyncIterator[Violation]:
    """A cancel that was acknowledged turns the saga around, unless its pivot was at that moment past recall."""
    for saga_id in sorted(crowd.cancelled):
        records = await journal.read(saga_id, limit=READ_RECORDS_MAX)
        events = [record.event for record in records]
        is_undone = any(isinstance(event, CompensationBegan) for event in events)
        is_asked = any(isinstance(event, CancelRequested) for event in events)
        is_past_pivot = is_asked and saga_id.startswith(PIVOTAL)
        if not is_undone and not is_past_pivot:
            message = "the sender of its cancel was told that it is recorded, and it went on"
            yield Violation(invariant="I7", saga_id=saga_id, message=message)


def told(lane: str, findings: Findings, crowd: Crowd, took_s: float, **counted: float) -> str:
    """The figures, kept for the page and as a line; `counted` is what only this run has."""
    broken = findings.by_invariant
    kept = {
        **counted,
        "sagas": findings.sagas,
        "records": findings.records,
        "effects": findings.effects,
        "acknowledged": len(crowd.answers),
        "ambiguous": crowd.counts["ambiguous, and recorded"] + crowd.counts["ambiguous, and not recorded"],
        **dict(sorted(crowd.counts.items())),
        **{f"ended {name}": number for name, number in sorted(crowd.definitions.items())},
        "lost": broken["I7"] + broken["I29"],
        "doubled": broken["I13"],
        "left_undone": broken["I18"] + broken["I24"] + broken["I28"],
        "violations": findings.violation_count,
        "seconds": round(took_s, 1),
    }
    figures.keep(lane, **kept)
    return f"{lane}: " + ", ".join(f"{name}: {number}" for name, number in kept.items())
