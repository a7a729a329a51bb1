"""`saga debug dump` is a page that is read from the top: what is wrong first."""

import json
from collections.abc import Sequence

import grpc
import pytest
from google.protobuf.message import Message

from orchestrator.cli.exits import Exit
from orchestrator.limits import DUMP_LIMIT_SHOWN
from orchestrator.v1 import diagnostics_service_pb2 as rpc
from tests.unit.cli.conftest import FakeServer, Saga, fail

AT = 1_790_000_000


def answer() -> rpc.DumpProcessResponse:
    """Return a process in trouble."""
    found = rpc.DumpProcessResponse(
        process_name="one",
        version="0.3.0",
        actor_count=2_345,
        timer_count=17,
        call_count=3,
        task_count=43,
        stall_count=4,
    )
    found.as_of_time.seconds = AT
    found.uptime.seconds = 8_040
    found.suspects.add(kind="call", name="scoring/epro.v1.Scoring/Score", count=2, why="open 312 s past its deadline")
    stall = found.stalls.add(culprit="orchestrator/saga/fold.py:88 in fold", saga_id="report-7")
    stall.time.seconds = AT - 42
    stall.held.nanos = 350_000_000
    for saga_id, mailbox, doing, since_s in (("report-7", 12, "commit", 3), ("report-1", 0, "calls", 75)):
        actor = found.actors.add(
            saga_id=saga_id,
            definition="epro_intake",
            status="RUNNING",
            version=8,
            mailbox=mailbox,
            doing=doing,
            call_count=1,
            timer_count=2,
        )
        actor.since_time.seconds = AT - since_s
        if doing == "calls":
            actor.wake_time.seconds = AT + 30
    for target, phase, saga_id, attempt, deadline_s in (
        ("scoring", "sent", "report-1", 1, -312),
        ("archive", "connecting", "report-2", 3, 9),
        ("scoring", "aborting", "report-3", 1, 10),
    ):
        call = found.calls.add(
            saga_id=saga_id,
            step="score",
            operation="compensate" if attempt > 1 else "forward",
            attempt=attempt,
            target=target,
            method="epro.v1.Scoring/Score",
            phase=phase,
        )
        call.begin_time.seconds = AT - 322
        call.deadline.seconds = AT + deadline_s
    found.target_call_counts.update({"archive": 1, "scoring": 2})
    found.tasks.add(
        name="Task-9", coroutine="UnaryUnaryCall._invoke", count=40, stack=["grpc/aio/_call.py:595 in _invoke"]
    )
    found.tasks.add(
        name="committer",
        coroutine="Committer.run",
        count=1,
        stack=["orchestrator/runtime/committer.py:67 in Committer.run", "asyncio/locks.py:213 in Event.wait"],
    )
    found.threads.add(name="MainThread", stack=["orchestrator/__main__.py:5 in <module>"])
    return found


PAGE = """\
one, version 0.3.0, up 2 h 14 min, at 2026-09-21 14:13:20.000Z
sagas in memory 2,345, calls open 3, timers 17, tasks 43, stalls 4

SUSPECTS  KIND  NAME                           WHY
2         call  scoring/epro.v1.Scoring/Score  open 312 s past its deadline

STALLS      HELD UP  SAGA      BY
42.0 s ago  350 ms   report-7  orchestrator/saga/fold.py:88 in fold

the fullest mailbox: 12 messages wait for saga report-7
SAGA      DOING   FOR         MAIL  CALLS  TIMERS  NEXT       STATUS   VERSION  DEFINITION
report-7  commit  3.0 s       12    1      2                  RUNNING  8        epro_intake
report-1  calls   1 min 15 s  0     1      2       in 30.0 s  RUNNING  8        epro_intake
and 2,343 more; see them with a larger --limit

calls by target: scoring 2, archive 1
TARGET   PHASE       FOR         DEADLINE        SAGA      STEP                          METHOD
scoring  sent        5 min 22 s  5 min 12 s ago  report-1  score (attempt 1)             epro.v1.Scoring/Score
archive  connecting  5 min 22 s  in 9.0 s        report-2  score (compensate attempt 3)  epro.v1.Scoring/Score
scoring  aborting    5 min 22 s  in 10.0 s       report-3  score (attempt 1)             epro.v1.Scoring/Score

tasks by where they stand, innermost last
   40  UnaryUnaryCall._invoke
         grpc/aio/_call.py:595 in _invoke
    1  Committer.run (committer)
         orchestrator/runtime/committer.py:67 in Committer.run
         asyncio/locks.py:213 in Event.wait
and 2 more; see them with a larger --limit

threads, innermost last
  MainThread
         orchestrator/__main__.py:5 in <module>
"""


def test_a_dump_is_read_from_the_top(server: FakeServer, saga: Saga) -> None:
    server.answer("DumpProcess", answer())
    ended = saga("debug", "dump")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == PAGE.splitlines()
    assert server.asked == [("DumpProcess", rpc.DumpProcessRequest(limit=DUMP_LIMIT_SHOWN))]


def test_only_the_parts_that_were_asked_for_are_shown(server: FakeServer, saga: Saga) -> None:
    server.answer("DumpProcess", answer())
    ended = saga("debug", "dump", "--threads", "--suspects", "--limit", "7", "--objects")
    lines = PAGE.splitlines()
    assert ended.out.splitlines() == [*lines[:5], "", *lines[-3:]]
    assert server.asked == [("DumpProcess", rpc.DumpProcessRequest(limit=7, objects=True))]


def test_a_process_with_nothing_wrong_says_so(server: FakeServer, saga: Saga) -> None:
    server.answer("DumpProcess", rpc.DumpProcessResponse(process_name="one", version="0.3.0"))
    assert saga("debug", "dump", "--suspects", "--stalls", "--actors", "--calls").out.splitlines()[3:] == [
        "nothing is suspect: no overdue call, no idle saga kept, no late timer, no append without an end",
        "",
        "the event loop was not held up",
        "",
        "no saga is in memory",
        "",
        "no call is open",
    ]


def test_programs_get_the_message_with_the_parts_that_were_asked_for(server: FakeServer, saga: Saga) -> None:
    server.answer("DumpProcess", answer())
    told = json.loads(saga("debug", "dump", "-o", "json").out)
    assert [each["saga_id"] for each in told["actors"]] == ["report-7", "report-1"]
    assert told["calls"][0]["deadline"] == "2026-09-21T14:08:08Z"
    some = json.loads(saga("debug", "dump", "-o", "json", "--calls").out)
    assert (len(some["calls"]), some["actors"], some["actor_count"]) == (3, [], 2_345)


def test_words_of_others_cannot_forge_a_line(server: FakeServer, saga: Saga) -> None:
    found = rpc.DumpProcessResponse(process_name="one\nnothing is suspect", version="\x1b[2J")
    found.suspects.add(kind="object", name="a\x1b[2Jb", count=1, why="c\nd")
    found.stalls.add(culprit="e\rf", saga_id="g\x07h")
    found.actors.add(saga_id="i\nj", definition="k\x1bl")
    found.calls.add(target="m\nn", method="o\np", step="q\nr", saga_id="s\nt")
    found.tasks.add(name="u\nv", coroutine="w\nx", count=1, stack=["y\nz"])
    found.threads.add(name="A\nB", stack=["C\x1bD"])
    server.answer("DumpProcess", found)
    out = saga("debug", "dump").out
    assert "\x1b" not in out
    assert "\r" not in out
    assert "\x07" not in out
    for forged in ("nothing is suspect", "d", "j", "n", "p", "r", "t", "v", "x", "z", "B"):
        assert not any(line.strip().startswith(forged + " ") or line.strip() == forged for line in out.splitlines())


def test_no_word_of_an_answer_is_more_than_text(server: FakeServer, saga: Saga) -> None:
    found = answer()
    forge(found)
    server.answer("DumpProcess", found)
    ended = saga("debug", "dump")
    assert (ended.code, ended.err) == (0, "")
    assert "RUNNING\\nFORGED" in ended.out, "it is shown, as text"
    assert "\x1b" not in ended.out
    assert not any(line.startswith("FORGED") for line in ended.out.splitlines())


def forge(message: Message) -> None:
    """Have every word of a message end the line and begin one of its own."""
    for field, value in message.ListFields():
        if field.type == field.TYPE_STRING:
            words = [value] if isinstance(value, str) else list(value)
            message.ClearField(field.name)
            forged = [f"\x1b[2J{word}\nFORGED" for word in words]
            if isinstance(value, str):
                setattr(message, field.name, forged[0])
            else:
                getattr(message, field.name).extend(forged)
        elif isinstance(value, Sequence):
            for each in value:
                if isinstance(each, Message):
                    forge(each)


@pytest.mark.parametrize(
    ("code", "exits"),
    [(grpc.StatusCode.DEADLINE_EXCEEDED, Exit.TIMEOUT), (grpc.StatusCode.UNAVAILABLE, Exit.UNAVAILABLE)],
)
def test_a_process_that_does_not_answer_can_still_be_had_to_write_its_stacks(
    code: grpc.StatusCode, exits: Exit, server: FakeServer, saga: Saga
) -> None:
    server.answers["DumpProcess"] = fail(code, "")
    ended = saga("debug", "dump")
    assert ended.code == exits
    assert "kill -USR2 PID" in ended.err
    assert ended.out == ""


@pytest.mark.parametrize("limit", ["0", "1001"])
def test_a_limit_outside_its_bounds_is_refused_before_anybody_is_asked(
    limit: str, server: FakeServer, saga: Saga
) -> None:
    assert saga("debug", "dump", "--limit", limit).code == Exit.USAGE
    assert server.asked == []
