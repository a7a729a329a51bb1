"""The actors: one per saga, single writers that record first and act second.

The life of an actor::

      start, or a message for a sleeping saga, or its alarm, or the end of its child, or recovery
                        |
                        v
                 read the records, fold them                       (directory.py)
                        |
                        v
       Recovered: calls still open are UNKNOWN, what is owed is owed anew; children go on
                        |
                        v
    +--> take messages -> decide -> append -> durable -> perform what is newly owed   (actor.py)
    |                                  |                        |
    |                                  v                        v
    |                     group commit of all actors     calls, timers, children      (committer.py, perform.py)
    |                                                           |
    +------- reports, timers, cancels, signals, repairs --------+
                        |
                        v
        ended, or idle for a while: leaves memory                  (passivation.py)

Invariants:

* One append per saga is in flight at most, and the next decision builds on the state it made durable.
* A turn that nobody waits for and that starts nothing may wait two milliseconds for the next one of its saga, and share
  its append. A group commit lets turns of the event loop pass while each brings one more append, up to a bound; nothing
  else ever waits for company.
* Nothing is performed that is not durable; nothing durable is forgotten: `owed` derives it again after any crash.
* A caller is answered after the commit, never before.
* A saga that sleeps, waits for a signal or a person, or is paused has no actor, no task and no timer: one search row
  says when it is due, and one sweep finds it (`recovery.py`). A restart reads the sagas that are awake and no others.
* A child saga is found by its call's key, by whoever asks, as often as it is asked for (`children.py`).
* A bug or a bad record ends one actor and no other (`supervisor.py`).
* Every queue has a bound with a name in `orchestrator.limits`, and every waiting caller is answered, also at the end.

Shards: the process owns some or all of the store's, each under an epoch (`ports/ownership.py`), and asks before every
decision, append and call whether it still does. Whoever deals them out tells the runtime, which is the `Tenant`::

    took ──> requests that were left for the shard, first of all   (I31; `do_before_timers`)
         ──> what is awake is taken up, what is due wakes          (recovery.py)
    leave ─> begin nothing new there, let calls end, let go, wait until nothing is on its way to the store
    lost ──> let go at once and write nothing: another process runs these sagas, or will

A process that has its store to itself takes its one shard at the start and keeps it to the end.

Standing work, beside the actors: recovery and the sweep (`recovery.py`), the one look at sagas that other processes run
and somebody waits for here (`lookout.py`), and the forgetting of what ended long ago (`retention.py`). How far recovery
and the sweep are behind is what `backlog.py` says.

Draining: the process takes no new saga and begins no new call, records what still comes in, and leaves the rest to
recovery, here or elsewhere. Being killed is the same without the politeness; no state lives in memory only.

The façade is `orchestrator.py`: start, signal, cancel, repair, look. What a caller gives becomes a command in
`messages.py` and `starting.py`, and is put to the actor by `asking.py`.

May import: `ports`, `saga`, and what is below them; never a sibling. Read next: `actor.py`, then `directory.py`, then
`orchestrator.py`; why it is so is in `docs/design/runtime.md`.
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
