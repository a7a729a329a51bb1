"""No false alarm: whatever the machine does in random worlds, looked at after every append, breaks no rule.

`WORLDS=20000` looks longer, at worlds nobody has seen yet.
"""

import os
from random import Random  # noqa: TID251  (seeded)

import pytest

from orchestrator.ports.journal import Record
from orchestrator.runtime.rows import rest_of, row_of
from orchestrator.saga import wake_at
from orchestrator.verify import Findings
from orchestrator.verify.streams import RULES, RULES_OF_TARGETS, check_stream
from tests.kit import figures
from tests.kit.machine import Machine
from tests.properties.test_machine import TAPE_BYTES, world_of

WORLDS = int(os.environ.get("WORLDS", "240"))
SELDOM = {"I31"}
"""Waits that end in vain are one in a hundred worlds."""


class Onlooker:
    """Keeps a saga's records as its store would, and holds them against the rules whenever there are more."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._records: list[Record] = []

    def look(self, machine: Machine) -> None:
        seen = len(self._records)
        new = enumerate(machine.events[seen:], seen + 1)
        self._records += [Record(version=version, epoch=machine.epoch, event=event) for version, event in new]
        rest = rest_of(machine.state, is_draining=machine.is_draining)
        row = row_of(machine.state, wake_at(machine.owed), rest, epoch=machine.epoch)
        check_stream(row, machine.plan, self._records, self._findings)


@pytest.mark.timeout(300 + WORLDS // 10)
def test_whatever_happens_breaks_no_rule_at_any_moment() -> None:
    findings = Findings()
    for seed in range(WORLDS):
        world = world_of(Random(seed).randbytes(TAPE_BYTES))
        world.observe(Onlooker(findings).look)
        world.run()
        world.settle_everything()
        assert list(map(str, findings.violations)) == [], f"seed {seed}"
    figures.keep("checker", worlds=WORLDS, streams=findings.sagas, records=findings.records, false_alarms=0)
    unseen = {name for name, _ in RULES + RULES_OF_TARGETS if not findings.checked[name]}
    assert unseen <= SELDOM, "rules that no world bears on"
