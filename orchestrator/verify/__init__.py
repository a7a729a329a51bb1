"""The checker: is what happened what the rules allow?

Three witnesses, none of which can see what the others wrote::

    journal   what the orchestrator recorded      sequence.py   numbers, writers, row, bounds, end, who is named
                                                  attempts.py   calls: their ends, keys, how often, how many at once
                                                  pauses.py     how long it is left alone between them
                                                  outcomes.py   what came of calls, by what the wire said
                                                  order.py      what may begin and be undone when
                                                  turning.py    how a saga turns back, and is not turned round again
                                                  timers.py     what time brings about
                                                  streams.py    signals, wake-ups, and the table of all of these
                                                  families.py   parents and their children together
    ledgers   what the services say they did      witnesses.py  their own fsynced files
    answers   what callers were told              answers.py    accepted, ended, refused, signalled, watched, listed

`walk.py` walks a store and holds every saga against every invariant that the given witnesses allow; `invariants.py`
lists them, and where those are held that no witness shows; `findings.py` counts what was held against each, and says
of each one that was not checked why.

The same code judges tests that kill the process, and a production store (`saga verify`). It works on a store that
nobody writes to, changes nothing, and needs no service to be up: plans are compiled from the descriptors stored with
each revision. A stream that does not fold is a finding, not an error.

What people did stands apart. An effect that a person said should stay (`StepLeft`, a termination), and what a person
said in place of a service (`resolve`), break no rule; they are listed as left, so that nobody has to look for them. A
step that was run again is judged life by life: attempts are numbered anew, keys are others, and the life before must
have been undone.

A claim without its count is not evidence: a report says how many facts were held against each invariant. A rule yields
a number for facts that obey it and a violation for one that does not, and nothing where nothing bears on it.

The checks recompute from single events what must hold, and call the machine only to fold and for its own invariants:
a checker that asked the machine whether the machine was right would agree with it.

May import: `ports`, `saga`, and what is below them. Read next: `invariants.py`, `stream.py` for what records are
sorted into (`sorting.py` does it), then `streams.py`.
"""

from orchestrator.verify.answers import Answers, Listed, Watched
from orchestrator.verify.findings import Findings, Left, Violation
from orchestrator.verify.invariants import ELSEWHERE, INVARIANTS
from orchestrator.verify.walk import verify
from orchestrator.verify.witnesses import LedgerLine, Ledgers, read_ledgers

__all__ = [
    "ELSEWHERE",
    "INVARIANTS",
    "Answers",
    "Findings",
    "LedgerLine",
    "Ledgers",
    "Left",
    "Listed",
    "Violation",
    "Watched",
    "read_ledgers",
    "verify",
]
