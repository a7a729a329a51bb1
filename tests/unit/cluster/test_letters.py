"""What is left for an owner is done once there is one, beside everything else, and answered once."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest
from google.rpc import error_details_pb2, status_pb2

from orchestrator import limits
from orchestrator.cluster.letters import Collector, LetterBox
from orchestrator.errors import JournalUnavailable
from orchestrator.journal.memory_leases import MemoryCluster, MemoryLeases
from orchestrator.ports.peers import Errand
from orchestrator.ports.posts import Answer, Post
from tests.kit.runtime import ManualClock, run

DONE = Answer(response=b"done")
FACTS = (("x-operator", "ann"),)


def errand(name: str) -> Errand:
    return Errand(method=f"/x.v1.X/{name}", request=name.encode(), facts=FACTS)


def refusal(reason: str) -> Answer:
    status = status_pb2.Status(code=14)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason))
    return Answer(status=status.SerializeToString())


class Store:
    """The store in memory; it may be away, and counts what it is asked."""

    def __init__(self) -> None:
        self.inner: MemoryLeases = MemoryCluster(now=lambda: ManualClock().now(), shard_count=4).open()
        self.is_away = False
        self.asked: list[Collection[int]] = []
        self.looks: list[set[int]] = []

    def _there(self) -> None:
        if self.is_away:
            raise JournalUnavailable("the store is away")

    async def post(self, shard: int, method: str, request: bytes, metadata: tuple[tuple[str, str], ...]) -> int:
        self._there()
        return await self.inner.post(shard, method, request, metadata)

    async def posted(self, shards: Collection[int], limit: int) -> Sequence[Post]:
        self._there()
        self.looks.append(set(shards))
        return await self.inner.posted(shards, limit)

    async def answer(self, number: int, answer: Answer) -> None:
        self._there()
        await self.inner.answer(number, answer)

    async def answers(self, numbers: Collection[int]) -> Mapping[int, Answer]:
        self._there()
        self.asked.append(numbers)
        return await self.inner.answers(numbers)

    async def clear(self, answered_before_at: float, limit: int) -> int:
        self._there()
        return await self.inner.clear(answered_before_at, limit)

    async def leave(self, name: str, shard: int = 0) -> int:
        return await LetterBox(self).leave(shard, errand(name))


class Deeds:
    shard_count = 4
    obstacle = None

    def __init__(self, *held: int) -> None:
        self.held = held

    def owned(self) -> Sequence[int]:
        return self.held

    def epoch(self, shard: int) -> int:
        return 1


class Clerk:
    """A desk: `hang` never ends, `busy` is told `NOT_NOW` until it is not, everything else is done."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.errands: list[Errand] = []
        self.refuses: dict[str, Answer] = {}

    async def execute(self, errand: Errand, timeout_s: float) -> Answer:
        name = errand.request.decode()
        self.errands.append(errand)
        if name.startswith("hang"):
            await asyncio.Event().wait()
        if name in self.refuses:
            return self.refuses[name]
        self.done.append(name)
        return DONE


def collector(store: Store, clerk: Clerk, *held: int) -> Collector:
    return Collector(store, Deeds(*held), clerk, ManualClock())


async def ending(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def running(collector: Collector) -> "asyncio.Task[None]":
    return asyncio.get_running_loop().create_task(collector.run())


def test_what_was_left_is_done_as_it_was_left_and_answered_to_whoever_waits() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        box = LetterBox(store)
        task = running(collector(store, clerk, 0))
        number = await box.leave(0, errand("a"))
        assert await box.answer(number) == DONE
        assert clerk.errands == [errand("a")]
        await ending(task)
        await box.close()

    run(story())


def test_only_ones_own_shards_are_collected() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        await store.leave("a", 0)
        await store.leave("b", 1)
        await collector(store, clerk, 1).collect([1])
        assert clerk.done == ["b"]
        await collector(store, clerk).collect([])
        assert clerk.done == ["b"]

    run(story())


def test_when_shards_are_taken_over_all_that_was_left_is_tried_before_anything_else() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        many = limits.POSTS_PAGE * 2 + 1
        for number in range(many):
            await store.leave(f"p{number}")
        clerk.refuses["p0"] = refusal("MAILBOX_FULL")
        await collector(store, clerk, 0).collect([0])
        assert len(clerk.done) == many - 1
        assert [post.request for post in await store.posted([0], 10)] == [b"p0"]

    run(story())


@pytest.mark.parametrize(
    "reason", ["NOT_OWNER", "DRAINING", "JOURNAL_UNAVAILABLE", "QUEUE_FULL", "MAILBOX_FULL", "CANCELLED"]
)
def test_what_cannot_be_done_now_stays_in_the_box_and_is_tried_again(reason: str) -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        box = LetterBox(store)
        clerk.refuses["a"] = refusal(reason)
        task = running(collector(store, clerk, 0))
        number = await box.leave(0, errand("a"))
        await asyncio.sleep(3.3 * limits.POST_SWEEP_S)  # poll: virtual time, in which it is tried and not answered
        assert await store.answers([number]) == {}
        assert 2 <= len(clerk.errands) <= 3, "at the interval, then less often"
        clerk.refuses.clear()
        assert await box.answer(number) == DONE
        await ending(task)
        await box.close()

    run(story())


def test_the_pauses_between_the_tries_of_one_letter_grow_up_to_a_bound() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        await store.leave("a")
        clerk.refuses["a"] = refusal("MAILBOX_FULL")
        task = running(collector(store, clerk, 0))
        await asyncio.sleep(600.0)  # poll: virtual time
        first = len(clerk.errands)
        await asyncio.sleep(600.0)  # poll: virtual time
        assert 50 <= len(clerk.errands) - first <= 61
        await ending(task)

    run(story())


def test_a_letter_that_cannot_be_done_for_a_day_is_given_up_with_a_final_answer_and_cleared_a_day_later() -> None:
    async def story() -> None:
        store, clerk, clock = Store(), Clerk(), ManualClock()
        number = await store.leave("a")
        clerk.refuses["a"] = refusal("NOT_OWNER")
        task = running(Collector(store, Deeds(0), clerk, clock))
        await asyncio.sleep(60.0)  # poll: virtual time
        assert await store.answers([number]) == {}
        clock.step_s = 86_400.0
        await asyncio.sleep(60.0)  # poll: virtual time
        answer = (await store.answers([number]))[number]
        status = status_pb2.Status.FromString(answer.status)
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert (status.code, info.reason) == (4, "REQUEST_EXPIRED")
        assert "will not be done" in status.message
        assert "ask again" in status.message
        asked = len(clerk.errands)
        await asyncio.sleep(60.0)  # poll: virtual time
        assert len(clerk.errands) == asked, "it is not tried any more"
        clock.step_s = 3 * 86_400.0
        await asyncio.sleep(2 * limits.POST_CLEAR_S)  # poll: virtual time
        assert await store.answers([number]) == {}
        await ending(task)

    run(story())


@pytest.mark.parametrize(("held", "reason"), [((1,), "MAILBOX_FULL"), ((0,), "DRAINING")])
def test_only_an_owner_that_stays_gives_a_letter_up(held: tuple[int, ...], reason: str) -> None:
    async def story() -> None:
        store, clerk, clock = Store(), Clerk(), ManualClock()
        clock.step_s = 3 * 86_400.0
        number = await store.leave("a")
        clerk.refuses["a"] = refusal(reason)
        await Collector(store, Deeds(*held), clerk, clock).collect([0])
        assert len(clerk.errands) == 1
        assert await store.answers([number]) == {}

    run(story())


def test_shards_that_are_taken_over_together_are_one_question_each_for_itself() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        await store.leave("hang", 0)
        await store.leave("a", 1)
        await store.leave("b", 2)
        one = collector(store, clerk, 0, 1, 2, 3)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(one.collect([shard])) for shard in range(4)]
        over, open_ = await asyncio.wait(tasks, timeout=1.0)
        assert open_ == {tasks[0]}, "one whose letter hangs delays no other"
        assert clerk.done == ["a", "b"]
        assert store.looks[0] == {0, 1, 2, 3}
        assert len(store.looks) == 2, "one for all, and one that finds that no more is there"
        await ending(tasks[0])
        for each in over:
            each.result()

    run(story())


def test_shards_that_cannot_be_looked_at_say_so_each() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        one = collector(store, clerk, 0, 1)
        store.is_away = True
        heard = await asyncio.gather(one.collect([0]), one.collect([1]), return_exceptions=True)
        assert [type(each) for each in heard] == [JournalUnavailable] * 2
        store.is_away = False
        await store.leave("a", 1)
        await one.collect([1])
        assert clerk.done == ["a"]

    run(story())


def test_what_was_put_off_is_tried_at_once_where_its_shard_is_taken_over_again() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        await store.leave("a")
        clerk.refuses["a"] = refusal("NOT_OWNER")
        one = collector(store, clerk, 0)
        for tries in range(1, 6):
            await one.collect([0])
            assert len(clerk.errands) == tries
        clerk.refuses.clear()
        await one.collect([0])
        assert clerk.done == ["a"]

    run(story())


@pytest.mark.parametrize("reason", ["TERMINAL_STATE", "INPUT_INVALID", "INTERNAL", "SAGA_NOT_FOUND"])
def test_a_refusal_is_an_answer(reason: str) -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        clerk.refuses["a"] = refusal(reason)
        number = await store.leave("a")
        await collector(store, clerk, 0).collect([0])
        assert await store.answers([number]) == {number: refusal(reason)}

    run(story())


def test_one_that_hangs_delays_no_other_and_is_not_begun_twice() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        await store.leave("hang")
        task = running(collector(store, clerk, 0))
        await asyncio.sleep(2.2 * limits.POST_SWEEP_S)  # poll: virtual time
        await store.leave("a")
        await asyncio.sleep(1.1 * limits.POST_SWEEP_S)  # poll: virtual time
        assert clerk.done == ["a"]
        assert len(clerk.errands) == 2
        await ending(task)

    run(story())


def test_more_that_is_put_off_than_a_page_holds_does_not_hide_the_rest() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        for number in range(limits.POSTS_PAGE + 5):
            await store.leave(f"busy{number}")
            clerk.refuses[f"busy{number}"] = refusal("MAILBOX_FULL")
        await store.leave("a")
        task = running(collector(store, clerk, 0))
        await asyncio.sleep(3.2 * limits.POST_SWEEP_S)  # poll: virtual time
        assert clerk.done == ["a"]
        await ending(task)

    run(story())


def test_a_store_that_is_away_is_asked_again_and_what_was_not_answered_is_done_again() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        box = LetterBox(store)
        number = await box.leave(0, errand("a"))
        store.is_away = True
        task = running(collector(store, clerk, 0))
        waiting = asyncio.get_running_loop().create_task(box.answer(number))
        await asyncio.sleep(2.0)  # poll: virtual time
        assert not waiting.done()
        store.is_away = False
        assert await waiting == DONE
        await ending(task)
        await box.close()

    run(story())


def test_a_wake_is_heard_before_the_interval() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        one = collector(store, clerk, 0)
        task = running(one)
        await asyncio.sleep(0.1 * limits.POST_SWEEP_S)  # poll: virtual time, the first look is over
        await store.leave("a")
        one.wake()
        await asyncio.sleep(0.1 * limits.POST_SWEEP_S)  # poll: virtual time, before the next look
        assert clerk.done == ["a"]
        await ending(task)

    run(story())


def test_all_that_is_waited_for_is_one_question_and_nobody_asks_when_nobody_waits() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        box = LetterBox(store)
        numbers = [await box.leave(0, errand(f"p{n}")) for n in range(3)]
        waiting = [asyncio.get_running_loop().create_task(box.answer(number)) for number in numbers]
        await asyncio.sleep(2.5 * limits.POST_POLL_S)  # poll: virtual time
        assert store.asked == [tuple(numbers)] * 2
        waiting[0].cancel()
        await collector(store, clerk, 0).collect([0])
        assert await asyncio.gather(*waiting[1:]) == [DONE, DONE]
        assert store.asked[-1] == tuple(numbers[1:]), "whoever went is not asked for"
        asked = len(store.asked)
        await asyncio.sleep(5 * limits.POST_POLL_S)  # poll: virtual time
        assert len(store.asked) == asked
        assert await box.answer(numbers[0]) == DONE, "it is asked again when somebody waits again"
        await box.close()

    run(story())


def test_answers_are_cleared_a_day_later_in_bounded_steps() -> None:
    async def story() -> None:
        store, clerk = Store(), Clerk()
        clock = ManualClock()
        one = Collector(store, Deeds(0), clerk, clock)
        numbers = [await store.leave(f"p{n}") for n in range(limits.POSTS_CLEARED_AT_ONCE + 1)]
        await one.collect([0])
        task = running(one)
        clock.step_s = limits.POST_KEPT_S - 2 * limits.POST_CLEAR_S
        await asyncio.sleep(1.1 * limits.POST_CLEAR_S)  # poll: virtual time
        assert len(await store.answers(numbers)) == len(numbers)
        clock.step_s = limits.POST_KEPT_S
        await asyncio.sleep(1.1 * limits.POST_CLEAR_S)  # poll: virtual time
        assert await store.answers(numbers) == {}
        await ending(task)

    run(story())
