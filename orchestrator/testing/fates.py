"""What goes wrong in a run, and where: drawn from a seed, written on a tape, played again from it.

Every draw is a hash of the seed and of the place it is for, never the next number of a sequence. Taking one fault away
therefore leaves the fate of everything else as it was, which is what makes a failing run shrink to the few faults that
matter; and the same seed gives the same run, bit for bit, on any machine and under any `PYTHONHASHSEED`.

A tape is the list of faults that struck. Played again, nothing else strikes::

    # seed 17
    kill.turn life-1 204
    reply.lost s3/charge/forward/1
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import TypeVar

from orchestrator.errors import InputInvalid
from orchestrator.frozen import frozen_tuple

T = TypeVar("T")


class Kind(StrEnum):
    """Everything that can go wrong; each name is a fault point, and is what tapes and tables say."""

    KILL_TURN = "kill.turn"
    """The process dies before the n-th turn of its event loop: at any await."""
    KILL_BEFORE_APPEND = "kill.append.before"
    """... when it hands the n-th group to the disk, which never sees it."""
    KILL_IN_APPEND = "kill.append.torn"
    """... while the n-th group is written: some of its streams are on the disk, each whole or not at all."""
    KILL_AFTER_APPEND = "kill.append.after"
    """... when the n-th group is durable, and nobody has been told."""
    KILL_BEFORE_SEND = "kill.send.before"
    """... with the n-th call recorded, and not sent."""
    KILL_AFTER_SEND = "kill.send.after"
    """... with the n-th call on the wire."""
    STOP = "stop"
    """SIGTERM: it drains, and another one takes over."""
    FREEZE = "freeze"
    """It stands still for a while, as under SIGSTOP, and goes on with all that came meanwhile."""
    PAUSE_BEFORE_APPEND = "pause.append.before"
    """A node stands still before its n-th group has left it: what it decided reaches the database long after."""
    PAUSE_AFTER_APPEND = "pause.append.after"
    """... when its n-th group is durable, and it is about to hear: what it owes then may be another's by now."""
    PAUSE_AFTER_RENEWAL = "pause.renewal.after"
    """... when the n-th renewal of its lease is done, and it is about to hear."""
    USURP = "usurp"
    """Another process takes the store over while this one lives on: its appends are fenced."""
    CLOCK = "clock"
    """The wall clock is set, by up to twenty minutes either way."""

    APPEND_ERROR = "append.error"
    """The disk says that a group failed; some of its streams are there all the same. The process stops."""
    APPEND_SLOW = "append.slow"
    """A commit takes up to seconds."""

    CLOCK_DRIFT = "clock.drift"
    """A node's clocks go too fast or too slow, by up to 0.8 %: the worst crystal is ten times better."""
    JOINS_LATE = "joins.late"
    """A node is started some time after the others, and shards are dealt out anew."""
    DATABASE_AWAY = "database.away"
    """The database is away for everybody, for less than a lease or for longer."""
    DATABASE_CUT = "database.cut"
    """... for one node, which goes on talking to everybody else."""
    STATEMENT_LOST = "statement.lost"
    """A statement never reaches the database."""
    STATEMENT_UNHEARD = "statement.unheard"
    """... is done, and the connection breaks before its answer has come."""
    STATEMENT_LATE = "statement.late"
    """The connection breaks at once, and the statement is done all the same, up to a lease later."""
    STATEMENT_SLOW = "statement.slow"
    """It takes up to seconds."""
    PEERS_CUT = "peers.cut"
    """Two nodes do not reach each other; both reach the database."""
    FORWARD_LOST = "forward.lost"
    """A request that one node forwards to another never arrives."""
    FORWARD_UNHEARD = "forward.unheard"
    """... is done there, and its answer does not come back."""

    REFUSED = "refused"
    """No connection: the call never left."""
    REQUEST_LOST = "request.lost"
    """The connection broke before the service had the whole request."""
    REPLY_LOST = "reply.lost"
    """The service did it, and the connection broke before its answer came."""
    LATE = "late"
    """The service does it at its deadline's end, or up to the allowed skew after it, unheard."""
    OVERTAKEN = "overtaken"
    """The connection breaks at once, and the request arrives all the same, at any time until that."""
    TWICE = "twice"
    """Something in between sends a request that got through once more, to a service that keeps the barrier."""
    SLOW = "slow"
    """The service takes seconds."""
    RESTART = "restart"
    """The service restarts: what it had open is lost, and for a while nobody answers."""

    SAYS_ABORTED = "says.aborted"
    """ABORTED (FAILED_PRECONDITION under the dtm profile): ask again. Nothing was done."""
    SAYS_BUSY = "says.busy"
    """RESOURCE_EXHAUSTED, with a pushback now and then."""
    SAYS_DENIED = "says.denied"
    """PERMISSION_DENIED: somebody has to mend the configuration, and does."""
    SAYS_INTERNAL = "says.internal"
    """It fails in the middle, before or after its effect."""
    REFUSES = "refuses"
    """The service refuses for reasons of its business."""
    REFUSES_UNDO = "refuses.undo"
    """... to take something back: a person is asked."""
    WITHHOLDS = "withholds"
    """A probe or a long-running operation says: not yet."""

    CANCEL = "cancel"
    """A person cancels the saga, n milliseconds after its start."""
    REPEATED = "repeated"
    """A client sends what it has sent once more, as nobody's answer came."""

    ABSENT = "absent"
    """Nobody starts this saga: what shrinking leaves out first."""

    FORGETS_KEY = "forgets.key"
    """The service breaks its word and acts on a key again. No sound service does: it tries the checker."""


NEVER_DRAWN = frozenset({Kind.ABSENT, Kind.FORGETS_KEY})
"""Of no swarm: only a tape has them."""

OF_CLUSTERS = frozenset(
    {
        Kind.PAUSE_BEFORE_APPEND,
        Kind.PAUSE_AFTER_APPEND,
        Kind.PAUSE_AFTER_RENEWAL,
        Kind.CLOCK_DRIFT,
        Kind.JOINS_LATE,
        Kind.DATABASE_AWAY,
        Kind.DATABASE_CUT,
        Kind.STATEMENT_LOST,
        Kind.STATEMENT_UNHEARD,
        Kind.STATEMENT_LATE,
        Kind.STATEMENT_SLOW,
        Kind.PEERS_CUT,
        Kind.FORWARD_LOST,
        Kind.FORWARD_UNHEARD,
    }
)
"""Where several nodes share a database, and nowhere else."""

OF_DISKS = frozenset({Kind.USURP, Kind.APPEND_ERROR, Kind.APPEND_SLOW})
"""Where one process has a disk of its own, and nowhere else."""

COUNTED = frozenset(kind for kind in Kind if kind.startswith(("kill.", "pause."))) | {Kind.CANCEL}
"""They strike at the n-th pass of their place (a cancel: n milliseconds on), so a tape has to say which."""


@frozen_tuple
class Fault:
    """One thing that went wrong: what, where, and (of what counts passes) at which pass."""

    kind: Kind
    site: str
    at: int = 0

    def __str__(self) -> str:
        """Return its line on a tape."""
        return f"{self.kind} {self.site}" + (f" {self.at}" if self.at else "")


class Fates:
    """Luck by place: the same seed and the same place, the same draw."""

    def __init__(self, seed: int) -> None:
        """Take any integer."""
        self.seed = seed
        self._root = blake2b(str(seed).encode(), digest_size=8)

    def draw(self, site: str) -> float:
        """Return a uniform draw from [0, 1)."""
        hashed = self._root.copy()
        hashed.update(site.encode())
        return int.from_bytes(hashed.digest(), "big") / 2**64

    def coin(self, site: str) -> bool:
        """Return true at every other place."""
        return self.draw(site) < 1 / 2

    def pick(self, site: str, options: Sequence[T]) -> T:
        """Return one of the options."""
        return options[int(self.draw(site) * len(options))]


_OF_A_LIFE = frozenset(kind for kind in Kind if kind.startswith(("kill.", "pause."))) | {
    Kind.STOP,
    Kind.FREEZE,
    Kind.USURP,
    Kind.CLOCK,
}
_RATE_MAX: Mapping[Kind, float] = {
    # A life has one chance of each, and there are few of them.
    **dict.fromkeys(_OF_A_LIFE, 0.45),
    # Each ends a life; where a disk fails at every third group, nothing else comes to pass.
    Kind.APPEND_ERROR: 0.03,
    Kind.APPEND_SLOW: 0.1,
    # There are hundreds of them, most of which renew a lease.
    **dict.fromkeys(
        (Kind.STATEMENT_LOST, Kind.STATEMENT_UNHEARD, Kind.STATEMENT_LATE, Kind.STATEMENT_SLOW, Kind.FORWARD_LOST), 0.1
    ),
    # A node, or a pair of them, has a few chances of each.
    **dict.fromkeys((Kind.CLOCK_DRIFT, Kind.JOINS_LATE, Kind.DATABASE_AWAY, Kind.DATABASE_CUT, Kind.PEERS_CUT), 0.45),
}
_RATE_MAX_DEFAULT = 0.25
_SPAN = 25
"""How many times rarer a kind is in its mildest swarm than in its worst."""


def swarm(fates: Fates, kinds: Iterable[Kind] = tuple(Kind)) -> Mapping[Kind, float]:
    """Return rates for a seed: about half of the kinds, some rare and some frequent.

    A fault that is always mixed with all others hides what it would do alone.
    """
    rates: dict[Kind, float] = {}
    for kind in kinds:
        if kind not in NEVER_DRAWN and fates.coin(f"swarm/{kind}/is on"):
            worst = _RATE_MAX.get(kind, _RATE_MAX_DEFAULT)
            rates[kind] = worst * _SPAN ** (fates.draw(f"swarm/{kind}/rate") - 1)
    return rates


class Faults:
    """What strikes in one run: by rates, or what a tape says and nothing else."""

    def __init__(
        self, fates: Fates, rates: Mapping[Kind, float] | None = None, tape: Iterable[Fault] | None = None
    ) -> None:
        """Give rates to draw by, or a tape to play; with neither nothing goes wrong."""
        self.fates = fates
        self._rates = rates or {}
        self._tape = None if tape is None else {(fault.kind, fault.site): fault.at for fault in tape}
        self.struck: list[Fault] = []
        """What went wrong, in order: the tape of this run."""
        self.on_struck: Callable[[Fault], None] = lambda _: None
        self.is_over = False
        """The world has become kind: nothing strikes any more."""

    def strike(self, kind: Kind, site: str) -> bool:
        """Return whether it goes wrong here, and write it down."""
        if self.is_over:
            return False
        if self._tape is None:
            rate = self._rates.get(kind, 0.0)
            strikes = rate > 0.0 and self.fates.draw(f"{kind}/{site}") < rate
        else:
            strikes = (kind, site) in self._tape
        if strikes:
            self.note(kind, site)
        return strikes

    def pass_of(self, kind: Kind, site: str, mean: int) -> int | None:
        """Return at which pass it goes wrong, where it does; about `mean` of them, or what the tape says.

        It is not written down before it strikes: call `note` then.
        """
        if self._tape is not None:
            return self._tape.get((kind, site))
        rate = self._rates.get(kind, 0.0)
        if self.is_over or self.fates.draw(f"{kind}/{site}") >= 2 * rate:
            return None
        return 1 + int(2 * mean * self.fates.draw(f"{kind}/{site}/at"))

    def note(self, kind: Kind, site: str, at: int = 0) -> None:
        """Write down that a fault struck, at a pass."""
        fault = Fault(kind, site, at)
        self.struck.append(fault)
        self.on_struck(fault)


_SEED = re.compile(r"# seed (-?[0-9]{1,1000})")
_PASS = re.compile(r"[1-9][0-9]{0,17}")


def write_tape(seed: int, faults: Iterable[Fault], about: str = "") -> str:
    """Return a tape's text."""
    head = f"# seed {seed}\n" + "".join(f"# {line}\n" for line in about.splitlines())
    return head + "".join(f"{fault}\n" for fault in faults)


def seed_of_tape(text: str) -> int | None:
    """Return the seed that a tape says in its first line that it is of; None where it does not."""
    first, *_ = [*text.splitlines(), ""]
    found = _SEED.fullmatch(first.strip())
    return None if found is None else int(found[1])


def read_tape(text: str) -> tuple[Fault, ...]:
    """Return a tape's faults; raise `InputInvalid` with the line that is none."""
    lines = enumerate(text.splitlines(), 1)
    return tuple(_fault(line, number) for number, line in lines if line.strip() and not line.startswith("#"))


def _fault(line: str, number: int) -> Fault:
    try:
        word, site, *passes = line.split()
        kind = Kind(word)
    except ValueError as error:
        known = ", ".join(Kind)
        raise InputInvalid(
            f"line {number}", f"{line!r} is no fault; write KIND PLACE [N], with one of {known}"
        ) from error
    if kind not in COUNTED:
        if passes:
            raise InputInvalid(f"line {number}", f"{line!r} is no fault; write {kind} {site}, and nothing after it")
        return Fault(kind, site)
    if len(passes) != 1 or _PASS.fullmatch(passes[0]) is None:
        raise InputInvalid(
            f"line {number}", f"{line!r} is no fault; write {kind} {site} N, with the one pass, from 1, that it is for"
        )
    return Fault(kind, site, int(passes[0]))
