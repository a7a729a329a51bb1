"""The three witnesses of a run with real processes, held against each other, and its figures."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.bootstrap import open_records
from orchestrator.ids import SagaId
from orchestrator.limits import READ_RECORDS_MAX
from orchestrator.ports.journal import Record
from orchestrator.saga.events import CancelRequested, CompensationBegan
from orchestrator.verify import Findings, Ledgers, Violation, read_ledgers, verify
from tests.e2e import town
from tests.e2e.crowd import Crowd
from tests.kit import figures
from tests.kit.mesh import Mesh

PIVOTAL = frozenset({"order", "transfer", "approval"})
"""Definitions that have a pivot: a cancel may come too late to turn it around, and yet be recorded."""

SHOWN = frozenset(
    {"I1", "I2", "I4", "I5", "I7", "I10", "I11", "I12", "I13", "I14", "I15", "I17", "I18", "I19", "I20", "I21"}
    | {"I24", "I25", "I28", "I29", "I35"}
)
"""What these witnesses can show, of every shape."""
SHOWN_BY_THE_DEMO = SHOWN - {"I28", "I29"}
"""It has no children and waits for nobody."""


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
    for service in mesh.services.values():
        service.signal()
    for service in mesh.services.values():
        await service.ended(within_s=10)
    assert "Traceback" not in mesh.orchestrator.log
    town.gather_ledgers(mesh)
    survived: Counter[str] = Counter()
    async with open_records(mesh.journal) as (journal, plans):
        ledgers = Ledgers(read_ledgers(mesh.data))
        findings = await verify(journal, plans, ledgers=ledgers, answers=crowd.answers, signals=crowd.signals)
        for saga_id, definition in crowd.definitions.items():
            records = await journal.read(saga_id, limit=READ_RECORDS_MAX)
            survived[definition] += len({record.epoch for record in records}) > 1
            if saga_id in crowd.cancelled:
                findings.add("I7", forgotten_cancel(saga_id, definition, records))
    return Judgement(findings=findings, survived=survived)


def forgotten_cancel(saga_id: SagaId, definition: str, records: Sequence[Record]) -> Iterator[Violation]:
    """A cancel that was acknowledged turns the saga around, unless it came while a pivot was undecided."""
    kinds = {type(record.event) for record in records}
    is_past_recall = definition in PIVOTAL and CancelRequested in kinds
    if CompensationBegan not in kinds and not is_past_recall:
        message = "the sender of its cancel was told that it is recorded, and it went on"
        yield Violation(invariant="I7", saga_id=saga_id, message=message)


def told(lane: str, judgement: Judgement, crowd: Crowd, took_s: float, **counted: float) -> str:
    """The figures, kept for the page and as a line; `counted` is what only this run has."""
    findings = judgement.findings
    broken = findings.by_invariant
    kept = {
        **counted,
        "sagas": findings.sagas,
        "records": findings.records,
        "effects": findings.effects,
        "acknowledged": len(crowd.answers),
        "ambiguous": crowd.counts["ambiguous, and recorded"] + crowd.counts["ambiguous, and not recorded"],
        **dict(sorted(crowd.counts.items())),
        **{f"ended {name}": number for name, number in sorted(Counter(crowd.definitions.values()).items())},
        **{f"survived {name}": number for name, number in sorted(judgement.survived.items())},
        "lost": broken["I7"] + broken["I29"],
        "doubled": broken["I13"],
        "left_undone": broken["I18"] + broken["I24"] + broken["I28"],
        "violations": findings.violation_count,
        "seconds": round(took_s, 1),
    }
    figures.keep(lane, **kept)
    return f"{lane}: " + ", ".join(f"{name}: {number}" for name, number in kept.items())
