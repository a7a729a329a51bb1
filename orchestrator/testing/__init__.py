"""Trying sagas before the world does: the real runtime on virtual time, in a world that fails in every way it knows.

::

    callers ---ask---> process: the runtime, unchanged            callers.py, process.py
                         |          |           |
                     journal     invoker      clock
                         |          |           |
                       disk      network    wall clock            disk.py, network.py
                                    |
                                services, each with a ledger      services.py

Several processes share a database instead of a disk::

    callers ---ask---> any node --NotOwner?--> the owner        cluster.py, node.py
                         |                        |
                       client ------ line ------ database       client.py, database.py; oversight.py keeps its own books

Beside all of it::

    fates.py    what goes wrong, and where: by seed, or from a tape
    loop.py     virtual time, an order of turns that is drawn, processes that die between any two turns

`sole.py` and `cluster.py` are the two ways in which processes come and go. Plans come from `flows.py`, in the words of
`shorthand.py`, or from files of one's own (`read_definitions`), whose services say what `words.py` is told.
`docs/simulating.md` is the page for users.

A `Simulation` is run as often as there are seeds. Each run draws which kinds of faults there are and how many of them
(a swarm), lets them strike, then becomes kind and waits for every saga to end; the three witnesses are judged by
`verify`, which is what judges real kills and production. The faults that struck are the run's tape, and a failing tape
is shrunk to the few that matter (`shrink.py`). The order of turns is on no tape: it is one sequence out of the seed, so
that a fault less reorders all turns after it.

What it is good for: everything that hangs on order and time. The same seed gives the same run on every machine, and a
kill falls between two turns where a real one would need luck for years. What it cannot see: gRPC, SQLite, PostgreSQL,
the kernel. Those are killed for real, in the tests of this project.

Invariants:

* Nothing is drawn but from the seed: faults and delays by their place (`Fates`), the order of turns one after the other
  (`loop.py`); no set is walked in its own order.
* A service is as good as its declarations and no better, and never lies about what it did.
* What is on the way belongs to no process: it arrives although its sender is dead.

May import: everything but `api`, `cli`, `config` and `bootstrap`. Read next: `simulation.py`, then `fates.py`.
"""

from orchestrator.testing.callers import Begin
from orchestrator.testing.catalogue import FixedPlans
from orchestrator.testing.definitions import Definitions, read_definitions
from orchestrator.testing.fates import Fates, Fault, Kind, read_tape, seed_of_tape, swarm, write_tape
from orchestrator.testing.runs import Run
from orchestrator.testing.simulation import Simulation

__all__ = [
    "Begin",
    "Definitions",
    "Fates",
    "Fault",
    "FixedPlans",
    "Kind",
    "Run",
    "Simulation",
    "read_definitions",
    "read_tape",
    "seed_of_tape",
    "swarm",
    "write_tape",
]
