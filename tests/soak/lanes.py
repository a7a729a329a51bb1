"""The lanes: what each proves, how it is run, and how long it takes on two cores."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """An environment variable that says how much is done."""

    name: str
    full: int
    least: int
    """What `make test` does; a share is never less."""

    def share(self, of: float) -> int:
        return max(self.least, min(self.full, round(self.full * of)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A part of the tests, run for long."""

    name: str
    proves: str
    arguments: tuple[str, ...]
    """Of the module."""
    module: str = "pytest"
    knobs: tuple[Knob, ...] = ()
    """What grows with the time that there is."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Environment that does not."""
    reports: tuple[str, ...]
    """The names under which it keeps its figures."""
    minutes: float
    """What it takes in full, about."""


LANES = (
    Lane(
        name="kill",
        proves="kill -9 under load, all shapes: nothing lost, doubled or left undone, for any of three witnesses",
        arguments=("tests/e2e/test_kill.py",),
        knobs=(Knob(name="KILLS", full=500, least=24),),
        reports=("kill", "kill_undeclared"),
        minutes=25,
    ),
    Lane(
        name="sigterm",
        proves="SIGTERM under load, with a hung service and a collector that never answers: out in time, nothing lost",
        arguments=("tests/e2e/test_stop.py",),
        knobs=(Knob(name="CYCLES", full=200, least=4),),
        reports=("sigterm", "sigterm_black_hole", "sigterm_twice"),
        minutes=20,
    ),
    Lane(
        name="cluster",
        proves="three nodes on one PostgreSQL, killed, stopped, cut off, beside restarts of it: no two ever write one",
        arguments=("tests/e2e/test_cluster.py",),
        knobs=(Knob(name="FAULTS", full=600, least=40), Knob(name="RESTARTS", full=500, least=30)),
        reports=("cluster", "cluster_failover"),
        minutes=15,
    ),
    Lane(
        name="leaks",
        proves="after any number of sagas, cancels, broken-off watches and reloads a node holds what it held before",
        arguments=("tests/integration/leaks", "-k", "nothing_grows"),
        knobs=(Knob(name="SAGAS", full=300_000, least=2_400),),
        reports=("leaks",),
        minutes=45,
    ),
    Lane(
        name="simulation",
        proves="sagas of every shape in worlds that fail by seed: no rule broken, and the same seed is the same run",
        arguments=("tests/simulation/test_swarm.py", "-k", "any_world"),
        knobs=(Knob(name="SEEDS", full=100_000, least=600),),
        reports=tuple(f"simulation_{share}" for share in range(1, 5)),
        minutes=60,
    ),
    Lane(
        name="crashes",
        proves="forty-odd flows killed at every turn, append and call, and at a million pairs of these: all end whole",
        arguments=("tests/simulation/test_crash_index.py",),
        knobs=(Knob(name="PAIRS", full=1_000_000, least=2_000),),
        reports=("crash_index",),
        minutes=70,
    ),
    Lane(
        name="network",
        proves="every fault of a network, at every call, on both sides of the orchestrator: nothing is misjudged",
        arguments=("tests/integration/network",),
        knobs=(Knob(name="NETWORK_ROUNDS", full=300, least=1),),
        reports=("network", "network_every_call_keyed", "network_every_call_bare"),
        minutes=40,
    ),
    Lane(
        name="storage",
        proves="each write and sync that can fail fails, under a whole orchestrator; a disk that is full",
        arguments=("tests/integration/journal",),
        settings={"DISK_STRIDE": "1"},
        reports=("storage", "full_disk"),
        minutes=5,
    ),
    Lane(
        name="clocks",
        proves="clocks are set, smeared and suspended, under a process and between two: nothing early, nothing twice",
        arguments=("tests/integration/clocks",),
        reports=("clocks", "clocks_process"),
        minutes=3,
    ),
    Lane(
        name="promotion",
        proves="a file that is moved to PostgreSQL, killed on the way as often as you like, is there byte for byte",
        arguments=("tests/integration/journal/test_promotion_killed.py",),
        knobs=(Knob(name="PROMOTION_KILLS", full=300, least=2),),
        reports=("promotion",),
        minutes=10,
    ),
    Lane(
        name="fuzz",
        proves="whatever strangers send is taken, or refused in a sentence: no crash, no hang, no memory without bound",
        module="tests.fuzz",
        arguments=(),
        knobs=(Knob(name="INPUTS", full=5_000_000, least=50_500),),
        reports=("fuzz",),
        minutes=240,
    ),
    Lane(
        name="defects",
        proves="each mistake planted in the runtime, the machine and the store is noticed by the simulation",
        module="tests.defects",
        arguments=(),
        reports=("defects",),
        minutes=15,
    ),
    Lane(
        name="mutation",
        proves="each small mistake in the machine is noticed by its tests",
        module="tests.mutation",
        arguments=(),
        reports=("mutation",),
        minutes=90,
    ),
)
"""In the order in which they run: what is quick to tell of a fault comes first."""


def chosen(only: list[str]) -> tuple[Lane, ...]:
    """Return the lanes of these names, in the order of the table; all where none is named."""
    return tuple(lane for lane in LANES if not only or lane.name in only)


def share_of(lanes: tuple[Lane, ...], minutes: float | None) -> float:
    """Return which share of everything fits: 1 where nobody is in a hurry."""
    return 1.0 if minutes is None else min(1.0, minutes / sum(lane.minutes for lane in lanes))
