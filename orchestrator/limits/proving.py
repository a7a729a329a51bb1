"""The proving ground: calls of a trial, and the evidence shown."""

# One call of a trial: a participant that needs longer for an ordinary request is told so by its user.
PROVING_TIMEOUT_S_DEFAULT = 5.0
# Duplicates sent at once: more than a service has threads by habit finds nothing more.
PROVING_PARALLEL_DEFAULT = 8
# As many as one connection carries by most servers' default.
PROVING_PARALLEL_MAX = 100
# Moments of an ordinary call at which it is cut: begun, under way, nearly done.
PROVING_CUTS = 5
# Times a call is sent again that is told ABORTED: a second in all.
PROVING_AGAIN_MAX = 20
# Before a call that was told ABORTED is sent again.
PROVING_PAUSE_S = 0.05
# An answer as evidence on a line; all of it is in the JSON.
PROVING_SHOWN_CHARS = 100
