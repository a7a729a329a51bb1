"""The checker: is what happened what the rules allow?

Three witnesses, none of which can see what the others wrote::

    journal   what the orchestrator recorded           streams.py     per saga, recomputed from the events
                                                       order.py       what may begin and be undone when
                                                       families.py    parents and their children together
    ledgers   what the services say they did           witnesses.py   their own fsynced files
    answers   what callers were told                   witnesses.py   accepted, ended, signalled

`walk.py` walks a store and holds every saga against every invariant that the given witnesses allow; `findings.py`
lists the invariants, counts what was held against each, and says of each one that was not checked why.

The same code judges tests that kill the process, and a production store (`saga verify`). It works on a store that
nobody writes to, changes nothing, and needs no service to be up: plans are compiled from the descriptors stored with
each revision. A stream that does not fold is a finding, not an error.

What people did stands apart. An effect that a person said should stay (`StepLeft`, a termination), and what a person
said in place of a service (`resolve`), break no rule; they are listed as left, so that nobody has to look for them. A
step that was run again is judged life by life: attempts are numbered anew, keys are others, and the life before must
have been undone.

A claim without its count is not evidence: a report says how many facts were held against each invariant.

The checks recompute from single events what must hold, and call the machine only to fold and for its own invariants:
a checker that asked the machine whether the machine was right would agree with it.

May import: `ports`, `saga`, and what is below them. Read next: `findings.py` for the invariants, `stream.py` for
how records are sorted, then `streams.py`.
"""

from orchestrator.verify.findings import INVARIANTS, Findings, Left, Violation
from orchestrator.verify.walk import verify
from orchestrator.verify.witnesses import Ledgers, read_ledgers

__all__ = ["INVARIANTS", "Findings", "Ledgers", "Left", "Violation", "read_ledgers", "verify"]
