"""Both ends of the store's letter box: leaving a request and waiting for its answer, and doing what was left for us.

What is left is done by the shard's owner, whoever that is, each in its own time and beside the others, so that one
that hangs delays no other. An answer is final: what only could not be done *now* (the shard is on its way to another
process, this one drains or is full) stays in the box and is tried again.
"""

import asyncio
from collections.abc import Awaitable, Collection

from google.rpc import error_details_pb2, status_pb2

from orchestrator import limits
from orchestrator.errors import Draining, JournalUnavailable, NotOwner
from orchestrator.ports.clock import Clock
from orchestrator.ports.ownership import Ownership
from orchestrator.ports.peers import Desk, Errand
from orchestrator.ports.posts import Answer, Post, Posts
from orchestrator.tasks import Tasks

# Nothing was done, or nobody knows, and doing it later is the same as doing it now.
_NOT_NOW = frozenset(
    {NotOwner.reason, Draining.reason, JournalUnavailable.reason, "QUEUE_FULL", "MAILBOX_FULL", "CANCELLED"}
)


class LetterBox:
    """`ports.peers.Letters` over the store; all that is waited for in this process is asked for in one query."""

    def __init__(self, posts: Posts) -> None:
        """Nothing is asked while nobody waits."""
        self._posts = posts
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._is_polling = False
        self._tasks = Tasks()

    async def leave(self, shard: int, errand: Errand) -> int:
        """Make the request durable for the shard's owner; return its number."""
        return await self._posts.post(shard, errand.method, errand.request, errand.facts)

    async def answer(self, number: int) -> Answer:
        """Wait for the answer, for ever; one waits for each number."""
        coming: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = coming
        if not self._is_polling:
            self._is_polling = True
            self._tasks.spawn(self._poll(), name="answers to posts")
        try:
            return await coming
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        """Stop asking."""
        await self._tasks.cancel()

    async def _poll(self) -> None:
        try:
            while True:
                await asyncio.sleep(limits.POST_POLL_S)
                if not self._waiting:
                    return
                try:
                    found = await self._posts.answers(tuple(self._waiting))
                except JournalUnavailable:
                    continue
                for number, answer in found.items():
                    coming = self._waiting.get(number)
                    if coming is not None and not coming.done():
                        coming.set_result(answer)
        finally:
            self._is_polling = False


class Collector:
    """Does what was left for this process, and clears away what was answered long ago."""

    def __init__(self, posts: Posts, ownership: Ownership, desk: Desk, clock: Clock) -> None:
        """Begin with `run`; until then only `collect` does anything."""
        self._posts = posts
        self._ownership = ownership
        self._desk = desk
        self._clock = clock
        self._tasks = Tasks()
        self._room = asyncio.Semaphore(limits.POSTS_AT_ONCE)
        self._under_way: dict[int, asyncio.Event] = {}
        self._put_off: set[int] = set()
        """Tried, and to be tried again: those that stand before the others in the box."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look into the box now rather than at the next interval."""
        self._woken.set()

    async def run(self) -> None:
        """Collect and clear until cancelled; a store that is away is asked again."""
        clear_at = self._clock.monotonic() + limits.POST_CLEAR_S
        try:
            while True:
                await self._unless_away(self._begin(self._ownership.owned()))
                if self._clock.monotonic() >= clear_at:
                    clear_at = self._clock.monotonic() + limits.POST_CLEAR_S
                    await self._unless_away(self._clear())
                await self._interval()
        finally:
            await self._tasks.cancel()

    async def collect(self, shards: Collection[int]) -> None:
        """Do all that was left for shards that were just taken over; when it returns each was tried.

        What was left came before their sagas' next timers, and so it is done before them (I31).
        """
        tried: set[int] = set()
        while fresh := {post: over for post, over in (await self._begin(shards)).items() if post not in tried}:
            tried.update(fresh)
            for over in fresh.values():
                await over.wait()

    async def _begin(self, shards: Collection[int]) -> dict[int, asyncio.Event]:
        """Begin to do what is in the box; return when each will be over, also of those that were under way."""
        if not shards or len(self._under_way) >= limits.POSTS_HELD_MAX:
            return {}
        held = min(len(self._under_way) + len(self._put_off), limits.POSTS_HELD_MAX)
        found = await self._posts.posted(shards, limits.POSTS_PAGE + held)
        for post in found:
            if post.number not in self._under_way:
                self._under_way[post.number] = asyncio.Event()
                self._tasks.spawn(self._do(post), name=f"post {post.number}")
        numbers = [post.number for post in found]
        self._put_off.intersection_update(numbers)
        return {number: self._under_way[number] for number in numbers}

    async def _do(self, post: Post) -> None:
        try:
            async with self._room:
                errand = Errand(method=post.method, request=post.request, facts=post.metadata)
                answer = await self._desk.execute(errand, limits.POST_TRY_S)
            if _reason(answer) in _NOT_NOW:
                self._put_off.add(post.number)
                return
            await self._unless_away(self._posts.answer(post.number, answer))
            self._put_off.discard(post.number)
        finally:
            self._under_way.pop(post.number).set()

    async def _clear(self) -> None:
        before_at = self._clock.now() - limits.POST_KEPT_S
        gone = limits.POSTS_CLEARED_AT_ONCE
        while gone == limits.POSTS_CLEARED_AT_ONCE:
            gone = await self._posts.clear(before_at, limits.POSTS_CLEARED_AT_ONCE)

    async def _interval(self) -> None:
        try:
            async with asyncio.timeout(limits.POST_SWEEP_S):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def _unless_away(self, work: Awaitable[object]) -> None:
        try:
            await work
        except JournalUnavailable:
            return  # what was not answered is found again, and is then the same


def _reason(answer: Answer) -> str:
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(answer.status).details:
        if detail.Unpack(info):
            break
    return str(info.reason)
