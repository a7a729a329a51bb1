"""The mirror: what a live process says of itself to a person who looks for what is wrong.

::

    person ──► saga top, saga debug ──► DiagnosticsService ──► LiveProcess (live.py)
                                                                  │ figures   what `/metrics` shows, as values
                                                                  │ dump      sagas, calls, tasks, threads, suspects
                                                                  │ profile   where the time goes, sampled
                 ┌───────────────┬───────────────┬────────────────┴─┬───────────────────┐
                 ▼               ▼               ▼                  ▼                   ▼
              Acting          Calling         Counting         waiting, frames     Sampler, stalls
              the runtime     the invoker     telemetry        asyncio, threads    a thread beside the loop

A dump is a look, in three steps: the parts say what they have, one after the other; what has much is looked at a
millisecond's worth at a time, with a turn of the event loop in between; each list keeps the first `limit` of its kind,
and only those are put into words. A process with ten thousand sagas in memory goes on serving while it is looked at.

Invariants

* It changes nothing: no flush, no wake-up, no lock that anybody else waits for, and no collection of garbage but the
  one before objects are counted.
* It is bounded: lists by the limit that was asked for, stacks by `STACK_FRAMES_MAX`; what is dear (`objects`, a
  profile) is done only when asked for, and one at a time. A second caller is sent away: one that waited would keep a
  place, and there are few.
* It costs nothing while nobody asks: what is shown is what the parts know anyway. The one exception is the thread that
  watches for stalls, which wakes a few times a second: a thousandth of a core.
* It shows names of code, ids and numbers; no payload, no local variable, no secret, and no path of this machine.
* It is nobody's work: its calls have a room of their own at the API, also when every other room is full, and a drain
  does not wait for them.

Suspects are what breaks a promise of the rest of the system (`suspects.py`): a call ends by its deadline, a saga with
nothing to do leaves memory, a timer fires, an append has an end. Whatever lies about longer is named and counted, and
there is a word of what to do.

Where the event loop itself is stuck, nobody can ask it: `kill -USR2` has the stacks of all threads written to standard
error by the interpreter, without the loop (`bootstrap.process`).

Modules, in reading order: `live` (what is asked), `suspects` (what is thought of it), `waiting` (tasks), `frames`
(stacks), `objects` (what grows); `thread` (the loop's thread, from another one), `sampling` (profiles), `stalls` (who
held it up), `pauses` (when nobody could look).

May import: `ports`, `errors`, `limits`, `values`, `ids`; never a sibling: what it looks at comes through
`ports/diagnostics.py`. Read next: `live.py`, then `docs/diagnostics.md`.
"""

from orchestrator.diagnostics.live import LiveProcess
from orchestrator.diagnostics.sampling import Sampler
from orchestrator.diagnostics.stalls import StallDetector

__all__ = ["LiveProcess", "Sampler", "StallDetector"]
