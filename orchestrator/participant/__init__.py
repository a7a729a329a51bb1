"""The participant's kit: three rules that make a service's methods safe to repeat, to undo and to lose.

A service imports this package and nothing else of the orchestrator; it needs grpc, protobuf and a database. The rules,
the table and test vectors that any language can keep are the open specification, docs/participants.md. This package is
that page in Python::

    gRPC call --> answering(...) --> the service's own transaction --------------------------> reply
                  reads the call;    |  Barrier.forward / .compensate                |
                  a refusal ends it  |    claim the key: one row, its primary key    |
                  with a status and  |    known already?   the stored reply          |
                  its reason         |    tombstone, late? Refused                   |
                                     |    else             the service acts, reply   |
                                     |                     stored in the claimed row |
                                     +-- all of it, or nothing ----------------------+

A whole participant::

    barrier = Barrier(SQLITE)

    def Charge(self, request, context):
        with answering(context, request) as call, self.lock, self.db:
            return barrier.forward(self.db, call, pb.ChargeReply, lambda: self.charge(request))

Invariants, each held by the vectors in docs/participants/vectors.json, on SQLite and on PostgreSQL:

* **One key, one effect, one reply.** The row of a key is inserted before the service acts, so the primary key makes
  concurrent duplicates wait for each other; where the database would rather fail one of them, it is told ABORTED.
* **After its undo a step never acts.** An undo leaves the row of the call it undoes as a tombstone. It does so by that
  call's own key (`saga-forward-key`): a step that a person has run again under a new key is another call.
* **A refusal leaves nothing behind**, not even its key: every refusal is an exception that leaves the transaction.
* **The rules are written once** (`rules.py`), as a generator that asks for statements. `Barrier` answers it from a
  DB-API connection, `AsyncBarrier` from psycopg's, aiosqlite's or asyncpg's.

What the caller must give: a connection inside a transaction that is rolled back when an exception leaves it, used by
nobody else until then. On SQLite nothing may have been read in that transaction before.

May import: the standard library, grpc, protobuf and google.rpc. Nothing of the orchestrator, in either direction.

Read next: `rules.py`, then `barrier.py` and `call.py` (the metadata), then docs/participants.md.
"""

from orchestrator.participant.answering import answering
from orchestrator.participant.barrier import AsyncBarrier, Barrier
from orchestrator.participant.call import Call, read_call
from orchestrator.participant.refusal import (
    ALREADY_COMPENSATED,
    ASK_AGAIN,
    KEY_REUSED,
    METADATA_INVALID,
    NOT_AFTER_PASSED,
    NOTHING_TO_UNDO,
    Refused,
)
from orchestrator.participant.rules import ASYNCPG, POSTGRES, SQLITE, Dialect

__all__ = [
    "ALREADY_COMPENSATED",
    "ASK_AGAIN",
    "ASYNCPG",
    "KEY_REUSED",
    "METADATA_INVALID",
    "NOTHING_TO_UNDO",
    "NOT_AFTER_PASSED",
    "POSTGRES",
    "SQLITE",
    "AsyncBarrier",
    "Barrier",
    "Call",
    "Dialect",
    "Refused",
    "answering",
    "read_call",
]
