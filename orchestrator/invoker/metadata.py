"""What is said beside the request: who asks, under which key, until when, as part of which trace.

===================  ==============================================================================================
header               value
===================  ==============================================================================================
`idempotency-key`    UUID, the same for every attempt of one operation (R11)
`saga-id`            the caller's name of the saga
`saga-step`          the step's name in its definition; of an item with its position, `insert[17]`
`saga-op`            `forward` or `compensate`; of what is asked besides `probe`, `await` or `stop`
`saga-attempt`       1, 2, 3, ...
`saga-epoch`         the writer's fencing token: a service may refuse a lower one than it has seen
`saga-not-after`     Unix seconds, decimal, by the wall clock: a service that keeps the barrier contract refuses to act
                     later (R13)
`saga-forward-key`   on an undo: the key of the operation it undoes
`traceparent`        W3C Trace Context; absent where nobody is traced
`tracestate`         as the caller sent it
`baggage`            of the caller's W3C baggage the members that `tracing.baggage` names; absent where there are none
===================  ==============================================================================================
"""

from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from grpc import aio

from orchestrator.limits import TRACESTATE_CHARS_MAX
from orchestrator.ports.invoker import CallRequest
from orchestrator.saga.plan import Operation
from orchestrator.tracecontext import BAGGAGE, TRACEPARENT, TRACESTATE, traceparent

_COMPENSATE: Final = Operation.COMPENSATE  # named once: a look-up of it in each call costs as much as a header

Headers = tuple[tuple[str, str], ...]


class Given(aio.Metadata):
    """Headers as gRPC takes them as they are.

    Of a tuple it makes an ordered dictionary of lists, and of that a tuple again: more than all else here is to a call.
    A call only goes through them and asks for their length. Who asks for more, as an interceptor may that reads one by
    its name or adds one, finds gRPC's own metadata: the dictionary is made then, and is what counts from then on.
    """

    def __init__(self, pairs: Headers) -> None:
        """Keep them; what gRPC's own would keep is not made yet."""
        self._pairs: Headers | None = pairs
        """None from when that was made."""

    @cached_property
    def _metadata(self) -> OrderedDict[str, list[str]]:  # by the name under which gRPC's own methods look for it
        found: OrderedDict[str, list[str]] = OrderedDict()
        for name, value in self._pairs or ():
            found.setdefault(name, []).append(value)
        self._pairs = None
        return found

    def __iter__(self) -> Iterator[tuple[str, str | bytes]]:
        return super().__iter__() if self._pairs is None else iter(self._pairs)

    def __len__(self) -> int:
        return super().__len__() if self._pairs is None else len(self._pairs)

    def __add__(self, other: object) -> aio.Metadata:
        return aio.Metadata(*self) + other


def headers(call: CallRequest, off_s: float) -> Headers:
    """Return the metadata of a call, in the order of the table above.

    `off_s`: by how much the wall clock, which the service compares with its own, is ahead of the call's deadline's.
    """
    pairs = [
        ("idempotency-key", call.key),
        ("saga-id", call.saga_id),
        ("saga-step", call.step),
        ("saga-op", str(call.operation)),
        ("saga-attempt", str(call.attempt)),
        ("saga-epoch", str(call.epoch)),
        ("saga-not-after", f"{call.deadline_at + off_s:.3f}"),
    ]
    if call.operation is _COMPENSATE:
        pairs.append(("saga-forward-key", call.forward_key))
    if call.baggage:
        pairs.append((BAGGAGE, call.baggage))
    trace = call.trace
    if trace.trace_id and trace.span_id:  # all-zero ids are invalid by the standard
        pairs.append((TRACEPARENT, traceparent(trace)))
        if trace.state and _is_sendable(trace.state):
            pairs.append((TRACESTATE, trace.state))
    return tuple(pairs)


def _is_sendable(state: str) -> bool:
    """Return whether a caller's text may travel: gRPC refuses a whole call for one illegal character."""
    return len(state) <= TRACESTATE_CHARS_MAX and state.isascii() and state.isprintable()
