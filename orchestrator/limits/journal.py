"""The journal: commits of the SQLite file, forgetting, and promotion to PostgreSQL."""

# While the disk takes less than this for a commit, on average, commits run on the event loop: a thread hand-off costs
# more than they do. Two milliseconds is as long as a group may make every other saga wait for nothing but the disk.
JOURNAL_COMMIT_LOOP_S_MAX = 0.002
# Where one that is tried on the event loop takes less, they come back from the writer thread; half of the other bound,
# so that they do not swing to and fro.
JOURNAL_COMMIT_LOOP_S_BACK = 0.001
# How long commits stay in the thread before one is tried on the loop; it may take a hundredth of that time.
JOURNAL_COMMIT_TRY_S = 1.0
# None is tried while they take longer than this in the thread: a disk that stands still would hold up the loop.
JOURNAL_COMMIT_TRY_S_MAX = 0.05
# Rows read on the event loop in one go, about two milliseconds of decoding; what is longer is read in a thread.
JOURNAL_LOOP_ROWS_MAX = 500
# Newest records kept until the trace reader has taken them: it looks every fifth of a second, in which 2,000 sagas a
# second write 7,000; where it is further behind, nothing is kept until it has caught up from the file.
RECENT_RECORDS_MAX = 16_384
# The same in bytes as encoded: requests and inputs hang on them, and may be large.
RECENT_BYTES_MAX = 8 * 1024 * 1024
# Values of one field of a record that are kept as they were written: steps, definitions, words. All definitions of a
# store have some hundreds; the items of a long list are steps of their own, and begin it anew. Where all are full,
# which is 55 fields, they take 17 megabytes.
RECORD_WORDS_KEPT_MAX = 2_048
# Sagas under way whose row's number is remembered, so that an append need not look its name up among millions; two
# megabytes. Of more, those that have been under way longest are looked up.
JOURNAL_NUMBERS_KEPT_MAX = 16_384
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
