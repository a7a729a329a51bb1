"""The stream as a whole: its numbers, its writers, its row, its bounds, its end, and who is named in it."""

from collections.abc import Iterator

from orchestrator.limits import ATTEMPTS_MAX, ITEMS_MAX, LEFT_MAX, MESSAGE_CHARS_MAX, SIGNALS_MAX
from orchestrator.saga.events import (
    CauseKind,
    CompensationBegan,
    OperatorActed,
    SagaCompleted,
    SagaTerminated,
    StepReopened,
)
from orchestrator.verify.findings import Violation
from orchestrator.verify.stream import ENDINGS, Life, Stream


def versions_are_dense(stream: Stream) -> Iterator[Violation | int]:
    """I1."""
    for number, record in enumerate(stream.records, 1):
        if record.version != number:
            yield stream.broken("I1", f"record {number} has version {record.version}", record.version)
            return
    yield len(stream.records)


def epochs_do_not_fall(stream: Stream) -> Iterator[Violation | int]:
    """I2."""
    highest = 0
    for record in stream.records:
        if record.epoch < highest:
            yield stream.broken("I2", f"epoch {record.epoch} after {highest}", record.version)
        highest = max(highest, record.epoch)
    yield len(stream.records)


def writers_sign_for_themselves(stream: Stream) -> Iterator[Violation | int]:
    """I3: in one stream; that commits of the whole store are in order is for the walk."""
    for version in stream.foreign:
        yield stream.broken("I3", "an attempt was opened under another epoch than its record's", version)
    yield 1
    last = stream.records[-1] if stream.records else None
    if last is not None and stream.row.epoch != last.epoch:
        message = f"the row was written under epoch {stream.row.epoch}, its last record under {last.epoch}"
        yield stream.broken("I3", message, last.version)


def row_agrees(stream: Stream) -> Iterator[Violation | int]:
    """I4."""
    if stream.state is None:
        return
    row, state = stream.row, stream.state
    told: tuple[object, ...] = row.status, row.version, {word for word in row.attention.split(",") if word}
    true: tuple[object, ...] = state.status, state.version, {reason.value for reason in state.attention}
    if told != true:
        yield stream.broken("I4", f"the row says {told}, the records say {true}", state.version)
    told = row.saga_id, row.uid, row.request_id, row.started_at, row.updated_at, row.ended_at
    true = state.saga_id, str(state.uid), state.request_id, state.started_at, state.updated_at, state.ended_at
    if told != true:
        yield stream.broken("I4", f"the row says {told}, the records say {true}", state.version)
    yield 1


def the_revision_stays(stream: Stream) -> Iterator[Violation | int]:
    """I41: that of the start, of the row and of the plan that is read by it are one."""
    if stream.started is None:
        return
    yield 1
    its = stream.started.definition, stream.started.revision
    for where, named in (
        ("its row names", (stream.row.definition, stream.row.revision)),
        ("it is read by", (stream.plan.definition, stream.plan.revision)),
    ):
        if named != its:
            message = f"it was started with {'@'.join(its)}, and {where} {'@'.join(named)}"
            yield stream.broken("I41", message, 1)


def it_stays_within_bounds(stream: Stream) -> Iterator[Violation | int]:
    """I44: a person's retries come on top of the attempts that the machine makes by itself."""
    for life in stream.every_life():
        for operation, opened in life.opened.items():
            version, last = opened[-1]
            if last.attempt > ATTEMPTS_MAX and last.attempt > ATTEMPTS_MAX + _by_hand(life):
                yield stream.broken("I44", f"{operation.value} of {life.path} was tried {last.attempt} times", version)
            yield 1
        for settled in life.settled.values():
            for version, event in settled:
                if len(event.report.message) > MESSAGE_CHARS_MAX:
                    told = f"the text of a report about {life.path} has {len(event.report.message)} characters"
                    yield stream.broken("I44", told, version)
        if life.count > ITEMS_MAX:
            yield stream.broken("I44", f"{life.path} has {life.count} items", life.began or 0)
    if len(stream.signals) > SIGNALS_MAX:
        yield stream.broken("I44", f"it was sent {len(stream.signals)} signals", stream.signals[-1][0])
    if isinstance(stream.ending, SagaTerminated) and len(stream.ending.left) > LEFT_MAX:
        yield stream.broken("I44", f"its end names {len(stream.ending.left)} steps", len(stream.records))


def _by_hand(life: Life) -> int:
    return sum(1 for _, event in life.renewed if isinstance(event, StepReopened))


def terminal_is_last(stream: Stream) -> Iterator[Violation | int]:
    """I25: but for a child that had completed and is undone by its parent."""
    yield 1
    ends = [at for at, record in enumerate(stream.records) if isinstance(record.event, ENDINGS)]
    for at in ends:
        if at == len(stream.records) - 1:
            continue
        event, following = stream.records[at].event, stream.records[at + 1].event
        by_parent = isinstance(following, CompensationBegan) and following.cause.kind is CauseKind.PARENT
        if not (isinstance(event, SagaCompleted) and by_parent and stream.parent is not None):
            versions = [stream.records[each].version for each in ends]
            yield stream.broken("I25", f"{len(ends)} terminal events, {len(stream.records)} records", *versions)
            return


def people_are_named(stream: Stream) -> Iterator[Violation | int]:
    """I43: the audit's entry comes first, in the same append, and says who and why."""
    for version, what, step, before in stream.deeds:
        if not isinstance(before, OperatorActed) or (step is not None and before.step != step):
            yield stream.broken("I43", f"{step or 'the saga'} {what}, and nobody is recorded to have done it", version)
        yield 1
    for version, event in stream.acted:
        if not event.by or not event.reason:
            missing = "who" if not event.by else "why"
            yield stream.broken("I43", f"{event.verb.value} does not say {missing}", version)
        yield 1
