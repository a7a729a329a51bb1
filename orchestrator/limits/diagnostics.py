"""Diagnostics: what a live process may be asked about itself, and what is held against it."""

# Calls of DiagnosticsService in flight, in a room of their own: a process whose other rooms are full is the one that
# has to be looked at, and a handful of people do.
DIAGNOSTICS_CALLS_MAX = 8
# Calls of GetFigures in flight, in a room of their own as well: whoever keeps all places of the other methods does not
# keep an operator's screen from its numbers. Each is done within one turn.
FIGURES_CALLS_MAX = 8
# Prefixes by which figures are asked for: every panel of a screen, several times over.
FIGURE_PREFIXES_MAX = 32
# A few screens of each list.
DUMP_LIMIT_DEFAULT = 100
# Of each list; with stacks as deep as they may be, an answer stays below what a message may have.
DUMP_LIMIT_MAX = 1_000
# Actors, calls or tasks looked at between two turns of the event loop: about a millisecond.
DUMP_SLICE = 250
# Innermost and outermost frames of one stack; what is between is left out, and said to be.
STACK_FRAMES_MAX = 30
# How long to sample where nobody says: a minute's worth of thousands of turns, and nobody has walked away yet.
PROFILE_S_DEFAULT = 10.0
# The longest: about as long as a call may be silent before proxies cut it.
PROFILE_S_MAX = 60.0
# Samples a second: not a multiple of anything that happens every 10 ms.
PROFILE_HZ_DEFAULT = 99.0
# Fewer would tell nothing: a profile of the usual length would have ten samples. A timer's interval has an end as well.
PROFILE_HZ_MIN = 1.0
# More would be a load, and would tell no more: a turn of the loop takes about as long.
PROFILE_HZ_MAX = 999.0
# Distinct stacks of one profile, some thousand of a busy process; the rest is counted together.
PROFILE_STACKS_MAX = 4_000
# Frames of one stack in a profile; the outermost of a deeper one are left out, and said to be.
PROFILE_FRAMES_MAX = 100
# Share of a core that looking may take: many threads and deep stacks are looked at less often, rather than at a cost.
PROFILE_SHARE_MAX = 0.05
# How long the event loop may be inside one turn before it is told: ten sagas' commits, and a caller begins to notice.
STALL_S_DEFAULT = 0.1
# Looks in that time at a loop that does not turn: enough to tell one culprit from a crowd.
STALL_LOOKS = 4
# Times that length between two looks at a loop with nothing to do: a look costs a thread's waking, a tenth of a
# millisecond, and so a process that sleeps stays below a tenth of a percent of a core.
STALL_IDLE = 2.0
# Stalls that are kept: what a person reads of a bad minute.
STALLS_KEPT_MAX = 32
# A stall is told while it lasts, once, after this time: a loop that hangs for ever would never tell of it.
STALL_LASTS_S = 5.0
# A line of the log about stalls at most this often; the next one says how many were not told.
STALL_LOG_S = 10.0
# Functions told apart in one stall; a stall has one culprit, or it is a turn of many.
STALL_PLACES_MAX = 64
# Paths of source files kept in their short form: as many as a process has modules.
PLACES_KEPT_MAX = 4_096
# A call is suspect that much after its deadline, when the invoker itself would have given it up: see CALL_OVERDUE_S. An
# append that is on its way for longer than this is one too: the store does not answer.
SUSPECT_COMMIT_S = 30.0
# A saga with nothing to do leaves memory in the same turn, and one that waits for children within seconds.
SUSPECT_IDLE_S = 30.0
# A timer that is owed and did not fire: ten times as late as the sweep would find it.
SUSPECT_TIMER_S = 5.0
# Tasks of one kind beyond those that open calls explain: a crowd of callers that wait, or something that never ends.
SUSPECT_TASKS = 1_000
# A type of object is suspect if there are so many more of it than when it began to grow,
SUSPECT_OBJECTS = 1_000
# so many times as many,
SUSPECT_OBJECTS_TIMES = 1.25
# in so many counts in a row: what comes and goes shrinks in one of them,
SUSPECT_OBJECTS_COUNTS = 3
# and over so long: under load the caches of a fresh process are full in a few minutes.
SUSPECT_OBJECTS_S = 600.0
# Types of objects that are named, those first that grew by most: what holds them is mostly the second or third.
SUSPECT_TYPES_MAX = 10
# Share of the file descriptors that the process may have open: past it there is still time to look for what keeps them.
SUSPECT_DESCRIPTORS_SHARE = 0.8
# Objects counted at a time by the thread that counts them: it lets the event loop's thread go on in between.
OBJECTS_SLICE = 10_000
# Two counts of all objects begin at least so far apart, whoever asks: a count may take a second of a core.
OBJECTS_INTERVAL_S = 60.0
# Whoever asks while objects are counted is told to come back after this time: counting seldom takes longer.
OBJECTS_COUNT_S = 5.0
# Runs of the garbage collector that are remembered for a stall that just ended: a second's worth of a busy process.
COLLECTIONS_KEPT_MAX = 64
# Of each list that `saga debug dump` shows unless told otherwise: a page or two that a person reads from the top.
DUMP_LIMIT_SHOWN = 20
# Share of a flame graph below which a bar is not drawn: half a pixel of a window as wide as screens are.
FLAME_WIDTH_MIN = 0.0004
