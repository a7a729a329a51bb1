"""What several targets stand on: the worked examples, compiled against the real types of the services they call."""

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.definition import Revisions
from orchestrator.explore.play import Answers, Input, Played, Scripted, play
from orchestrator.ids import StepId
from orchestrator.saga.events import Phase, Report
from orchestrator.saga.plan import Operation, Plan
from orchestrator.values import Payload
from tests.unit.definition.test_examples import TARGETS
from tests.unit.definition.world import DictCatalogue, FixedClock, FixedMethods, descriptor_set

DEFINITIONS: Final = Path(__file__).parents[3] / "compose" / "definitions"
CALLS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class World:
    """Revisions of all examples, and their plans by name."""

    revisions: Revisions
    catalogue: DictCatalogue
    plans: dict[str, Plan]

    def fresh(self) -> Revisions:
        """Return what another process would have, over a catalogue of its own with the same revisions in it."""
        catalogue = DictCatalogue([*self.catalogue.kept], dict(self.catalogue.activated))
        return Revisions(catalogue, methods(), FixedClock())


@functools.cache
def methods() -> FixedMethods:
    """Return the services' types."""
    return FixedMethods({target: descriptor_set(file) for target, file in TARGETS.items()})


def texts() -> Sequence[tuple[str, str]]:
    """Return the examples, each with its file's name."""
    return [(path.name, path.read_text(encoding="utf-8")) for path in sorted(DEFINITIONS.glob("*.yaml"))]


def world() -> World:
    """Compile them."""

    async def compiled() -> World:
        catalogue = DictCatalogue()
        revisions = Revisions(catalogue, methods(), FixedClock())
        created = await revisions.create_together(texts())
        names = [revision.definition for revision, _ in created if revision is not None]
        return World(revisions, catalogue, {name: await revisions.plan(name) for name in names})

    return asyncio.run(compiled())


class _Enough(Exception):
    """A saga that asks for ever has been played long enough."""


def played(plan: Plan, given: Payload, answers: Answers | None = None, inputs: Sequence[Input] = ()) -> Played | None:
    """Play a saga; None where it goes on longer than anybody wants to see."""
    calls = 0

    def counted(path: StepId, operation: Operation, attempt: int) -> Scripted:
        nonlocal calls
        calls += 1
        if calls > CALLS_MAX:
            raise _Enough
        if answers is not None:
            return answers(path, operation, attempt)
        reply = Payload(plan.step_of(path).call_of(operation).reply_type, b"")
        return Scripted(report=Report(code="OK", phase=Phase.REPLIED, reply=reply), after_s=0.1)

    try:
        return play(plan, given, counted, inputs)
    except _Enough:
        return None
