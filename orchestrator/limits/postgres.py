"""PostgreSQL: connections, statements, and patience with a database that is away."""

# A connection to PostgreSQL is made within this, TLS and all, or the database counts as away.
POSTGRES_CONNECT_S = 5.0
# One read of PostgreSQL, a search of millions of rows included; past it the database is as good as away.
POSTGRES_READ_S = 10.0
# One try of a group append: long beside a slow disk's commit, short beside anybody's patience. Then it is tried anew.
POSTGRES_APPEND_S = 10.0
# One renewal of a lease, claim or gift: a third of the shortest lease's trust, so that there is time for a second try.
POSTGRES_LEASE_S = 2.0
# A migration may build an index over a hundred million rows.
POSTGRES_MIGRATE_S = 3_600.0
# Readers beside the connections of appends and leases: eight in all, and a dozen nodes fit a server's usual 100.
POSTGRES_READERS_MAX = 6
# A prepared statement is kept so long, and the plan with it: one of when the store was small walks through all of it,
# which is soon slow where it grows by a thousand sagas a second. To plan it anew costs a millisecond.
POSTGRES_PLAN_S = 5.0
# For one of them to become free, before a reader is told that the database is too slow for what it is asked.
POSTGRES_WAIT_S = 5.0
# A transaction that its process leaves standing, paused or cut off, is ended by the server: its locks hinder others.
POSTGRES_IDLE_S_MAX = 2.0
# Turns lost to other transactions (deadlocks, serialization), after which a reader is told.
POSTGRES_TURNS_MAX = 5
# First pause before an append is tried again, with full jitter: a restarted database meets no herd.
POSTGRES_RETRY_S = 0.05
# Longest such pause: half of the least lease, so that a database that is back is noticed before trust ends.
POSTGRES_RETRY_S_MAX = 1.0
# A running append gets this long to end when the store is closed, before its connection is cut.
POSTGRES_CLOSE_S = 2.0
# Nothing was recorded for so long although something was to be: a try and more, and nobody is sent here meanwhile.
POSTGRES_STALL_S = 10.0
