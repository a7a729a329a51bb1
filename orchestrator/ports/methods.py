"""What the called services look like: targets, and the protobuf descriptors of their methods."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Protocol

from orchestrator.frozen import frozen
from orchestrator.saga.plan import OutcomeProfile


@frozen
class MethodFacts:
    """What is declared about a method; None where nothing is said."""

    idempotent: bool | None = None
    """It honours the idempotency key (R8a)."""
    barrier: bool | None = None
    """It keeps the barrier contract (R13)."""
    profile: OutcomeProfile | None = None
    """How its status codes are meant (R6)."""

    def over(self, other: "MethodFacts") -> "MethodFacts":
        """Return these facts, and the other's where these say nothing."""
        return MethodFacts(
            idempotent=other.idempotent if self.idempotent is None else self.idempotent,
            barrier=other.barrier if self.barrier is None else self.barrier,
            profile=self.profile or other.profile,
        )


@frozen
class TargetFacts:
    """What the operator declared about a target; addresses stay with the invoker."""

    name: str
    every: MethodFacts = field(default_factory=MethodFacts)
    """What holds for all its methods."""
    methods: Mapping[str, MethodFacts] = field(default_factory=dict[str, MethodFacts])
    """Full method name -> where it differs from the others."""

    def of(self, method: str) -> MethodFacts:
        """Return what is declared about one method, by its full name."""
        own = self.methods.get(method)
        return self.every if own is None else own.over(self.every)


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
