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
# Serialised descriptors of one target; a large company's whole API surface is a few megabytes.
DESCRIPTORS_BYTES_MAX = 16 * 1024 * 1024
# Recorded payloads that one revision keeps parsed, by their wire size; thousands of sagas' replies of ordinary size.
PARSED_PAYLOADS_BYTES_MAX = 8 * 1024 * 1024
# The expression engine copies what it is given, ten nanoseconds a byte: of larger messages it gets the fields it reads.
WHOLE_BYTES_MAX = 4 * 1024
# Compiled plans kept, the least recently asked for put aside first; a catalogue in real use has dozens.
PLANS_MAX = 1_000
# What one process of a cluster activates is what sagas start with at every other one within this: sooner than a person
# has turned to the next thing, and one look a second costs the store nothing.
CATALOGUE_FRESH_S = 1.0
# JSON values nested in an input: each level of a Struct is three messages on the wire, and readers stop at 100.
JSON_DEPTH_MAX = 32
# JSON values in one input, each of them at least two bytes of the largest payload's text.
JSON_NODES_MAX = 500_000

# --- the machine ---------------------------------------------------------------------------------------------------

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

# --- payloads ------------------------------------------------------------------------------------------------------

# gRPC's own default for a received message; input, requests and replies all obey it.
PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
# Searchable attributes are for finding a saga, not for carrying data.
ATTRIBUTES_MAX = 32
# One attribute's text.
ATTRIBUTE_CHARS_MAX = 512
# One attribute's name: a few words, as a column would have.
ATTRIBUTE_NAME_CHARS_MAX = 64

# --- configuration and command line --------------------------------------------------------------------------------

# Hundreds of targets fit; a longer file is the wrong file.
CONFIG_CHARS_MAX = 256 * 1024
# Calls in flight get this long after SIGTERM: below the 30 s that Kubernetes gives before it kills.
DRAIN_GRACE_S_DEFAULT = 20.0
# A command's one request: past it something is wrong with the server, not with the user's patience.
CLI_CALL_S = 30.0
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
# Reports under way at once: keeps two cores busy, and leaves each saga's own time worth reading.
DEMO_CONCURRENCY = 16
# As many as a person may care to wait for.
DEMO_REPORTS_MAX = 100_000

# --- the journal -----------------------------------------------------------------------------------------------------

# While the disk takes less than this for a commit, on average, commits run on the event loop: a thread hand-off costs
# more than they do. Two milliseconds is as long as a group may make every other saga wait for nothing but the disk.
JOURNAL_COMMIT_LOOP_S_MAX = 0.002
# Below this they come back from the writer thread; half of the other bound, so that they do not swing to and fro.
JOURNAL_COMMIT_LOOP_S_BACK = 0.001
# Rows read on the event loop in one go, about two milliseconds of decoding; what is longer is read in a thread.
JOURNAL_LOOP_ROWS_MAX = 500
# Patience with another program (a shell, a backup) that holds the file's write lock, before the journal gives up.
JOURNAL_BUSY_S = 5.0
# Pages in the write-ahead log before a commit copies them home: 4 MiB, SQLite's own default and a few milliseconds.
JOURNAL_CHECKPOINT_PAGES = 1_000
# The write-ahead log is cut back to this after a burst or a long reader made it grow.
JOURNAL_WAL_BYTES_MAX = 64 * 1024 * 1024
# Records that go at once when sagas are forgotten, of one saga or of many: some ten milliseconds of the write lock.
# Only a saga that has more by itself goes in one piece all the same.
FORGET_RECORDS_MAX = 2_000

# Sagas of one page of a promotion, after which its place is noted: what is done again after a kill.
PROMOTION_SAGAS = 500
# Records of one transaction of a promotion.
PROMOTION_RECORDS = 1_000
# Bytes of records after which a page of them ends early: they are in memory a few times over.
PROMOTION_BYTES = 16 * 1024 * 1024
# Parents of which it is remembered what they are children of.
PROMOTION_PARENTS_KEPT_MAX = 100_000

# A connection to PostgreSQL is made within this, TLS and all, or the database counts as away.
POSTGRES_CONNECT_S = 5.0
# One read of PostgreSQL, a search of millions of rows included; past it the database is as good as away.
POSTGRES_READ_S = 10.0
# One try of a group append: long beside a slow disk's commit, short beside anybody's patience. Then it is tried anew.
POSTGRES_APPEND_S = 10.0
# One renewal of a lease, claim or gift: a third of the shortest lease's trust, so that there is time for a second try.
POSTGRES_LEASE_S = 2.0
# A migration may build an index over a hundred million rows.
POSTGRES_MIGRATE_S = 3_600.0
# Readers beside the connections of appends and leases: eight in all, and a dozen nodes fit a server's usual 100.
POSTGRES_READERS_MAX = 6
# For one of them to become free, before a reader is told that the database is too slow for what it is asked.
POSTGRES_WAIT_S = 5.0
# A transaction that its process leaves standing, paused or cut off, is ended by the server: its locks hinder others.
POSTGRES_IDLE_S_MAX = 2.0
# Turns lost to other transactions (deadlocks, serialization), after which a reader is told.
POSTGRES_TURNS_MAX = 5
# First pause before an append is tried again, with full jitter: a restarted database meets no herd.
POSTGRES_RETRY_S = 0.05
# Longest such pause: half of the least lease, so that a database that is back is noticed before trust ends.
POSTGRES_RETRY_S_MAX = 1.0
# A running append gets this long to end when the store is closed, before its connection is cut.
POSTGRES_CLOSE_S = 2.0

# --- telemetry -----------------------------------------------------------------------------------------------------

# W3C Trace Context asks to pass on at least 512 characters of `tracestate`; more is dropped whole, in and out.
TRACESTATE_CHARS_MAX = 512
# The same document's limit of list members.
TRACESTATE_MEMBERS_MAX = 32
# A span says what went wrong in a sentence; the whole text is in the journal.
SPAN_MESSAGE_CHARS_MAX = 256
# Events on one span: OpenTelemetry's own default; a step that is retried for days does not grow without end.
SPAN_EVENTS_MAX = 128
# Items of one `for_each` step that have spans of their own, the first ones: what a trace viewer still draws; the others
# are counted in the step's span.
SPAN_ITEMS_MAX = 1_000
# Attempts of one operation that have spans of their own, the first ones: a call that is polled for weeks has thousands;
# the others are counted in the operation's span.
SPAN_ATTEMPTS_MAX = 128
# Encoded attributes kept: a definition has a few hundred words that its spans repeat; some hundred bytes each.
SPAN_PAIRS_KEPT_MAX = 4_096
# Parsed `tracestate` values kept: one for each of the callers that trace, and those are few.
TRACE_STATES_KEPT_MAX = 256
# Sagas the trace reader keeps in mind, about 2 KiB each, up to 1 MiB with a thousand items; any other is folded anew
# from its stream when it moves.
TRACE_VIEWS_MAX = 4_096
# Records the trace reader takes at once: two milliseconds of the event loop.
TRACE_PAGE_RECORDS_MAX = 128
# Between two pages the loop belongs to sagas; with it the reader follows up to 25,000 records a second.
TRACE_PAGE_PAUSE_S = 0.002
# The trace reader looks this often while sagas move, so that pages are full rather than many.
TRACE_POLL_S = 0.2
# How often the trace reader's place is saved; a crash repeats at most the spans of this time and one batch.
TRACE_CURSOR_S = 1.0
# Tracing switched on for the first time on an old store begins this far back, not at its first record.
TRACE_BACKLOG_S_FIRST = 3_600.0
# Pause after a batch that the collector did not take; the exporter has then already tried for its own timeout.
TRACE_RETRY_S = 5.0
# A batch the collector did not take for so long is dropped and counted; what comes after it waits in the journal.
TRACE_BATCH_S_MAX = 600.0
# Time for the last spans to leave at shutdown; what is not out by then is exported after the next start.
TRACE_DRAIN_S_DEFAULT = 2.0
# A collector that stays away is complained of once a minute.
TRACE_COMPLAINT_S = 60.0
# Label combinations of one metric; every further one is counted as `other`, so that scrapes stay small.
METRIC_LABEL_SETS_MAX = 1_000
# How often the live sagas are counted by status: an index look-up, at half of the usual scrape interval at least.
SAGA_COUNT_S = 5.0
# Sagas looked at to count those that need a person by reason; where more do, the count of the rest is as good.
ATTENTION_ROWS_MAX = 1_000
# How often the event loop is asked how late it is: fine enough to see a blocked quarter of a second.
LOOP_LAG_SAMPLE_S = 0.25
# One line of the log, a traceback included; a longer one is cut and says so.
LOG_LINE_CHARS_MAX = 16_000

# --- the API -------------------------------------------------------------------------------------------------------

# gRPC's own default for a received message, in both directions: an answer over it would be lost at the client.
API_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
# gRPC's own default; ours are a trace context, a request id and a few words of the client library.
API_METADATA_BYTES_MAX = 8 * 1024
# A service that waits for each of its sagas holds a stream per saga on one connection; with the usual 100 its starts
# would queue behind its waits.
API_STREAMS_PER_CONNECTION_MAX = 1_000
# Short calls in flight over all connections: at a millisecond each, a second of work, and past it a quick no is better.
API_CALLS_MAX = 1_000
# Long polls and streams in flight over all connections; one costs a few kilobytes and no work while nothing happens.
API_WAITS_MAX = 10_000
# Hint to a caller that was turned away: longer than a burst, shorter than anybody's patience.
API_RETRY_AFTER_S = 0.5
# A status in trailing metadata, base64 and all, has to fit the 8 KiB that a client reads by default.
API_STATUS_BYTES_MAX = 4 * 1024
# An error's sentence: a paragraph, and with the rest of the status well below what a client reads.
API_ERROR_BYTES_MAX = 1_000
# One finding of the checker inside an error; `validate_only` returns it whole.
API_FINDING_BYTES_MAX = 300
# One value of ErrorInfo's metadata: an id, a name, a number.
API_ERROR_FACT_BYTES_MAX = 200
# Longest long poll: proxies cut silent calls after a minute or more.
API_WAIT_S_MAX = 60.0
# A long poll answers this long before its caller's deadline, so that the answer still arrives.
API_WAIT_MARGIN_S = 0.25
# Age at which a stream is closed, resumable, so that load can move to another server.
API_STREAM_S_MAX = 3_600.0
# A reader that takes no message for so long is cut off, resumable, rather than kept in memory.
API_SLOW_READER_S = 30.0
# Longest silence of a watch before a heartbeat, well below the minute after which proxies cut silent streams.
API_HEARTBEAT_S_DEFAULT = 15.0
# More often is polling.
API_HEARTBEAT_S_MIN = 1.0
# Less often is no heartbeat.
API_HEARTBEAT_S_MAX = 60.0
# A screen or two of rows.
API_PAGE_SIZE_DEFAULT = 100
# A megabyte of rows at most, a few milliseconds of work.
API_PAGE_SIZE_MAX = 1_000
# Our own tokens have a tenth of this; a longer one is not ours.
API_PAGE_TOKEN_CHARS_MAX = 2_000
# A filter of every name the API knows, several times over.
API_FILTER_CHARS_MAX = 4_000
# A caller's own request id; a UUID has 36.
API_REQUEST_ID_CHARS_MAX = 128
# A step, a signal, a reason to filter by: several times what anybody types.
API_NAME_CHARS_MAX = 256
# The name of a person or a program that repairs: an e-mail address, or the names in a certificate.
API_OPERATOR_CHARS_MAX = 256
# Records looked through for one page of one saga's audit: a few milliseconds, and a page may be empty with a token.
API_AUDIT_RECORDS_MAX = 5_000
# Sagas looked at for one page of those that have a given reason for attention; each costs a row of the index.
API_ATTENTION_ROWS_MAX = 5_000
# Records of sagas folded anew for one page of attention, one saga after the other: an answer within a second.
API_ATTENTION_PAGE_MAX = 200
# Items of a `for_each` step looked at for one page of those with a given status: a few milliseconds.
API_ITEMS_LOOKED_AT_MAX = 10_000
# A century: longer is a slip of the unit, and instants past the year 9999 have no notation.
API_DEADLINE_S_MAX = 100 * 366 * 86_400.0
# After the last answer is written, the time its bytes get to leave before the connections close.
API_STOP_S = 1.0
# What findings call the text by: a path somebody typed.
API_FILENAME_CHARS_MAX = 255
# A client that is gone without a word (a cut cable) is pinged while it waits, as often as proxies look for silence.
API_KEEPALIVE_S = 60.0
# A client that does not acknowledge a ping for so long is gone: gRPC's own default.
API_KEEPALIVE_ACK_S = 20.0
# Clients may ping as often as this without being called abusive: gRPC for Go and for Java ping no more often.
API_PING_S_MIN = 10.0
# Connections that wait to be accepted: a turn of the loop accepts them all, and more than the limit below are refused.
HTTP_BACKLOG = 128
# Probes and a scraper need a handful of connections; the page is not for crowds.
HTTP_CONNECTIONS_MAX = 100

# --- forwarding ----------------------------------------------------------------------------------------------------

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
# Requests read at once from the store.
POSTS_PAGE = 200
# Left requests done at once: a fail-over leaves some hundreds, and what calls do at first hand comes before them.
POSTS_AT_ONCE = 16
# Left requests that wait for their turn in one process, and as many to be tried again; the rest waits in the store.
POSTS_HELD_MAX = 1_000
# One try at a left request; a saga that is read back takes a second at most, and the next try comes by itself.
POST_TRY_S = 10.0
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
# A hint that takes longer comes too late to be one.
NUDGE_S_MAX = 1.0
# How often health asks whether there is an obstacle: below what load balancers notice.
OBSTACLE_POLL_S = 0.25

# --- calls ---------------------------------------------------------------------------------------------------------

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

# --- descriptors ---------------------------------------------------------------------------------------------------

# The whole conversation with a reflection service; hundreds of files arrive within a second.
REFLECTION_S_MAX = 10.0
# Conversations in one version of reflection where grpc.aio hid how the last one ended; then the other version is tried.
REFLECTION_ATTEMPTS_MAX = 3
# All of googleapis is about 4,000 files; one target that serves more is a mistake or an attack.
DESCRIPTORS_FILES_MAX = 4_000
# Compiling some hundred .proto files takes a second.
PROTOC_S_MAX = 30.0

# --- the runtime ---------------------------------------------------------------------------------------------------

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
# Streams of one group commit; larger groups gain nothing and delay the first in them.
COMMIT_STREAMS_MAX = 1_000
# Records read at once when a saga is folded.
READ_RECORDS_MAX = 10_000
# Records folded before other sagas have their turn: some ten milliseconds.
FOLD_RECORDS_MAX = 500
# Callers that wait for or watch sagas in one process, each with an open RPC.
WATCHERS_MAX = 10_000
# When a caller who was turned away should come back, where nothing better is known.
RETRY_AFTER_S_DEFAULT = 1.0
# Ended sagas whose last state is remembered, because whoever started them is about to ask.
ENDED_KEPT_MAX = 1_000
# Their records in all, the last one's apart: about half a kilobyte each, and a saga of 100,000 items has 300,000.
ENDED_RECORDS_KEPT_MAX = 200_000
# A saga that does nothing for so long is better found again in the journal.
PASSIVATION_WAIT_S_MIN = 5.0
# How often the journal is asked which sleeping sagas are due before the next time; their timers then fire exactly.
SWEEP_INTERVAL_S = 0.5
# Share of the time that passes by which the process's clock goes faster or slower to follow a wall clock that was set:
# an hour is made up for in four days, and no timer is off by more than this share of its length.
CLOCK_SLEW_MAX = 0.01
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
# Share of the time that forgetting may take while there is something to forget.
RETENTION_SHARE = 0.04
# Shortest time that an ended saga is kept: whoever waits for its end, anywhere, has to find it, and its spans leave.
RETENTION_S_MIN = 60.0
# New containers after which the cyclic collector looks; garbage in cycles comes from the gRPC library, a few a call.
GC_CONTAINERS = 50_000
# What a drain may take beyond its grace before the process leaves anyway: a flush of two seconds and a margin, together
# less than the 3 s that operators are told.
DRAIN_MARGIN_S = 2.8
# Pause before a store that is away is asked again by standing work: short beside any lease.
JOURNAL_AWAY_PAUSE_S = 0.25
# How often a process looks whether sagas that it does not run have moved, for those who wait for them here: a wait at
# the wrong process is longer by half of it on average.
WATCH_POLL_S = 0.05
# Sagas in one such look; an array of ids of this size is a few tens of kilobytes.
WATCH_POLL_SAGAS = 1_000
# Draws for a uid in a shard of one's own: with 1,000 processes, one in 20,000 sagas begins elsewhere.
UID_DRAWS_MAX = 10_000

# --- the cluster -----------------------------------------------------------------------------------------------------

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
# Answers of the store by which its clock is known: the quickest of them counts, and old ones drift.
STORE_TIME_SAMPLES = 16
# By how much the store's clock may be misread when a process begins: what it is off by then it makes up for slowly, and
# two such errors and the drift of both clocks stay below `CLOCK_SKEW_S`.
STORE_TIME_ERROR_S = 0.2
# Looks at the store's clock before one that is not that good has to do: seconds, at a store that is that slow.
STORE_TIME_LOOKS_MAX = 20
# Whoever asks how the cluster stands is told what was seen last where the store has not answered by then.
CLUSTER_LOOK_S = 2.0

# --- the checker ---------------------------------------------------------------------------------------------------

# As many broken rules as a person reads at once; further ones are counted.
VIOLATIONS_KEPT_MAX = 1_000
# Sagas read at once by the checker.
VERIFY_PAGE_ROWS = 500

# --- the proving ground --------------------------------------------------------------------------------------------

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

# --- exploring -----------------------------------------------------------------------------------------------------

# States a search looks at before it gives up and says so: some minutes, and about 2 KB each.
EXPLORE_STATES_MAX = 300_000
# Calls open when the orchestrator is killed of which every choice is tried, took place or not; of more, none, all and
# each alone.
EXPLORE_KILLED_CALLS_MAX = 3
# Paths kept of those that do not end as they must; one is shown, and a hundred are as much as anybody mends at once.
EXPLORE_FLAWS_MAX = 100
# How often a search tells how far it is.
EXPLORE_PROGRESS_S = 2.0
# How long a search may take where nobody says otherwise.
EXPLORE_S_DEFAULT = 120.0
# Records after which a simulated saga is held to be one that never ends.
PLAY_RECORDS_MAX = 100_000

# --- simulating ----------------------------------------------------------------------------------------------------

# Turns of a simulated loop at one instant: ten thousand sagas that all begin at once need some hundred thousand.
SIMULATED_TURNS_AT_ONCE_MAX = 1_000_000
# Runs that shrinking a failing one may take: some seconds, and enough to halve a tape of a hundred faults to a few.
SHRINK_RUNS_MAX = 600
# Sagas of one simulated run: more meet no more, and a failing run of thousands is read by nobody.
SIMULATED_SAGAS_MAX = 1_000
# Nodes of a simulated cluster: what goes wrong among three goes wrong among more, and takes longer to be found.
SIMULATED_NODES_MAX = 5
# Sagas of one simulated run with all their children, which are judged together in memory.
SIMULATED_ROWS_MAX = 100_000
# Lines of a timeline on a terminal; a shrunk run has some dozens.
TOLD_MOMENTS_MAX = 400
