"""The cluster: leases, shards, and the store's clock."""

# A member that is killed is replaced within this and one renewal; a pause of four seconds costs nobody its sagas.
LEASE_S_DEFAULT = 6.0
# Below this a slow commit of the store, or a busy event loop, would cost a healthy member its lease.
LEASE_S_MIN = 2.0
# Past a minute, people notice a dead member before the cluster does.
LEASE_S_MAX = 60.0
# Shards of a new store: with 64 processes each has four, and what one of them loses is dealt out in small parts.
SHARDS_DEFAULT = 256
# Each is a row that every member reads with every renewal; a hundred thousand are some megabytes.
SHARDS_MAX = 100_000
# Share of a lease, from when its renewal was sent, for which the member believes in it; the rest is margin for clocks
# that follow a wall clock which was set, and for what is on its way when trust ends.
LEASE_TRUST_SHARE = 2 / 3
# Renewals in one lease: with six, four may fail in a row before trust ends.
LEASE_RENEWALS = 6
# Share of a lease that one question to the store may take: two fit into one trust.
STORE_CALL_SHARE = 1 / 3
# Pause before the store is asked again that was away, with jitter: some questions a second from each member.
STORE_RETRY_S = 0.25
# Two looks at the cluster are this far apart at least, however many peers say that something has changed.
LOOK_PAUSE_S = 0.02
# Looks a second that the words of peers may cause in all, a millisecond of the store's time each: in a cluster of 500
# members, two looks of one are half a second apart.
LOOKS_RATE_MAX = 1_000
# Shards claimed by one statement; the store's usual number of them, and some milliseconds of its time.
CLAIM_SHARDS_MAX = 256
# Hand-overs under way at once, each of a shard or a few: as many as a store has shards by default.
HAND_OVERS_MAX = 256
# What open calls of a shard get to end before it moves to a member that has fewer: half of a call's usual time.
REBALANCE_GRACE_S = 5.0
# What the last statements of a member that leaves may take; past it the lease runs out instead.
LEAVE_S = 1.0
# The same where the store did not answer the last question: it is told on the chance, and nobody's end waits for it.
LEAVE_AWAY_S = 0.1
# Tries at joining that had no answer, whose rows are looked for later: their statements are long cut off by then.
JOINS_KEPT = 64
# Answers of the store by which its clock is known: the quickest of them counts, and old ones drift.
STORE_TIME_SAMPLES = 16
# By how much the store's clock may be misread when a process begins: what it is off by then it makes up for slowly, and
# two such errors and the drift of both clocks stay below `CLOCK_SKEW_S`.
STORE_TIME_ERROR_S = 0.2
# Looks at the store's clock before one that is not that good has to do: seconds, at a store that is that slow.
STORE_TIME_LOOKS_MAX = 20
# Whoever asks how the cluster stands is told what was seen last where the store has not answered by then.
CLUSTER_LOOK_S = 2.0
