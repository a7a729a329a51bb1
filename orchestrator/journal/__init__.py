"""The memory: what happened to every saga, kept so that no crash can take it back.

::

      saga/events.py          journal.proto                     memory.py, sqlite/, postgres/
    ┌───────────────┐  codec  ┌──────────────────┐   append   ┌────────────────────────────────────┐
    │ AttemptOpened │ ──────▶ │ "AttemptOpened", │ ─────────▶ │ stream of saga A   1 2 3 4 ...     │
    │ (frozen value)│ ◀────── │ bytes            │ ◀───────── │ stream of saga B   1 2 ...         │
    └───────────────┘         └──────────────────┘    read    │ search row per saga, same commit   │
                                                              └────────────────────────────────────┘

A saga *is* its stream: state is the fold of records 1..n, and everything that is owed to the world follows from that
state. So the journal has one hard promise and three soft ones.

* **Durable when `append` returns.** All records of an append or none; after any crash. Nobody acts on a record before
  that (record first, act second), so a crash never leaves an effect that nobody remembers wanting.
* **One writer per stream.** An append names the version it builds on and its writer's epoch; a stale one changes
  nothing and is told so (`VersionConflict`, `Fenced`). Appends of many sagas share one commit, yet one saga's refusal
  never hinders another's append.
* **Readable for ever.** Records are protobuf messages with published names (`protos/orchestrator/v1/journal.proto`),
  fields only ever added. `tests/golden/` keeps journals of every release.
* **Honest about damage.** A record that does not decode is `JournalCorrupted` with its saga and version; that saga is
  set aside, others are not touched. A storage error of a file ends all acknowledging at once, for good, until a restart
  has read what is really there. A database that is away may come back: appends wait until their end is known.

The search row (status, attributes, instants) is written in the same commit as the records and is derived from them:
it is how List filters, how recovery finds the sagas that are awake, and how the sweep finds due ones without reading
streams. The catalogue of definitions and the cursors of readers live in the same store, because one file or database
to back up is better than three.

==================  ===============================================================================================
`codec.py`          event <-> (type name, bytes), made from the values' fields and the descriptors by reflection
`wire.py`           the half of it that writes
`memory.py`         `MemoryJournal`, the contract in its plainest form; `reopen()` plays a restart
`sqlite/`           `SqliteJournal.open(path)`, the one for real use by one process
`memory_leases.py`  several members over one memory: leases and letter boxes in their plainest form
`postgres/`         `await PostgresJournal.open(dsn)`, the one for real use by several processes; leases and letters too
`promoting.py`      a store with all its sagas becomes another one: the steps, and why a kill between them is harmless
`columns.py`        rows and records as columns, and back, for stores that have columns
`reading.py`        pages of them, checked as they are read
`search.py`         which orders and groups a search may name
`refusals.py`       why an append was not taken, in the same words from every store
`migrations.py`     a schema as numbered steps with checksums
`sqlfile.py`        SQL in `.sql` files, loaded by name
==================  ===============================================================================================

Every store passes `tests/conformance/journal_suite.py`; a store of several processes `leases_suite.py`, too.

May import: `ports`, `saga` (values only), `errors`, `limits`, `values`, `ids`, `v1`. Read next: `codec.py`, then
`sqlite/__init__.py` and `postgres/__init__.py`; why it is so, and what was considered instead, is in
`docs/design/journal.md`.
"""

from orchestrator.journal.memory import MemoryJournal

__all__ = ["MemoryJournal"]
