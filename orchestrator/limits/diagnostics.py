"""Diagnostics: what a live process may be asked about itself, and what is held against it."""

# Calls of DiagnosticsService in flight, in a room of their own: a process whose other rooms are full is the one that has
# to be looked at, and a handful of people do.
DIAGNOSTICS_CALLS_MAX = 8
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
# More would be a load, and would tell no more: a turn of the loop takes about as long.
PROFILE_HZ_MAX = 999.0
