"""What a live process can be asked about itself: figures, a dump, a profile. For a person who looks for what is wrong.

Whatever answers takes a look and changes nothing, and is bounded: a process in trouble must not be brought down by the
question. No payload, no secret and no local variable is ever in an answer.

Three parts of a process say what they have going on, each in its own words: `Acting` (the runtime), `Calling` (the
invoker), `Counting` (telemetry). `Diagnostics` puts them together with what the event loop says of itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from orchestrator.frozen import frozen


@frozen
class Figure:
    """One number of `/metrics`: the same name, the same labels, the same value."""

    name: str
    labels: Mapping[str, str]
    value: float


@frozen
class ActorFacts:
    """One saga in memory. Instants are Unix seconds."""

    saga_id: str
    definition: str
    status: str
    version: int
    shard: int
    mailbox: int
    """Messages waiting."""
    doing: str
    """What it is about: `commit` (an append is on its way), `held` (a turn waits for company), `calls`, `children`,
    `timer`, `idle`."""
    since_at: float
    """Since when it is about that, as near as it is known."""
    activated_at: float
    calls: int
    """Calls that are open."""
    wake_at: float | None
    """Its earliest timer."""
    timers: int
    """How many it has armed."""


@frozen
class CallFacts:
    """One call on the wire, or on its way there."""

    saga_id: str
    step: str
    operation: str
    attempt: int
    target: str
    method: str
    phase: str
    """`connecting`, `sent`, `aborting`."""
    begun_at: float
    deadline_at: float


@frozen
class TaskFacts:
    """Asyncio tasks that stand at the same place: what one of them is called, how many, and where they stand."""

    name: str
    coroutine: str
    stack: Sequence[str]
    """`path:line in function`, of our own code and of others', innermost last, through whatever each awaits."""
    count: int


@frozen
class StallFacts:
    """The event loop was held up: for how long, and by what."""

    at: float
    held_s: float
    culprit: str
    """`path:line in function` of the innermost frame of our own code that was seen while it lasted; where no function
    is to blame, what is: a collection of garbage, another thread, a process that was not run."""
    saga_id: str
    """Whose work it was; empty where it was nobody's."""
    stack: Sequence[str]


@frozen
class Suspect:
    """Something that lies about longer, or in greater number, than it should: perhaps a leak."""

    kind: str
    """`call` (long past its deadline), `actor` (idle and still in memory), `task` (many of one kind), `object` (a type
    whose count keeps growing, or open files)."""
    name: str
    count: int
    why: str
    """A sentence, with what to do next."""


@frozen
class Dump:
    """A process as it was at an instant and, where it has much, in the moment after it: sagas go on meanwhile.

    Each list is cut to the limit that was asked for; the totals are not.
    """

    at: float
    actors: Sequence[ActorFacts]
    actors_total: int
    calls: Sequence[CallFacts]
    calls_total: int
    calls_by_target: Mapping[str, int]
    """All of them."""
    timers_total: int
    """Timers that the sagas in memory have armed."""
    tasks: Sequence[TaskFacts]
    tasks_total: int
    stalls: Sequence[StallFacts]
    """The latest, newest first."""
    stalls_total: int
    suspects: Sequence[Suspect]
    threads: Mapping[str, Sequence[str]]
    """Name of each thread, and its stack."""


@frozen
class Profile:
    """Where the event loop's thread was, sampled: `outermost;…;innermost` -> how often it was seen there."""

    seconds: float
    hz: float
    samples: int
    idle_samples: int
    """Of those, in which the loop waited for something to do."""
    stacks: Mapping[str, int]


class Acting(Protocol):
    """Who has actors in memory."""

    def actors(self) -> Iterator[ActorFacts]:
        """Yield all of them, each as it is when it is asked for: whoever asks may let others have turns in between."""
        ...


class Calling(Protocol):
    """Who has calls under way."""

    def calls(self) -> Iterator[CallFacts]:
        """Yield all of them, as `Acting.actors` does."""
        ...


class Counting(Protocol):
    """Who counts."""

    def figures(self) -> Sequence[Figure]:
        """Return every number that a scrape would show now."""
        ...


class Diagnostics(Protocol):
    """A live process, asked about itself."""

    @property
    def name(self) -> str:
        """Return how people call the process."""
        ...

    @property
    def begun_at(self) -> float:
        """Return when it began."""
        ...

    def figures(self, prefixes: Sequence[str]) -> Sequence[Figure]:
        """Return the numbers whose names begin with one of these; all of them where none is given."""
        ...

    async def dump(self, limit: int, *, objects: bool = False) -> Dump:
        """Return the process as it is now, each list cut to `limit`, the oldest and fullest first.

        With `objects` everything that the garbage collector knows is counted as well, which is dear: a second of a core
        for a process with a hundred thousand sagas in memory. Raise `Overloaded` where they are being counted for
        somebody else, or were a short while ago.
        """
        ...

    async def profile(self, seconds: float, hz: float) -> Profile:
        """Sample for so long.

        Raise `Overloaded` where somebody else has it sampled now, and `Rejected` where it cannot be sampled at all.
        """
        ...
