"""Telemetry: spans, metrics and lines of the log."""

# W3C Trace Context asks to pass on at least 512 characters of `tracestate`; more is dropped whole, in and out.
TRACESTATE_CHARS_MAX = 512
# The same document's limit of list members.
TRACESTATE_MEMBERS_MAX = 32
# W3C Baggage asks to pass on at least so many characters; a longer header is not read.
BAGGAGE_CHARS_MAX = 8_192
# The same document's limit of list members: so many names can be on the list of those that are kept.
BAGGAGE_NAMES_MAX = 64
# Kept with the saga and sent with every call of it. gRPC servers take 8 KiB of metadata by default, all headers
# together, and refuse calls at random above that: half of it is left to others. Members past it are dropped.
BAGGAGE_KEPT_CHARS_MAX = 4_096
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
# A saga's trace goes on in a new, linked one when what begins next begins this long after its part began: a day is what
# trace viewers search by, and what collectors that decide by whole traces can hold back.
TRACE_PART_S_MAX = 86_400.0
# Or after so many records: some 7,000 spans, more than a viewer draws well.
TRACE_PART_RECORDS_MAX = 10_000
# Texts of spans kept, of each kind: a definition has a few hundred, which all its sagas repeat. A kilobyte each, at
# most eight where services say something else each time; baggage that is told comes on top.
SPANS_SAID_KEPT_MAX = 4_096
# Encoded ids of sagas kept: a saga's spans follow closely on one another, and all of them name it.
SPAN_OWN_KEPT_MAX = 1_024
# Encoded lengths kept: a span has some 500 bytes, so that nearly all of them are among a few hundred.
SPAN_LENGTHS_KEPT_MAX = 1_024
# Parsed `tracestate` values kept: one for each of the callers that trace, and those are few.
TRACE_STATES_KEPT_MAX = 256
# Sagas the trace reader keeps in mind, about 2 KiB each, up to 1 MiB with a thousand items; any other is folded anew
# from its stream when it moves.
TRACE_VIEWS_MAX = 4_096
# Records the trace reader takes at once: a millisecond of the event loop.
TRACE_PAGE_RECORDS_MAX = 256
# Between two pages the loop belongs to sagas; with it the reader follows up to 50,000 records a second.
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
# An exemplar beside a bucket or counter is replaced no more often than this: scrapes come every few seconds, and more
# would be work for nobody.
EXEMPLAR_S = 1.0
# How often the live sagas are counted by status: an index look-up, at half of the usual scrape interval at least.
SAGA_COUNT_S = 5.0
# Sagas looked at to count those that need a person by reason; where more do, the count of the rest is as good.
ATTENTION_ROWS_MAX = 1_000
# Sagas looked at to say how many are due and not taken up; where there are more, the age of the oldest says enough.
RUNNABLE_ROWS_MAX = 1_000
# Times as many are looked at where all of them are in memory or set aside: so many sagas set aside hide nobody behind.
RUNNABLE_PAGES_MAX = 10
# How often the event loop is asked how late it is: fine enough to see a blocked quarter of a second.
LOOP_LAG_SAMPLE_S = 0.25
# One line of the log, a traceback included; a longer one is cut and says so.
LOG_LINE_CHARS_MAX = 16_000
# Alike lines at WARNING or ERROR that are written within a minute: enough to see a pattern. The others are counted.
LOG_ALIKE_LINES_MAX = 20
# How long such lines are counted together.
LOG_ALIKE_S = 60.0
# Kinds of lines that are counted at a time; the code has some hundred, and of a library's any text may be one.
LOG_ALIKE_KEPT_MAX = 256
# Causes of an exception that a line tells, and parts of a group of them: more are a loop.
LOG_CAUSES_MAX = 5
