"""The group append: one statement, and certainty about it.

A caller gets its answer when the answer is known, however often the connection is lost meanwhile. Running the statement
again is always right: whatever the first run did, a second one changes only streams that stand where they stood. What
such a stream tells then is told apart by the record itself: it is ours if it has our epoch and our checksum.

One append at a time, in a task that no caller can cancel: a cancelled statement would leave a connection in a state
that nobody knows.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from orchestrator.errors import Fenced, InvariantViolated, JournalUnavailable
from orchestrator.journal.postgres.driver import LOST, Connector, Link, Row, is_about_data
from orchestrator.journal.postgres.rows import Stream, standing_of, stream_of, values_of
from orchestrator.journal.postgres.sql import SQL
from orchestrator.journal.refusals import not_ours, refusal, request_taken, unknown_end
from orchestrator.limits import (
    POSTGRES_APPEND_S,
    POSTGRES_CLOSE_S,
    POSTGRES_RETRY_S,
    POSTGRES_RETRY_S_MAX,
    POSTGRES_TURNS_MAX,
)
from orchestrator.ports.journal import Append, AppendResult
from orchestrator.tasks import Tasks

_COMPLAIN_EVERY: Final = 10
_Verdicts = dict[int, AppendResult]
"""By the stream's place in its batch."""

logger: Final = logging.getLogger(__name__)


class Writer:
    """The one connection that appends, and the member in whose name it does."""

    def __init__(self, connector: Connector, entropy: Callable[[], float]) -> None:
        self._connector = connector
        self._entropy = entropy
        self._member = ""
        self._link: Link | None = None
        self._turn = asyncio.Lock()
        self._tasks = Tasks()
        self._changed = asyncio.Event()
        self._is_closed = False

    def join(self, member: str) -> None:
        """Append in this member's name from now on; what still waits in another's is over."""
        self._member = member
        self._wake()

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        """Write a group; return once the end of each of its streams is known."""
        done: asyncio.Future[Sequence[AppendResult]] = asyncio.get_running_loop().create_future()

        def failed(error: BaseException) -> None:
            if not done.done():
                done.set_exception(error)

        self._tasks.spawn(self._take_turn(batch, self._member, done), failed, name="append")
        return await done

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Keep appends out, once the one that runs has ended."""
        async with self._turn:
            yield

    async def close(self) -> None:
        """Let a running append end, within reason; whoever waits is told that the store is closed."""
        self._is_closed = True
        self._wake()
        try:
            async with asyncio.timeout(POSTGRES_CLOSE_S), self._turn:
                pass
        except TimeoutError:
            self._drop()
        async with self._turn:
            if self._link is not None:
                await self._link.close()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _take_turn(
        self, batch: Sequence[Append], member: str, done: "asyncio.Future[Sequence[AppendResult]]"
    ) -> None:
        async with self._turn:
            results = await self._write(batch, member)
        if not done.done():  # its caller has gone; what was written is written
            done.set_result(results)

    async def _write(self, batch: Sequence[Append], member: str) -> list[AppendResult]:
        verdicts: _Verdicts = {}
        streams: list[Stream] = []
        for place, append in enumerate(batch):
            try:
                streams.append(stream_of(place, append))
            except InvariantViolated as wrong:
                verdicts[place] = wrong
        for wave in _waves(streams):
            verdicts |= await self._settle(wave, member)
        return [verdicts[place] for place in range(len(batch))]

    async def _settle(self, wave: list[Stream], member: str) -> _Verdicts:
        """Run the statement until the end of every stream is known."""
        verdicts: _Verdicts = {}
        tries = refusals = 0
        is_unsure = False
        while left := [stream for stream in wave if stream.place not in verdicts]:
            self._check_open()
            if is_unsure and self._member != member:
                return verdicts | {stream.place: unknown_end(stream.append) for stream in left}
            try:
                verdicts |= await self._run(left, member, is_unsure=is_unsure)
            except LOST as exc:
                self._drop()
                if is_about_data(exc):  # nothing was done; a request id that another node took meanwhile is seen next
                    refusals += 1
                    if refusals > POSTGRES_TURNS_MAX:
                        return verdicts | await self._isolate(left, member, exc)
                    continue
                is_unsure = True
                await self._pause(tries, exc)
                tries += 1
        if tries:
            logger.info("a group append to %s ended well after %d more tries", self._connector.address.shown, tries)
        return verdicts

    async def _isolate(self, wave: list[Stream], member: str, exc: BaseException) -> _Verdicts:
        """Write each stream alone, so that one that cannot be written hinders no other."""
        if len(wave) == 1:
            append = wave[0].append
            wrong = InvariantViolated(
                "I6", f"what was appended to saga {append.saga_id!r} cannot be recorded: {exc}; nothing was written"
            )
            return {wave[0].place: wrong}
        verdicts: _Verdicts = {}
        for stream in wave:
            verdicts |= await self._settle([stream], member)
        return verdicts

    async def _run(self, streams: Sequence[Stream], member: str, *, is_unsure: bool) -> _Verdicts:
        """Write what can be written, and look how it stands with the rest."""
        if self._link is None or not self._link.is_open:
            self._link = await self._connector.connect(POSTGRES_APPEND_S)
        link = self._link
        written = await link.fetch(SQL["append"], member, *values_of(streams), timeout_s=POSTGRES_APPEND_S)
        names = {row[0] for row in written}
        verdicts: _Verdicts = {stream.place: None for stream in streams if stream.append.saga_id in names}
        refused = {stream.append.saga_id: stream for stream in streams if stream.place not in verdicts}
        if refused:
            values = standing_of(list(refused.values()))
            for saga_id, *standing in await link.fetch(SQL["standing"], member, *values, timeout_s=POSTGRES_APPEND_S):
                _judge(verdicts, refused[saga_id], standing, is_unsure=is_unsure)
        return verdicts

    async def _pause(self, tries: int, exc: BaseException) -> None:
        """Wait a little, or until the store is closed or its member is another."""
        self._connector.take_note(exc)
        if tries % _COMPLAIN_EVERY == 0:
            logger.warning(
                "the end of an append to %s is not known (%s: %s); it is tried until it is",
                self._connector.address.shown, type(exc).__name__, exc,
            )  # fmt: skip
        longest_s = min(POSTGRES_RETRY_S_MAX, POSTGRES_RETRY_S * 2 ** min(tries, 16))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._entropy() * longest_s):
                await self._changed.wait()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalUnavailable(
                f"the journal {self._connector.address.shown} is closed; what was under way is recorded or not, read "
                f"it again"
            )


def _waves(streams: Sequence[Stream]) -> list[list[Stream]]:
    """Part a group so that no stream and no request id is in a statement twice; the first comes first."""
    waves: list[list[Stream]] = []
    seen: list[set[tuple[str, str]]] = []
    for stream in streams:
        append = stream.append
        keys: set[tuple[str, str]] = {("saga", append.saga_id)}
        if append.expected_version == 0 and append.row.request_id:
            keys.add(("request", append.row.request_id))
        after = max((number for number, held in enumerate(seen) if held & keys), default=-1)
        if after + 1 == len(waves):
            waves.append([])
            seen.append(set())
        waves[after + 1].append(stream)
        seen[after + 1] |= keys
    return waves


def _judge(verdicts: _Verdicts, stream: Stream, standing: Row, *, is_unsure: bool) -> None:
    """Decide about a stream that this run did not write; leave it out where nothing stands in its way any more."""
    append = stream.append
    version, epoch, is_same, record_epoch, checksum, owner, is_ours = standing
    if is_unsure and (record_epoch, checksum) == (append.epoch, stream.last_checksum):
        verdicts[stream.place] = None  # an earlier run did
    elif not is_ours:
        verdicts[stream.place] = not_ours(append)
    elif version is None and append.expected_version > 0:
        verdicts[stream.place] = refusal(append, 0, 0)
    elif version is not None and (version != append.expected_version or epoch > append.epoch):
        verdicts[stream.place] = refusal(append, version, epoch)
    elif version is None and owner is not None:
        verdicts[stream.place] = request_taken(append, owner)
    elif version is not None and not is_same:
        verdicts[stream.place] = Fenced(
            f"saga {append.saga_id!r} lies in another shard, or is another one of the same id; nothing was recorded",
            saga_id=append.saga_id,
        )
