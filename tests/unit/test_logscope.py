"""What a moment is about ends with it: a turn with its last statement, a request with its own task."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator, Mapping

import pytest

from orchestrator import logscope
from orchestrator.logscope import of_saga, of_trace
from orchestrator.values import TraceContext


class Said:
    def __init__(self, **fields: str) -> None:
        self._fields = fields

    def about(self) -> Mapping[str, str]:
        return self._fields


@pytest.fixture(autouse=True)
def nobodys_turn() -> Iterator[None]:
    assert logscope.turn.subject is None
    yield
    logscope.turn.subject = None


def test_nothing_is_said_of_a_moment_that_is_nobodys() -> None:
    assert logscope.about() == {}


def test_a_turn_counts_on_its_own_thread_alone() -> None:
    logscope.turn.subject = Said(saga_id="s-1")
    heard: list[logscope.About] = []
    thread = threading.Thread(target=lambda: heard.append(logscope.about()))
    thread.start()
    thread.join()
    assert heard == [{}]
    assert logscope.about() == {"saga_id": "s-1"}


async def test_what_a_turn_leaves_running_is_about_nobody() -> None:
    logscope.turn.subject = Said(saga_id="s-1")
    heard = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: heard.set_result(logscope.about()))
    logscope.turn.subject = None
    assert await heard == {}


async def test_a_request_counts_in_its_own_task_and_not_in_what_it_starts() -> None:
    token = logscope.begin(Said(request_id="r-1"))
    heard = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: heard.set_result(logscope.about()))
    asked = asyncio.get_running_loop().create_task(_asked())
    assert await heard == {}
    assert await asked == {}
    assert logscope.about() == {"request_id": "r-1"}
    logscope.end(token)
    assert logscope.about() == {}


async def _asked() -> logscope.About:
    return logscope.about()


async def test_a_request_inside_a_request_gives_way_to_the_outer_one_again() -> None:
    outer = logscope.begin(Said(request_id="r-1"))
    inner = logscope.begin(Said(request_id="r-2"))
    assert logscope.about() == {"request_id": "r-2"}
    logscope.end(inner)
    assert logscope.about() == {"request_id": "r-1"}
    logscope.end(outer)


async def test_a_turn_in_a_request_is_about_both_and_the_sagas_trace_is_the_one_named() -> None:
    token = logscope.begin(Said(request_id="r-1", trace_id="callers"))
    logscope.turn.subject = Said(saga_id="s-1", trace_id="sagas")
    assert logscope.about() == {"request_id": "r-1", "saga_id": "s-1", "trace_id": "sagas"}
    logscope.end(token)


CALLERS = of_trace(TraceContext(trace_id=0xCA, span_id=0xC1, sampled=True))


async def test_nothing_of_the_callers_place_is_left_beside_the_sagas_trace() -> None:
    token = logscope.begin(Said(request_id="r-1", **CALLERS))
    sagas = of_trace(TraceContext(trace_id=0x5A, span_id=0, sampled=False))
    logscope.turn.subject = Said(saga_id="s-1", **sagas)
    assert logscope.about() == {"request_id": "r-1", "saga_id": "s-1", **sagas}, "no span, and the saga's own flags"
    logscope.turn.subject = None
    assert logscope.about() == {"request_id": "r-1", **CALLERS}
    logscope.end(token)


async def test_a_turn_that_knows_no_trace_leaves_the_callers_whole() -> None:
    token = logscope.begin(Said(request_id="r-1", **CALLERS))
    logscope.turn.subject = Said(saga_id="s-1")
    assert logscope.about() == {"request_id": "r-1", "saga_id": "s-1", **CALLERS}
    logscope.end(token)


async def test_a_connection_that_outlives_its_request_keeps_nothing_of_it_alive() -> None:
    until = asyncio.Event()

    async def connection() -> None:
        await until.wait()

    request = Said(request_id="r-1")
    gone = weakref.ref(request)
    token = logscope.begin(request)
    task = asyncio.get_running_loop().create_task(connection())
    await asyncio.sleep(0)  # one turn: for the connection to begin
    logscope.end(token)
    del request, token
    gc.collect()
    assert gone() is None
    until.set()
    await task


def test_a_place_in_a_trace_is_written_as_opentelemetry_writes_it() -> None:
    place = TraceContext(trace_id=0xA1, span_id=0xB2, sampled=False)
    assert of_trace(place) == {"trace_id": f"{0xA1:032x}", "trace_flags": "00", "span_id": f"{0xB2:016x}"}
    assert "span_id" not in of_trace(TraceContext(trace_id=1, span_id=0, sampled=True))
    assert of_trace(None) == of_trace(TraceContext(trace_id=0, span_id=0, sampled=True)) == {}


def test_what_is_not_known_of_a_saga_is_left_out() -> None:
    assert of_saga("s-1", definition="report") == {"saga_id": "s-1", "definition": "report"}
