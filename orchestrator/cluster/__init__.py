"""Who may write which saga, where several processes share one store.

The store is authoritative, and its clock is the only one that counts. This package asks it, believes it for a while,
and deals out the shards; whoever is wrong about any of that is refused by the store (R2), so a mistake here costs time
and never a saga.

A member's states, and what leads from one to the next::

                 start
                   |
                   v     the store is away
              +--------+ <---------------+
       +----> | joining | ---------------+
       |      +--------+
       |           | joined, under a fresh UUID; what an earlier life still has is handed to this one
       |           v
       |      +--------+ <----------------------------------------------------------+
       |      |  owner  | -- renewed (6 times a lease): fence, claim, hand over ----+
       |      +--------+
       |        |      |
       |        |      | drain: every shard goes as soon as it is quiet
       |        |      v
       |        |    +---------+  nothing left, or the grace is over   +------+
       |        |    | leaving  | ------------------------------------> | left  |
       |        |    +---------+                                        +------+
       |        | trust is over, or the store says: no member of mine
       +--------+ everything is let go of at once (`Tenant.lost`), then it joins as another

**The trust window.** A member believes in its lease until `sent_at + 2/3 lease`, counted on its own clock from when the
renewal was *sent*; the store holds the lease to be over at `arrived + lease`, counted on the store's. So trust ends
before anybody may take a shard, as long as no clock is off by a third of its pace. `Ownership.epoch` compares two
numbers each time: no timer, no task and no answer that comes late can make it say yes after that. `term.py` has the
table.

**Who gets what** is dealt out, not raced for: every member computes the same deal from the same view, and does its own
part (`shares.py`). Only what is free, and what somebody has over its fair share, moves.

What happens, seen from outside, with a lease of 6 s:

============================  =========================================================================================
a process is drained          each shard goes to its next owner as soon as its calls have ended: below a second where
                              none are open; one slow call holds up its own shard alone
a process is killed           its lease runs out (at most 6 s), the next member by UUID sees it end and fences it, its
                              peers are told, and each claims its part: at most a lease and a renewal in all
a process stands still        after 4 s it owns nothing, whatever it does when it wakes; it joins as another
the store is away < 4 s       nothing happens; appends wait
the store is away for longer  everybody lets go of everything. Whoever comes back hands what its last life had to its
                              new one: no shard moves. Nobody is fenced by anybody who has not itself reached the store
                              for one whole lease, or the first one back would take everything
the store's clock is set      nobody is fenced who is seen to renew; set back, a dead member's lease is over that much
                              later
one process is cut off        as if it were killed; it comes back as another
its server for peers falls    it is drained, and its process ends (gRPC's server falls over one malformed request)
a lone process is killed      its next life waits for the old lease like everybody else: a name is no proof
============================  =========================================================================================

Not promised: that no two processes ever *call* for one saga at once. A call that was begun under trust may still be on
its way when trust ends, for as long as the margin and longer; it carries the old epoch, and its answer is recorded by
nobody. The services see the same key again (R1). Nor is it promised that every shard has an owner at every instant.

==================  ===================================================================================================
`term.py`           pure: trust, renewals, who may fence and who does it first
`shares.py`         pure: the deal
`holding.py`        what one member holds, out of its own acts and the store's views
`asking.py`         questions to the store, bounded in time; away or not
`moving.py`         one term's claims, gifts, fences and hand-overs
`others.py`         the other members' leases: which are over, and when to look next
`membership.py`     `Membership`: the life of a member, and the answers to the runtime
`clock.py`          the store's clock as this process tells it
`peers.py`          requests to other processes, and `listener.py` where they arrive
`letters.py`        requests that are left at the store instead
==================  ===================================================================================================

To try it without a database: `orchestrator.journal.memory_leases.MemoryCluster` is one store that several processes of
one test open, on any clock::

    store = MemoryCluster(now=clock.now, shard_count=8)       # the server: contents, members, shards, letter boxes
    mine = store.open()                                       # one process's Leases and Posts; `mine.journal` beside
    membership = Membership(mine, clock, name="one", address="one:7444", shard_count=mine.shard_count)
    runtime = Orchestrator(journal=mine.journal, ownership=membership, ...)
    async with runtime.running(), membership.running(runtime):  # the runtime is the tenant
        await membership.joined()

A process that dies simply never asks again: its row stays until somebody fences it. Its next life opens the store anew.

May import: `ports`, `tasks` and what is below them; never a sibling. gRPC is spoken in `peers.py` and `listener.py`
alone. Read next: `term.py`, `shares.py`, then `membership.py`; figures are in `docs/design/scale.md`.
"""

from orchestrator.cluster.clock import StoreTime
from orchestrator.cluster.membership import Membership
from orchestrator.cluster.moving import Counts

__all__ = ["Counts", "Membership", "StoreTime"]
