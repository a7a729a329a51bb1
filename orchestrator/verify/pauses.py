"""How long a pause has to be, recomputed from what the attempt before it heard (I14); that it is kept is another rule.

What follows from an attempt is recorded right after it: a `RetryScheduled`, or the next attempt at once. Its pause is
at least what the peer asked for, the interval of a poll, the whole backoff of a target that is to blame, the first
backoff of a call that has to succeed and was given up. All other pauses are drawn between nothing and a ceiling, so
that one alone may be as short as it likes, and only many of them tell whether anybody has drawn. Waits for calls that
may still arrive (R8a, R12) only lengthen a pause.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.limits import RETRY_AFTER_S_MAX
from orchestrator.saga.events import FOUND, POLL, AttemptOpened, AttemptSettled, Phase, RetryScheduled
from orchestrator.saga.plan import Operation, Step
from orchestrator.verify.attempts import costs, has_to_succeed
from orchestrator.verify.findings import Findings, Violation
from orchestrator.verify.stream import Life, Stream

_FOUND = frozenset(FOUND.values())
_CEILING_S = 0.01
"""From this ceiling on a drawn pause rounds to nothing once in 80 000 times: instants are a quarter of a µs apart."""
_NONE_MIN = 3
_SHARE_MAX = 0.01
"""As many pauses of nothing, and this share of all, are no bad luck: less than once in 10**8 stores of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pause:
    """What follows from the end of an attempt."""

    life: Life
    version: int
    operation: Operation
    end: AttemptSettled
    following: RetryScheduled | AttemptOpened

    @property
    def reason(self) -> str:
        return self.following.reason if isinstance(self.following, RetryScheduled) else ""

    @property
    def length_s(self) -> float:
        return self.following.due_at - self.following.at if isinstance(self.following, RetryScheduled) else 0.0

    def is_shorter_than(self, least_s: float) -> bool:
        # Added as it was added when it was recorded, so that it is rounded alike.
        due_at = self.following.due_at if isinstance(self.following, RetryScheduled) else self.following.at
        return due_at < self.following.at + least_s


def pauses_are_long_enough(stream: Stream) -> Iterator[Violation | int]:
    """I14: every pause, at least what can be known of it."""
    for pause in _pauses(stream):
        yield 1
        least_s = _least_s(stream, pause)
        if pause.is_shorter_than(least_s):
            named = f"{pause.operation.value} of {pause.life.path}"
            message = f"{named} was to be tried again after {pause.length_s:.3f} s, and {least_s:.3f} s is the least"
            yield stream.broken("I14", message, pause.version, pause.version + 1)


@dataclass(slots=True)
class Pauses:
    """The drawn pauses of a whole store."""

    drawn: int = 0
    none: int = 0
    first: Violation | None = None

    def take(self, stream: Stream) -> None:
        """Count a saga's."""
        for pause in _pauses(stream):
            if not _is_drawn(stream, pause):
                continue
            self.drawn += 1
            if pause.length_s <= 0.0:
                self.none += 1
                message = f"{pause.operation.value} of {pause.life.path} was to be tried again at once"
                self.first = self.first or stream.broken("I14", message, pause.version, pause.version + 1)

    def check(self, findings: Findings) -> None:
        """I14: that pauses are drawn at all."""
        if self.first is None or self.none < _NONE_MIN or self.none <= self.drawn * _SHARE_MAX:
            return
        message = f"{self.first.message}, as were {self.none} of the store's {self.drawn} whose pause is drawn"
        first = Violation(invariant="I14", saga_id=self.first.saga_id, message=message, versions=self.first.versions)
        findings.add("I14", [first], 0)


def _pauses(stream: Stream) -> Iterator[_Pause]:
    for life in stream.every_life():
        if not life.renewed and all(len(opened) < 2 for opened in life.opened.values()):  # noqa: PLR2004
            continue  # nearly always
        for operation, settled in life.settled.items():
            for version, end in settled:
                following = stream.event(version + 1)
                if end.report.phase is not Phase.LOST and _follows(end, following):
                    assert isinstance(following, RetryScheduled | AttemptOpened)
                    yield _Pause(life=life, version=version, operation=operation, end=end, following=following)


def _follows(end: AttemptSettled, event: object) -> bool:
    if isinstance(event, RetryScheduled):
        return event.step == end.step
    its = isinstance(event, AttemptOpened) and event.step == end.step and event.operation is end.operation
    return its and isinstance(event, AttemptOpened) and event.attempt == end.attempt + 1


def _least_s(stream: Stream, pause: _Pause) -> float:
    step, report = stream.plan.step_of(pause.life.path), pause.end.report
    own = stream.call_of(pause.life.path, pause.operation)
    forward = stream.call_of(pause.life.path, Operation.FORWARD)
    if own is None or forward is None:
        return 0.0
    if pause.reason in _FOUND:
        return forward.retry.initial_backoff_s
    if pause.following.operation is not pause.operation:
        return 0.0
    if _is_not_yet(pause):
        return _interval_s(step, pause.operation)
    least_s = 0.0
    if report.retry_after_s is not None:
        least_s = max(0.0, min(report.retry_after_s, RETRY_AFTER_S_MAX))
    elif not costs(report):
        least_s = own.retry.max_backoff_s
    if pause.operation is Operation.FORWARD and has_to_succeed(stream, step):
        return min(least_s, own.retry.initial_backoff_s)  # it may have been given up, and be tried on all the same
    return least_s


def _is_not_yet(pause: _Pause) -> bool:
    if isinstance(pause.following, RetryScheduled):
        return pause.reason == POLL
    return pause.end.report.code == "OK"


def _interval_s(step: Step, operation: Operation) -> float:
    if operation is Operation.FORWARD and step.poll is not None:
        return step.poll.every_s
    return step.awaits.every_s if operation is Operation.AWAIT and step.awaits is not None else 0.0


def _is_drawn(stream: Stream, pause: _Pause) -> bool:
    """Return whether nothing but luck and the policy says how long a pause is."""
    if _is_not_yet(pause) or pause.reason in _FOUND or pause.following.operation is not pause.operation:
        return False
    report, call = pause.end.report, stream.call_of(pause.life.path, pause.operation)
    if call is None or report.retry_after_s is not None or not costs(report):
        return False
    return min(call.retry.initial_backoff_s, call.retry.max_backoff_s) >= _CEILING_S
