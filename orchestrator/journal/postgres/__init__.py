"""One database for any number of orchestrators: its transactions are the durability, the order and the fence.

::

    append(group) ──▶ encode ──▶ ONE statement, one round trip, one commit
                                   me       the member's row, locked against removal: no row, no write
                                   wanted   streams whose shard is me's under the named epoch
                                   written  sagas upserted where they stand at the expected version
                                   added    their records, positions from one sequence
                                    │
           connection lost, timeout ┴──▶ run again until the end is known; the caller waits

    row, read, search, ... ──▶ a few reading connections      join, renew, claim, ... ──▶ a connection of their own

Nothing rests on a session: no advisory lock, no LISTEN, no temporary thing. A connection sets how long its statements
may take, through a pooler each transaction does; nothing is wrong where that is ignored. So it works through a pooler
that gives each transaction another connection. Databases that speak PostgreSQL's language without being it should run
the same statements; none was tried.

Invariants
* A stale owner changes zero rows. Three things are tested by the statement that writes: the member's row is there, the
  shard is the member's under the epoch, the stream is at the version. To remove the member's row is the fence: the
  removal waits for an append that holds the row, and an append that comes later finds none.
* An append has an end, and its caller is told that and nothing else. While the end is not known the statement is run
  again; it can do no harm, since it changes only what stands where it stood. A stream that has moved was moved by us if
  the record at its new version has our epoch and our checksum. The wait ends early in two ways: the store has joined as
  another member, or has left, or it is closed (`JournalUnavailable`: whatever became of it, the next reader sees it).
* Reads never hang: a connection, a place in the pool and a statement each have a bound, then `JournalUnavailable`.
* What the server refuses for one saga hinders no other: the group is parted, and what may be taken later is put off
  and given again, alone, on a connection of its own (`writer.py`).
* A connection that saw an error, a timeout or a cancellation is cut, never used again. Appends run in tasks that no
  caller can cancel.
* Time is the server's `clock_timestamp()`.
* Positions grow within a shard, because one process at a time writes it; over shards they are in no order of commit.
  What is put off is written beside the others and may be seen after them: until then `news` leaves its shard out
  (`late.py`), so that whoever follows a shard passes nothing over.
* `sagas` is updated in place: what changes with each append is in no index, or in one that the row seldom enters.
* Tables lie in the connection's own schema (`?search_path=...` puts them elsewhere). The number of shards is fixed when
  the store is made. Migrations are numbered, applied once, remembered with a checksum; a newer schema is refused.

===================  ==============================================================================================
`store.py`           `PostgresJournal`: the six ports
`writer.py`          the group append, and certainty about its end
`late.py`            shards where a record may come to light behind later ones
`pool.py`            a few connections for one purpose
`driver.py`          asyncpg behind typed doors: addresses, connections, what errors mean, whether there is a pooler
`leases.py`          members and shards as transactions
`reading.py`         what reads return, checked as it is read
`rows.py`            a group as arrays of rows
`search.py`          the only SQL that is put together at run time
`schema.py`          migrations/NNNN_*.sql, under the lock of one row; the rights that are needed; `tuning.sql`
`queries.sql`        all other statements, by name (`sql.py` loads them)
`arriving.py`        taking another store in: a promotion
===================  ==============================================================================================

May import: what `orchestrator.journal` may, and `asyncpg` (the extra `postgres`). Read next: `writer.py`, then
`queries.sql`; who owns what, and why, is in `docs/design/`.
"""

from orchestrator.journal.postgres.store import PostgresJournal

__all__ = ["PostgresJournal"]
