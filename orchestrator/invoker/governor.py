"""Pausing a target that is set up wrongly (R7): better one call a minute on trial than thousands of failed sagas.

::

                 UNAUTHENTICATED, PERMISSION_DENIED: the target          the pause is over: one call passes
                 UNIMPLEMENTED: the target's method              .--------------------------------------.
     (no pause) ------------------------------------------> held |                                      v
          ^                                                   ^  '--- calls are sent back at once    on trial
          |                                                   |                                         |
          |                                                   '------- the same answer: twice as long --|
          '--------------------------------------- any other answer of the application -----------------'

An answer that says nothing about the set-up (UNAVAILABLE, DEADLINE_EXCEEDED, ...) gives the trial back without
changing the pause. Answers to calls that were under way when the pause began do not lengthen it, yet an application's
proper answer ends it, whoever asked. A trial that is not back within the pause's length makes room for another.

Pure: time is given, nothing is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from orchestrator.invoker.classify import ANSWERS
from orchestrator.limits import TARGET_PAUSE_S_INITIAL, TARGET_PAUSE_S_MAX, TARGET_TRIAL_WAIT_S
from orchestrator.saga.outcome import CONFIGURATION

Trials = tuple[str, ...]
"""What a call that was let through is on trial for; mostly nothing."""

_PROPER = ANSWERS | {"OK"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Why and until when calls are held back."""

    code: str
    until_at: float
    """Wall clock, Unix seconds: from then on, one call at a time may try."""
    interval_s: float
    trial_at: float | None = None
    """When the call that is on trial was let through; None while none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A call may not be made now."""

    code: str
    """What the target had answered."""
    scope: str
    """What is paused: `scoring`, or `scoring/epro.v1.Scoring/Score`."""
    retry_after_s: float


def hold(pause: Pause, now: float) -> float | None:
    """Return how long a call must wait, in seconds; None where it may pass, as the trial."""
    if now < pause.until_at:
        return pause.until_at - now
    if pause.trial_at is not None and now < pause.trial_at + pause.interval_s:
        return min(TARGET_TRIAL_WAIT_S, pause.trial_at + pause.interval_s - now)
    return None


def lengthened(pause: Pause | None, code: str, now: float) -> Pause:
    """Return the pause after a target answered that it is set up wrongly."""
    if pause is None:
        return Pause(code=code, until_at=now + TARGET_PAUSE_S_INITIAL, interval_s=TARGET_PAUSE_S_INITIAL)
    if now < pause.until_at:
        return pause
    interval_s = min(TARGET_PAUSE_S_MAX, pause.interval_s * 2)
    return Pause(code=code, until_at=now + interval_s, interval_s=interval_s)


class Governor:
    """The pauses of all targets, by scope."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}

    def admit(self, target: str, method: str, now: float) -> Held | Trials:
        """Ask for one call. Where it may pass, its end must be told to `answered`, with the trials given here."""
        if not self._pauses:
            return ()
        due: list[tuple[str, Pause]] = []
        for scope in (target, f"{target}/{method}"):
            pause = self._pauses.get(scope)
            if pause is None:
                continue
            wait_s = hold(pause, now)
            if wait_s is not None:
                return Held(code=pause.code, scope=scope, retry_after_s=wait_s)
            due.append((scope, pause))
        for scope, pause in due:
            self._pauses[scope] = replace(pause, trial_at=now)
        return tuple(scope for scope, _pause in due)

    def answered(self, target: str, method: str, code: str, now: float, trials: Trials) -> tuple[str, ...]:
        """Take note of how a call that was let through ended; return the scopes whose pause began or ended with it."""
        if not self._pauses and code not in CONFIGURATION:
            return ()
        scope = f"{target}/{method}"
        turned: tuple[str, ...] = ()
        if code in CONFIGURATION:
            paused = scope if code == "UNIMPLEMENTED" else target
            turned = () if paused in self._pauses else (paused,)
            self._pauses[paused] = lengthened(self._pauses.get(paused), code, now)
        elif code in _PROPER:
            turned = tuple(each for each in (target, scope) if self._pauses.pop(each, None) is not None)
        for trial in trials:
            pause = self._pauses.get(trial)
            if pause is not None:
                self._pauses[trial] = replace(pause, trial_at=None)
        return turned

    def paused(self) -> Mapping[str, tuple[str, float]]:
        """Return scope -> (answered code, until when); a scope is a target or `target/package.Service/Method`."""
        return {scope: (pause.code, pause.until_at) for scope, pause in self._pauses.items()}
