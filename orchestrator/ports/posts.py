"""Requests left at the store for whoever owns a shard, where that process cannot be reached, or is not known yet.

A post is durable when `post` returns. The owner, whoever that is by then, does what it asks and leaves the answer
beside it; done twice (the owner died in between) it must be the same as done once, so whoever posts gives the request
an id of its own first.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from orchestrator.frozen import frozen


@frozen
class Post:
    """A request that waits for a shard's owner."""

    number: int
    shard: int
    method: str
    """Full gRPC method name, `/orchestrator.v1.SagaService/SignalSaga`."""
    request: bytes
    metadata: tuple[tuple[str, str], ...]
    """What goes with the request: who asks, in which trace."""
    posted_at: float
    """By the store's clock, Unix seconds."""


@frozen
class Answer:
    """What a peer, or the owner of a post, answered."""

    response: bytes = b""
    """The serialised response; nothing where the request was refused."""
    status: bytes = b""
    """A serialised `google.rpc.Status` where it was refused; empty where it was done."""


class Posts(Protocol):
    """The letter box of every shard."""

    async def post(self, shard: int, method: str, request: bytes, metadata: tuple[tuple[str, str], ...]) -> int:
        """Leave a request; durable when it returns its number."""
        ...

    async def posted(self, shards: Collection[int], limit: int) -> Sequence[Post]:
        """Return posts without an answer, the oldest first."""
        ...

    async def answer(self, number: int, answer: Answer) -> None:
        """Leave the answer; the first one counts."""
        ...

    async def answers(self, numbers: Collection[int]) -> Mapping[int, Answer]:
        """Return the answers that are there."""
        ...

    async def clear(self, answered_before_at: float, limit: int) -> int:
        """Remove at most `limit` posts that were answered before the instant; return how many went."""
        ...
