"""Moving a store with all its sagas into another one: what lies in the first, byte for byte, and who takes it in.

The rules of a promotion are in `journal/promoting.py`. What a store has to do for it is small: the first one tells its
records as they lie there, undecoded, in order of saga and version; the second one takes rows and records in, as often
as they are given, and remembers how far it has come. Until `finish` nobody runs sagas on it.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from orchestrator.frozen import frozen
from orchestrator.ids import SagaId
from orchestrator.ports.journal import SearchRow


@frozen
class Entry:
    """One record as a store has it."""

    saga_id: SagaId
    version: int
    position: int
    """Its place in the whole store; it keeps it, so that the order of a shard's records stays."""
    epoch: int
    at: float
    type: str
    checksum: int
    """CRC-32 of type and body as it was written: a record that was damaged stays so, and is reported by its reader."""
    body: bytes


class Entries(Protocol):
    """The records of a store, as they lie there."""

    async def entries(self, after: tuple[str, int], until: str, limit: int) -> Sequence[Entry]:
        """Return records by saga id (as bytes order) and version: those after a saga's version, up to a saga's last.

        An empty page is the end; a short one is not.
        """
        ...


class Origin(Entries, Protocol):
    """The store that is moved. This process owns it, so nobody writes to it meanwhile."""

    @property
    def epoch(self) -> int:
        """Return an epoch that no record's is greater than."""
        ...

    async def last_position(self) -> int:
        """Return the greatest position that was ever given to a record."""
        ...

    async def cursors(self) -> Mapping[str, int]:
        """Return the positions of all readers, by name."""
        ...

    async def successor(self) -> str:
        """Return which store has the sagas now; "" while it is this one."""
        ...

    async def retire(self, successor: str) -> None:
        """Note that durably: whoever opens this store to run sagas is refused from here on."""
        ...


class Destination(Entries, Protocol):
    """The store that takes another one in."""

    @property
    def shard_count(self) -> int:
        """Return how many shards the store has."""
        ...

    async def begin(self, origin: str, epoch: int, last_position: int) -> str | None:
        """Begin to take an origin in, or go on; return the id of the last saga that is here whole, "" at first.

        None where `finish` was reached before. `origin`: a digest of what is moved; the same one goes on. `ConfigError`
        where anything else is here, or somebody runs. From here on nobody can run here. New epochs and positions will
        be greater than those given.
        """
        ...

    async def take(self, rows: Sequence[SearchRow], entries: Sequence[Entry]) -> None:
        """Write rows and records, in one transaction; what is here already stays as it is.

        A record lies in the shard of its saga, whose row comes before it or with it.
        """
        ...

    async def mark(self, saga_id: SagaId) -> None:
        """Note durably that all sagas up to this one are here whole."""
        ...

    async def finish(self) -> None:
        """Note durably that all is here: from now on sagas may be run."""
        ...
