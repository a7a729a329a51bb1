"""A saga's record, read from the beginning: what the oracles know of a story before each of its events.

A step that is begun anew (`StepsReset`) has a new life, and only the present one is told here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from orchestrator.ids import StepId, item_of
from orchestrator.saga.events import (
    AttemptOpened,
    AttemptSettled,
    CompensationBegan,
    ElseBegan,
    Event,
    OperatorActed,
    RollbackBegan,
    SagaCompleted,
    StepBegan,
    StepLeft,
    StepReopened,
    StepSettled,
    StepSkipped,
    StepsReset,
    StepStuck,
    StepUndone,
)
from orchestrator.saga.plan import (
    Operation,
    Outcome,
    Plan,
    StepKind,
)

Ends = dict[StepId, str]
"""Step -> `good`, `bad` or `skipped`; a step that has not ended is absent."""
At = tuple[StepId, Operation]


def lives(events: Sequence[Event]) -> Iterable[tuple[int, Event, "Story"]]:
    """Yield each event with what was known before it."""
    story = Story()
    for number, event in enumerate(events):
        yield number, event, story
        story.tell(number, event)


def whole_story(events: Sequence[Event]) -> "Story":
    """Return what is known after all of it."""
    story = Story()
    for number, event in enumerate(events):
        story.tell(number, event)
    return story


@dataclass
class Story:
    """What has happened so far, by step and item, in the present life of each."""

    ends: Ends = field(default_factory=dict[StepId, str])
    outcomes: dict[StepId, Outcome] = field(default_factory=dict[StepId, Outcome])
    began: dict[StepId, int] = field(default_factory=dict[StepId, int])
    settled: dict[StepId, int] = field(default_factory=dict[StepId, int])
    asked: dict[StepId, int] = field(default_factory=dict[StepId, int])
    """Step -> when its undo was first opened."""
    undone: dict[StepId, int] = field(default_factory=dict[StepId, int])
    left: set[StepId] = field(default_factory=set[StepId])
    stuck: dict[StepId, Operation] = field(default_factory=dict[StepId, Operation])
    open: dict[At, AttemptOpened] = field(default_factory=dict[At, AttemptOpened])
    in_else: set[StepId] = field(default_factory=set[StepId])
    rollbacks: dict[StepId, RollbackBegan] = field(default_factory=dict[StepId, RollbackBegan])
    backward: int | None = None
    paused: bool = False
    forced: bool = False
    reopened: set[StepId] = field(default_factory=set[StepId])
    repeated: set[StepId] = field(default_factory=set[StepId])
    """What was begun anew although it has no undo, or a person had left its effect."""

    def tell(self, number: int, event: Event) -> None:
        match event:
            case AttemptOpened(operation=Operation.FORWARD):
                self.began.setdefault(event.step, number)
                self.open[event.step, event.operation] = event
            case AttemptOpened(operation=Operation.COMPENSATE):
                self.asked.setdefault(event.step, number)
                self.open[event.step, event.operation] = event
            case AttemptOpened():
                self.open[event.step, event.operation] = event
                self.stuck.pop(event.step, None)
            case AttemptSettled():
                self.open.pop((event.step, event.operation))
            case StepBegan():
                self.began.setdefault(event.step, number)
            case StepSkipped():
                self.ends[event.step] = "skipped"
                self.stuck.pop(event.step, None)
            case StepSettled():
                good = event.outcome is Outcome.APPLIED and event.reason in {"REPLIED", "DONE", "PROBED", "RESOLVED"}
                self.ends[event.step] = "good" if good else "bad"
                self.outcomes[event.step] = event.outcome
                self.settled.setdefault(event.step, number)
                self.stuck.pop(event.step, None)
                # Of a step that has settled nothing is asked any more, whoever settled it.
                self.open = {at: opened for at, opened in self.open.items() if at[0] != event.step}
                if event.step in self.rollbacks and event.step not in self.rollbacks[event.step].steps:
                    del self.rollbacks[event.step]
            case StepStuck():
                self.stuck[event.step] = event.operation
            case StepReopened():
                self.stuck.pop(event.step, None)
                self.reopened.add(event.step)
            case StepUndone():
                self.undone[event.step] = number
                self.stuck.pop(event.step, None)
            case StepLeft():
                self.left.add(event.step)
                self.stuck.pop(event.step, None)
            case RollbackBegan():
                self.rollbacks[event.step] = event
            case ElseBegan():
                self.in_else.add(event.step)
                del self.rollbacks[event.step]
            case StepsReset():
                self.rollbacks.pop(event.step, None)
                there = {path for path, outcome in self.outcomes.items() if outcome is not Outcome.NOT_APPLIED}
                there -= set(self.undone)
                self.repeated |= {path for path in there if item_of(path)[0] in event.steps}
                self._forget(set(event.steps))
            case CompensationBegan():
                self.backward = number
                self.rollbacks.clear()
            case OperatorActed(verb="PAUSE"):
                self.paused = True
            case OperatorActed(verb="RESUME"):
                self.paused = False
            case OperatorActed(verb="FORCE_COMPLETE"):
                self.forced = True
            case SagaCompleted():
                self.paused = False
            case _:
                pass

    def _forget(self, steps: set[StepId]) -> None:
        for known in (self.ends, self.outcomes, self.began, self.settled, self.asked, self.undone, self.stuck):
            for path in [path for path in known if item_of(path)[0] in steps]:
                known.pop(path)
        self.left = {path for path in self.left if item_of(path)[0] not in steps}
        self.in_else -= steps
        self.open = {at: opened for at, opened in self.open.items() if item_of(at[0])[0] not in steps}

    def wanted(self, plan: Plan) -> set[StepId]:
        """What is to be undone if it comes to that: a step or an item with an effect and an undo."""
        return {
            path
            for path, outcome in self.outcomes.items()
            if outcome is not Outcome.NOT_APPLIED
            and plan.step_of(path).compensation is not None
            and plan.step_of(path).kind not in {StepKind.READ, StepKind.PIVOT}
            and (plan.step_of(path).for_each is None or path != item_of(path)[0])
        }

    def is_rolled_back(self, path: StepId) -> bool:
        return any(item_of(path)[0] in rollback.steps for rollback in self.rollbacks.values())


def step_of(event: Event) -> StepId:
    """Return the step of an event that has one."""
    found: StepId = getattr(event, "step")  # noqa: B009  (the caller has looked, and the checker cannot)
    return found


def is_begun(event: Event) -> bool:
    is_first = isinstance(event, AttemptOpened) and event.operation is Operation.FORWARD and event.attempt == 1
    return is_first or isinstance(event, StepBegan)
