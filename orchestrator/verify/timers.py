"""What time brings about: I30 and I31. Instants are recorded by the same clock as what they are compared with."""

from collections.abc import Iterator

from orchestrator.saga.events import AttentionReason, CauseKind, CompensationBegan, SettleReason, StepSettled
from orchestrator.saga.plan import Scope, Sleep, Wait
from orchestrator.verify.findings import Violation
from orchestrator.verify.stream import Life, Part, Stream


def timers_are_not_early(stream: Stream) -> Iterator[Violation | int]:
    """I30: sleeps, waits, scopes, the saga's deadline, and the notice that undoing takes too long."""
    for life in stream.every_life():
        if life.due_at is not None:
            yield from _of_step(stream, life, life.due_at)
    for part in stream.parts:
        yield from _of_scope(stream, part)
    if stream.cause is not None and stream.started is not None and _is_the_sagas(stream.cause.kind, stream.cause.step):
        yield 1
        turn = stream.event(stream.backward_from or 0)
        due_at = stream.started.forward_deadline_at
        if isinstance(turn, CompensationBegan) and turn.at < due_at:
            message = f"its deadline had {due_at - turn.at:.3f} s to go when it turned back"
            yield stream.broken("I30", message, stream.backward_from or 0)
    notices = [entry for entry in stream.raised if entry[1].reason is AttentionReason.COMPENSATION_OVERDUE]
    yield len(notices)
    for version, event in notices:
        if event.at < stream.backward_due_at:
            message = f"undoing was called overdue {stream.backward_due_at - event.at:.3f} s before it was"
            yield stream.broken("I30", message, version)
    if len(notices) > 1:
        yield stream.broken("I30", "undoing was called overdue twice", *(version for version, _ in notices))


def _is_the_sagas(kind: CauseKind, step: object) -> bool:
    return kind is CauseKind.DEADLINE_EXCEEDED and step is None


def _of_step(stream: Stream, life: Life, due_at: float) -> Iterator[Violation | int]:
    body = stream.plan.step_of(life.path).body
    for version, event in life.ended:
        if not _is_by_time(body, event):
            continue
        yield 1
        if event.at < due_at:
            what = "had slept enough" if isinstance(body, Sleep) else "had waited long enough"
            yield stream.broken("I30", f"{life.path} {what} {due_at - event.at:.3f} s too early", version)


def _is_by_time(body: object, event: StepSettled) -> bool:
    if isinstance(body, Sleep):
        return event.reason is SettleReason.DONE
    return isinstance(body, Wait) and event.reason is SettleReason.TIMED_OUT


def _of_scope(stream: Stream, part: Part) -> Iterator[Violation | int]:
    cause, root = part.event.cause, part.event.step
    body = stream.plan.steps[root].body
    if cause.kind is not CauseKind.DEADLINE_EXCEEDED or cause.step != root or not isinstance(body, Scope):
        return
    yield 1
    life = next((each for each in reversed(stream.lives.get(root, [])) if (each.began or 0) < part.began), None)
    due_at = None if life is None else life.due_at
    turned = [event.at for at, event in stream.turned.get(root, []) if life and (life.began or 0) < at < part.began]
    if turned and body.timeout_s is not None:
        due_at = turned[-1] + body.timeout_s
    if due_at is not None and part.event.at < due_at:
        message = f"scope {root} had {due_at - part.event.at:.3f} s to go when its time was called over"
        yield stream.broken("I30", message, part.began)


def waits_take_what_has_come(stream: Stream) -> Iterator[Violation | int]:
    """I31: a step that waits takes a signal as soon as both are there, before its own timer, or the end of the saga."""
    if not stream.plan.signals:
        return
    if stream.cancelled is not None and stream.plan.pivot is not None:
        return  # nothing goes on while a cancelled saga's pivot is undecided, signals included
    bodies = ((life, stream.plan.step_of(life.path).body) for life in stream.every_life())
    waits = [(life, body) for life, body in bodies if isinstance(body, Wait)]
    for life, body in waits:
        for version, event in life.ended:
            if event.reason not in {SettleReason.TIMED_OUT, SettleReason.STOPPED}:
                continue
            yield 1
            come = [at for at, signal in stream.signals if signal.signal == body.signal and at < version]
            if len(come) > _taken_before(waits, body.signal, version):
                told = f"{life.path} waited in vain for signal {body.signal}, which had come"
                yield stream.broken("I31", told, come[-1], version)


def _taken_before(waits: list[tuple[Life, Wait]], signal: str, by: int) -> int:
    ends = ((at, event) for life, body in waits if body.signal == signal for at, event in life.ended)
    return sum(1 for at, event in ends if at < by and event.reason is SettleReason.DONE)
