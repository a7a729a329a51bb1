"""A decision under construction: the events so far, and the state they lead to."""

from orchestrator.saga.commands import Moment
from orchestrator.saga.events import Event
from orchestrator.saga.evolve import evolve
from orchestrator.saga.state import SagaState


class Draft:
    """Collects events and keeps the state in step with them, so that every rule sees what the one before it decided."""

    __slots__ = ("before", "events", "moment", "nothing_was_held", "state")

    def __init__(self, state: SagaState, moment: Moment, *, nothing_was_held: bool = False) -> None:
        """Begin with nothing decided. Where nothing was held back only what is decided now moves a step."""
        self.before = self.state = state
        self.moment = moment
        self.nothing_was_held = nothing_was_held
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        """Decide one more fact."""
        self.state = evolve(self.state, event)
        self.events.append(event)
