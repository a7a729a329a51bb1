"""Calls: connections to participants, and targets that stand still."""

# One attempt at TCP and TLS set-up; a distant host needs a second, a silent one must not hold calls for gRPC's 20 s.
CONNECT_S_MAX = 5.0
# First pause before connecting again: a service that restarts on one machine is back in about this time.
RECONNECT_INITIAL_S = 0.1
# Longest pause before connecting again: a restarted service is seen within a second, for one SYN a second till then.
RECONNECT_MAX_S = 1.0
# Servers that were told nothing punish pings more frequent than every 300 s (GOAWAY too_many_pings); a tenth is margin.
KEEPALIVE_S = 330.0
# A peer that does not acknowledge a ping for so long is gone.
KEEPALIVE_ACK_S = 20.0
# First pause of a target that answered UNIMPLEMENTED, UNAUTHENTICATED or PERMISSION_DENIED; a failed trial doubles it.
TARGET_PAUSE_S_INITIAL = 1.0
# Longest such pause: somebody repairs a configuration within minutes and wants to see it take effect within one.
TARGET_PAUSE_S_MAX = 60.0
# When to ask again while another call is on trial: most answers come within a second.
TARGET_TRIAL_WAIT_S = 1.0
# gRPC ends a call at its deadline; one that has not ended by so much later never will, and is reported for it.
CALL_OVERDUE_S = 5.0
