"""A process that appends until its disk fails: `python -m tests.integration.journal.appending FILE N`.

Prints each acknowledged saga on its own line, then `failed` and leaves with code 7 once the journal says it is
unavailable. The n-th sync fails if `failing_sync.c` was loaded before libc; N = 0: none does, it appends until killed.
"""

import asyncio
import ctypes
import itertools
import os
import sys

from orchestrator.errors import JournalUnavailable
from orchestrator.journal.sqlite import SqliteJournal
from tests.conformance.journal_values import append, opened


async def main(file: str, fail_at: int) -> None:
    journal = SqliteJournal.open(file)
    if fail_at:
        ctypes.CDLL(None).arm(fail_at)
    for number in itertools.count():
        saga = f"saga-{number}"
        try:
            await journal.append([append(saga, opened(1), epoch=journal.epoch)])
        except JournalUnavailable:
            os.write(1, b"failed\n")
            os._exit(7)
        os.write(1, f"{saga}\n".encode())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
