"""The edge of the server: what happens around every method, ours or standard.

In this order: a request id, admission, a bound in time, the method, and whatever it raises turned into a status. What
another process of the cluster has to do is forwarded to it (`forwarding.py`), and its answer goes out as it came. An
error of the tree becomes its row in `status.py`; anything else is a bug: the caller gets INTERNAL and a number, the log
gets the rest.

A method that lets `CancelledError` out leaves its client without an answer (grpc/grpc issue 29248), so it is caught
here and answered CANCELLED. A stream whose reader takes nothing for a while is ended (`READER_TOO_SLOW`), because what
it does not take stays in our memory.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from orchestrator import limits, logscope
from orchestrator.api import caller, status
from orchestrator.api.admission import Admission, Room
from orchestrator.api.caller import REQUEST_ID_KEY
from orchestrator.api.counting import Counting
from orchestrator.api.forwarding import Forwarding, Refused
from orchestrator.errors import InputInvalid, JournalUnavailable, NotOwner, OrchestratorError, Overloaded
from orchestrator.ports.clock import Clock
from orchestrator.ports.observer import Observer

_log = logging.getLogger(__name__)

# gRPC's types do not tie a method's request to its handler; what passes through here is opaque to us.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
RoomOf = Callable[[str, object], Room]
"""Full method name and request (None where requests are a stream) to the bound the call counts against."""


class Methods:
    """What generated code takes for a server when it adds a service: keeps the methods.

    Registered with gRPC, each method would have calls of its own asked for, and gRPC goes through all of them at every
    call; as generic ones they are found by name.
    """

    def __init__(self) -> None:
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Keep these."""
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Nothing: they came as generic ones, too."""


class Edge(grpc.GenericRpcHandler):
    """Wraps every method once; the wrapped ones are kept by name.

    It is a handler, and no interceptor: gRPC would ask an interceptor at every call, and in a coroutine.
    """

    def __init__(
        self,
        methods: Methods,
        *,
        admission: Admission,
        room_of: RoomOf,
        clock: Clock,
        observer: Observer,
        slow_reader_s: float,
        commands: Collection[str] = (),
        forwarding: Forwarding | None = None,
        away: Callable[[], str] = str,
    ) -> None:
        """`commands` are the methods that record something; `away` says why nothing can be recorded now."""
        self._inner = tuple(methods.handlers)
        self._commands = frozenset(commands)
        self._away = away
        self._forwarding = forwarding
        self._admission = admission
        self._room_of = room_of
        self._clock = clock
        self._counting = Counting(observer, clock)
        self._slow_reader_s = slow_reader_s
        self._wrapped: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the method with everything around it; an unknown method stays gRPC's own UNIMPLEMENTED."""
        name = handler_call_details.method
        if name not in self._wrapped:
            inner = next(filter(None, (each.service(handler_call_details) for each in self._inner)), None)
            if inner is None:
                return None
            self._wrapped[name] = self._wrap(name, inner)
        return self._wrapped[name]

    def _wrap(self, name: str, inner: Handler) -> Handler:
        read, write = inner.request_deserializer, inner.response_serializer
        if inner.unary_unary is not None:
            answer = self._unary(name, inner.unary_unary)
            return grpc.unary_unary_rpc_method_handler(answer, _readable(read), _written(write))
        if inner.unary_stream is not None:
            return grpc.unary_stream_rpc_method_handler(self._stream(name, inner.unary_stream), _readable(read), write)
        if inner.stream_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._stream(name, inner.stream_stream), read, write)
        raise TypeError(f"{name} is a client-streaming method; nobody has decided how to admit one")

    def _unary(self, name: str, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(request: Any, context: Context) -> Any:  # noqa: ANN401
            async with self._guarded(name, context):
                with self._counting.counted(name, context, is_stream=False) as course, self._carried(request) as read:
                    room = course.room = self._room_of(name, read)
                    with self._admission.admit(room):
                        return await self._in_time(
                            name, room, context, lambda: self._done(name, behaviour, read, context)
                        )

        return answer

    def _carried(self, request: Any) -> "AbstractContextManager[Any]":  # noqa: ANN401
        """Give the request as its message, and count its bytes while it is large."""
        if isinstance(request, InputInvalid):
            raise request
        return self._large(request) if isinstance(request, _Large) else nullcontext(request)

    @contextmanager
    def _large(self, request: "_Large") -> Iterator[Any]:
        with self._admission.carry(len(request.data)):
            read = request.read(request.data)
            if isinstance(read, InputInvalid):
                raise read
            yield read

    async def _done(self, name: str, behaviour: Callable[..., Awaitable[Any]], request: Any, context: Context) -> Any:  # noqa: ANN401
        try:
            return await behaviour(request, context)
        except NotOwner as elsewhere:
            if self._forwarding is None:
                raise
            return await self._forwarding.forward(name, request, context, behaviour, elsewhere)

    async def _in_time(self, name: str, room: Room, context: Context, work: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ANN401
        """Answer a little before the caller has gone, and soon what cannot be had while the store is away."""
        away, within_s = self._away(), None
        if name in self._commands:
            if away:
                raise JournalUnavailable(
                    f"nothing can be recorded now: {away}; nothing was done, ask again in a moment"
                )
            within_s = caller.answer_within_s(context)
        elif away and room is Room.CALL:
            within_s = limits.POSTGRES_READ_S
        try:
            async with self._admission.bounded(within_s):
                return await work()
        except TimeoutError as late:
            if name in self._commands:
                raise JournalUnavailable(
                    "no answer came in time: it is not known whether the request was recorded, and it may be yet; ask"
                    " again with the same request id, or look at the saga before you repeat a repair"
                ) from late
            raise JournalUnavailable(f"nothing could be read in time: {away}; ask again in a moment") from late

    def _stream(self, name: str, behaviour: Callable[..., Any]) -> Callable[..., Awaitable[None]]:
        async def answer(request: Any, context: Context) -> None:  # noqa: ANN401
            async with self._guarded(name, context):
                with (
                    self._counting.counted(name, context, is_stream=True),
                    self._carried(request) as read,
                    self._admission.admit(self._room_of(name, read)),
                ):
                    await self._pass_on(behaviour(read, context), context)

        return answer

    async def _pass_on(self, messages: AsyncIterator[Any], context: Context) -> None:
        """Write each message as the reader takes it; tell the method, at its `yield`, of a reader that does not."""
        try:
            # With the first message they would count as unsent until it is taken: who takes not even that one could not
            # be told why the stream ends, since no status goes out before them, and the call would stay open for ever.
            await context.send_initial_metadata(())
            async for message in messages:
                try:
                    async with asyncio.timeout(self._slow_reader_s):
                        await context.write(message)
                except TimeoutError:
                    slow = f"the reader took no message for {self._slow_reader_s:g} s; resume when it can keep up"
                    await messages.athrow(Overloaded("READER_TOO_SLOW", slow, 0.0))  # type: ignore[attr-defined]  # all our streams are generators
        finally:
            await messages.aclose()  # type: ignore[attr-defined]  # the same

    def _guarded(self, name: str, context: Context) -> "_Guarded":
        return _Guarded(caller.Request(name, context, self._clock), context, self._admission)


class _Guarded:
    """A request from its name to its status: whatever the block raises is turned into what its caller gets."""

    __slots__ = ("_admission", "_context", "_request", "_scope")

    def __init__(self, request: caller.Request, context: Context, admission: Admission) -> None:
        self._admission = admission
        self._request = request
        self._context = context

    async def __aenter__(self) -> None:
        if self._request.given:
            self._context.set_trailing_metadata(((REQUEST_ID_KEY, self._request.given),))
        self._scope = logscope.begin(self._request)

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                _log.debug("answered OK")
                return
            wire = self._status(error)
            if wire is not None:
                await self._admission.told()
                _log.debug("answered %s", wire.code.name)
                await self._abort(wire)
        finally:
            logscope.end(self._scope)

    def _status(self, error: BaseException) -> status.WireStatus | None:
        """Return what the caller gets; None where the call is over, or has a status already."""
        match error:
            case asyncio.CancelledError():
                is_over = self._context.cancelled() or self._context.done()
                return None if is_over else status.cancelled(self._request.given)
            case Refused():
                return status.passed(error.details)
            case grpc.aio.AbortError():  # a standard service said its own status
                return None
            case Exception():  # the edge: a bug in one request must not reach its caller or the next request
                return _wire(error, self._request)
            case _:
                return None

    async def _abort(self, wire: status.WireStatus) -> None:
        trailing: list[tuple[str, str | bytes]] = [(status.DETAILS_KEY, wire.details)]
        if self._request.given:
            trailing.append((REQUEST_ID_KEY, self._request.given))
        await self._context.abort(wire.code, wire.message, tuple(trailing))


def _wire(error: Exception, request: caller.Request) -> status.WireStatus:
    """Return what the caller gets of an error: its row, or where it has none a number by which the log is found."""
    if isinstance(error, OrchestratorError) and status.is_public(error):
        return status.to_wire(error, request.id)
    what = (
        "let out an error that is private to the runtime" if isinstance(error, OrchestratorError) else "failed inside"
    )
    _log.error("request %s to %s %s; please report this", request.id, request.method, what, exc_info=error)
    return status.internal(request.id)


@dataclass(frozen=True, slots=True)
class _Large:
    """A request that nobody has read yet, since that takes several times its size in memory."""

    data: bytes
    read: Callable[[bytes], Any]


def _readable(read: "Callable[[bytes], Any] | None") -> "Callable[[bytes], Any] | None":
    """Let bytes that are no request come in as their refusal: left to gRPC, they are a traceback and UNKNOWN."""
    if read is None:
        return None

    def read_or_refuse(data: bytes) -> Any:  # noqa: ANN401
        try:
            return read(data)
        except DecodeError as error:
            return InputInvalid("request", f"cannot be read: {error}")

    def read_small(data: bytes) -> Any:  # noqa: ANN401
        return read_or_refuse(data) if len(data) <= limits.API_SMALL_REQUEST_BYTES_MAX else _Large(data, read_or_refuse)

    return read_small


def _written(write: "Callable[[Any], bytes] | None") -> "Callable[[Any], bytes] | None":
    """Let an answer that came from another process go out as the bytes that it is."""
    if write is None:
        return None

    def write_or_pass(answer: Any) -> bytes:  # noqa: ANN401
        return answer if isinstance(answer, bytes) else write(answer)

    return write_or_pass
