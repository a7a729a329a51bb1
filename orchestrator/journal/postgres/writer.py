"""The group append: one statement, and certainty about it.

A caller gets its answer when the answer is known, however often the connection is lost meanwhile. Running the statement
again is always right: whatever the first run did, a second one changes only streams that stand where they stood. What
such a stream tells then is told apart by the record itself: it is ours if it has our epoch and our checksum.

What the server refuses is another matter: nothing was done, and that is known. A group that is refused again and again
is halved until the stream is found that it is refused for, so that one that cannot be written hinders no other. That
stream ends with `InvariantViolated` where it will be refused for ever, else it is put off: whoever gave it gives it
again, alone, and then it has a connection of its own beside the others' (a lock that somebody holds on its row keeps
nobody else waiting).

One append at a time on each of the two connections, in a task that no caller can cancel: a cancelled statement would
leave a connection in a state that nobody knows.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import Fenced, InvariantViolated, JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.postgres.driver import (
    LOST,
    Connector,
    Link,
    Row,
    is_about_data,
    is_everybodys,
    is_passing,
    is_refused,
    is_too_slow,
)
from orchestrator.journal.postgres.late import Late
from orchestrator.journal.postgres.rows import Stream, standing_of, stream_of, values_of
from orchestrator.journal.postgres.sql import SQL
from orchestrator.journal.refusals import not_ours, put_off, refusal, request_taken, unknown_end
from orchestrator.limits import (
    POSTGRES_APPEND_S,
    POSTGRES_CLOSE_S,
    POSTGRES_LEASE_S,
    POSTGRES_RETRY_S,
    POSTGRES_RETRY_S_MAX,
    POSTGRES_STALL_S,
    POSTGRES_TURNS_MAX,
)
from orchestrator.logscope import of_saga
from orchestrator.ports.journal import Append, AppendResult, is_put_off
from orchestrator.tasks import Tasks

_COMPLAIN_EVERY: Final = 10
_Verdicts = dict[int, AppendResult]
"""By the stream's place in its batch."""

logger: Final = logging.getLogger(__name__)


class _Lane:
    """One connection that appends, for one group at a time."""

    def __init__(self, connector: Connector, statement_s: float) -> None:
        self._connector = connector
        self._link: Link | None = None
        self._connecting: asyncio.Timeout | None = None
        self.statement_s = statement_s
        self.turn = asyncio.Lock()

    async def link(self) -> Link:
        if self._link is None or not self._link.is_open:
            try:
                async with asyncio.timeout(None) as self._connecting:
                    self._link = await self._connector.connect(self.statement_s)
            finally:
                self._connecting = None
        return self._link

    def cut(self) -> None:
        """Wait for no answer, not even of a server that is connected to."""
        self.drop()
        if self._connecting is not None and not self._connecting.expired():
            self._connecting.reschedule(0.0)

    def drop(self) -> None:
        if self._link is not None:
            self._link.drop()
            self._link = None

    async def close(self) -> None:
        """Let what runs end, within reason."""
        try:
            async with asyncio.timeout(POSTGRES_CLOSE_S), self.turn:
                pass
        except TimeoutError:
            self.cut()
        async with self.turn:
            if self._link is not None:
                await self._link.close()


class Writer:
    """The connections that append, and the member in whose name they do."""

    def __init__(self, connector: Connector, entropy: Callable[[], float]) -> None:
        self._connector = connector
        self._entropy = entropy
        self._member = ""
        self._main = _Lane(connector, POSTGRES_APPEND_S)
        self._aside = _Lane(connector, POSTGRES_LEASE_S)  # for one stream, and no gift waits longer for its turn
        self._put_off: dict[SagaId, bool] = {}
        """Whether a statement was run before whose end is not known."""
        self.late = Late()
        self._tasks = Tasks()
        self._changed = asyncio.Event()
        self._is_closed = False
        self._unheard_since: float | None = None
        """Since when, by the loop's clock, the database owes an answer, or takes nothing from anybody."""
        self._trouble = "it does not answer"

    def join(self, member: str) -> None:
        """Append in this member's name from now on; what still waits in another's is over."""
        self._member = member
        self._put_off.clear()
        if member:
            self.late.clear()
        self._heard()
        self._wake()

    def leave(self, member: str) -> None:
        """Append in this member's name no more; what runs may end, and what is not sure of its end is over."""
        if member == self._member:
            self.join("")

    def cut(self) -> None:
        """Wait for no answer: what runs is not sure of its end."""
        self._main.cut()
        self._aside.cut()

    @property
    def obstacle(self) -> str | None:
        """Return why nothing has been recorded for a while; None while all is well, or nothing is asked of it."""
        since = self._unheard_since
        if since is None or asyncio.get_running_loop().time() - since < POSTGRES_STALL_S:
            return None
        return f"nothing can be recorded at {self._connector.address.shown}: {self._trouble}"

    async def append(self, batch: Sequence[Append]) -> Sequence[AppendResult]:
        """Write a group; return once the end of each of its streams is known."""
        done: asyncio.Future[Sequence[AppendResult]] = asyncio.get_running_loop().create_future()

        def failed(error: BaseException) -> None:
            if not done.done():
                done.set_exception(error)

        is_again = len(batch) == 1 and batch[0].saga_id in self._put_off
        lane = self._aside if is_again else self._main
        self._tasks.spawn(self._take_turn(lane, batch, self._member, done), failed, name="append")
        return await done

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Keep appends out, once those that run have ended."""
        async with self._aside.turn, self._main.turn:  # the others go on while what was put off has its try
            yield

    async def close(self) -> None:
        """Let a running append end, within reason; whoever waits is told that the store is closed."""
        self._is_closed = True
        self._wake()
        await asyncio.gather(self._main.close(), self._aside.close())

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _heard(self) -> None:
        self._unheard_since = None

    async def _take_turn(
        self, lane: _Lane, batch: Sequence[Append], member: str, done: "asyncio.Future[Sequence[AppendResult]]"
    ) -> None:
        async with lane.turn:
            if lane is self._aside:
                self.late.begin(batch[0].saga_id, batch[0].row.shard)
            results = await self._write(lane, batch, member)
        if not done.done():  # its caller has gone; what was written is written
            done.set_result(results)

    async def _write(self, lane: _Lane, batch: Sequence[Append], member: str) -> list[AppendResult]:
        verdicts: _Verdicts = {}
        streams: list[Stream] = []
        for place, append in enumerate(batch):
            try:
                streams.append(stream_of(place, append))
            except InvariantViolated as wrong:
                verdicts[place] = wrong
        for wave in _waves(streams):
            is_unsure = any(self._put_off.get(stream.append.saga_id) for stream in wave)
            group = _Group(lane=lane, member=member, is_unsure=is_unsure)
            verdicts |= await self._settle(group, wave, 0 if lane is self._aside else POSTGRES_TURNS_MAX)
        for place, append in enumerate(batch):
            saga_id, verdict = append.saga_id, verdicts[place]
            if not is_put_off(verdict):
                self._put_off.pop(saga_id, None)
            if not isinstance(verdict, JournalUnavailable) or self._put_off.get(saga_id) is False:
                self.late.end(saga_id)  # else a statement may still run
        return [verdicts[place] for place in range(len(batch))]

    async def _settle(self, group: "_Group", wave: list[Stream], patience: int) -> _Verdicts:
        """Run the statement until the end of every stream is known; refusals beyond `patience` part the group."""
        verdicts: _Verdicts = {}
        tries = refusals = 0
        while left := [stream for stream in wave if stream.place not in verdicts]:
            self._check_open()
            if self._member != group.member or not group.member:
                end = unknown_end if group.is_unsure else not_ours
                return verdicts | {stream.place: end(stream.append) for stream in left}
            if group.refusal is not None:
                return verdicts | {stream.place: self._later(group, stream.append, group.refusal) for stream in left}
            if self._unheard_since is None and group.lane is self._main:
                self._unheard_since, self._trouble = asyncio.get_running_loop().time(), "it does not answer"
            is_linked = False
            try:
                link = await group.lane.link()
                is_linked = True
                await self._run(group, link, left, verdicts)
            except LOST as exc:
                group.lane.drop()
                self._connector.take_note(exc)
                self._trouble = f"{type(exc).__name__}: {exc}"
                if is_linked and is_refused(exc):  # a request id that another node took meanwhile is seen next
                    if not is_everybodys(exc):
                        self._heard()
                    left = [stream for stream in left if stream.place not in verdicts]
                    refusals += 1
                    is_lone_data = len(left) == 1 and is_about_data(exc)
                    if refusals > (POSTGRES_TURNS_MAX if is_lone_data else patience) or is_too_slow(exc):
                        return verdicts | await self._part(group, left, exc)
                    if not is_about_data(exc):
                        await self._pause(refusals - 1)
                    continue
                group.is_unsure = True
                if tries % _COMPLAIN_EVERY == 0:
                    logger.warning(
                        "the end of an append to %s is not known (%s: %s); it is tried until it is",
                        self._connector.address.shown, type(exc).__name__, exc,
                    )  # fmt: skip
                await self._pause(tries)
                tries += 1
        if tries:
            logger.info("a group append to %s ended well after %d more tries", self._connector.address.shown, tries)
        return verdicts

    async def _part(self, group: "_Group", wave: list[Stream], exc: Exception) -> _Verdicts:
        """Halve what was refused, until what it is refused for is alone."""
        if not wave:
            return {}
        if len(wave) == 1:
            return {wave[0].place: await self._refused(group, wave[0], exc)}
        middle = len(wave) // 2
        verdicts = await self._settle(group, wave[:middle], 0)
        return verdicts | await self._settle(group, wave[middle:], 0)

    async def _refused(self, group: "_Group", stream: Stream, exc: Exception) -> AppendResult:
        """Say what becomes of a stream that is refused alone."""
        append = stream.append
        if group.is_unsure:  # an earlier run may have written it, though this one was refused
            verdicts: _Verdicts = {}
            try:
                await self._look(group, await group.lane.link(), [stream], verdicts)
            except LOST:
                group.lane.drop()
                return unknown_end(append)
            if stream.place in verdicts:
                return verdicts[stream.place]
        if is_passing(exc):
            if is_everybodys(exc):
                group.refusal = exc
            return self._later(group, append, exc)
        return InvariantViolated(
            "I6",  # not the server's words, which may show the row that it refused
            f"what was appended to saga {append.saga_id!r} cannot be recorded ({type(exc).__name__}); nothing was "
            f"written; the server's log has the rest",
        )

    def _later(self, group: "_Group", append: Append, exc: Exception) -> AppendResult:
        """Put a stream off: it is given again, alone."""
        later = put_off(append, exc)
        if append.saga_id not in self._put_off:
            why = f"{type(exc).__name__}: {exc}".partition("\n")[0]  # what follows may be the row
            about = of_saga(append.saga_id)
            logger.warning("an append of saga %s is put off, and tried again: %s", append.saga_id, why, extra=about)
        self._put_off[append.saga_id] = group.is_unsure
        if group.is_unsure:
            self.late.begin(append.saga_id, append.row.shard)
        return later

    async def _run(self, group: "_Group", link: Link, streams: Sequence[Stream], verdicts: _Verdicts) -> None:
        """Write what can be written, and look how it stands with the rest."""
        values = values_of(streams)
        written = await link.fetch(SQL["append"], group.member, *values, timeout_s=group.lane.statement_s)
        names = {row[0] for row in written}
        verdicts |= {stream.place: None for stream in streams if stream.append.saga_id in names}
        self._heard()
        if refused := [stream for stream in streams if stream.place not in verdicts]:
            await self._look(group, link, refused, verdicts)

    async def _look(self, group: "_Group", link: Link, streams: Sequence[Stream], verdicts: _Verdicts) -> None:
        """Look how it stands with streams that were not written."""
        by_name = {stream.append.saga_id: stream for stream in streams}
        values = standing_of(streams)
        for saga_id, *standing in await link.fetch(
            SQL["standing"], group.member, *values, timeout_s=group.lane.statement_s
        ):
            _judge(verdicts, by_name[saga_id], standing, is_unsure=group.is_unsure)

    async def _pause(self, tries: int) -> None:
        """Wait a little, or until the store is closed or its member is another."""
        longest_s = min(POSTGRES_RETRY_S_MAX, POSTGRES_RETRY_S * 2 ** min(tries, 16))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._entropy() * longest_s):
                await self._changed.wait()

    def _check_open(self) -> None:
        if self._is_closed:
            raise JournalUnavailable(
                f"the journal {self._connector.address.shown} is closed; what was under way is recorded or not, read "
                f"it again"
            )


@dataclass(slots=True, kw_only=True)
class _Group:
    """Streams that are written together, and what is known of that."""

    lane: _Lane
    member: str
    is_unsure: bool = False
    """A statement was run whose end is not known."""
    refusal: Exception | None = None
    """Why one of them was refused, where that will meet the others as well: they are put off without a try."""


def _waves(streams: Sequence[Stream]) -> list[list[Stream]]:
    """Part a group so that no stream and no request id is in a statement twice; the first comes first."""
    if _is_one_wave(streams):
        return [list(streams)]
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


def _is_one_wave(streams: Sequence[Stream]) -> bool:
    """Return whether nothing is in the group twice, as in nearly all."""
    appends = [stream.append for stream in streams]
    requests = [append.row.request_id for append in appends if append.expected_version == 0 and append.row.request_id]
    sagas = {append.saga_id for append in appends}
    return bool(streams) and len(sagas) == len(appends) and len(set(requests)) == len(requests)


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
