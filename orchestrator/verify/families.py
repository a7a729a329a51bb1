"""Parents and children: what a child saga came to must be what its parent's step says (I28).

A child is a saga of its own, with its own stream and its own end; only the two of them together show whether an undone
parent has left a completed child behind. What is kept per parent is one entry for each of its steps that is a child.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from orchestrator.ids import SagaId, StepId
from orchestrator.saga.plan import CHILD_TARGET, Call, Outcome
from orchestrator.saga.state import TERMINAL, SagaStatus, StepStatus
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.stream import Stream

_MAY_STAND = {
    StepStatus.APPLIED: frozenset({1}),
    StepStatus.UNDONE: frozenset({0}),
    StepStatus.NOT_APPLIED: frozenset({0}),
    StepStatus.SKIPPED: frozenset({0}),
    StepStatus.PENDING: frozenset({0}),
}
"""How many completed children a path of an ended parent may have; of any other status nothing is known."""


_ENDED_BY_RULE = frozenset({SagaStatus.COMPLETED, SagaStatus.COMPENSATED})


@dataclass(frozen=True, slots=True)
class _Path:
    status: StepStatus
    is_settled_by_rule: bool
    """No person has said what is true of it."""
    has_child: bool
    """Its call was answered, so that there was a child."""


@dataclass(slots=True)
class Families:
    """What the walk has seen of parents and children."""

    parents: dict[SagaId, tuple[SagaStatus, dict[StepId, _Path]]] = field(
        default_factory=dict[SagaId, tuple[SagaStatus, dict[StepId, _Path]]]
    )
    children: dict[tuple[SagaId, StepId], dict[SagaId, SagaStatus]] = field(
        default_factory=dict[tuple[SagaId, StepId], dict[SagaId, SagaStatus]]
    )

    def take(self, stream: Stream) -> None:
        """Remember what a saga has to do with others."""
        if stream.parent is not None:
            known = self.children.setdefault((stream.parent.saga_id, stream.parent.step), {})
            known[stream.row.saga_id] = stream.row.status
        state = stream.state
        steps = {step.id for step in stream.plan.steps.values() if _is_child(step.body)}
        if state is None or not steps:
            return
        resolved = stream.resolved()
        paths = {
            each.id: _Path(
                each.status,
                each.id not in resolved and not stream.was_cut_short,
                each.status is StepStatus.APPLIED or _was_applied(stream, each.id),
            )
            for each in state.everything()
            if stream.plan.step_of(each.id).id in steps and each.items is None
        }
        self.parents[stream.row.saga_id] = state.status, paths

    unread: int = 0
    """Sagas of which nobody can say whose children they are."""

    def all_children(self) -> set[SagaId]:
        """Return every child that the walk has seen."""
        return {child for children in self.children.values() for child in children}

    def check(self, known: set[SagaId], findings: Findings, *, has_forgotten: bool = False) -> None:
        """I28: over all families, once the walk is over. `has_forgotten`: a parent may be gone before its children."""
        for (parent_id, path), children in self.children.items():
            if has_forgotten and parent_id not in known:
                findings.partly["I28"] = (
                    "children whose parents are not there may be those of sagas that were forgotten"
                )
                continue
            findings.add("I28", self._broken(parent_id, path, children, known), len(children))
        if self.unread:
            findings.partly["I28"] = f"{self.unread} sagas cannot be read, and may be children that look lost"
            return
        for parent_id, (status, paths) in self.parents.items():
            if status in _ENDED_BY_RULE:
                findings.hold("I28", self._lost(parent_id, status, paths))

    def _lost(self, parent_id: SagaId, status: SagaStatus, paths: dict[StepId, _Path]) -> Iterator[Violation | int]:
        """Go from the parents to the children: one that is not there has nobody else to tell of it."""
        for path, found in paths.items():
            if not (found.has_child and found.is_settled_by_rule):
                continue
            yield 1
            if not self.children.get((parent_id, path)):
                told = f"it is {status.value}, {path} is {found.status.value}, and the journal has no child of it"
                yield Violation(invariant="I28", saga_id=parent_id, message=told)

    def _broken(
        self, parent_id: SagaId, path: StepId, children: dict[SagaId, SagaStatus], known: set[SagaId]
    ) -> Iterator[Violation]:
        first = min(children)
        if parent_id not in known:
            yield Violation(invariant="I28", saga_id=first, message=f"the journal has no saga {parent_id}, its parent")
            return
        status, paths = self.parents.get(parent_id, (SagaStatus.RUNNING, {}))
        found = paths.get(path)
        if found is None or status not in _ENDED_BY_RULE or not found.is_settled_by_rule:
            return  # its parent has not ended, cannot be read, or was ended by a person as it was
        for child, its in children.items():
            if its not in TERMINAL:
                message = f"it is {its.value}, and its parent {parent_id} is {status.value}"
                yield Violation(invariant="I28", saga_id=child, message=message)
        standing = sorted(child for child, its in children.items() if its is SagaStatus.COMPLETED)
        by_hand = any(its is SagaStatus.TERMINATED for its in children.values())
        allowed = _MAY_STAND.get(found.status)
        if allowed is not None and len(standing) not in allowed and not (by_hand and not standing):
            about = f"{path} of its parent {parent_id} is {found.status.value}"
            message = f"{about}, and {len(standing)} of its children are COMPLETED"
            yield Violation(invariant="I28", saga_id=standing[0] if standing else first, message=message)


def _was_applied(stream: Stream, path: StepId) -> bool:
    return any(life.outcome is Outcome.APPLIED for life in stream.lives.get(path, ())[-1:])


def _is_child(body: object) -> bool:
    return isinstance(body, Call) and body.target == CHILD_TARGET
