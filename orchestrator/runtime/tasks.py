"""Tasks that nobody awaits: held until they end, because an event loop holds them weakly."""

import asyncio
from collections.abc import Callable, Coroutine

OnError = Callable[[BaseException], None]


class Tasks:
    """A set of running tasks, each with somebody who hears of its failure."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[None, None, None], on_error: OnError) -> None:
        """Run the work as a task on the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                on_error(error)

        task.add_done_callback(ended)

    async def cancel(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        running = tuple(self._tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
