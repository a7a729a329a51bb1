import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from orchestrator.cli import top
from orchestrator.cli.topscreen import screen
from orchestrator.v1.diagnostics_service_pb2 import Figure, GetFiguresResponse
from orchestrator.v1.saga_pb2 import Saga as SagaMessage
from orchestrator.v1.saga_service_pb2 import CountSagasResponse, ListSagasResponse
from tests.unit.cli.conftest import FakeServer, Saga, fail

AT = 1_700_000_000


def figures(second: int, *, name: str = "vm", began_at: float = AT - 60.0) -> GetFiguresResponse:
    """A process that starts ten sagas a second."""
    answer = GetFiguresResponse(process_name=name)
    answer.as_of_time.seconds = AT + second
    answer.figures.extend(
        [
            Figure(name="process_start_time_seconds", value=began_at),
            Figure(name="saga_build_info", labels={"version": "0.2.0"}, value=1.0),
            Figure(name="saga_started_total", labels={"definition": "intake"}, value=1_000.0 + 10.0 * second),
        ]
    )
    return answer


def moving() -> Callable[[Any, grpc.ServicerContext], GetFiguresResponse]:
    seconds = iter(range(1_000_000))
    return lambda _, __: figures(next(seconds))


@pytest.fixture
def busy(server: FakeServer) -> FakeServer:
    server.answer("GetFigures", moving())
    server.answer("CountSagas", CountSagasResponse(total=3, counts={"intake": 3}))
    server.answer("ListSagas", ListSagasResponse())
    return server


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes at the server, by a second at each look."""
    monkeypatch.setattr(top, "_pause", lambda _: None)


def test_one_page_is_printed_of_one_interval(busy: FakeServer, saga: Saga) -> None:
    ended = saga("top", "--once")
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0].startswith("saga top  version 0.2.0  rates of 1.0 s")
    assert any(line.split()[:3] == ["intake", "3", "10"] for line in lines)
    assert "no saga needs a person" in lines
    assert "q quits" not in ended.out


def test_only_the_figures_that_are_shown_are_asked_for(busy: FakeServer, saga: Saga) -> None:
    saga("top", "--once")
    for request in busy.requests("GetFigures"):
        assert "saga_started_total" in request.prefixes
        assert len(request.prefixes) <= 32


def test_a_program_gets_the_page_as_values(busy: FakeServer, saga: Saga) -> None:
    page = json.loads(saga("top", "-o", "json").out)
    assert page["interval_s"] == 1.0
    assert page["definitions"][0]["name"] == "intake"
    assert page["definitions"][0]["started"] == 10.0
    assert page["processes"][0]["trust_s"] is None


def test_who_needs_a_person_is_shown_with_the_reason(busy: FakeServer, saga: Saga) -> None:
    stuck = SagaMessage(saga_id="trip-77", definition="book_trip", attention=["UNDO_REFUSED"])
    stuck.cause.message = "the hotel says no"
    stuck.update_time.seconds = AT - 30
    busy.answer("ListSagas", ListSagasResponse(sagas=[stuck]))
    ended = saga("top", "--once")
    [line] = [line for line in ended.out.splitlines() if line.startswith("trip-77")]
    assert line.endswith("UNDO_REFUSED the hotel says no")
    assert ended.out.splitlines()[1] == "1 saga needs a person: trip-77"


def test_where_nobody_answers_it_says_so_and_leaves(saga: Saga) -> None:
    ended = saga("top", "--once", "--server", "127.0.0.1:1")
    assert ended.code == 69
    assert "no orchestrator answers at 127.0.0.1:1" in ended.err


def test_one_of_two_that_is_away_is_shown_as_away(busy: FakeServer, saga: Saga) -> None:
    ended = saga("top", "--once", "--server", busy.address, "--server", "127.0.0.1:1")
    assert ended.code == 0
    assert "127.0.0.1:1: does not answer since" in ended.out
    assert "asked again" not in ended.out, "nobody asks again who leaves"
    assert "intake" in ended.out


def test_two_addresses_of_one_process_are_one(busy: FakeServer, saga: Saga) -> None:
    other = busy.address.replace("127.0.0.1", "localhost")
    page = json.loads(saga("top", "-o", "json", "--server", busy.address, "--server", other).out)
    assert len(page["processes"]) == 1


def test_a_server_without_the_service_is_told_of_in_a_sentence(busy: FakeServer, saga: Saga) -> None:
    busy.answer("GetFigures", fail(grpc.StatusCode.UNIMPLEMENTED, "unknown service"))
    ended = saga("top", "--once")
    assert ended.code != 0
    assert "not an orchestrator of this version" in ended.err


def test_a_store_that_does_not_answer_takes_nothing_from_the_rest(busy: FakeServer, saga: Saga) -> None:
    busy.answer("ListSagas", fail(grpc.StatusCode.UNAVAILABLE, "the store is away", "JOURNAL_UNAVAILABLE"))
    ended = saga("top", "--once")
    assert ended.code == 0
    assert "intake" in ended.out


class TestWatching:
    """What the live page goes through: away, back, and begun anew."""

    @pytest.fixture
    def watching(self, busy: FakeServer) -> Any:
        with top._connected(busy.address) as watched:
            yield top.Watching([watched])

    def test_a_process_that_went_away_and_came_back_is_counted_over_all_of_it(
        self, busy: FakeServer, watching: top.Watching
    ) -> None:
        busy.answer("GetFigures", figures(0), fail(grpc.StatusCode.UNAVAILABLE, "gone"), figures(4))
        watching.look()
        watching.look()
        away = watching.page().processes
        assert [each.name for each in away] == ["vm"]
        assert away[0].away_since_at is not None
        watching.look()
        page = watching.page()
        assert page.processes[0].away_since_at is None
        assert page.interval_s == 4.0
        assert page.definitions[0].started == 10.0

    @pytest.mark.parametrize(
        ("code", "words", "told"),
        [
            (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", "not an orchestrator of this version"),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "8 calls are in flight", "8 calls are in flight"),
            (grpc.StatusCode.INTERNAL, "", "without a word"),
        ],
    )
    def test_one_that_refuses_is_not_said_to_be_silent(
        self, busy: FakeServer, watching: top.Watching, code: grpc.StatusCode, words: str, told: str
    ) -> None:
        busy.answer("GetFigures", figures(0), fail(grpc.StatusCode.UNAVAILABLE, "gone"), fail(code, words))
        watching.look()
        watching.look()
        [silent] = watching.page().processes
        assert (silent.away_status, silent.away_why) == ("", "")
        watching.look()
        [refuses] = watching.page().processes
        assert (refuses.away_status, refuses.away_why) == (code.name, told)
        assert refuses.away_since_at is not None
        assert silent.away_since_at is not None
        assert refuses.away_since_at > silent.away_since_at, "it refuses since it is heard again"
        lines = ["".join(text for text, _ in line) for line in screen(watching.page(), 200)]
        assert any(f": {code.name} since " in line and line.endswith(told) for line in lines)

    def test_it_is_away_since_the_first_look_that_was_not_answered(
        self, busy: FakeServer, watching: top.Watching
    ) -> None:
        busy.answer("GetFigures", figures(0), fail(grpc.StatusCode.UNAVAILABLE, "gone"))
        watching.look()
        watching.look()
        first = watching.page().processes[0].away_since_at
        watching.look()
        assert watching.page().processes[0].away_since_at == first

    def test_one_that_began_anew_is_counted_from_its_beginning(self, busy: FakeServer, watching: top.Watching) -> None:
        anew = figures(10, began_at=AT + 5.0)
        anew.figures[-1].value = 20.0
        busy.answer("GetFigures", figures(0), anew)
        watching.look()
        watching.look()
        assert watching.page().definitions[0].started == 4.0

    def test_the_store_is_not_counted_at_every_look(self, busy: FakeServer, watching: top.Watching) -> None:
        for _ in range(6):
            watching.look()
        assert len(busy.requests("CountSagas")) == 4  # by status and by definition, at 0 s and at 5 s
