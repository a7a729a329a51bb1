"""What lies about longer, or in greater number, than it should: perhaps a leak, perhaps something else that is wrong.

Held against what the rest of the system promises. A call ends by its deadline, or the invoker gives it up; a saga that
has nothing to do leaves memory; a timer fires; an append has an end. Each suspect stands for all of its kind, with the
oldest as the example: ten thousand of them are one line.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.limits import (
    CALL_OVERDUE_S,
    SUSPECT_COMMIT_S,
    SUSPECT_DESCRIPTORS_SHARE,
    SUSPECT_IDLE_S,
    SUSPECT_TASKS,
    SUSPECT_TIMER_S,
)
from orchestrator.ports.diagnostics import ActorFacts, CallFacts, Suspect

_AT_REST = frozenset({"idle", "timer", "children"})


class Suspicion:
    """Looks at everything once, and says at the end what it thinks."""

    def __init__(self, now_at: float) -> None:
        """Hold ages against this instant."""
        self._now_at = now_at
        self._found: dict[tuple[str, str, str], tuple[int, float, str]] = {}
        """Kind, name and sentence -> how many, since when the oldest, its saga."""

    def actor(self, actor: ActorFacts) -> None:
        """Look at a saga in memory."""
        age_s = self._now_at - actor.since_at
        if actor.doing == "commit":
            if age_s > SUSPECT_COMMIT_S:
                self._add("actor", actor.definition, _COMMIT, actor.since_at, actor.saga_id)
        elif actor.wake_at is not None and self._now_at - actor.wake_at > SUSPECT_TIMER_S:
            self._add("actor", actor.definition, _TIMER, actor.wake_at, actor.saga_id)
        elif actor.doing in _AT_REST and not actor.mailbox and age_s > SUSPECT_IDLE_S:
            self._add("actor", actor.definition, _IDLE, actor.since_at, actor.saga_id)

    def call(self, call: CallFacts) -> None:
        """Look at an open call."""
        if self._now_at - call.deadline_at > CALL_OVERDUE_S:
            self._add("call", f"{call.target}/{call.method}", _CALL, call.deadline_at, call.saga_id)

    def told(self) -> Sequence[Suspect]:
        """Return what was found, the longest overdue first."""
        told: list[Suspect] = []
        for (kind, name, why), (count, since_at, saga_id) in sorted(self._found.items(), key=lambda each: each[1][1]):
            sentence = why.format(age=f"{self._now_at - since_at:,.0f} s", saga=saga_id)
            told.append(Suspect(kind=kind, name=name, count=count, why=sentence))
        return told

    def _add(self, kind: str, name: str, why: str, since_at: float, saga_id: str) -> None:
        count, oldest_at, oldest = self._found.get((kind, name, why), (0, since_at, saga_id))
        if since_at < oldest_at:
            oldest_at, oldest = since_at, saga_id
        self._found[kind, name, why] = (count + 1, oldest_at, oldest)


_COMMIT = (
    "an append has been on its way to the store for {age}, of saga {saga} for one: the store does not answer; look at"
    " it, and at the thread that writes"
)
_TIMER = (
    "a timer is {age} late, of saga {saga} for one: it was lost, or the event loop is held up; look at the stalls, and"
    " report a lost one as a bug"
)
_IDLE = (
    "in memory for {age} without anything to do, saga {saga} for one: it should have left; nothing is lost by it but"
    " memory, report it as a bug with this dump"
)
_CALL = (
    "open {age} past its deadline, of saga {saga} for one: the invoker should have given it up; look for its task, and"
    " report it as a bug with this dump"
)


def crowds(kinds: Mapping[str, int], open_calls: int) -> Iterator[Suspect]:
    """Yield kinds of tasks of which there are more than open calls explain; each call has at most one of its own."""
    for name, count in sorted(kinds.items(), key=lambda each: -each[1]):
        if count > SUSPECT_TASKS + open_calls:
            why = (
                "so many tasks of one kind are as many callers that wait, or tasks that do not end: compare with the"
                " calls and waits of the API, look where they stand, and dump again"
            )
            yield Suspect(kind="task", name=name, count=count, why=why)


def descriptors() -> Iterator[Suspect]:
    """Yield a suspect where the process is about to run out of file descriptors."""
    folder = Path("/dev/fd")
    if sys.platform == "win32" or not folder.is_dir():
        return
    import resource  # noqa: PLC0415  # POSIX alone has it

    bound, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = sum(1 for _ in folder.iterdir())
    if bound != resource.RLIM_INFINITY and count > bound * SUSPECT_DESCRIPTORS_SHARE:
        why = (
            f"{count:,} of the {bound:,} files and connections that the process may have open are; see which with"
            " `ls -l /proc/PID/fd`, raise the bound with `ulimit -n`, or find what is not closed"
        )
        yield Suspect(kind="object", name="file descriptors", count=count, why=why)
