"""The machine: what one saga may do, and what a definition that is silent gets."""

# A saga that names no deadline gets an hour: long for a chain of calls, short enough that none is forgotten.
FORWARD_S_DEFAULT = 3_600.0
# Budget kept back for undoing, past which a saga that still is not undone asks for a person.
COMPENSATION_S_DEFAULT = 300.0
# One attempt of a call that names no timeout.
CALL_TIMEOUT_S_DEFAULT = 10.0
# A day: no unary call is worth waiting longer, and a typing mistake (ms for s) is caught.
CALL_TIMEOUT_S_MAX = 86_400.0
# Forward attempts that answered, before a step gives up; five at 100 ms doubling span at most 1.5 s.
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
# Items of one `for_each` step: each is kept, with what undoing it takes, as long as the saga lives; about 1 KB each.
ITEMS_MAX = 100_000
# Items of one `for_each` step under way at once.
ITEMS_PARALLEL_MAX = 100
# Of a step that does not say: as many as are undone at once.
ITEMS_PARALLEL_DEFAULT = 16
# Steps named by the record of a termination; the rest is to be read from the saga itself.
LEFT_MAX = 1_000
# Names that one sentence holds; the details beside it have them all.
SENTENCE_NAMES_MAX = 5
# What an explanation tells of one saga: more than a person reads, and a message of some tens of kilobytes.
EXPLAINED_MAX = 100
# Steps that an explanation tries a person's verbs on: each costs a few decisions, and a person mends one at a time.
VERBS_TRIED_MAX = 10
# Calls of one undo plan: as many as a person looks through, and rehearsed within a second.
UNDO_PLAN_CALLS_MAX = 1_000
# The longest a `sleep` step may let pass: a year, past which a schedule outside the saga is the better tool.
SLEEP_S_MAX = 366 * 86_400.0
# Signals that one saga may be sent in its life; the request id of each is kept, so that a repeated one is known.
SIGNALS_MAX = 10_000
# Signals kept that no step has taken yet.
SIGNALS_WAITING_MAX = 100
# Attempts of a probe: with the pauses below they span three minutes, as long as a restart or a failover takes.
PROBE_ATTEMPTS_DEFAULT = 10
# First pause between two attempts of a probe: what it asks about has just been lost sight of.
PROBE_BACKOFF_INITIAL_S_DEFAULT = 0.2
# Longest such pause; half a minute is enough to see that a service is back.
PROBE_BACKOFF_MAX_S_DEFAULT = 30.0
# Between two calls of an `until`: often enough for a person who waits, seldom enough for a service.
POLL_S_DEFAULT = 5.0
# Between two questions how a long-running operation is doing, as Google's own clients begin.
OPERATION_POLL_S_DEFAULT = 1.0
# Child sagas inside each other: each level keeps back time for its own undo.
CHILDREN_DEPTH_MAX = 8
# Attempts are numbered densely and recorded; past this a saga asks for a person rather than growing without end.
ATTEMPTS_MAX = 10_000
# Failures in a row after which a person hears of an operation that is tried without limit; trying goes on (R17, R24).
ALERT_ATTEMPTS = 10
# A refused or failed call's text kept in the journal; enough for a sentence and a reason.
MESSAGE_CHARS_MAX = 1_000

# Derived keys remembered: each is asked for when an attempt opens and again by every check of it; about 200 bytes each.
DERIVED_KEYS_KEPT_MAX = 4_096
# Paths of items taken apart into step and position: each is asked for some ten times a record; about 250 bytes each.
PATHS_KEPT_MAX = 4_096
