"""Both ends of the store's letter box: leaving a request and waiting for its answer, and doing what was left for us.

What is left is done by the shard's owner, whoever that is, each in its own time and beside the others, so that one
that hangs delays no other. An answer is final: what only could not be done *now* (the shard is on its way to another
process, this one drains or is full) stays in the box and is tried again, after longer and longer pauses.

Every letter has an end. One that could not be done for a day is answered `REQUEST_EXPIRED` by the shard's owner, and is
cleared away like any other: nobody waits for it any longer, and a saga is better not moved by a forgotten request.
"""

import asyncio
from collections.abc import Awaitable, Collection

from google.rpc import code_pb2, error_details_pb2, status_pb2

from orchestrator import limits
from orchestrator.errors import Draining, JournalUnavailable, NotOwner
from orchestrator.frozen import frozen
from orchestrator.ports.clock import Clock
from orchestrator.ports.ownership import Ownership
from orchestrator.ports.peers import Desk, Errand
from orchestrator.ports.posts import Answer, Post, Posts
from orchestrator.tasks import Tasks

# Nothing was done, or nobody knows, and doing it later is the same as doing it now.
_NOT_NOW = frozenset(
    {NotOwner.reason, Draining.reason, JournalUnavailable.reason, "QUEUE_FULL", "MAILBOX_FULL", "CANCELLED"}
)
_DOMAIN = "orchestrator"
EXPIRED = "REQUEST_EXPIRED"
"""Reason of a letter that was given up, in the words of `google.rpc.ErrorInfo`."""


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


@frozen
class _Page:
    """What a look into the box has found."""

    posts: tuple[Post, ...] = ()
    is_full: bool = False
    """There may be more behind it."""


@frozen
class _Pause:
    """When a letter is tried again."""

    until_at: float
    """By the monotonic clock."""
    next_s: float
    """How long the pause after that is."""


class Collector:
    """Does what was left for this process, and clears away what was answered long ago."""

    def __init__(self, posts: Posts, ownership: Ownership, desk: Desk, clock: Clock) -> None:
        """Begin with `run`; until then only `collect` does anything. `clock` shows the store's time."""
        self._posts = posts
        self._ownership = ownership
        self._desk = desk
        self._clock = clock
        self._tasks = Tasks()
        self._room = asyncio.Semaphore(limits.POSTS_AT_ONCE)
        self._under_way: dict[int, asyncio.Event] = {}
        self._put_off: dict[int, _Pause] = {}
        """Tried, and to be tried again: those that stand before the others in the box."""
        self._woken = asyncio.Event()
        self._wanted: set[int] = set()
        """Shards that the next look is for."""
        self._fresh: set[int] = set()
        """Those of them that were just taken over: what was put off there is tried, too."""
        self._next_look: asyncio.Future[_Page] | None = None
        self._looking = asyncio.Lock()

    def wake(self) -> None:
        """Look into the box now rather than at the next interval."""
        self._woken.set()

    async def run(self) -> None:
        """Collect and clear until cancelled; a store that is away is asked again."""
        clear_at = self._clock.monotonic() + limits.POST_CLEAR_S
        try:
            while True:
                if len(self._under_way) < limits.POSTS_HELD_MAX:
                    await self._unless_away(self._sweep())
                if self._clock.monotonic() >= clear_at:
                    clear_at = self._clock.monotonic() + limits.POST_CLEAR_S
                    await self._unless_away(self._clear())
                await self._interval()
        finally:
            await self._tasks.cancel()

    async def _sweep(self) -> None:
        page = await self._begin(self._ownership.owned())
        there = {post.number for post in page.posts}
        self._put_off = {number: pause for number, pause in self._put_off.items() if number in there}

    async def collect(self, shards: Collection[int]) -> None:
        """Do all that was left for shards that were just taken over; when it returns each letter was tried.

        What was left came before their sagas' next timers, and so it is done before them (I31). Call it for each shard
        by itself, so that one whose letters hang delays no other; it is cheap: whoever asks at the same time, or while
        a look is on its way, shares the next one. 128 shards taken over at once are one query, not 128.
        """
        tried: set[int] = set()
        self._fresh.update(shards)
        while True:
            page = await self._look_together(shards)
            # Behind a full page may be letters of these shards: then it has to be worked off first, whosever they are.
            found = {post.number for post in page.posts if page.is_full or post.shard in shards}
            if not (fresh := found - tried):
                return
            tried |= fresh
            for over in [self._under_way[number] for number in fresh if number in self._under_way]:
                await over.wait()

    async def _look_together(self, shards: Collection[int]) -> _Page:
        """Return what is in the box, for everybody who asks for it now; raise `JournalUnavailable`."""
        self._wanted.update(shards)
        if self._next_look is None:
            self._next_look = asyncio.get_running_loop().create_future()
            self._tasks.spawn(self._look(), name="letters of shards that were taken over")
        return await asyncio.shield(self._next_look)

    async def _look(self) -> None:
        async with self._looking:
            while len(self._under_way) >= limits.POSTS_HELD_MAX:
                await next(iter(self._under_way.values())).wait()
            shards, fresh, coming = self._wanted, self._fresh, self._next_look
            self._wanted, self._fresh, self._next_look = set(), set(), None
            assert coming is not None  # whoever began this look has made it
            try:
                coming.set_result(await self._begin(shards, fresh))
            except JournalUnavailable as away:
                coming.set_exception(away)
                coming.exception()  # those who waited may be gone
            finally:
                coming.cancel()

    async def _begin(self, shards: Collection[int], fresh: Collection[int] = ()) -> _Page:
        """Begin to do what is in the box, in `fresh` shards also what was put off; return what is there."""
        if not shards:
            return _Page()
        held = min(len(self._under_way) + len(self._put_off), limits.POSTS_HELD_MAX)
        found = await self._posts.posted(shards, limits.POSTS_PAGE + held)
        now = self._clock.monotonic()
        for post in found:
            pause = self._put_off.get(post.number)
            is_due = pause is None or now >= pause.until_at or post.shard in fresh
            if is_due and post.number not in self._under_way:
                self._under_way[post.number] = asyncio.Event()
                self._tasks.spawn(self._do(post), name=f"post {post.number}")
        return _Page(posts=tuple(found), is_full=len(found) >= limits.POSTS_PAGE + held)

    async def _do(self, post: Post) -> None:
        try:
            async with self._room:
                errand = Errand(method=post.method, request=post.request, facts=post.metadata)
                answer = await self._desk.execute(errand, limits.POST_TRY_S)
            if _info(answer).reason in _NOT_NOW:
                if not self._is_past(post, answer):
                    self._put_it_off(post.number)
                    return
                answer = _expired(answer)
            await self._unless_away(self._posts.answer(post.number, answer))
            self._put_off.pop(post.number, None)
        finally:
            self._under_way.pop(post.number).set()

    def _put_it_off(self, number: int) -> None:
        before = self._put_off.get(number)
        pause_s = limits.POST_SWEEP_S if before is None else before.next_s
        # A look that comes a moment early is no reason to wait for the one after.
        until_at = self._clock.monotonic() + pause_s - limits.POST_SWEEP_S / 2
        self._put_off[number] = _Pause(until_at=until_at, next_s=min(2 * pause_s, limits.POST_PAUSE_S_MAX))

    def _is_past(self, post: Post, answer: Answer) -> bool:
        """Return whether a letter is given up; its shard's owner does that, and no process on its way out."""
        is_old = self._clock.now() - post.posted_at >= limits.POST_S_MAX
        return is_old and _info(answer).reason != Draining.reason and post.shard in self._ownership.owned()

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


def _info(answer: Answer) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    for detail in status_pb2.Status.FromString(answer.status).details:
        if detail.Unpack(info):
            break
    return info


def _expired(last: Answer) -> Answer:
    """Return the final answer to a letter that could not be done in all its time."""
    said = status_pb2.Status.FromString(last.status).message
    sentence = (
        f"the request was left for the saga's owner, and could not be done for {limits.POST_S_MAX / 3_600:g} hours; it"
        " was given up and will not be done. Look at the saga, and where it is still wanted ask again with the same"
        f" request id. The last try ended with: {said}"
    )
    status = status_pb2.Status(code=code_pb2.DEADLINE_EXCEEDED, message=sentence)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=EXPIRED, domain=_DOMAIN))
    return Answer(status=status.SerializeToString())
