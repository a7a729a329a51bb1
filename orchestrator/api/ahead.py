"""A server that asks for several calls at a time. It leans on what gRPC keeps to itself: `door.py` says where it fits.

gRPC's asyncio server asks its core for one call, and for the next one when that has come: five turns of the event loop
and a word from thread to thread lie between two calls. gRPC has no option for this, so a method is overridden: how it
comes by its next call.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from grpc._cython import cygrpc
from grpc.aio import _server

from orchestrator.limits import API_CALLS_ASKED_FOR


class Door(_server.Server):
    """gRPC's server around a core of ours; all that it does is its base's."""

    def __init__(self, options: Sequence[tuple[str, int]]) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = _Core(self._loop, None, (), (), tuple(options), None)


class _Core(cygrpc.AioServer):  # type: ignore[misc]  # without types
    """Asks for calls ahead of time, and gives them to its base one after the other, as that wants them."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)
        self._asked: set[asyncio.Future[object]] = set()
        """For calls that have not come yet."""
        self._come: deque[asyncio.Future[object]] = deque()
        """With calls that have come, and errors; with those above never more than are asked for."""
        self._wanted: asyncio.Future[object] | None = None
        self._is_closing = False

    def _make_request_call_future(self, *given: bytes | None) -> "asyncio.Future[Any]":
        """Return what will be the next call; its base wants one at a time."""
        if given != (None,):  # a method that was registered apart, as none of ours is
            return super()._make_request_call_future(*given)  # type: ignore[no-any-return]  # without types
        wanted = self._wanted = asyncio.get_running_loop().create_future()
        while len(self._asked) + len(self._come) < API_CALLS_ASKED_FOR:
            asked = super()._make_request_call_future(None)
            self._asked.add(asked)
            asked.add_done_callback(self._came)
        self._hand_over()
        return wanted

    async def shutdown(self, grace: float | None) -> None:
        """Stop; a call that has come by now, and nobody has looked at, is let go of, which its client is told."""
        if self.is_running():  # one that has not started may yet
            self._is_closing = True
            self._come.clear()
        with suppress(UnicodeDecodeError):  # what its loop fell over is told where its end is waited for
            await super().shutdown(grace)
        if self._asked:  # with none to come, gRPC ends each with an error
            await asyncio.wait(self._asked)

    def _came(self, asked: "asyncio.Future[object]") -> None:
        self._asked.discard(asked)
        if asked.cancelled():
            return
        self._come.append(asked)
        # While closing, too: the base looks whether it is to end when it gets a call or an error, and only then.
        self._hand_over()
        if self._is_closing:
            asked.exception()  # looked at, or it would be called forgotten
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
