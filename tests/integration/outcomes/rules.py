"""The rules about outcomes, R1 and R5 to R12a, as one table: what a call's end means, and what follows.

Written from the rules and not from the code: this module imports nothing of the machine, so that it can contradict it.

A row names what the wire said. *outcome* is what that alone says about the effect. The other columns say whether the
call is made again, by what is known of the method: nothing (`plain`, and `barrier`, which is about undoing only),
nothing but a `retry` that the author wrote (`retried`), that it honours the key (`keyed`), or that it does and means
its codes as services written for DTM do (`dtm`).
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is known of a method."""

    PLAIN = "plain"
    RETRIED = "retried"
    KEYED = "keyed"
    BARRIER = "barrier"
    DTM = "dtm"


class Then(StrEnum):
    """What the service says when it is asked again."""

    OK = "OK"
    REFUSED = "no"
    EXISTS = "it exists"
    SAME = "the same"


ATTEMPTS = {Kind.PLAIN: 5, Kind.RETRIED: 4, Kind.KEYED: 4, Kind.BARRIER: 5, Kind.DTM: 4}
"""Attempts that a step has: five by default, four where the definition of a cell writes a `retry`."""

_TABLE = """
row                           outcome      plain  retried  keyed  dtm

OK                            APPLIED      no     no       no     no    R5
CANCELLED                     UNKNOWN      no     no       yes    yes   R8
UNKNOWN                       UNKNOWN      no     no       yes    yes   R8
INVALID_ARGUMENT              NOT_APPLIED  no     no       no     no    R6
DEADLINE_EXCEEDED             UNKNOWN      no     no       yes    yes   R8
NOT_FOUND                     NOT_APPLIED  no     no       no     no    R6
ALREADY_EXISTS                NOT_APPLIED  no     no       no     no    R6
PERMISSION_DENIED             NOT_APPLIED  yes    yes      yes    yes   R7
RESOURCE_EXHAUSTED            UNKNOWN      no     no       yes    yes   R8
FAILED_PRECONDITION           NOT_APPLIED  no     no       no     ongoing  R6
ABORTED                       NOT_APPLIED  yes    yes      yes    no    R6
OUT_OF_RANGE                  NOT_APPLIED  no     no       no     no    R6
UNIMPLEMENTED                 NOT_APPLIED  yes    yes      yes    yes   R7
INTERNAL                      UNKNOWN      no     no       yes    yes   R8
UNAVAILABLE                   UNKNOWN      no     yes      yes    yes   R8
DATA_LOSS                     ATTENTION    no     no       no     no    R6
UNAUTHENTICATED               NOT_APPLIED  yes    yes      yes    yes   R7

not-sent                      NOT_APPLIED  yes    yes      yes    yes   R9
unreadable-reply              UNKNOWN      no     no       yes    yes   R8
late                          UNKNOWN      no     no       yes    yes   R8
reset-NO_ERROR                UNKNOWN      no     no       yes    yes   R8
reset-INTERNAL_ERROR          UNKNOWN      no     no       yes    yes   R8
reset-REFUSED_STREAM          UNKNOWN      no     yes      yes    yes   R8
reset-CANCEL                  UNKNOWN      no     no       yes    yes   R8
reset-ENHANCE_YOUR_CALM       UNKNOWN      no     no       yes    yes   R8
reset-INADEQUATE_SECURITY     UNKNOWN      no     no       yes    yes   R7
connection-closed             UNKNOWN      no     yes      yes    yes   R8
connection-reset              UNKNOWN      no     yes      yes    yes   R8
connection-goaway             UNKNOWN      no     yes      yes    yes   R8
http-404                      UNKNOWN      no     no       yes    yes   R7
http-503                      UNKNOWN      no     yes      yes    yes   R8

applied-true                  APPLIED      no     no       no     no    R8
applied-false                 NOT_APPLIED  yes    yes      yes    yes   R8
applied-false-judged          NOT_APPLIED  no     no       no     no    R6
applied-false-FAILED_PRECONDITION  NOT_APPLIED  no  no      no     yes   R6
applied-false-ABORTED         NOT_APPLIED  yes    yes      yes    no    R6
pushback-RESOURCE_EXHAUSTED   UNKNOWN      no     yes      yes    yes   R8
pushback-UNAVAILABLE          UNKNOWN      no     yes      yes    yes   R8
never-again-UNKNOWN           UNKNOWN      no     no       no     no    R8
never-again-NOT_APPLIED       NOT_APPLIED  no     no       no     no    R8

crashed                       UNKNOWN      no     yes      yes    yes   R1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one end of a call means."""

    outcome: str
    """APPLIED, NOT_APPLIED, UNKNOWN; or ATTENTION: a person decides."""
    again: frozenset[Kind]
    ongoing: frozenset[Kind]
    """Kinds of which the service says by it that it is still at it: UNKNOWN, whatever the others mean by it."""
    number: str
    """Its rule. R7: the target is paused, and attempts that were held back meanwhile are recorded too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How a saga of one step ends."""

    status: str
    outcome: str
    """What its step settles as; empty where it does not."""
    attempts: int
    """How often the call is made, as far as the script goes; calls that the invoker held back are not counted."""
    undone: bool


def _read(table: str) -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    head, *lines = [line.split() for line in table.splitlines() if line.strip()]
    assert head == ["row", "outcome", "plain", "retried", "keyed", "dtm"]
    for row, outcome, plain, retried, keyed, dtm, number in lines:
        said = {Kind.PLAIN: plain, Kind.BARRIER: plain, Kind.RETRIED: retried, Kind.KEYED: keyed, Kind.DTM: dtm}
        assert set(said.values()) <= {"yes", "no", "ongoing"}, row
        rules[row] = Rule(
            outcome=outcome,
            again=frozenset(kind for kind, word in said.items() if word != "no"),
            ongoing=frozenset(kind for kind, word in said.items() if word == "ongoing"),
            number=number,
        )
    return rules


RULES = _read(_TABLE)
_KEEPING = {Kind.KEYED, Kind.DTM}
"""Kinds that honour the key."""
SKEW_S = 1.0
"""R12: added to the deadline of an unknown call before it counts as closed."""
PROVEN = frozenset({"unreadable-reply", "pushback-RESOURCE_EXHAUSTED", "pushback-UNAVAILABLE", "never-again-UNKNOWN"})
"""Unknown, yet the service itself has answered, so that the call is known to be closed (R12)."""
CODES = tuple(RULES)[:17]
"""The status codes by number."""


def code_of(then: Then, kind: Kind) -> str:
    """Return the status code by which a service of this kind says so."""
    if then is Then.REFUSED:
        return "ABORTED" if kind is Kind.DTM else "FAILED_PRECONDITION"
    return "ALREADY_EXISTS" if then is Then.EXISTS else "OK"


def expected(row: str, kind: Kind, then: Then, *, overtaken: bool = False) -> Expected:
    """Return how a saga ends whose first call ended as the row says, and was overtaken by the second or was not."""
    rule = RULES[row]
    outcome = outcome_of(row, kind)
    if outcome == "ATTENTION":
        return Expected(status="NEEDS_ATTENTION", outcome="", attempts=1, undone=False)
    if kind not in rule.again:
        return _ending(outcome, attempts=1)
    if then is Then.SAME:
        return _ending(outcome, attempts=ATTEMPTS[kind])
    once_more = overtaken and then is Then.REFUSED and may_arrive_late(row, kind) and kind in _KEEPING
    return _ending(_folded(outcome, kind, then), attempts=3 if once_more else 2)


def may_arrive_late(row: str, kind: Kind) -> bool:
    """R8a: whether a call that ended so may reach the service after the next one; not one that it has answered."""
    return RULES[row].outcome == "UNKNOWN" and kind not in RULES[row].ongoing


def outcome_of(row: str, kind: Kind) -> str:
    """Return what one such end means at a service of this kind."""
    return "UNKNOWN" if kind in RULES[row].ongoing else RULES[row].outcome


def _folded(first: str, kind: Kind, then: Then) -> str:
    """R5, R6, R8a: what two attempts say together."""
    if then is Then.OK or (then is Then.EXISTS and first == "UNKNOWN"):
        return "APPLIED"
    if first == "UNKNOWN" and kind not in _KEEPING:
        return "UNKNOWN"
    return "NOT_APPLIED"


def _ending(outcome: str, *, attempts: int) -> Expected:
    """R20: undone is what was applied or may have been; here nothing but the step itself can fail the saga."""
    return Expected(
        status="COMPLETED" if outcome == "APPLIED" else "COMPENSATED",
        outcome=outcome,
        attempts=attempts,
        undone=outcome == "UNKNOWN",
    )
