"""What a run came to: its verdict, its tape, and the tale of it where somebody wants to read it."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator.frozen import frozen_tuple
from orchestrator.ids import SagaId
from orchestrator.saga.events import Event
from orchestrator.saga.state import SagaStatus
from orchestrator.testing.fates import Fault


@frozen_tuple
class Happening:
    """One thing that happened."""

    at_s: float
    """Since the run began."""
    who: str
    """A saga, a service, or `*` where something went wrong."""
    what: str

    def is_about(self, sagas: Collection[str]) -> bool:
        """Return whether it belongs to the tale of some sagas: theirs, a process's, or of a service they called."""
        words = self.what.replace("/", " ").split()
        return self.who in sagas or any(saga in words for saga in sagas) or (self.who == "*" and "life-" in self.what)


@dataclass(slots=True, kw_only=True)
class Run:
    """What a run came to."""

    seed: int
    tape: tuple[Fault, ...]
    """What went wrong, in order."""
    violations: tuple[str, ...]
    checked: Mapping[str, int]
    """Invariant -> facts held against it."""
    statuses: Mapping[SagaId, SagaStatus]
    lives: int
    nodes: int
    moved: int
    """How often a shard has left its owner."""
    fenced: int
    """How many members others have removed."""
    turns: int
    virtual_s: float
    records: int
    effects: int
    asked_again: int
    passes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict[str, tuple[int, int, int]])
    """Life -> turns, appends and sends until all was at rest, or the world kind: where a kill may be put."""
    digest: str = ""
    story: tuple[Happening, ...] = ()
    """All that happened, in order, where it was asked for."""

    @property
    def is_sound(self) -> bool:
        """Return whether no rule was broken."""
        return not self.violations


def told(event: Event) -> str:
    """Return an event in a few words."""
    parts = (getattr(event, name, None) for name in ("step", "operation", "attempt", "outcome", "reason"))
    report = getattr(event, "report", None)
    code = None if report is None else report.code
    return " ".join([type(event).__name__, *(str(part) for part in (*parts, code) if part is not None)])


@contextmanager
def bugs() -> Iterator[list[str]]:
    """Collect what the runtime logs as an error while the block runs: a bug that it survived is a bug all the same."""
    told: list[str] = []
    logger, handler = logging.getLogger("orchestrator"), _Ear(told)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Ear(logging.Handler):
    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        error = "" if record.exc_info is None or record.exc_info[1] is None else f": {record.exc_info[1]!r}"
        self._told.append(record.getMessage() + error)
