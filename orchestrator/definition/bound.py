"""What a check is given and what it finds: services, other definitions, the steps with their names resolved."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, MethodDescriptor

from orchestrator.definition.annotated import Called
from orchestrator.definition.descriptors import Types
from orchestrator.definition.flat import Flat
from orchestrator.definition.names import Offer, Replies
from orchestrator.ports.methods import TargetFacts
from orchestrator.saga.plan import (
    ForEach,
    Guard,
    ReadAnswer,
    Render,
    RenderAttributes,
    RenderSeconds,
    RenderText,
)

FactsOf = Callable[[str], TargetFacts | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """Another definition as a parent sees it."""

    definition: str
    revision: str
    input_type: str
    output_type: str
    budget_s: float
    """The longest it may take, its undo included."""
    has_pivot: bool
    depth: int
    """Levels of children below it."""
    below: frozenset[str] = frozenset()
    """Definitions that it runs as children, at any depth."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a definition cannot be run as a child, and what to do."""

    why: str
    fix: str
    is_cycle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What is called, as it is known to one check."""

    types: Types
    serves: Mapping[str, frozenset[str]]
    """Target -> its services' full names; a target that is absent could not be asked."""
    configured: Sequence[str]
    unreachable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Target -> why it could not be asked."""
    children: Mapping[str, Child] = field(default_factory=dict[str, Child])
    """Definition -> the revision of it that is run as a child."""
    lost_children: Mapping[str, Lost] = field(default_factory=dict[str, Lost])
    """Definition -> why it cannot be run."""
    facts_of: FactsOf | None = None
    """What is declared about targets; None where a kept revision is compiled, which was judged when it was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCall:
    """A call whose names were found."""

    target: str
    method: MethodDescriptor
    render: Render | None = None


@dataclass(slots=True, kw_only=True)
class BoundStep:
    """A step whose names were found and whose expressions compile."""

    call: BoundCall | None = None
    undo: BoundCall | None = None
    undo_reads_reply: bool = False
    probe: BoundCall | None = None
    child: Child | None = None
    child_input: Render | None = None
    reply: Descriptor | None = None
    """The type of its reply: of its method, of an operation's response, of a signal, of a child's output."""
    is_operation: bool = False
    """Its method answers with a long-running operation."""
    when: Guard | None = None
    refuse: Guard | None = None
    reason: RenderText | None = None
    until: Guard | None = None
    for_each: ForEach | None = None
    asleep: RenderSeconds | None = None
    read_probe: ReadAnswer | None = None
    needs: frozenset[str] = frozenset()

    @property
    def called(self) -> Called:
        """Return the methods that were found."""
        found = [one.method if one is not None else None for one in (self.call, self.undo, self.probe)]
        return Called(forward=found[0], undo=found[1], probe=found[2])


@dataclass(slots=True, kw_only=True)
class Bound:
    """What a check resolved."""

    flat: Flat
    input_type: str
    steps: dict[str, BoundStep]
    attributes: RenderAttributes | None = None
    output: Render | None = None
    output_type: str = "google.protobuf.Empty"

    def offers(self) -> Mapping[str, Offer]:
        """Return what each step gives to others to read."""
        return {name: self._offer(name) for name in self.steps}

    def _offer(self, name: str) -> Offer:
        step = self.flat[name].step
        if step.body in {"sleep", "scope"}:
            return Offer(Replies.NONE)
        return Offer(Replies.MANY if step.for_each is not None else Replies.ONE, self.steps[name].reply)
