"""Who waits for a saga to change. A notification is a hint: the truth is read from the actor or the journal."""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from orchestrator.errors import Overloaded
from orchestrator.ids import SagaId
from orchestrator.limits import RETRY_AFTER_S_DEFAULT, WATCHERS_MAX
from orchestrator.saga import SagaState

Wanted = Callable[[SagaState], bool]
"""Whether a state is one that somebody waits for."""


class Watch:
    """One caller's view of one saga: set when it changed since the caller last looked."""

    __slots__ = ("_changed", "_wanted", "state")

    def __init__(self, wanted: Wanted | None = None) -> None:
        """Begin with nothing seen; whoever waits for certain states sleeps through the others."""
        self._changed = asyncio.Event()
        self._wanted = wanted
        self.state: SagaState | None = None
        """The saga after its latest durable record, where one was seen."""

    def tell(self, state: SagaState | None) -> None:
        """Say that the saga changed; None: look again, something else happened (its actor left, the process drains)."""
        if state is not None:
            self.state = state
            if self._wanted is not None and not self._wanted(state):
                return
        self._changed.set()

    def moved(self) -> None:
        """Say that the saga moved elsewhere: what was seen last is old."""
        self.state = None
        self._changed.set()

    async def changed(self) -> None:
        """Wait for the next change since the last call; with `wanted`, for the next that the caller has to look at."""
        await self._changed.wait()
        self._changed.clear()


class Watchers:
    """All callers that wait, by saga."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._by_saga: dict[SagaId, dict[Watch, None]] = {}
        """Sets in order of arrival: a set's own order hangs on addresses, and a run that is to be repeated must not."""
        self._count = 0

    @contextmanager
    def watching(self, saga_id: SagaId, wanted: Wanted | None = None) -> Generator[Watch]:
        """Watch a saga, known or not; look at it once *after* entering, so that no change falls in between."""
        if self._count >= WATCHERS_MAX:
            message = f"{self._count} callers are waiting for sagas already; ask again in {RETRY_AFTER_S_DEFAULT:g} s"
            raise Overloaded("QUEUE_FULL", message, RETRY_AFTER_S_DEFAULT)
        watch = Watch(wanted)
        self._by_saga.setdefault(saga_id, {})[watch] = None
        self._count += 1
        try:
            yield watch
        finally:
            self._count -= 1
            watches = self._by_saga[saga_id]
            del watches[watch]
            if not watches:
                del self._by_saga[saga_id]

    def tell(self, saga_id: SagaId, state: SagaState | None) -> None:
        """Say that a saga has a new durable state; None: look again, its actor has left memory."""
        for watch in self._by_saga.get(saga_id, ()):
            watch.tell(state)

    def sagas(self) -> Sequence[SagaId]:
        """Return the sagas that somebody waits for."""
        return list(self._by_saga)

    def moved(self, saga_id: SagaId) -> None:
        """Say that a saga moved under another process: look at the journal."""
        for watch in self._by_saga.get(saga_id, ()):
            watch.moved()

    def tell_all(self) -> None:
        """Wake everybody, so that they see that the process drains."""
        for watches in self._by_saga.values():
            for watch in watches:
                watch.tell(None)
