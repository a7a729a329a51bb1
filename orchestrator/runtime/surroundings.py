"""What every actor of a process shares: the ports, and whether anything new may begin."""

from orchestrator.ports.clock import Clock
from orchestrator.ports.invoker import Invoker
from orchestrator.ports.observer import Observer
from orchestrator.ports.ownership import Ownership
from orchestrator.runtime.committer import Committer
from orchestrator.runtime.perform import ChildCalls
from orchestrator.saga.commands import Moment


class Surroundings:
    """What every actor of a process shares."""

    __slots__ = ("children", "clock", "committer", "invoker", "is_draining", "leaving", "observer", "ownership")

    children: ChildCalls
    """Given later: children are begun through the directory, whose actors they serve."""

    def __init__(
        self, *, clock: Clock, committer: Committer, invoker: Invoker, observer: Observer, ownership: Ownership
    ) -> None:
        """Gather the ports."""
        self.clock = clock
        self.committer = committer
        self.invoker = invoker
        self.observer = observer
        self.ownership = ownership
        self.is_draining = False
        self.leaving: set[int] = set()
        """Shards that are about to get another owner."""

    def is_leaving(self, shard: int) -> bool:
        """Return whether nothing new may begin there: the process drains, or the shard is given away."""
        return self.is_draining or shard in self.leaving

    def moment(self, epoch: int, *, is_draining: bool) -> Moment:
        """Return the time and the luck for one decision."""
        return Moment(at=self.clock.now(), entropy=self.clock.entropy(), epoch=epoch, is_draining=is_draining)
