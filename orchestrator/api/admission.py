"""Who is let in: a count of calls and a count of waits, and the end of all waiting when the server drains.

gRPC's own limit queues what it cannot take; a queue in front of a busy server only makes every answer late. Here a call
over the bound is turned away at once, with a hint when to come back. Waits (long polls, streams) are counted apart, so
that a thousand patient callers cannot keep one new saga from starting.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from enum import Enum
from types import TracebackType

from orchestrator import limits
from orchestrator.errors import Draining, Overloaded


class Room(Enum):
    """Which bound a call counts against."""

    CALL = "calls"
    WAIT = "waits"
    STANDARD = "reflection and health streams"
    """Bounded like waits, but nobody's work: a drain does not wait for them."""
    DIAGNOSTICS = "diagnostic calls"
    """A few: a full server is the one to be looked at, and so is one whose drain does not end. Nobody's work either."""
    FIGURES = "calls for figures"
    """A few as well, apart from the others: a screen that somebody watches is not to lose its numbers to a dump."""
    FREE = "health checks"
    """Not bounded: the answer matters most when the server is full."""


class _Load:
    """What a call carries; nothing any more once it has put it down."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


_carried: ContextVar[_Load | None] = ContextVar("carried", default=None)
"""By the call that is under way: a wait begins far below where its request was let in."""


class Admission:
    """Counts what is in flight. One per server; everything happens on its event loop."""

    def __init__(
        self, *, calls_max: int, waits_max: int, large_bytes_max: int = limits.API_LARGE_REQUESTS_BYTES_MAX
    ) -> None:
        self._large_bytes_max = large_bytes_max
        self._large_bytes = 0
        self._bounds = {
            Room.CALL: calls_max,
            Room.WAIT: waits_max,
            Room.STANDARD: waits_max,
            Room.DIAGNOSTICS: limits.DIAGNOSTICS_CALLS_MAX,
            Room.FIGURES: limits.FIGURES_CALLS_MAX,
        }
        self._counts = dict.fromkeys(self._bounds, 0)
        self._scopes: set[asyncio.Timeout] = set()
        self._works: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False
        self._drained = 0
        self._told = asyncio.Event()
        self._told.set()

    @property
    def in_flight(self) -> int:
        """Return the number of calls and waits that were let in and are not over."""
        return self._counts[Room.CALL] + self._counts[Room.WAIT]

    @property
    def under_way(self) -> Mapping[str, int]:
        """Return the number of calls and the number of waits, by what they are called."""
        return {room.value: self._counts[room] for room in (Room.CALL, Room.WAIT)}

    @property
    def is_closed(self) -> bool:
        """Return whether the server drains: nothing new is let in, and nobody waits any longer."""
        return self._is_closed

    def admit(self, room: Room) -> AbstractContextManager[None]:
        """Count a call while it is in flight; raise `Draining` or `Overloaded` where it may not begin."""
        return _NOT_COUNTED if room is Room.FREE else _Admitted(self, room)

    def enter(self, room: Room) -> None:
        """Count one more, or raise; each that entered leaves once."""
        if self._is_closed and room not in {Room.DIAGNOSTICS, Room.FIGURES}:
            self._drained += 1
            raise Draining("the server drains and takes no new calls; ask another one, or this one after its restart")
        count = self._counts[room]
        if count >= self._bounds[room]:
            raise Overloaded(
                "QUEUE_FULL",
                f"the server has {count} {room.value} in flight, its bound; come back a little later",
                limits.API_RETRY_AFTER_S,
            )
        self._counts[room] = count + 1
        if self.in_flight:
            self._idle.clear()

    def leave(self, room: Room) -> None:
        """Count one less."""
        self._counts[room] -= 1
        if self.in_flight == 0:
            self._idle.set()

    @contextmanager
    def carry(self, size: int) -> Iterator[None]:
        """Count the bytes of a large request until it waits or is over; raise `Overloaded` where they are too many."""
        carried = self._large_bytes
        if carried and carried + size > self._large_bytes_max:
            raise Overloaded(
                "QUEUE_FULL",
                f"the server has {carried} bytes of large requests in flight, and takes {self._large_bytes_max} at a"
                " time; come back a little later",
                limits.API_RETRY_AFTER_S,
            )
        self._large_bytes += size
        load = _Load(size)
        outer = _carried.set(load)
        try:
            yield
        finally:
            _carried.reset(outer)
            self._put_down(load)

    def _put_down(self, load: "_Load | None") -> None:
        if load is not None:
            self._large_bytes -= load.size
            load.size = 0

    def patience(self, timeout_s: float) -> AbstractAsyncContextManager[None]:
        """Bound a wait by time and by the drain; either ends it with `TimeoutError`.

        Whoever waits has been read and has done its work, so its bytes make room for the next.
        """
        self._put_down(_carried.get())
        return _Bound(self._scopes, 0 if self._is_closed else timeout_s)

    def bounded(self, timeout_s: float | None) -> AbstractAsyncContextManager[None]:
        """Bound work by time and by the end of the drain; either ends it with `TimeoutError`."""
        return _Bound(self._works, timeout_s)

    def close(self) -> None:
        """Let nothing in any more, and end every wait."""
        self._is_closed = True
        _expire(self._scopes)

    def end(self) -> None:
        """End all work that is still under way: whoever asked for it is told what is known."""
        _expire(self._works)

    def hold(self) -> None:
        """Let no refusal out until `let_go`: whoever has one asks again at once, and would come when nobody listens."""
        self._told.clear()

    def let_go(self) -> None:
        """Let the refusals out."""
        self._told.set()

    async def told(self) -> None:
        """Wait until a refusal may go out."""
        await self._told.wait()

    async def lull(self, quiet_s: float, within_s: float) -> None:
        """Wait until nobody was refused by the drain for a while, or within a bound; not at all where nobody was."""
        refused = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._drained > refused:
                    refused = self._drained
                    await asyncio.sleep(quiet_s)

    async def idle(self, grace_s: float) -> bool:
        """Wait until nothing is in flight; return whether that came to be within the grace."""
        try:
            async with asyncio.timeout(grace_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


# Around every call, and three times as dear where they are written as generators.


class _Admitted:
    """A call that is counted while the block runs."""

    __slots__ = ("_admission", "_room")

    def __init__(self, admission: Admission, room: Room) -> None:
        self._admission = admission
        self._room = room

    def __enter__(self) -> None:
        self._admission.enter(self._room)

    def __exit__(self, *_: object) -> None:
        self._admission.leave(self._room)


class _Bound:
    """A timeout that is also held in a set, while the block runs."""

    __slots__ = ("_held", "_scope")

    def __init__(self, held: set[asyncio.Timeout], timeout_s: float | None) -> None:
        self._held = held
        self._scope = asyncio.timeout(timeout_s)

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        self._held.add(self._scope)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.discard(self._scope)
        await self._scope.__aexit__(kind, error, trace)


_NOT_COUNTED = nullcontext()


def _expire(scopes: set[asyncio.Timeout]) -> None:
    now = asyncio.get_running_loop().time()
    for scope in tuple(scopes):
        if not scope.expired():
            scope.reschedule(now)
