"""Definitions from their files, compiled as the server compiles them: what a `Simulation` of one's own sagas is given.

What the operator declares about targets (their methods keep the key, keep the barrier) is in no definition: give it as
`targets`, as it is configured, or the simulated services promise nothing. What a method's own annotations say is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from orchestrator.definition import Revisions, Severity
from orchestrator.definition.oneset import OneSet, one_set
from orchestrator.errors import InputInvalid
from orchestrator.frozen import frozen
from orchestrator.journal.memory import MemoryJournal
from orchestrator.ports.methods import TargetFacts
from orchestrator.ports.plans import JsonInput
from orchestrator.saga.plan import Plan
from orchestrator.testing.callers import Begin
from orchestrator.testing.clocks import SimulatedClock, WallClock
from orchestrator.testing.fates import Fates
from orchestrator.testing.loop import SimulatedLoop
from orchestrator.testing.simulation import Simulation
from orchestrator.testing.words import JsonReplies, words

SAGAS = 10
"""So many that they meet."""


@frozen
class Definitions:
    """Compiled definitions."""

    plans: Sequence[Plan]
    """In the order of the files."""
    catalogue: Revisions
    """Reads inputs and finds plans, of these definitions alone."""

    def simulation(
        self, given: Mapping[str, object], replies: JsonReplies = MappingProxyType({}), sagas: int = SAGAS
    ) -> Simulation:
        """Return a simulation of so many sagas of the first definition, with the same input, as JSON.

        `replies` are what services say where all goes well; see `words`.
        """
        begin = Begin(
            definition=self.plans[0].definition, input=self.catalogue.input(self.plans[0], JsonInput(dict(given)))
        )
        said = words(self.plans, self.catalogue, replies)
        return Simulation(plans=self.plans, begins=[begin] * sagas, catalogue=self.catalogue, replies=said)


def read_definitions(files: Iterable[Path], descriptors: Path, targets: Iterable[TargetFacts] = ()) -> Definitions:
    """Compile files of definitions, children among them in any order, against a `FileDescriptorSet`.

    Needs no event loop, and bears one. Raises `InputInvalid` with every finding where one of them is an error.
    """
    texts = [(str(path), path.read_text(encoding="utf-8")) for path in files]
    methods = one_set(descriptors.read_bytes(), texts, targets)
    return SimulatedLoop().run(_compiled(texts, methods))  # type: ignore[abstract]  # of asyncio's interface it has what can be had


async def _compiled(texts: Sequence[tuple[str, str]], methods: OneSet) -> Definitions:
    catalogue = Revisions(MemoryJournal(), methods, SimulatedClock(WallClock(), Fates(0), "author"))
    created = await catalogue.create_together(texts)
    findings = [one for _, found in created for one in found]
    if any(one.severity is Severity.ERROR for one in findings):
        raise InputInvalid("definitions", "\n".join(one.render() for one in findings))
    kept = [revision for revision, _ in created if revision is not None]
    for each in kept:
        await catalogue.activate(each.definition, each.revision)
    return Definitions(plans=[await catalogue.plan(each.definition) for each in kept], catalogue=catalogue)
