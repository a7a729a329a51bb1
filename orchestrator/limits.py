"""Every bound of the system: its name says what and in which unit, its comment says why that number.

A bound that a deployment may need to move is a default here and a setting in `orchestrator.config`. Everything
unbounded is a bug.
"""

# --- definitions ---------------------------------------------------------------------------------------------------

# A page of YAML is 4 KiB; a megabyte is a mistake or an attack, and is refused before it is parsed.
DEFINITION_BYTES_MAX = 1024 * 1024
# Real definitions nest five or six deep; the parser below us recurses, so the bound protects its stack.
DEFINITION_DEPTH_MAX = 32
# 1,000 steps of about ten nodes each, twice over.
DEFINITION_NODES_MAX = 20_000
# A saga of more steps is a program; also bounds the machine's work per event.
STEPS_MAX = 1_000
# CEL source is trusted-author input, but its memory use grows with its size and is not bounded by its library.
EXPRESSION_BYTES_MAX = 4 * 1024
# As much as a person reads; further findings of one check are counted, not listed.
DIAGNOSTICS_MAX = 100

# --- the machine ---------------------------------------------------------------------------------------------------

# A saga that names no deadline gets an hour: long for a chain of calls, short enough that none is forgotten.
FORWARD_S_DEFAULT = 3_600.0
# Budget kept back for undoing, past which a saga that still is not undone asks for a person.
COMPENSATION_S_DEFAULT = 300.0
# One attempt of a call that names no timeout.
CALL_TIMEOUT_S_DEFAULT = 10.0
# A day: no unary call is worth waiting longer, and a typing mistake (ms for s) is caught.
CALL_TIMEOUT_S_MAX = 86_400.0
# Forward attempts that answered, before a step gives up; five at 100 ms doubling span about three seconds.
FORWARD_ATTEMPTS_DEFAULT = 5
# First pause before trying again.
BACKOFF_INITIAL_S_DEFAULT = 0.1
# Longest pause before trying again: an outage is noticed to be over within seconds.
BACKOFF_MAX_S_DEFAULT = 5.0
# Undo keeps trying for ever (R24); once a minute is enough then.
COMPENSATION_BACKOFF_MAX_S_DEFAULT = 60.0
# Doubling is what gRPC's own retry policy examples use.
BACKOFF_MULTIPLIER_DEFAULT = 2.0
# A peer may ask for patience (RetryInfo, pushback), but not for ever.
RETRY_AFTER_S_MAX = 3_600.0
# Clocks of two hosts under NTP agree to well below this; added to a deadline before an unknown call is over (R12).
CLOCK_SKEW_S = 1.0
# Undo calls of one saga in flight at once: bounds the burst that a failed fan-out sends to its services.
UNDO_PARALLEL_MAX = 16
# Forward calls of one saga in flight at once, for the same reason.
FORWARD_PARALLEL_MAX = 100
# Attempts are numbered densely and recorded; past this a saga asks for a person rather than growing without end.
ATTEMPTS_MAX = 10_000
# A refused or failed call's text kept in the journal; enough for a sentence and a reason.
MESSAGE_CHARS_MAX = 1_000

# --- payloads ------------------------------------------------------------------------------------------------------

# gRPC's own default for a received message; input, requests and replies all obey it.
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
# Searchable attributes are for finding a saga, not for carrying data.
ATTRIBUTES_MAX = 32
# One attribute's text.
ATTRIBUTE_CHARS_MAX = 512

# --- configuration and command line --------------------------------------------------------------------------------

# Hundreds of targets fit; a longer file is the wrong file.
CONFIG_CHARS_MAX = 256 * 1024
# Calls in flight get this long after SIGTERM: below the 30 s that Kubernetes gives before it kills.
DRAIN_GRACE_S_DEFAULT = 20.0
