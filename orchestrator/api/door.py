"""The server's door: several calls are asked for at a time, so that a burst comes in as a burst.

gRPC's asyncio server asks its core for one call, and for the next one when that has come: five turns of the event loop
and a word from thread to thread lie between two calls. Beside a busy loop, whose turns take a millisecond, that lets in
two or three hundred a second. Whoever comes meanwhile waits outside, unseen and uncounted, and sagas begin one in a
turn, with a commit for each, where they could share it: of 64 that were asked for, ten were at work.

gRPC has no option for this, so a method is overridden that it keeps to itself: how it comes by its next call. Where a
release of gRPC is built otherwise, its server is used as it is, and lets in one after the other.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import grpc.aio
from grpc._cython import cygrpc
from grpc.aio import _server

from orchestrator.limits import API_CALLS_ASKED_FOR

_Options = Sequence[tuple[str, int]]


class Door(_server.Server):
    """gRPC's server around a core of ours; all that it does is its base's."""

    def __init__(self, options: _Options) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), None)


def open_door(options: _Options, door: Callable[[_Options], object] = Door) -> grpc.aio.Server:
    """Return a server without methods."""
    try:
        return cast(grpc.aio.Server, door(options))
    except TypeError:  # a release that is built otherwise
        return grpc.aio.server(options=options)


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # without types
    """Asks for calls ahead of time, and gives them to its base one after the other, as that wants them."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        self._asked: set[asyncio.Task[object]] = set()
        """For calls that have not come yet."""
        self._come: deque[asyncio.Task[object]] = deque()
        """With calls that have come, and errors; with those above never more than are asked for."""
        self._wanted: asyncio.Future[object] | None = None
        self._is_closing = False

    def _make_request_call_future(self, method: bytes | None) -> "asyncio.Future[Any]":
        """Return what will be the next call; its base wants one at a time."""
        if method is not None:  # one that was registered apart, as none of ours is
            return super()._make_request_call_future(method)  # type: ignore[no-any-return]  # without types
        wanted = self._wanted = asyncio.get_running_loop().create_future()
        while len(self._asked) + len(self._come) < API_CALLS_ASKED_FOR:
            asked = asyncio.get_running_loop().create_task(self._request_call(), name="next call")
            self._asked.add(asked)
            asked.add_done_callback(self._came)
        self._hand_over()
        return wanted

    async def shutdown(self, grace: float | None) -> None:
        """Stop; a call that has come by now, and nobody has looked at, is let go of, which its client is told."""
        self._is_closing = True
        self._come.clear()
        await super().shutdown(grace)
        if self._asked:  # with none to come, gRPC ends each with an error
            await asyncio.wait(self._asked)

    def _came(self, asked: "asyncio.Task[object]") -> None:
        self._asked.discard(asked)
        if asked.cancelled() or (asked.exception() is None and self._is_closing):
            return
        self._come.append(asked)
        self._hand_over()
        if self._is_closing:
            self._come.clear()

    def _hand_over(self) -> None:
        if self._wanted is None or self._wanted.done() or not self._come:
            return
        wanted, came = self._wanted, self._come.popleft()
        self._wanted = None
        error = came.exception()
        if error is None:
            wanted.set_result(came.result())
        else:
            wanted.set_exception(error)
