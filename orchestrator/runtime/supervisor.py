"""One saga's trouble stays with that saga.

* Another writer was there (`VersionConflict`, `Fenced`): the actor is dropped; whoever asks next reads the journal.
* Another process owns the saga's shard (`NotOwner`): the actor is dropped; that process has taken it up, or will.
* The journal is away: the actor is dropped; the committer has told the process to stop.
* What is recorded cannot be trusted (`IntegrityError`), or the same saga crashes again and again: it is quarantined,
  which means that its error is what every caller gets until a person has looked and the process was started anew.
* Anything else is a bug in one turn: the saga is activated again after a pause, from its records.
"""

import logging
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar, TypeVarTuple

from orchestrator.errors import (
    ActorFailed,
    Fenced,
    IntegrityError,
    JournalUnavailable,
    NotOwner,
    OrchestratorError,
    VersionConflict,
)
from orchestrator.ids import SagaId
from orchestrator.limits import CRASHES_MAX, QUARANTINED_MAX
from orchestrator.logscope import Subject, of_saga, turn
from orchestrator.ports.observer import Observer

logger = logging.getLogger("orchestrator.supervisor")

Given = TypeVarTuple("Given")


class Worker(Subject, Protocol):
    """Whose work is guarded: an actor."""

    saga_id: SagaId


Guarded = TypeVar("Guarded", bound=Worker)


class Supervisor(Generic[Guarded]):
    """Decides what becomes of an actor that raised."""

    def __init__(
        self,
        observer: Observer,
        on_quarantined: Callable[[SagaId, IntegrityError], None],
        on_crash: Callable[[Guarded, OrchestratorError, bool], None],
    ) -> None:
        """Begin with nobody set aside; `on_crash` hears who raised what, and whether to activate the saga again."""
        self._observer = observer
        self._on_quarantined = on_quarantined
        self._on_crash = on_crash
        self._crashes: dict[SagaId, int] = {}
        """By the last crash, the oldest first."""
        self._quarantined: dict[SagaId, IntegrityError] = {}

    @property
    def quarantined_count(self) -> int:
        """Return how many sagas are set aside."""
        return len(self._quarantined)

    def is_quarantined(self, saga_id: SagaId) -> bool:
        """Return whether the saga is set aside."""
        return saga_id in self._quarantined

    def refuse_quarantined(self, saga_id: SagaId) -> None:
        """Raise what a quarantined saga was set aside for."""
        if (error := self._quarantined.get(saga_id)) is not None:
            raise error

    def guard(self, actor: Guarded, work: Callable[[*Given], None], *given: *Given) -> None:
        """Run a piece of one saga's work, as its turn; whatever it raises ends this actor and no other."""
        before, turn.subject = turn.subject, actor
        try:
            work(*given)
        except (VersionConflict, Fenced, NotOwner, JournalUnavailable) as error:
            self._on_crash(actor, error, False)
        except IntegrityError as error:
            self.quarantine(actor.saga_id, error)
            self._on_crash(actor, error, False)
        except Exception as error:  # the isolation this module is for
            saga_id = actor.saga_id
            count = self._crashed(saga_id)
            logger.exception("saga %s: a turn failed (%d of %d)", saga_id, count, CRASHES_MAX, extra=of_saga(saga_id))
            # Not the error's own text: it may quote a payload, and this one goes to callers.
            what = f"{type(error).__name__}, see the log; please report this"
            wrapped = ActorFailed(f"saga {saga_id!r} failed {count} times: {what}")
            if count >= CRASHES_MAX:
                self.quarantine(saga_id, wrapped)
            self._on_crash(actor, wrapped, count < CRASHES_MAX)
        finally:
            turn.subject = before

    def _crashed(self, saga_id: SagaId) -> int:
        """Count a crash; the saga whose last one is longest ago is forgotten, since many never end."""
        count = self._crashes.pop(saga_id, 0) + 1
        self._crashes[saga_id] = count
        if len(self._crashes) > QUARANTINED_MAX:
            del self._crashes[next(iter(self._crashes))]
        return count

    def well(self, saga_id: SagaId) -> None:
        """Forget the crashes of a saga that has ended. Progress alone is no sign: every recovery records something."""
        self._crashes.pop(saga_id, None)

    def quarantine(self, saga_id: SagaId, error: IntegrityError) -> None:
        """Set a saga aside for a person."""
        self._crashes.pop(saga_id, None)
        if len(self._quarantined) < QUARANTINED_MAX:
            self._quarantined[saga_id] = error
        logger.error("saga %s is quarantined: %s", saga_id, error.message, extra=of_saga(saga_id))
        self._observer.quarantined(saga_id, error.reason)
        self._on_quarantined(saga_id, error)
