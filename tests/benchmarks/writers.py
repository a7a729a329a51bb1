"""A process that appends to a database as fast as it takes it: the records of real sagas, without the engine.

`python -m tests.benchmarks.writers SERVICES DSN PLACE OF`: it runs one saga of five calls in memory to have its
appends, joins the cluster as a member and claims its part of the shards. Then it reads one JSON object a line,
`{"sagas": N, "group": G}`: it writes so many sagas, G at a time, each group of appends in one commit, and answers with
when it began and ended and what it spent.
"""

import asyncio
import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import uvloop

from orchestrator.bootstrap import calm_collector
from orchestrator.bootstrap.clock import elapsed
from orchestrator.frozen import changed
from orchestrator.ids import SagaId
from orchestrator.journal.postgres import PostgresJournal
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.ports.leases import Member, Shard
from tests.benchmarks import flows
from tests.benchmarks.programs import cpu_s
from tests.benchmarks.sagas import configured, node

LEASE_S = 3_600.0


async def appends_of_a_saga(services: str) -> list[Append]:
    """Return what one saga of five calls appends, in order."""
    with tempfile.TemporaryDirectory() as folder:
        file = configured(services, Path(folder), "memory:")
        async with node(file, "") as running:
            seen: list[Append] = []
            append = running.store.append

            async def noted(batch: Sequence[Append]) -> Sequence[AppendResult]:
                seen.extend(batch)
                return await append(batch)

            setattr(running.store, "append", noted)  # noqa: B010  # a method of this one journal only
            await flows.embedded(running.orchestrator, failing=False)()
            return seen


class Writer:
    """One member with its shards."""

    def __init__(self, journal: PostgresJournal, shards: Sequence[Shard], pattern: Sequence[Append]) -> None:
        self._journal = journal
        self._shards = shards
        self._pattern = pattern
        self._numbers = count()

    async def write(self, sagas: int, group: int) -> dict[str, float]:
        """Write whole sagas, in groups."""
        work = list(self._batches(sagas, group))
        began, cpu = elapsed(), cpu_s(os.getpid())
        for batch in work:
            results = await self._journal.append(batch)
            assert not any(results), next(filter(None, results))
        return {
            "began": began,
            "ended": elapsed(),
            "cpu_s": cpu_s(os.getpid()) - cpu,
            "sagas": sagas,
            "commits": len(work),
            "streams": sum(map(len, work)),
            "records": sum(len(append.records) for batch in work for append in batch),
        }

    def _batches(self, sagas: int, group: int) -> Iterator[list[Append]]:
        for begin in range(0, sagas, group):
            those = [self._saga() for _ in range(min(group, sagas - begin))]
            yield from ([saga[place] for saga in those] for place in range(len(self._pattern)))

    def _saga(self) -> list[Append]:
        uid = uuid.UUID(bytes=os.urandom(16), version=4)
        shard = self._shards[next(self._numbers) % len(self._shards)]
        return [
            changed(
                append,
                saga_id=SagaId(str(uid)),
                epoch=shard.epoch,
                records=tuple(changed(record, epoch=shard.epoch) for record in append.records),
                row=changed(
                    append.row,
                    saga_id=SagaId(str(uid)),
                    uid=str(uid),
                    request_id=str(uid),
                    epoch=shard.epoch,
                    shard=shard.shard,
                ),
            )
            for append in self._pattern
        ]


async def main(services: str, dsn: str, place: int, of: int) -> None:
    """Serve rounds until the input ends."""
    pattern = await appends_of_a_saga(services)
    journal = await PostgresJournal.open(dsn)
    member = Member(
        member=str(uuid.UUID(bytes=os.urandom(16), version=4)), name=f"writer-{place}", address="127.0.0.1:1"
    )
    view = await journal.join(member, LEASE_S)
    mine = await journal.claim(member.member, [each for each in view.shards if each.shard % of == place])
    assert mine, "somebody else has these shards"
    writer = Writer(journal, mine, pattern)
    print("ready")
    sys.stdout.flush()
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted: dict[str, Any] = json.loads(line)
        print(json.dumps(await writer.write(wanted["sagas"], wanted["group"])))
        sys.stdout.flush()
    await journal.leave(member.member)
    await journal.close()


if __name__ == "__main__":
    calm_collector()
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
