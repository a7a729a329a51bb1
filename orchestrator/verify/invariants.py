"""The fifty system invariants: what the checker holds, and where the others are held.

The numbers are those of the design, and never change. What can be read off the three witnesses is in `INVARIANTS`;
what they cannot show (memory, sockets, the processes' own lives, and what one of them believes of its lease) has tests
of its own, which `ELSEWHERE` names; what belongs to parts that are not built yet says so. `docs/reliability.md` lists
all of them, and a test holds it to this.
"""

from collections.abc import Mapping

INVARIANTS: Mapping[str, str] = {
    "I1": "a stream's versions are 1..n without a gap",
    "I2": "epochs never decrease along a stream",
    "I3": "no writer comes after its successor; attempts and rows bear their writer's epoch",
    "I4": "the search row says what the records fold to",
    "I5": "every record is an arc of the transition tables, and the end obeys M1 to M13",
    "I6": "every record and every search row can be read",
    "I7": "what a caller was told is in the journal",
    "I8": "what a caller was told is refused is not in the journal",
    "I9": "one request id is one saga, the one that its sender was told",
    "I10": "an effect at a service was recorded as an intent before",
    "I11": "an attempt has at most one end, and in an ended saga exactly one",
    "I12": "a key is derived from saga, path, operation and manual epoch; it stands for one request of one life",
    "I13": "one key has at most one effect; a call that may have been applied is repeated only where that is safe",
    "I14": "an operation is tried no more often than its policy allows, and not before its pause is over",
    "I15": "a step starts only when its predecessors allow it, and within its scope's or its list's time",
    "I16": "a list has no more items under way than its window, a saga no more calls than its bounds",
    "I17": "nothing goes forward after compensation began, nor in a part that is being undone",
    "I18": "what is undone is exactly what was applied or may have been, in the saga, a scope, and what is run again",
    "I19": "an undo starts only when no call of what is undone with it is open or may arrive; none acts after it",
    "I20": "what began later is undone earlier",
    "I21": "nothing that can be undone begins beside or after the pivot; nothing goes backward once it is applied",
    "I22": "no cancel and no deadline cuts an undo short, and nothing turns a saga that is being undone around",
    "I23": "an undo that failed is tried again or put before a person, and is not taken for done",
    "I24": "completed: every effect stands; compensated: none does; what a person left is listed instead",
    "I25": "a terminal event is the last one, and the only one but for a completed child that its parent undoes",
    "I26": "once a cancel is recorded nothing begins, and the saga is undone, unless its pivot is applied",
    "I27": "a required step's failure stops the saga; what runs beside it ends, once, before anything is undone",
    "I28": "a child ends before its parent, as the parent's step says: applied is COMPLETED, undone is not",
    "I29": "a signal is recorded once, if its sender was told so at all; no step takes one that has not come",
    "I30": "no timer fires before it is due, nor twice",
    "I31": "no step waits in vain for a signal that has come",
    "I33": "an attempt is ended by the writer that opened it, or as lost",
    "I35": "a saga that has not ended has a next wake-up, waits, or has asked a person and says why",
    "I36": "once the faults have ended, every saga ends, or asks for a person",
    "I41": "a saga keeps the revision it started with, in its records and in its row",
    "I43": "what only a person may do follows the record of who did it, and why",
    "I44": "what makes a stream grow is bounded",
    "I45": "a watcher is handed every record once, in order, as the journal has it",
    "I46": "a list shows no saga twice, and every one that was there from the first page to the last",
}
"""What can be read off a journal, the services' ledgers and the callers' answers."""

ELSEWHERE: Mapping[str, str] = {
    "I32": "not applicable yet: there are no schedules",
    "I34": "a mailbox is memory, and leaves no record: tests/unit/runtime/test_mailbox.py",
    "I37": "not applicable yet: all sagas are one tenant's, and have one queue",
    "I38": (
        "who owned a shard, and who believed it, is in no record; that nobody wrote after his successor is I2 and I3: "
        "tests/simulation/test_cluster_swarm.py, tests/e2e/test_cluster.py"
    ),
    "I39": (
        "the pace of recovery leaves no record, nor does who is fenced after an outage: "
        "tests/unit/runtime/test_taking_up.py, tests/simulation/test_cluster_swarm.py"
    ),
    "I40": "what an unreadable saga costs the others leaves no record: tests/unit/runtime/test_ailing_stores.py",
    "I42": "what is said in logs, spans and errors is no witness of these: tests/integration/telemetry/test_canary.py",
    "I47": "traces are a witness of their own: tests/e2e/test_trace.py",
    "I48": "how a process leaves is not in what it leaves: tests/e2e/test_stop.py, tests/e2e/test_cluster.py",
    "I49": "what a process holds is not recorded: tests/integration/leaks",
    "I50": "what a disk or a database does to a process is seen from beside it: tests/integration/journal",
}
"""The others: why no witness shows them, and the test that holds them."""
