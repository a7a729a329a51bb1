r"""A simulated database that several processes share: the memory store as a server, and the way to it and back.

::

    a life's question --- way there ---> done at the database --- way back ---> its answer
           \--- lost (statement.lost)          \--- lost (statement.unheard): done, and nobody knows
            \--- the connection breaks at once, and it is done all the same, later (statement.late)

It is away for everybody for a while (`database.away`), or for one node (`database.cut`). A question that finds it away
is refused at once, or hangs; either way it ends in `JournalUnavailable`. What is done here is done in one turn, and
told to `Oversight`, which knows the rules of leases and keeps its own books.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

from orchestrator.errors import JournalUnavailable
from orchestrator.ids import SagaId
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.memory_leases import MemoryCluster, MemoryLeases
from orchestrator.ports.journal import Append
from orchestrator.saga.events import SagaStarted, SignalReceived
from orchestrator.testing.clocks import BEGIN_AT
from orchestrator.testing.fates import Faults, Kind
from orchestrator.testing.loop import Life
from orchestrator.testing.oversight import Oversight

_WAY_S = 0.001
"""To the database or back, at most."""
_SLOW_S = 3.0
_LATE_S = 6.0
"""Within which a statement is done whose connection has broken: as long as a lease."""
_HANG_S = 5.0
"""After which a client gives up on a server that does not answer."""

T = TypeVar("T")
Statement = Callable[[], Coroutine[Any, Any, T]]


class Database:
    """What all nodes share: the records, who is there and who owns what."""

    def __init__(self, oversight: Oversight, *, shard_count: int) -> None:
        """Begin empty, and there for everybody."""
        self._cluster = MemoryCluster(now=now, shard_count=shard_count)
        self.oversight = oversight
        self.leases = self._cluster.open()
        """For those who look at the database without a network between."""
        self.definitions: dict[SagaId, str] = {}
        """Of every saga that is there."""
        self.on_landed: Callable[[Append], None] = lambda _: None
        """Hears of what is durable now."""
        self.is_away = False
        self.cut_off: dict[str, None] = {}
        """Nodes that do not reach it."""
        self._requests: set[str] = set()
        """What was asked for by name, and is durable."""
        self.is_refused: Callable[[str], bool] = lambda _request_id: False
        """Whether everybody who was sent a request has said that it was not done."""

    @property
    def store(self) -> MemoryJournal:
        """Return the records, for whoever judges them."""
        return self.leases.journal

    def open(self) -> MemoryLeases:
        """Return the store as one more process finds it."""
        return self._cluster.open()

    def is_reached_from(self, node: str) -> bool:
        """Return whether a node's questions come through."""
        return not (self.is_away or node in self.cut_off)

    def knows(self, request_id: str) -> bool:
        """Return whether something durable was asked for under this name."""
        return request_id in self._requests

    def landed(self, life: Life, append: Append) -> None:
        """Note that an append is durable."""
        self.definitions[append.saga_id] = append.row.definition
        self.oversight.landed(life, append)
        for record in append.records:
            if isinstance(record.event, SagaStarted | SignalReceived) and (name := record.event.request_id):
                self._requests.add(name)
                if self.is_refused(name):
                    self.oversight.tell(f"I8 request {name}: it was refused as not {life.name}'s, and done after that")
        self.on_landed(append)

    def look(self, actor: str, statement: str, life: Life) -> None:
        """Have the leases looked at after a statement changed them; `actor` is the member in whose name it was."""
        self.oversight.seen(finished(self.leases.view()), actor, statement, life)


class Line:
    """One life's way to the database."""

    def __init__(self, database: Database, life: Life, node: str, faults: Faults, outside: Context) -> None:
        """`outside` is the context of what no process's death ends."""
        self.database = database
        self.life = life
        self.node = node
        self.faults = faults
        self._outside = outside
        self._asked: Counter[str] = Counter()

    async def ask(self, what: str, statement: Statement[T], on_arrival: Callable[[], bool] = lambda: True) -> T:
        """Have a statement done; raise `JournalUnavailable` where no answer comes, and it may be done or not.

        `on_arrival` is asked when it is there, and may refuse to have it done: its process has died in this moment.
        """
        self._asked[what] += 1
        site = f"{self.life.name}/{what}/{self._asked[what]}"
        loop, draw, coin = asyncio.get_running_loop(), self.faults.fates.draw, self.faults.fates.coin
        strike = self.faults.strike
        told: asyncio.Future[T] = loop.create_future()
        way_s, back_s = (_WAY_S * draw(f"{way}/{site}") ** 2 for way in ("there", "back"))
        if strike(Kind.STATEMENT_LOST, site):
            self._break(told, way_s if coin(f"hangs/{site}") else _HANG_S * draw(f"hang/{site}"))
            return await told
        if strike(Kind.STATEMENT_LATE, site):
            self._break(told, way_s)
            way_s += _LATE_S * draw(f"late/{site}")
        elif strike(Kind.STATEMENT_SLOW, site):
            share = draw(f"slow/{site}/there")
            way_s += _SLOW_S * draw(f"slow/{site}") * share
            back_s += _SLOW_S * draw(f"slow/{site}") * (1.0 - share)

        def arrive() -> None:
            if not self.database.is_reached_from(self.node):
                self._break(told, _WAY_S if coin(f"refused/{site}") else _HANG_S * draw(f"hang/{site}"))
            elif on_arrival():
                answer = finished(statement())  # whatever is wrong with it is a defect, and is told as one
                if strike(Kind.STATEMENT_UNHEARD, site):
                    self._break(told, _WAY_S if coin(f"hangs/{site}") else _HANG_S * draw(f"hang/{site}"))
                else:
                    loop.call_later(back_s, self._tell, told, answer, context=self.life.context)

        loop.call_later(way_s, arrive, context=self._outside)  # no process's death ends what is done there
        return await told

    def _tell(self, told: "asyncio.Future[T]", answer: T) -> None:
        """Bring the answer back, into the context of the process: one that stands still hears it later."""
        if told.done():
            return  # nobody waits any more
        if self.database.is_reached_from(self.node):
            told.set_result(answer)
        else:
            _end(told)

    def _break(self, told: "asyncio.Future[T]", after_s: float) -> None:
        asyncio.get_running_loop().call_later(after_s, _end, told, context=self.life.context)


def now() -> float:
    """Return what the database's clock shows, Unix seconds: the one clock that is never wrong here."""
    return BEGIN_AT + asyncio.get_running_loop().time()


def finished(work: Coroutine[Any, Any, T]) -> T:
    """Run what only looks as if it waited: the memory store never does."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the memory store waited")


def _end(told: "asyncio.Future[T]") -> None:
    if not told.done():
        told.set_exception(JournalUnavailable("the database did not answer; what was asked of it is done or not"))
