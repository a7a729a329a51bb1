"""One call, one report: deadline, metadata, abort, limits, pauses, closing."""

import asyncio
import random  # noqa: TID251  # seeded
import signal
import sys
from pathlib import Path
from typing import cast

import grpc
import pytest
from msgspec import Struct
from msgspec.structs import force_setattr

from orchestrator.limits import PAYLOAD_BYTES_MAX
from orchestrator.saga.events import Phase, Report
from tests.integration.invoker import peers
from tests.integration.invoker.calling import Caller, calling
from tests.integration.invoker.peers import Context, raw_peer, serving
from tests.kit.effort import Watch

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process


class Shop:
    """A service that echoes, hangs or refuses, and remembers what it saw."""

    def __init__(self) -> None:
        self.metadata: dict[str, str | bytes] = {}
        self.remaining_s: float | None = None
        self.arrived = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.calls = 0
        self.code: grpc.StatusCode | None = None
        self.released = asyncio.Event()

    async def buy(self, request: bytes, context: Context) -> bytes:
        self.calls += 1
        self.metadata = {str(name): value for name, value in context.invocation_metadata() or ()}
        self.remaining_s = context.time_remaining()
        if self.code is not None:
            await context.abort(self.code, "not for you")
        return request

    async def hang(self, _request: bytes, _context: Context) -> bytes:
        self.calls += 1
        self.arrived.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b"late"

    async def grow(self, request: bytes, _context: Context) -> bytes:
        return b"x" * int(request)

    def methods(self) -> dict[str, peers.Handler]:
        return {"Buy": self.buy, "Hang": self.hang, "Grow": self.grow}


async def test_an_answer_comes_back_as_the_bytes_it_was() -> None:
    async with serving(Shop().methods()) as address, calling(address) as caller:
        report = await caller.call(data=b"\xff\x00any bytes")
        assert report.code == "OK"
        assert report.phase is Phase.REPLIED
        assert report.reply is not None
        assert (report.reply.type_name, report.reply.data) == ("shop.v1.Receipt", b"\xff\x00any bytes")
        assert caller.invoker.in_flight() == {}


async def test_an_empty_answer_is_an_answer() -> None:
    async with serving(Shop().methods()) as address, calling(address) as caller:
        report = await caller.call(data=b"")
        assert report.reply is not None
        assert (report.code, report.reply.data) == ("OK", b"")


async def test_the_service_is_told_key_saga_attempt_and_trace() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        request = caller.request()
        await caller.begin(request)[1]
    assert shop.metadata.items() >= {
        ("idempotency-key", request.key),
        ("saga-id", "order-1"),
        ("saga-step", "buy"),
        ("saga-op", "forward"),
        ("saga-attempt", "1"),
        ("saga-epoch", "3"),
        ("saga-not-after", f"{request.deadline_at:.3f}"),
        ("traceparent", "00-00000000000000000000000000000abc-0000000000000def-01"),
    }
    assert str(shop.metadata["user-agent"]).startswith("saga-orchestrator ")


async def test_the_service_is_told_how_much_time_is_left() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        await caller.call(timeout_s=7.0)
    assert shop.remaining_s is not None
    assert 5.0 < shop.remaining_s < 7.1  # gRPC rounds up a little


async def test_a_deadline_that_is_over_sends_nothing() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        for timeout_s in (0.0, -5.0):
            report = await caller.call(timeout_s=timeout_s)
            assert (report.code, report.phase, report.sent_at) == ("DEADLINE_EXCEEDED", Phase.NOT_SENT, None)
    assert shop.calls == 0


async def test_a_deadline_that_passes_leaves_the_outcome_open() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        assert (await caller.call()).code == "OK"  # there is a connection
        report = await caller.call("Hang", timeout_s=1.0)
    assert (report.code, report.phase, shop.calls) == ("DEADLINE_EXCEEDED", Phase.SENT, 2)


@pytest.mark.alone  # milliseconds are measured
async def test_an_abort_reaches_the_service_at_once_and_reports_once() -> None:
    shop = Shop()
    late_s = []
    async with serving(shop.methods()) as address, calling(address) as caller:
        for _ in range(50):
            shop.arrived.clear()
            opened, reported = caller.begin(caller.request("Hang"))
            await shop.arrived.wait()
            watch = Watch()
            shop.cancelled.clear()
            opened.abort()
            assert not reported.done()
            report = await reported
            assert (report.code, report.phase) == ("CANCELLED", Phase.SENT)
            opened.abort()
            await shop.cancelled.wait()
            late_s.append(watch.took_s())
    late_s.sort()
    print(f"abort to the service's cancellation: median {late_s[25] * 1e3:.2f} ms, worst {late_s[-1] * 1e3:.2f} ms")
    assert late_s[-1] < 0.25


async def test_an_abort_after_the_answer_changes_nothing() -> None:
    async with serving(Shop().methods()) as address, calling(address) as caller:
        opened, reported = caller.begin(caller.request(data=b"1"))
        report = await reported
        opened.abort()
        assert report.code == "OK"


async def test_a_status_cancelled_that_the_service_sent_is_not_our_abort() -> None:
    shop = Shop()
    shop.code = grpc.StatusCode.CANCELLED
    async with serving(shop.methods()) as address, calling(address) as caller:
        report = await caller.call()
    assert (report.code, report.message) == ("CANCELLED", "not for you")


async def test_a_thousand_calls_aborted_at_random_report_once_each_and_leave_nothing_behind() -> None:
    luck = random.Random(7)
    shop = Shop()
    reports: list[list[Report]] = [[] for _ in range(1_000)]
    async with serving(shop.methods()) as address, calling(address) as caller:
        assert (await caller.call()).code == "OK"
        tasks_before = len(asyncio.all_tasks())
        done = asyncio.Event()

        def collect(number: int, report: Report) -> None:
            reports[number].append(report)
            if all(reports):
                done.set()

        loop = asyncio.get_running_loop()
        for number in range(1_000):
            method = "Hang" if luck.random() < 0.5 else "Buy"
            request = caller.request(method, timeout_s=60.0)
            opened = caller.invoker.begin(request, lambda report, number=number: collect(number, report))  # type: ignore[misc]  # mypy cannot type a default in a lambda
            if method == "Hang" or luck.random() < 0.5:
                loop.call_later(luck.random() * 0.3, opened.abort)
                if luck.random() < 0.3:
                    loop.call_later(luck.random() * 0.3, opened.abort)
        await done.wait()
        assert caller.invoker.in_flight() == {}
        assert caller.invoker._open == set()
        shop.released.set()
        while len(asyncio.all_tasks()) > tasks_before:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # poll: gRPC's own tasks of cancelled calls end by themselves
    assert [len(of_one) for of_one in reports] == [1] * 1_000
    codes = {of_one[0].code for of_one in reports}
    assert codes == {"OK", "CANCELLED"}


async def test_closing_leaves_no_task() -> None:
    async with serving(Shop().methods()) as address:
        async with calling(
            address,
        ) as caller:
            await caller.call()
            caller.begin(caller.request("Hang"))
        leftover = {task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(("connect", "learn"))}
    assert leftover == set()


async def test_a_killed_server_leaves_the_outcome_open() -> None:
    script = Path(__file__).with_name("hanging.py")
    server = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert server.stdout
    try:
        port = int(await server.stdout.readline())
        async with calling(f"127.0.0.1:{port}") as caller:
            _opened, reported = caller.begin(caller.request())
            assert await server.stdout.readline() == b"called\n"
            server.send_signal(signal.SIGKILL)
            report = await reported
    finally:
        if server.returncode is None:
            server.kill()
        await server.wait()
    assert (report.code, report.phase) == ("UNAVAILABLE", Phase.SENT)


# --- limits --------------------------------------------------------------------------------------------------------


async def test_a_reply_over_the_limit_was_executed_all_the_same() -> None:
    async with serving(Shop().methods()) as address, calling(address) as caller:
        report = await caller.call("Grow", b"%d" % (PAYLOAD_BYTES_MAX + 1))
        assert (report.code, report.phase, report.applied) == ("RESOURCE_EXHAUSTED", Phase.SENT, None)
        assert (await caller.call("Grow", b"%d" % PAYLOAD_BYTES_MAX)).code == "OK"


async def test_a_request_over_the_limit_is_not_sent_nor_tried_again() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        report = await caller.call(data=b"x" * (PAYLOAD_BYTES_MAX + 1))
        assert (report.code, report.phase, report.retry_after_s) == ("RESOURCE_EXHAUSTED", Phase.NOT_SENT, -1.0)
    assert shop.calls == 0


async def test_a_target_that_is_not_configured_waits_for_the_operator() -> None:
    async with calling() as caller:
        report = await caller.call(target="nowhere")
    assert (report.code, report.phase, report.parked) == ("UNAVAILABLE", Phase.NOT_SENT, True)
    assert "'nowhere' is not configured" in report.message


async def test_a_call_that_grpc_forgets_is_reported_after_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.invoker.service.CALL_OVERDUE_S", 0.05)
    async with serving(Shop().methods()) as address, calling(address) as caller:
        await caller.call()
        request = caller.request(timeout_s=0.5)
        # the only way found to make gRPC drop a call silently
        force_setattr(cast("Struct", request.request), "data", "not bytes")
        _opened, reported = caller.begin(request)
        report = await reported
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    assert (report.code, report.phase) == ("DEADLINE_EXCEEDED", Phase.SENT)
    assert "gRPC reported no end" in report.message


# --- R7 ------------------------------------------------------------------------------------------------------------


async def test_a_target_that_does_not_know_us_is_paused_then_tried_by_one_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "orchestrator.invoker")
    shop = Shop()
    shop.code = grpc.StatusCode.UNAUTHENTICATED
    async with serving(shop.methods()) as address, calling(address) as caller:
        report = await caller.call()
        assert (report.code, report.phase, report.parked) == ("UNAUTHENTICATED", Phase.REPLIED, False)
        held = await caller.call()
        assert (held.code, held.phase, held.parked, held.sent_at) == ("UNAVAILABLE", Phase.NOT_SENT, True, None)
        assert held.retry_after_s is not None
        assert 0 < held.retry_after_s <= 1.0
        assert "UNAUTHENTICATED" in held.message
        assert [*caller.invoker.paused()] == ["shop"]
        assert shop.calls == 1

        caller.clock.ahead_s += 1.0
        trial, *others = await asyncio.gather(*(caller.call() for _ in range(20)))
        assert (trial.code, trial.parked) == ("UNAUTHENTICATED", False)
        assert {other.parked for other in others} == {True}
        assert shop.calls == 2

        shop.code = None
        caller.clock.ahead_s += 2.0
        assert (await caller.call()).code == "OK"
        assert caller.invoker.paused() == {}
        assert {report.code for report in await asyncio.gather(*(caller.call() for _ in range(20)))} == {"OK"}
    told = [f"{each.levelname} {each.getMessage()}" for each in caplog.records if each.name == "orchestrator.invoker"]
    assert told == [
        "WARNING shop is paused, it answered UNAUTHENTICATED: mend the service or its configuration",
        "INFO shop is no longer paused, it answered OK",
    ]


async def test_a_method_that_is_not_served_pauses_only_itself() -> None:
    async with serving(Shop().methods()) as address, calling(address) as caller:
        assert (await caller.call("Nope")).code == "UNIMPLEMENTED"
        assert (await caller.call("Nope")).parked
        assert (await caller.call("Buy")).code == "OK"
        assert [*caller.invoker.paused()] == ["shop/shop.v1.Shop/Nope"]


# --- closing -------------------------------------------------------------------------------------------------------


async def test_closing_lets_open_calls_end_within_the_grace() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        _opened, reported = caller.begin(caller.request("Hang"))
        await shop.arrived.wait()
        asyncio.get_running_loop().call_later(0.05, shop.released.set)
        await caller.invoker.close(20.0)
        assert (await reported).code == "OK"


async def test_closing_aborts_what_the_grace_did_not_end_and_takes_nothing_new() -> None:
    shop = Shop()
    async with serving(shop.methods()) as address, calling(address) as caller:
        _opened, reported = caller.begin(caller.request("Hang"))
        await shop.arrived.wait()
        await caller.invoker.close(0.05)
        late = await caller.call()
        assert (late.code, late.phase, late.parked) == ("UNAVAILABLE", Phase.NOT_SENT, True)
        assert ((await reported).code, (await reported).phase) == ("CANCELLED", Phase.SENT)


async def test_closing_twice_or_unused_is_harmless() -> None:
    caller = Caller()
    await caller.invoker.close(0)
    await caller.invoker.close(0)


async def test_closing_while_connecting_reports_what_was_never_sent() -> None:
    async with raw_peer(peers.silent) as address, calling(address) as caller:
        _opened, reported = caller.begin(caller.request())
        await caller.invoker.close(0)
        assert ((await reported).code, (await reported).phase) == ("CANCELLED", Phase.NOT_SENT)
