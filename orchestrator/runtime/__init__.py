"""The actors: one per saga, single writers that record first and act second.

The life of an actor::

      start, or a message for a sleeping saga, or recovery
                        |
                        v
                 read the records, fold them                       (directory.py)
                        |
                        v
       Recovered: calls still open are UNKNOWN, what is owed is owed anew
                        |
                        v
    +--> take messages -> decide -> append -> durable -> perform what is newly owed   (actor.py)
    |                                  |                        |
    |                                  v                        v
    |                     group commit of all actors     calls, timers                (committer.py, perform.py)
    |                                                           |
    +----------------- reports, timers, cancels ----------------+
                        |
                        v
        ended, or idle for a while: leaves memory                  (passivation.py)

Invariants:

* One append per saga is in flight at most, and the next decision builds on the state it made durable.
* A turn that nobody waits for and that starts nothing may wait two milliseconds for the next one of its saga, and share
  its append; nothing else ever waits for company.
* Nothing is performed that is not durable; nothing durable is forgotten: `owed` derives it again after any crash.
* A caller is answered after the commit, never before.
* A bug or a bad record ends one actor and no other (`supervisor.py`).
* Every queue has a bound with a name in `limits.py`, and every waiting caller is answered, also at the end.

Draining: the process takes no new saga and begins no new call, records what still comes in, and leaves the rest to
recovery. Being killed is the same without the politeness; there is no state that only lives in memory.

May import: `ports`, `saga`, and what is below them; never a sibling. The façade is `orchestrator.py`. Read next:
`actor.py`, then `directory.py`, then `orchestrator.py`.
"""

from orchestrator.runtime.orchestrator import Orchestrator, RuntimeStats
from orchestrator.runtime.requests import (
    ConflictPolicy,
    Override,
    RepairRequest,
    Resolve,
    SignalRequest,
    Started,
    StartRequest,
    Until,
)

__all__ = [
    "ConflictPolicy",
    "Orchestrator",
    "Override",
    "RepairRequest",
    "Resolve",
    "RuntimeStats",
    "SignalRequest",
    "StartRequest",
    "Started",
    "Until",
]
