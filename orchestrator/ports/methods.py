"""What the called services look like: targets, and the protobuf descriptors of their methods."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol

from orchestrator.frozen import frozen


@frozen
class TargetFacts:
    """What the operator declared about a target; addresses stay with the invoker."""

    name: str
    idempotent: bool = False
    """Its methods honour the idempotency key (R8a)."""
    barrier: bool = False
    """Its methods keep the barrier contract (R13)."""
    idempotent_methods: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Full method name -> the same fact where a method differs from its target."""


class Methods(Protocol):
    """The configured targets and what they serve."""

    def targets(self) -> Sequence[str]:
        """Return the names of all configured targets."""
        ...

    def facts(self, target: str) -> TargetFacts | None:
        """Return what is declared about a target; None where it is not configured."""

    async def descriptors(self, target: str) -> bytes:
        """Return a serialised `FileDescriptorSet` with every file the target's services need, dependencies included.

        By server reflection, or from the configured files. Raise `TargetUnreachable` where it cannot be had.
        """
        ...
