"""What is said again and again is said a few times, and then counted.

One fault may meet every saga of a process, and ten thousand lines a second bury the line that names the cause. Lines
are alike where one call site said them: the same logger, level and text before its arguments are filled in.

::

    line 1 … LOG_ALIKE_LINES_MAX of a minute     written; the last of them says that more are only counted
    every further one of that minute             counted
    the first line of any kind after it          goes behind "N more like …"

A minute is one of time that passes, not of the wall clock: a clock that is set back an hour silences nothing for it.
"""

from collections import OrderedDict
from dataclasses import dataclass

from orchestrator.limits import LOG_ALIKE_KEPT_MAX, LOG_ALIKE_LINES_MAX, LOG_ALIKE_S

Kind = tuple[str, int, str]
"""Logger, level, and text before its arguments are filled in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What was counted and not written."""

    kind: Kind
    count: int
    last_at: float
    """When the last of them came, Unix seconds as the wall clock had them."""


@dataclass(slots=True)
class _Minute:
    ends_at: float
    """By the time that passes."""
    written: int = 0
    left: int = 0
    last_at: float = 0.0


class Repeats:
    """Decides line by line. What it keeps is bounded; the kind that began longest ago is forgotten first."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._minutes: OrderedDict[Kind, _Minute] = OrderedDict()

    def written(self, kind: Kind, monotonic_at: float, at: float) -> int:
        """Count a line; return the how-manieth of its minute it is, or 0 for one that is not to be written.

        `monotonic_at` is seconds that never go back, by which minutes are kept; `at` is Unix seconds, to be shown.
        """
        minute = self._minutes.get(kind)
        if minute is None:
            minute = self._minutes[kind] = _Minute(monotonic_at + LOG_ALIKE_S)
        if minute.written >= LOG_ALIKE_LINES_MAX:
            minute.left += 1
            minute.last_at = at
            return 0
        minute.written += 1
        return minute.written

    def over(self, monotonic_at: float) -> list[Left]:
        """Return what was left unwritten in minutes that are over, once, and forget those minutes."""
        found: list[Left] = []
        while self._minutes:
            kind, minute = next(iter(self._minutes.items()))
            if minute.ends_at > monotonic_at and len(self._minutes) <= LOG_ALIKE_KEPT_MAX:
                break
            del self._minutes[kind]
            if minute.left:
                found.append(Left(kind=kind, count=minute.left, last_at=minute.last_at))
        return found
