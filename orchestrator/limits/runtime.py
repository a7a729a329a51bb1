"""The runtime: sagas in memory, and its standing work: recovery, sweeps, retention, drains."""

# New sagas are refused while so many are in memory; about 5 KB each, so half a gigabyte. Accepted sagas are taken up
# whatever their number, at recovery's pace, and sleeping ones leave memory.
ACTORS_MAX = 100_000
# Outside requests waiting for one saga; a caller beyond that is told to come back.
MAILBOX_MESSAGES_MAX = 1_000
# Records of one append: bounds a transaction, far above what one turn of a saga decides.
RECORDS_PER_APPEND_MAX = 2_000
# How long a turn that nothing hangs on waits for the next one of its saga before it is committed alone: below what a
# person or a service notices, above what two calls begun together take to end one after the other.
COMMIT_HOLD_S = 0.002
# Turns of the event loop that a group commit lets pass while each brings one more append: there groups have all that
# they gain by it, and a turn under load takes some milliseconds.
COMMIT_TURNS_MAX = 8
# Streams of one group commit; larger groups gain nothing and delay the first in them.
COMMIT_STREAMS_MAX = 1_000
# Records read at once when a saga is folded.
READ_RECORDS_MAX = 10_000
# Records folded before other sagas have their turn: some ten milliseconds.
FOLD_RECORDS_MAX = 500
# Callers that wait for or watch sagas in one process, each with an open RPC.
WATCHERS_MAX = 10_000
# Records that a stream of events reads at once: each stream holds two such pages for as long as its reader is slow, and
# requests and replies hang on them.
WATCH_RECORDS_MAX = 250
# When a caller who was turned away should come back, where nothing better is known.
RETRY_AFTER_S_DEFAULT = 1.0
# Ended sagas whose last state is remembered, because whoever started them is about to ask.
ENDED_KEPT_MAX = 1_000
# Their records in all, the last one's apart: about half a kilobyte each, and a saga of 100,000 items has 300,000.
ENDED_RECORDS_KEPT_MAX = 200_000
# The bytes of their inputs, requests and replies in all, the last one's apart: a thousand usual ones have an eighth of
# it, and of those that pass three megabytes on it holds a few.
ENDED_BYTES_KEPT_MAX = 32 * 1024 * 1024
# A saga that does nothing for so long is better found again in the journal.
PASSIVATION_WAIT_S_MIN = 5.0
# How often the journal is asked which sleeping sagas are due before the next time; their timers then fire exactly.
SWEEP_INTERVAL_S = 0.5
# Share of the time that passes by which the process's clock goes faster or slower to follow a wall clock that was set:
# an hour is made up for in four days, and no timer is off by more than this share of its length.
CLOCK_SLEW_MAX = 0.01
# How often at most the process's clock looks at the wall clock, to follow it by that share. Between two looks it goes
# on by the time that passes: a look costs as much as telling the time does.
CLOCK_LOOK_S = 0.01
# How often it is asked whether the wall clock was set: often enough for a line in the log, and next to no work.
CLOCK_WATCH_S = 5.0
# Records from which on a saga is read back beside the others rather than before them: half a second of work.
LONG_RECORDS = 20_000
# Such sagas read at once: each may be hundreds of megabytes.
LONG_AT_ONCE = 2
# Parents brought back at once when children end: a long one among them does not hold up the others.
WAKERS_MAX = 4
# How often it is asked whether a saga that needs an actor has none; there are none, so this only bounds a bug's harm.
ORPHANS_INTERVAL_S = 60.0
# Unfinished sagas read at once at start.
RECOVERY_PAGE_ROWS = 200
# Records that recovery reads in one turn of the event loop: a turn for each saga is a tenth of what taking up a short
# one costs, and so many hold the others for 3 ms.
RECOVERY_RECORDS_A_TURN = 128
# What taking up a saga costs beyond reading it, in records read.
RECOVERY_SAGA_RECORDS = 8
# Open calls above which recovery waits, so that a restart is not a stampede for the services.
RECOVERY_CALLS_MAX = 200
# How long recovery waits before it looks again.
RECOVERY_PAUSE_S = 0.01
# How long recovery waits for calls that do not end before it opens as many again: a hung service delays its own sagas.
RECOVERY_STALL_S = 1.0
# Turns of one saga that may fail before it is set aside for a person.
CRASHES_MAX = 3
# Pause before a saga whose turn failed is taken up again.
CRASH_PAUSE_S = 0.5
# Quarantined sagas remembered with their reason; beyond that only the log has them. As many are remembered for crashes
# they may yet repeat, the latest.
QUARANTINED_MAX = 10_000
# How often a drain looks whether everything is quiet.
DRAIN_POLL_S = 0.01
# How often it is looked whether ended sagas have been kept long enough: nobody keeps them to the minute.
RETENTION_INTERVAL_S = 60.0
# Sagas forgotten at once: with the usual ten to twenty records each, some milliseconds.
RETENTION_SAGAS = 100
# Share of the time that forgetting may take while it keeps up: what ends is forgotten, and nobody notices.
RETENTION_SHARE = 0.04
# Behind for longer than this, its share doubles with each time as long: as much has to go as ends, or the store grows
# for ever. Nobody waits for it, so that it may take some minutes to find the share that it needs.
RETENTION_BEHIND_S = 120.0
# Its share at the most, after nine minutes behind: a saga is forgotten for less than a tenth of what running it costs,
# so that half of the time is beyond what any load needs, and the other half is left to it.
RETENTION_SHARE_MAX = 0.5
# Shortest time that an ended saga is kept: whoever waits for its end, anywhere, has to find it, and its spans leave.
RETENTION_S_MIN = 60.0
# Containers more than at its last look, after which the collector of cycles looks: 0.3 microseconds for each without a
# break, and for three times as many at every third look. 256 sagas at a time stay below it for 1,500 sagas, 64 for more
# than 6,000; with 20,000 they reach it every 500, which costs 50 microseconds a saga.
GC_CONTAINERS = 30_000
# Pause between two looks at all containers there are, for what outlived the shorter ones.
GC_WHOLE_S = 600.0
# Sagas awake up to which that is done: 28 containers each, so 20 ms; 20,000 of them took a quarter of a second.
GC_WHOLE_ACTORS_MAX = 2_000
# What a drain may take beyond its grace before the process leaves anyway: a flush of two seconds and a margin, together
# less than the 3 s that operators are told.
DRAIN_MARGIN_S = 2.8
# Pause before a store that is away is asked again by standing work: short beside any lease.
JOURNAL_AWAY_PAUSE_S = 0.25
# Pause before an append that the store put off is given again: each try is a refused transaction.
COMMIT_AGAIN_S = 1.0
# How often a process looks whether sagas that it does not run have moved, for those who wait for them here: a wait at
# the wrong process is longer by half of it on average.
WATCH_POLL_S = 0.05
# Sagas in one such look; an array of ids of this size is a few tens of kilobytes.
WATCH_POLL_SAGAS = 1_000
# Draws for a uid in a shard of one's own: with 1,000 processes, one in 20,000 sagas begins elsewhere.
UID_DRAWS_MAX = 10_000
