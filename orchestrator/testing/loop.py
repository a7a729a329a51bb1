"""An event loop on which time jumps, order is drawn, and a process can die or stand still between any two turns.

Everything runs in one thread and no socket is opened. Where a real loop would sleep, time jumps to the next timer: an
hour takes a moment. Handles that are ready at once may run in an order that is drawn: a real loop's order depends on
which packet came first, and nothing may hang on it.

What runs in the context of a `Life` belongs to it, with whatever it starts in turn (`contextvars`). A life that has
ended never runs again, not even its `finally`; one that stands still goes on later, with all that came meanwhile. That
is what SIGKILL and SIGSTOP look like from outside, and why neither can be had on a loop of asyncio's own.
"""

import asyncio
import contextvars
import heapq
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from random import Random  # noqa: TID251  (seeded: the order of turns is part of a run)
from typing import Any, TypeVar, cast

from orchestrator.limits import SIMULATED_TURNS_AT_ONCE_MAX

T = TypeVar("T")

_AWAITS_IN_FINALLY_MAX = 20


class Life:
    """One life of one process: a context that everything it starts runs in."""

    def __init__(self, name: str) -> None:
        """Begin alive; `name` is how tapes and timelines call it."""
        self.name = name
        self.is_over = False
        self.is_frozen = False
        self.stood_still = False
        """It has been frozen at some time."""
        self.is_usurped = False
        """Another life writes to its store, of which it may not have heard."""
        self.turns = 0
        """How many handles it has run."""
        self.dies_at_turn: int | None = None
        """It is killed instead of running this one."""
        self.on_death: Callable[[], None] = lambda: None
        self._parked: list[tuple[Life | None, asyncio.Handle]] = []
        self.context = contextvars.copy_context()
        self.context.run(_LIFE.set, self)

    def kill(self) -> None:
        """End it here: nothing of it runs any more. The rest of the turn under way does, on ports that are dead."""
        if not self.is_over:
            self.is_over = True
            self._parked.clear()
            self.on_death()


_LIFE: ContextVar[Life | None] = ContextVar("_LIFE", default=None)


class Stalled(Exception):
    """Nothing is left that could ever happen, and somebody waits."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """Virtual time from 0.0 s, driven by `run` alone; without an order, first come, first served.

    Of asyncio's interface it has what can be had without sockets, threads and processes.
    """

    def __init__(self, order: Random | None = None) -> None:
        self._order = order
        self._now = 0.0
        self._ready: deque[tuple[Life | None, asyncio.Handle]] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Life | None]] = []
        self._armed = 0
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.errors: list[str] = []
        """What nobody caught: each is a defect."""
        self.turns = 0

    # --- running -----------------------------------------------------------------------------------------------------

    def run(self, story: Coroutine[Any, Any, T]) -> T:
        """Run a story to its end and leave everything else where it stands."""
        before = asyncio._get_running_loop()  # noqa: SLF001  (public for makers of event loops)
        asyncio._set_running_loop(self)  # noqa: SLF001  (as above)
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(lambda _: None, lambda _: None)  # what a killed process has begun is never finished
        try:
            told = self.create_task(story)
            while not told.done():
                self._turn_all()
            return told.result()
        finally:
            self._forget_all()
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(before)  # noqa: SLF001  (as above)

    def _turn_all(self) -> None:
        """Run everything that is ready; where nothing is, let time jump to the next timer."""
        if not self._ready and not self._jump():
            raise Stalled("nothing is left that could ever happen")
        at_once = 0
        while self._ready:
            batch, self._ready = self._ready, deque()
            if self._order is not None and len(batch) > 1:
                self._order.shuffle(batch)
            at_once += len(batch)
            if at_once > SIMULATED_TURNS_AT_ONCE_MAX:
                raise Stalled(f"{at_once} turns at one instant: something runs in circles")
            for life, handle in batch:
                self._turn(life, handle)

    def _turn(self, life: Life | None, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        if life is not None:
            if life.is_over:
                return
            if life.is_frozen:
                life._parked.append((life, handle))  # noqa: SLF001  (the two are one)
                return
            life.turns += 1
            if life.turns == life.dies_at_turn:
                life.kill()
                return
        self.turns += 1
        handle._run()  # noqa: SLF001  (what a loop is for)

    def _jump(self) -> bool:
        """Move to the next instant at which something is due; return whether there is one."""
        timers = self._timers
        while timers and (timers[0][2].cancelled() or (timers[0][3] is not None and timers[0][3].is_over)):
            heapq.heappop(timers)
        if not timers:
            return False
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            _, _, handle, life = heapq.heappop(timers)
            self._ready.append((life, handle))
        return True

    def thaw(self, life: Life) -> None:
        """Let a life go on that stood still."""
        life.is_frozen = False
        life.stood_still = True
        parked, life._parked = life._parked, []  # noqa: SLF001  (as above)
        self._ready.extend(parked)

    def _forget_all(self) -> None:
        """End what never ends, here and now: its `finally` runs on dead ports, and not when memory is next swept."""
        left = [task for task in self._tasks if not task.done()]
        self._tasks.clear()
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  (killed, not forgotten)
            _end(cast("Coroutine[Any, Any, object]", task.get_coro()))
        self._ready.clear()
        self._timers.clear()

    # --- what asyncio asks of a loop ---------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((_LIFE.get() if context is None else context.get(_LIFE), handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._armed += 1
        life = _LIFE.get() if context is None else context.get(_LIFE)
        heapq.heappush(self._timers, (when, self._armed, handle, life))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it in the heap; it is skipped there."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        task: asyncio.Task[T] = asyncio.Task(
            cast("Coroutine[Any, Any, T]", coro), loop=self, name=name or "task", context=context
        )
        self._tasks[task] = None  # held: a task of a dead life must not be collected at a moment that memory chooses
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)

    def run_in_executor(self, executor: object, func: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """Do it in a later turn, here: there are no threads."""

        async def work() -> T:
            return func(*args)

        return self.create_task(work())

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.errors.append(f"{context.get('message', '')}: {error!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


def _end(story: Coroutine[Any, Any, object]) -> None:
    """Close a coroutine, through every `await` that its `finally` has."""
    for _ in range(_AWAITS_IN_FINALLY_MAX):
        try:
            story.close()
        except (RuntimeError, asyncio.CancelledError):
            continue  # it waits again, in its `finally`
        except BaseExceptionGroup:
            return  # a group of tasks says that it was ended in their midst
        return
