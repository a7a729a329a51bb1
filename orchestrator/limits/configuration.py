"""Configuration and command line: files read, tables drawn, patience of commands and of the demo."""

# Hundreds of targets fit; a longer file is the wrong file.
CONFIG_CHARS_MAX = 256 * 1024
# Calls in flight get this long after SIGTERM: below the 30 s that Kubernetes gives before it kills.
DRAIN_GRACE_S_DEFAULT = 20.0
# A command's one request: past it something is wrong with the server, not with the user's patience.
CLI_CALL_S = 30.0
# `saga health` waits this long: an answer takes milliseconds, and container engines allow a check five seconds here.
CLI_HEALTH_S = 3.0
# A command that waits for a saga asks again this often: below the server's cap, so that each answer means something.
CLI_POLL_S = 30.0
# While a server restarts, a waiting command asks again after this pause: short beside a restart, cheap for a loop.
CLI_RECONNECT_S = 0.5
# A stream that cannot be resumed for this long is given up: a restart with a long journal takes less.
CLI_RESUME_S_MAX = 60.0
# A reply that a command takes: the server's page of 1,000 sagas with long attributes stays well below.
CLI_REPLY_BYTES_MAX = 64 * 1024 * 1024
# A cell of a table: three of them and a status fit a terminal of 200 columns; `--output json` has the whole text.
CLI_CELL_CHARS_MAX = 60
# Columns that a drawing may be given: wider than any screen, and each cell of a row is made by itself.
CLI_COLUMNS_MAX = 1_000
# Files and folders looked at for definitions below a given folder: one that holds more is a home, or a whole disk.
CLI_FOLDER_ENTRIES_MAX = 10_000
# Sagas after which a command that walks a store tells a pipe how far it is; of a million, a hundred lines.
CLI_PROGRESS_SAGAS = 10_000
# The demo's client asks again this soon: the restart after the kill takes a second, and few calls wait for it.
DEMO_RETRY_S = 0.1
# Its longest pause before it connects again: with the one above, what the restart seems to cost is the restart's own.
DEMO_RECONNECT_S_MAX = 0.5
# What the demo's client gives a long poll beyond the poll itself: the answer has to travel, on a machine that is busy.
DEMO_POLL_MARGIN_S = 5.0
# One of the demo's processes gets this long to come up: imports take a second or two on a slow machine.
DEMO_START_S_MAX = 30.0
# And this long to go after SIGTERM, before it is killed; all its work is done by then.
DEMO_STOP_S_MAX = 10.0
# The demo's client gives up on an orchestrator that is silent for so long; the restart after the kill takes a second.
DEMO_SILENCE_S_MAX = 60.0
# And a person is told of the silence after so long: a restart is over by then, and nobody has thought it stuck yet.
DEMO_SILENCE_TOLD_S = 3.0
# Reports under way at once: keeps two cores busy, and leaves each saga's own time worth reading.
DEMO_CONCURRENCY = 16
# Reports a second that `saga load` may be asked for: more than one client ever sends.
LOAD_RATE_MAX = 1_000.0
# And the fewest: one in a quarter of an hour; fewer are no load.
LOAD_RATE_MIN = 0.001
# As many as a person may care to wait for.
DEMO_REPORTS_MAX = 100_000
# `saga top` looks this often: slow enough to read a number before it changes, quick enough to see what one has done.
TOP_INTERVAL_S_DEFAULT = 2.0
# More often, a page is counted from a handful of sagas, and asking begins to cost.
TOP_INTERVAL_S_MIN = 0.5
# More seldom, nobody watches: what one did in a day is for a dashboard of `/metrics`.
TOP_INTERVAL_S_MAX = 3_600.0
# Who has not answered a look by then is shown as away; it is asked again at the next look.
TOP_CALL_S = 5.0
# Sagas are counted by definition in the store, so not at every look: as often as the processes count them themselves.
TOP_COUNT_S = 5.0
# Sagas that need a person on one page: the rest is for `saga attention`.
TOP_ASKING_MAX = 20
# A process that was away is connected to again within so long: a restart takes a second or two.
TOP_RECONNECT_S_MAX = 2.0
# Processes on one page: a screen has as many lines.
TOP_SERVERS_MAX = 16
