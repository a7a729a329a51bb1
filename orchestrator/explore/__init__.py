"""The safety net for authors: every way a definition can go, on the machine that will run it.

::

    plan --abstract--> the same plan, whose expressions are choices
                              |
                              v
      state ----> moves: every end of every open call, every timer, a cancel, a missed deadline      (world.py)
        ^                     |
        |                     v
        +------- decide, on the real machine; states that differ in nothing that matters are one     (search.py)
                              |
                              v
      every path ends COMPLETED, COMPENSATED with nothing left, or asks a person and says why?       (proof.py)

Nothing here is a model of the machine: `decide`, `owed` and `check` are the ones that run in production. What is
modelled is the world: services that do it or do not, answer or do not, refuse, and are asked again. What is left out is
the content of messages: a condition is true and false in turn, a request can be rendered and cannot. Two attempts stand
for many, and two items for a list; of more than a few calls that are open when the orchestrator is killed not every
choice is tried, took place or not, but none, all, and each alone.

Invariants: beyond that the search is exhaustive within its bounds, and says when a bound was reached; the path it shows
for a finding is a shortest one of those with the fewest faults; the same plan gives the same report.

May import: `saga` and what is below it. Read next: `world.py`, then `search.py`.
"""

from orchestrator.explore.proof import End, Flaw, Word
from orchestrator.explore.search import Explored, Progress, explore, replay

__all__ = ["End", "Explored", "Flaw", "Progress", "Word", "explore", "replay"]
