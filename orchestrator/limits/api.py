"""The API: what one caller may take, and what all of them may together."""

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
# Calls asked of gRPC ahead of time: a burst comes in within a few turns of the event loop. One costs a kilobyte.
API_CALLS_ASKED_FOR = 64
# Calls that have come and are not looked at yet: as many as there is room for, so that all the rest are told so. What
# is past it, and left to itself what is past a thousand, gRPC cancels without a word. One costs 32 kB and about twice
# what of its message is here.
API_CALLS_UNSEEN_MAX = 11_000
# Older ones gRPC lets go of, without a word as well: longer than callers wait and than machines are halted.
API_CALL_UNSEEN_S_MAX = 3_600.0
# A request up to here is small: a thousand of them are 64 MiB, and so their number is bound enough.
API_SMALL_REQUEST_BYTES_MAX = 64 * 1024
# Bytes of larger requests that are being read and recorded: one takes up to nine times its size in memory meanwhile.
# Who waits for its saga after that takes the size once, and a place among the waits.
API_LARGE_REQUESTS_BYTES_MAX = 64 * 1024 * 1024
# What a caller may send before anybody reads it: HTTP/2's own default. A request that is larger costs one more exchange
# with its caller; left to itself, gRPC takes every message in whole, also those of calls that it has not shown us.
API_UNREAD_BYTES_MAX = 64 * 1024
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
# A command that has no answer yet is answered this long before its caller's deadline, with what is known of it.
API_ANSWER_MARGIN_S = 0.1
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
# Nobody has come for so long: whoever asks again as soon as it has an answer is now waiting for one.
API_LULL_S = 0.05
# Callers of a server that leaves wait at most so long for their refusal, until nobody comes any more.
API_PARTING_S_MAX = 0.5
# What findings call the text by: a path somebody typed.
API_FILENAME_CHARS_MAX = 255
# A client that is gone without a word (a cut cable) is pinged while it waits, as often as proxies look for silence.
API_KEEPALIVE_S = 60.0
# A client that does not acknowledge a ping for so long is gone: gRPC's own default.
API_KEEPALIVE_ACK_S = 20.0
# Clients may ping as often as this without being called abusive: gRPC for Go and for Java ping no more often.
API_PING_S_MIN = 10.0
# Connections that wait to be accepted: a turn of the loop accepts them all.
HTTP_BACKLOG = 128
# Probes and a scraper need a handful of connections; the page is not for crowds. For one more the oldest is cut, since
# most of those that are open do not say anything.
HTTP_CONNECTIONS_MAX = 100
# The page of figures repeats itself: the cheapest level makes it twenty times smaller, in a millisecond for a megabyte.
HTTP_GZIP_LEVEL = 1
