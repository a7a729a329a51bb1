"""Streams as a store keeps them: a line that names the example, then a JSON list a record: version, epoch, type, body.

Each is put into a journal beside a sound one, and the whole runtime is started on it: whatever the damaged one does,
the sound one comes to its end, nothing is raised into the loop, and every reader of records has an answer.
"""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

from orchestrator.api import events as api_events
from orchestrator.api import views
from orchestrator.cli import story
from orchestrator.errors import IntegrityError, InvariantViolated, JournalCorrupted, OrchestratorError
from orchestrator.explore.play import Answers, Input, Scripted
from orchestrator.ids import SagaId, StepId
from orchestrator.journal.codec import decode_record, encode
from orchestrator.journal.memory import MemoryJournal
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Record, Rest, SearchRow
from orchestrator.ports.observer import Silence
from orchestrator.ports.ownership import SoleOwnership
from orchestrator.runtime import Orchestrator, Until
from orchestrator.saga import check, check_steps
from orchestrator.saga.commands import CancelSaga
from orchestrator.saga.events import Event, Phase, Report, SagaStarted
from orchestrator.saga.explain import explain
from orchestrator.saga.plan import Operation, Plan
from orchestrator.saga.state import SagaState, SagaStatus
from orchestrator.saga.undoplan import undo_plan
from orchestrator.telemetry.reader import Reader
from orchestrator.v1.saga_pb2 import SAGA_VIEW_FULL
from orchestrator.values import Payload
from orchestrator.verify import Findings
from orchestrator.verify.streams import check_stream
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import flipped, scalar
from tests.fuzz.targets.records import TYPES, other_fields
from tests.fuzz.targets.worlds import World, played, world
from tests.kit.runtime import JumpingLoop, ManualClock, ScriptedInvoker

BAD: Final = SagaId("simulated")
SOUND: Final = SagaId("sound")
REFUSED: Final = Report(code="FAILED_PRECONDITION", phase=Phase.REPLIED, message="sold out")
LOST: Final = Report(code="UNAVAILABLE", phase=Phase.LOST)
Line = list[Any]
"""Version, epoch, type, body in base64."""


@contextmanager
def opened() -> Iterator[Target]:
    """Give the examples' plans; the seeds are sagas of theirs, of every kind of end."""
    there = world()
    seeds = list(every_saga(there))
    sound = _begun(there.plans["transfer"])
    logging.getLogger("orchestrator").addHandler(_told := _Told())
    logging.getLogger("orchestrator").propagate = False
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:

        def run(data: bytes) -> str:
            try:
                definition, lines = parsed(data)
                plan = there.plans[definition]
            except (ValueError, KeyError, TypeError, RecursionError):
                return "no stream"
            _told.failures.clear()
            word = runner.run(_fed(there, plan, lines, sound))
            assert not _told.failures, f"a turn failed: {_told.failures[0]}"
            return word

        yield Target(run=run, mutate=mutated, seeds=seeds, input_bytes_max=32 * 1024)
    logging.getLogger("orchestrator").removeHandler(_told)


class _Told(logging.Handler):
    """Keeps the tracebacks that somebody wrote into the log instead of raising them."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.failures.append(logging.Formatter().format(record))


async def _fed(there: World, plan: Plan, lines: Sequence[Line], sound: Sequence[Line]) -> str:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context))
    journal = _journal(plan, lines, there.plans["transfer"], sound)
    orchestrator = Orchestrator(
        journal=journal, ownership=SoleOwnership(journal.epoch), plans=there.revisions,
        invoker=ScriptedInvoker(_answer), clock=ManualClock(),
        observer=Silence(), on_failed=lambda why: raised.append({"message": why}),
    )  # fmt: skip
    async with orchestrator.running():
        ended = await orchestrator.wait(SOUND, Until.TERMINAL, 0, 30.0)
        assert ended.is_terminal, f"the sound saga is {ended.status}"
        try:
            state = await orchestrator.get(BAD)
        except IntegrityError as refused:
            clear(refused.message, "saga", "plan", "revision")
            word = "set aside"
        except OrchestratorError as refused:
            clear(refused.message)
            word = "refused"
        else:
            word = _shown(there, state)
    await _traced(there, journal)
    _verified(there, plan, lines)
    assert not raised, raised
    return word


def _answer(call: CallRequest) -> Report:
    return Report(code="OK", phase=Phase.REPLIED, reply=Payload(call.reply_type, b""))


def _shown(there: World, state: SagaState) -> str:
    """Make every answer about the saga that a caller may ask for.

    Records that can be read and folded may still contradict each other; what rests on them may say so in any words.
    """
    try:
        check(state)
        check_steps(state, state.items)
    except InvariantViolated:
        return "contradiction"
    views.explanation(state, explain(state, 1_800_000_000.0))
    try:
        undo_plan(state, 1_800_000_000.0)
    except InvariantViolated as refused:
        clear(refused.message, str(BAD))
        return "contradiction"
    views.saga(state, SAGA_VIEW_FULL, there.revisions, {})
    return "taken"


async def _traced(there: World, journal: MemoryJournal) -> None:
    """Read everything as the trace reader does, which leaves out what it cannot read."""
    reader, places = Reader(journal, there.revisions), {0: 0}
    try:
        while True:
            ends, _ = await reader.page(places, 100)
            if not ends:
                return
            places.update(ends)
    except JournalCorrupted:  # this journal, unlike a file, does not leave out single records
        return


def _verified(there: World, plan: Plan, lines: Sequence[Line]) -> None:
    """Hold the records against the invariants, and show them as history."""
    if not lines:  # a store says so itself: the row's version counts them
        return
    try:
        records = [record_of(line) for line in lines]
    except JournalCorrupted as refused:
        clear(refused.message, "record ")
        return
    found = Findings()
    check_stream(row_for(BAD, plan, len(records)), plan, records, found)
    for violation in found.violations:
        clear(str(violation), "saga simulated")
    story.fold(BAD, [api_events.event(record, plan, there.revisions) for record in records])


def record_of(line: Line) -> Record:
    return decode_record(BAD, line[0], line[1], line[2], base64.b64decode(line[3]))


def _journal(plan: Plan, lines: Sequence[Line], sound_plan: Plan, sound: Sequence[Line]) -> MemoryJournal:
    journal = MemoryJournal()
    contents = journal._contents
    for saga_id, of, stream in ((BAD, plan, lines), (SOUND, sound_plan, sound)):
        contents.rows[saga_id] = row_for(saga_id, of, len(stream))
        contents.streams[saga_id] = [(each[0], each[1], each[2], base64.b64decode(each[3])) for each in stream]
        contents.positions += [(saga_id, version) for version in range(1, len(stream) + 1)]
    return journal.reopen()


def row_for(saga_id: SagaId, plan: Plan, version: int) -> SearchRow:
    return SearchRow(
        saga_id=saga_id, uid="00000000-0000-0000-0000-000000000001", request_id="", definition=plan.definition,
        revision=plan.revision, status=SagaStatus.RUNNING, version=version, epoch=1, attributes={},
        started_at=1_767_225_600.0, updated_at=1_767_225_600.0, ended_at=None, wake_at=None, rest=Rest.AWAKE,
        attention="", failure="",
    )  # fmt: skip


# --- seeds and inputs ------------------------------------------------------------------------------------------------


def every_saga(there: World) -> Iterator[bytes]:
    """Yield sagas of every example: one in which all goes well, and ones in which a step is refused, or lost."""
    for name, plan in sorted(there.plans.items()):
        steps = [None, *plan.steps]
        for failing in steps[:: max(1, len(steps) // 3)]:
            for said in (REFUSED, LOST):
                cancels = [Input(after_s=0.25, command=CancelSaga(reason="no"))] if said is LOST else []
                how = played(plan, Payload(plan.input_type, b""), _failing(plan, failing, said), cancels)
                if how is not None:
                    yield _written(name, how.events[:60])


def _failing(plan: Plan, failing: StepId | None, said: Report) -> Answers:
    def answers(path: StepId, operation: Operation, attempt: int) -> Scripted:
        fails = path.partition("[")[0] == failing and operation is Operation.FORWARD
        reply = Payload(plan.step_of(path).call_of(operation).reply_type, b"")
        good = Report(code="OK", phase=Phase.REPLIED, reply=reply)
        return Scripted(report=said if fails and (attempt < 3 or said is REFUSED) else good, after_s=0.1)

    return answers


def _begun(plan: Plan) -> list[Line]:
    """Return a saga that is begun, and nothing more: the runtime has to bring it to its end."""
    how = played(plan, Payload(plan.input_type, b""))
    assert how is not None
    assert isinstance(how.events[0], SagaStarted)
    return parsed(_written("transfer", [replace(how.events[0], saga_id=SOUND)]))[1]


def _written(definition: str, events: Sequence[Event]) -> bytes:
    lines: list[Line] = []
    for version, event in enumerate(events, 1):
        type_name, body = encode(event)
        lines.append([version, 1, type_name, base64.b64encode(body).decode()])
    return _joined(definition, lines)


def _joined(definition: str, lines: Sequence[Line]) -> bytes:
    return "\n".join([definition, *(json.dumps(line) for line in lines)]).encode()


def parsed(data: bytes) -> tuple[str, list[Line]]:
    definition, *rest = data.decode().split("\n")
    lines = [json.loads(line) for line in rest if line]
    for version, epoch, type_name, body in lines:
        if type(version) is not int or type(epoch) is not int or type(type_name) is not str or type(body) is not str:
            raise ValueError("a column has its type in every file")
        base64.b64decode(body)
    return definition, lines


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Lose, double, move, take over and change records; the versions are mostly made to fit, or nothing is read."""
    try:
        (definition, lines), (other, others) = (parsed(luck.choice(seeds)) for _ in range(2))
    except ValueError:
        return luck.choice(seeds)
    for _ in range(1 + int(luck.expovariate(0.8))):
        at = luck.randrange(len(lines) + 1)
        match luck.randrange(8):
            case 0:
                del lines[at : at + 1 + luck.randrange(3)]
            case 1:
                lines[at:at] = [list(each) for each in lines[at : at + 1 + luck.randrange(2)]]
            case 2 if at < len(lines):
                line = lines.pop(at)
                lines.insert(luck.randrange(len(lines) + 1), line)
            case 3 if others:
                lines.insert(at, list(luck.choice(others)))
            case 4:
                del lines[at:]
            case 5 if at < len(lines):
                lines[at][2] = luck.choice(TYPES)
            case 6 if at < len(lines) and luck.random() < 0.3:
                lines[at][3] = base64.b64encode(flipped(luck, base64.b64decode(lines[at][3]))).decode()
            case _ if at < len(lines):
                body = other_fields(luck, lines[at][2], base64.b64decode(lines[at][3]))
                lines[at][3] = base64.b64encode(body).decode()
    if luck.random() < 0.9:
        lines = [[version, *line[1:]] for version, line in enumerate(lines, 1)]
    elif lines:
        number = scalar(luck)
        luck.choice(lines)[luck.randrange(2)] = number if type(number) is int and abs(number) < 2**63 else 7
    return _joined(other if luck.random() < 0.03 else definition, lines)
