"""The three witnesses of a run with real processes, held against each other, and its figures."""

from collections import Counter
from dataclasses import dataclass

from orchestrator.bootstrap import open_records
from orchestrator.config import load
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import Journal
from orchestrator.ports.plans import Plans
from orchestrator.verify import INVARIANTS, Findings, Ledgers, read_ledgers, verify
from tests.e2e import town
from tests.e2e.crowd import Crowd
from tests.kit import figures
from tests.kit.mesh import Mesh

SHOWN = INVARIANTS.keys() - {"I8", "I31", "I43", "I45", "I46"}
"""What these witnesses can show, of every shape; nobody kept refusals, repairs, watches or lists."""
SHOWN_BY_THE_DEMO = SHOWN - {"I9", "I16", "I21", "I28", "I29", "I30"}
"""It has no children, lists or pivot, and waits for nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the witnesses say together."""

    findings: Findings
    survived: Counter[str]
    """Definition -> sagas that one process began and another went on with."""


async def judged(mesh: Mesh, crowd: Crowd) -> Judgement:
    """Stop everything, and hold the three witnesses against each other. A bug that was survived is still a bug."""
    mesh.orchestrator.signal()
    assert await mesh.orchestrator.ended(within_s=30) == 0
    await close_down(mesh)
    assert "Traceback" not in mesh.orchestrator.log
    declared = load(mesh.folder / "saga.yaml", {}).settings
    async with open_records(mesh.journal, declared) as (journal, plans):
        return await compared(journal, plans, mesh, crowd)


async def close_down(mesh: Mesh) -> None:
    """Stop the services, and gather what they have written."""
    for service in mesh.services.values():
        service.signal()
    for service in mesh.services.values():
        await service.ended(within_s=30)
    town.gather_ledgers(mesh)


async def compared(journal: Journal, plans: Plans, mesh: Mesh, crowd: Crowd) -> Judgement:
    """Hold a store that nobody writes to against the ledgers and what callers were told."""
    findings = await verify(
        journal,
        plans,
        ledgers=Ledgers(read_ledgers(mesh.data)),
        answers=crowd.answers,
        knows_targets=True,
        frontier_is_complete=True,
        in_order=True,
    )
    survived: Counter[str] = Counter()
    for saga_id, definition in crowd.definitions.items():
        records = await journal.read(saga_id, limit=READ_RECORDS_MAX)
        survived[definition] += len({record.epoch for record in records}) > 1
    return Judgement(findings=findings, survived=survived)


def told(lane: str, judgement: Judgement, crowd: Crowd, took_s: float, **counted: float) -> str:
    """The figures, kept for the page and as a line; `counted` is what only this run has."""
    findings = judgement.findings
    broken = findings.by_invariant
    kept = {
        **counted,
        "sagas": findings.sagas,
        "records": findings.records,
        "effects": findings.effects,
        "acknowledged": len(crowd.ends),
        "ambiguous": crowd.counts["ambiguous, and recorded"] + crowd.counts["ambiguous, and not recorded"],
        **dict(sorted(crowd.counts.items())),
        **{f"ended {name}": number for name, number in sorted(Counter(crowd.definitions.values()).items())},
        **{f"survived {name}": number for name, number in sorted(judgement.survived.items())},
        "lost": broken["I7"] + broken["I29"],
        "doubled": broken["I9"] + broken["I13"],
        "left_undone": broken["I18"] + broken["I24"] + broken["I28"],
        "violations": findings.violation_count,
        "seconds": round(took_s, 1),
    }
    figures.keep(lane, **kept)
    return f"{lane}: " + ", ".join(f"{name}: {number}" for name, number in kept.items())
