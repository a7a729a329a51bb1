"""A request that another process of the cluster has to do: how it is asked, and what it is asked of.

::

    edge ─ NotOwner ─► Peers.ask(address) ──gRPC──► the owner's Desk      as soon as the owner can be reached
                  └──► Letters.leave(shard) ─store─► the owner's Desk     whoever that is by then

Whoever asks does not ask twice what may not be done twice: `Missed.is_sent` says whether the request may have arrived.
"""

from typing import Protocol

from orchestrator.frozen import frozen
from orchestrator.ports.posts import Answer


@frozen
class Errand:
    """A request on its way to the process that may do it."""

    method: str
    """Full gRPC method name, `/orchestrator.v1.SagaService/SignalSaga`."""
    request: bytes
    facts: tuple[tuple[str, str], ...] = ()
    """What goes with it: who asks, in which trace, under which request id."""


@frozen
class Missed:
    """No answer came."""

    why: str
    is_sent: bool
    """It may have arrived, and been done."""


class Desk(Protocol):
    """Where a process does what others forward to it: as if the caller had come here, and never sent on."""

    async def execute(self, errand: Errand, timeout_s: float) -> Answer:
        """Do it, and return what its caller would have been answered."""
        ...


class Peers(Protocol):
    """The other processes of the cluster."""

    async def ask(self, address: str, errand: Errand, timeout_s: float) -> Answer | Missed:
        """Have the process at an address do it; never raises for what happens on the way."""
        ...


class Letters(Protocol):
    """The store's letter box, for whoever waits for an answer from it."""

    async def leave(self, shard: int, errand: Errand) -> int:
        """Make the request durable for the shard's owner, whoever that is; return its number."""
        ...

    async def answer(self, number: int) -> Answer:
        """Wait for the answer, for ever."""
        ...
