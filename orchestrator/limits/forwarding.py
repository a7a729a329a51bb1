"""Forwarding: requests on their way to the process that owns their saga."""

from orchestrator.limits.api import API_MESSAGE_BYTES_MAX

# How long the edge looks for a saga's owner on behalf of a caller without a deadline: longer than a fail-over takes.
FORWARD_S_MAX = 30.0
# An owner that has not answered for so long may be gone: the request is left in the store as well, where that is safe.
FORWARD_POST_AFTER_S = 0.5
# First pause before the owner is looked for anew; it doubles, and each is drawn from its lower half upwards.
FORWARD_PAUSE_S_INITIAL = 0.02
# Longest such pause: a shard that was handed over is found within it.
FORWARD_PAUSE_S_MAX = 0.25
# How often the store is asked for the answers that are waited for here, all of them in one query.
POST_POLL_S = 0.1
# How often an owner looks for requests that were left for it; they are rare, and their callers wait.
POST_SWEEP_S = 0.5
# A start that waits for its saga's end, at another process, waits so long at the owner, who knows of the end at once;
# after that it looks into the store (`WATCH_POLL_S`), which does not hang on the owner.
FORWARD_WAIT_S = 1.0
# Such waits at once, at all owners together: each takes one of the `API_STREAMS_PER_CONNECTION_MAX` streams between two
# processes, and commands come first there. Whoever is past it looks into the store at once.
FORWARD_WAITS_MAX = 250
# Requests read at once from the store.
POSTS_PAGE = 200
# Left requests done at once: a fail-over leaves some hundreds, and what calls do at first hand comes before them.
POSTS_AT_ONCE = 16
# Left requests that wait for their turn in one process, and as many to be tried again; the rest waits in the store.
POSTS_HELD_MAX = 1_000
# One try at a left request; a saga that is read back takes a second at most, and the next try comes by itself.
POST_TRY_S = 10.0
# Longest pause between two tries of one letter: a third of its caller's patience, so that an end of trouble is noticed.
POST_PAUSE_S_MAX = 10.0
# A letter that could not be done for so long is given up: whoever left it asks no more, as of `POST_KEPT_S`.
POST_S_MAX = 86_400.0
# An answer is kept as long as somebody may still ask for it: a client's longest retrying is far below a day.
POST_KEPT_S = 86_400.0
# How often answered posts are cleared away.
POST_CLEAR_S = 60.0
# Answered posts removed by one statement: some milliseconds of the database.
POSTS_CLEARED_AT_ONCE = 1_000
# A forwarded message is a caller's and what goes with it.
PEER_MESSAGE_BYTES_MAX = API_MESSAGE_BYTES_MAX + 64 * 1024
# Connections kept to other processes; past it the one that was idle longest is closed.
PEER_CHANNELS_MAX = 256
# A connection that carries nothing for so long is closed.
PEER_IDLE_S = 300.0
# One attempt to connect to another process of the cluster, which is near.
PEER_CONNECT_S_MAX = 2.0
# While a call is open its connection is pinged this often, so that one that was cut is noticed while callers wait.
PEER_KEEPALIVE_S = 10.0
# A process that does not acknowledge such a ping for so long is gone, or stands still.
PEER_KEEPALIVE_ACK_S = 5.0
# How often a process looks whether its server for the others has fallen, which gRPC tells nobody: below what they wait
# before they leave a request in the store.
PEER_SERVER_POLL_S = 0.25
# A hint that takes longer comes too late to be one.
NUDGE_S_MAX = 1.0
# How often health asks whether there is an obstacle: below what load balancers notice.
OBSTACLE_POLL_S = 0.25
