"""Tasks that nobody awaits: held until they end, because an event loop holds them weakly."""

import asyncio
from collections.abc import Callable, Coroutine

OnError = Callable[[BaseException], None]


class Tasks:
    """A set of running tasks. An error that nobody asked to hear of goes to the event loop's exception handler."""

    def __init__(self) -> None:
        """Begin with none."""
        self._tasks: dict[asyncio.Task[None], None] = {}

    def spawn(self, work: Coroutine[None, None, None], on_error: OnError | None = None, *, name: str = "") -> None:
        """Run the work as a task on the running loop."""
        task = asyncio.get_running_loop().create_task(work, name=name or None)
        self._tasks[task] = None

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.pop(done, None)
            if done.cancelled() or (error := done.exception()) is None:
                return
            if on_error is not None:
                on_error(error)
                return
            told = {"message": f"{done.get_name()} failed", "exception": error, "task": done}
            done.get_loop().call_exception_handler(told)

        task.add_done_callback(ended)

    async def cancel(self) -> None:
        """Cancel what still runs and wait until it has ended."""
        running = tuple(self._tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
