"""One file on a local disk, one process that owns it, one sync for many sagas.

::

    append(group) ──▶ encode ──▶ BEGIN IMMEDIATE                                     ┌─ on the event loop, while
                                 per stream:  UPDATE sagas ... WHERE version = ?     │  commits are fast
                                              AND epoch <= ?   (no row: refused)     │
                                 all streams: INSERT INTO records ... (many a row)   └─ in the writer's thread,
                                 COMMIT  = one sync                                     while they are not
                                    │
            error of the storage ───┴──▶ failed for good: JournalUnavailable from every call

    row, read, due, since      ──▶ `near` connection, on the event loop (short)
    search, count, long reads  ──▶ `far` connection, in a thread

Invariants
* The file has one owner: an operating-system lock on `<file>.lock` for the life of the process, and an epoch in `boot`
  that grows with each opening and is written into every record. A second process is told who has the file.
* Whoever only reads (`open_to_read`) changes nothing: no schema is brought up, no epoch begins, and no file is made but
  SQLite's own `-shm` where a log was left.
* `journal_mode=WAL, synchronous=FULL`: when COMMIT returns, the bytes are on the disk as far as the disk tells the
  truth. There is no faster, less durable setting.
* One connection writes, and it also copies the write-ahead log home (at the commit that makes it longer than a bound),
  so the two never race; readers are `query_only` and hold no cursor between calls, so the log stays short.
* A stream is checked as it is read: versions dense up to the saga's own, each record's checksum right.
* Tables are STRICT; migrations are numbered, applied once, remembered with a checksum; a newer file is refused.

================  =================================================================================================
`store.py`        `SqliteJournal`: the four ports
`appending.py`    the group append: rows and records
`forgetting.py`   what ended long ago: chosen beside the writer, removed in one short transaction
`writer.py`       transactions one at a time, where they run, and what happens when one fails
`reader.py`       the two reading connections
`opening.py`      from a path to an open, owned, migrated file, or one sentence that says why not
`ownership.py`    the lock, and the refusal of network disks
`schema.py`       migrations/NNNN_*.sql, applied in order
`search.py`       the only SQL that is put together at run time
`queries.sql`     all other statements, by name (`sql.py` loads them)
`rows.py`         search rows and records as columns, and back
================  =================================================================================================

May import: what `orchestrator.journal` may, and `apsw` (which brings its own, recent SQLite). Read next: `store.py`,
then `appending.py`.
"""

from orchestrator.journal.sqlite.store import SqliteJournal

__all__ = ["SqliteJournal"]
