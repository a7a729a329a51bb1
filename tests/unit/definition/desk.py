"""Revisions with all they stand on, in memory."""

from orchestrator.definition.revisions import Revisions
from orchestrator.ports.catalogue import Revision
from tests.unit.definition.world import DictCatalogue, FixedClock, FixedMethods, every_target


class Desk:
    """Revisions with all they stand on."""

    def __init__(self) -> None:
        self.catalogue = DictCatalogue()
        self.methods = FixedMethods(every_target())
        self.revisions = self.fresh()

    def fresh(self) -> Revisions:
        """Return what another process would have: the same catalogue, nothing in memory."""
        return Revisions(self.catalogue, self.methods, FixedClock())

    async def keep(self, text: str) -> Revision:
        revision, found = await self.revisions.create_revision(text, "probe.yaml")
        assert revision is not None, [str(one) for one in found]
        return revision
