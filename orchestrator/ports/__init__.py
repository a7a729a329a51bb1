"""What the engine needs of the world: protocols and the value types that cross them, nothing else.

Each port is named for a need, has fewer than twelve methods and no default behaviour. An adapter is done when a
five-line test file passes the port's shared conformance suite (`tests/conformance/`).

=============  ==================================================  ===============================================
port           the need                                            adapters
=============  ==================================================  ===============================================
`clock`        what time is it; a draw of luck                     the system's; a manual one in tests
`journal`      append, read, find due sagas, search, forget;       memory (reference), SQLite, PostgreSQL
               places of readers
`promotion`    tell a store's records as they lie; take them in    SQLite tells, PostgreSQL takes in
`ownership`    which sagas this process may write; who runs the    one process alone, `cluster`; the runtime
               sagas of the shards it has (`Tenant`)
`leases`       who is there, who owns which shard                  memory (reference), PostgreSQL
`posts`        requests left for a shard's owner                   memory (reference), PostgreSQL
`peers`        have the owner do a request; do what another took   `cluster` asks and leaves; the desk of `api` does
`cluster`      how the processes stand, for people                 one process alone, `cluster`
`catalogue`    keep immutable revisions, say which is active       with the journal, in the same store
`invoker`      make one call, abort it                             gRPC
`methods`      which targets there are, what they serve            gRPC reflection, descriptor files
`plans`        the compiled plan of a revision; typed input        `definition`
`observer`     what happened, for telemetry                        `telemetry`, or nothing
=============  ==================================================  ===============================================

Always true: what crosses a port is a frozen value; an adapter raises only the errors of `errors.py`, with its own
exception as the cause; and what an adapter promises beyond its signature is said in the port's docstring, so that the
conformance suite can hold every adapter to it.

May import: `saga`, `errors`, `limits`, `values`, `ids`. Read next: `journal.py`, because record-first lives there.
"""
