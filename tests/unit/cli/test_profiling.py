import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from orchestrator.v1.diagnostics_service_pb2 import ProfileProcessResponse, ProfileStack
from tests.unit.cli.conftest import FakeServer, Saga, fail

ANSWER = ProfileProcessResponse(
    duration=Duration(seconds=2),
    hz=100.0,
    sample_count=200,
    idle_sample_count=100,
    stacks=[
        ProfileStack(frames="orchestrator.api:serve;json:dumps", count=75),
        ProfileStack(frames="orchestrator.api:serve", count=25),
    ],
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_picture_is_written_and_the_hottest_functions_are_listed(
    server: FakeServer, saga: Saga, folder: Path
) -> None:
    server.answer("ProfileProcess", ANSWER)
    ended = saga("debug", "profile", "2", "--hz", "100")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        "2.0 s at 100 Hz: 200 samples, the event loop busy in 50.0 % of them",
        "SELF     TOTAL    FUNCTION",
        " 75.0 %   75.0 %  json:dumps",
        " 25.0 %  100.0 %  orchestrator.api:serve",
        "saga-profile-1.svg: open it in a browser",
    ]
    assert "json:dumps" in (folder / "saga-profile-1.svg").read_text()
    [request] = server.requests("ProfileProcess")
    assert (request.duration.seconds, request.duration.nanos, request.hz) == (2, 0, 100.0)


def test_an_earlier_picture_is_not_written_over(server: FakeServer, saga: Saga, folder: Path) -> None:
    server.answer("ProfileProcess", ANSWER)
    (folder / "saga-profile-1.svg").write_text("mine")
    assert saga("debug", "profile", "0.5", "-q").out == "saga-profile-2.svg\n"
    assert (folder / "saga-profile-1.svg").read_text() == "mine"
    [request] = server.requests("ProfileProcess")
    assert (request.duration.seconds, request.duration.nanos) == (0, 500_000_000)


@pytest.mark.parametrize(
    ("kind", "begins"),
    [
        ("svg", "<svg "),
        ("folded", "(idle) 100\norchestrator.api:serve 25\n"),
        ("speedscope", '{"$schema":"https://www.speedscope.app/'),
    ],
)
def test_it_goes_where_it_was_told_in_the_format_that_was_asked_for(
    server: FakeServer, saga: Saga, folder: Path, kind: str, begins: str
) -> None:
    server.answer("ProfileProcess", ANSWER)
    ended = saga("debug", "profile", "1", "--format", kind, "--out", "a.file")
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith("a.file: ")
    assert (folder / "a.file").read_text().startswith(begins)


def test_a_program_gets_the_stacks_and_a_file_only_where_it_names_one(
    server: FakeServer, saga: Saga, folder: Path
) -> None:
    server.answer("ProfileProcess", ANSWER)
    told = json.loads(saga("debug", "profile", "1", "-o", "json").out)
    assert told["stacks"][0] == {"frames": "orchestrator.api:serve;json:dumps", "count": "75"}
    assert list(folder.iterdir()) == []
    assert saga("debug", "profile", "1", "-o", "json", "--out", "a.svg").code == 0
    assert [path.name for path in folder.iterdir()] == ["a.svg"]


def test_a_loop_that_had_nothing_to_do_is_said_to_have_had_nothing(server: FakeServer, saga: Saga) -> None:
    idle = ProfileProcessResponse(duration=Duration(seconds=1), hz=99.0, sample_count=99, idle_sample_count=99)
    server.answer("ProfileProcess", idle)
    ended = saga("debug", "profile", "1")
    assert ended.code == 0
    assert "busy in 0.0 % of them" in ended.out
    assert "profile it while it is busy" in ended.err


def test_who_comes_second_is_told_when_to_come_back(server: FakeServer, saga: Saga) -> None:
    said = "the process is being sampled already; ask again in 7 s"
    server.answer("ProfileProcess", fail(grpc.StatusCode.RESOURCE_EXHAUSTED, said, "PROFILE_RUNNING"))
    ended = saga("debug", "profile", "1")
    assert ended.code != 0
    assert said in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_file_that_cannot_be_written_is_told_before_anybody_waits(
    server: FakeServer, saga: Saga, output: str
) -> None:
    server.answer("ProfileProcess", ANSWER)
    ended = saga("debug", "profile", "1", "-o", output, "--out", "nowhere/a.svg")
    assert (ended.code, ended.out) == (1, "")
    assert "cannot write the profile: No such file or directory: nowhere/a.svg" in ended.err
    assert server.asked == []


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full, a disk that is always full")
def test_a_disk_that_is_full_in_the_end_is_told_in_a_sentence(server: FakeServer, saga: Saga, output: str) -> None:
    server.answer("ProfileProcess", ANSWER)
    ended = saga("debug", "profile", "1", "-o", output, "--out", "/dev/full")
    assert ended.code == 1
    assert "cannot write the profile: No space left on device: /dev/full" in ended.err
    assert Path("/dev/full").exists()


@pytest.mark.parametrize("output", ["table", "json"])
def test_a_file_that_is_named_has_the_new_profile_alone_or_what_it_had(
    server: FakeServer, saga: Saga, folder: Path, output: str
) -> None:
    (folder / "a.svg").write_text("an older picture")
    server.answer("ProfileProcess", fail(grpc.StatusCode.UNAVAILABLE, "gone"), ANSWER)
    assert saga("debug", "profile", "1", "-o", output, "--out", "a.svg").code == 69
    assert (folder / "a.svg").read_text() == "an older picture"
    assert saga("debug", "profile", "1", "-o", output, "--out", "a.svg").code == 0
    assert (folder / "a.svg").read_text().startswith("<svg ")


def test_a_profile_that_came_to_nothing_leaves_no_file(server: FakeServer, saga: Saga, folder: Path) -> None:
    server.answer("ProfileProcess", fail(grpc.StatusCode.UNAVAILABLE, "gone"))
    assert saga("debug", "profile", "1").code == 69
    assert saga("debug", "profile", "1", "--out", "a.svg").code == 69
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("seconds", ["0", "-1", "61", "soon"])
def test_a_time_that_makes_no_sense_is_refused_before_anybody_is_asked(
    server: FakeServer, saga: Saga, seconds: str
) -> None:
    assert saga("debug", "profile", "--", seconds).code == 2
    assert server.asked == []


def test_a_function_s_name_is_only_text_on_a_terminal(server: FakeServer, saga: Saga) -> None:
    def forged(request: Any, context: Any) -> ProfileProcessResponse:
        return ProfileProcessResponse(sample_count=1, hz=99.0, stacks=[ProfileStack(frames="m:\x1b[31mred", count=1)])

    server.answer("ProfileProcess", forged)
    assert "\x1b" not in saga("debug", "profile", "1").out
