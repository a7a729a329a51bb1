"""The cases of `make bench`: a name, what measures it, how it is shown, and what it aims at. One shape for all.

A case's figures are the section of its name in `build/bench.json`. Aims are those of the page: what must be, and the
goal beyond it.
"""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from tests.benchmarks import (
    beside,
    capacity,
    cluster,
    failover,
    forwarding,
    growth,
    growth_postgres,
    items,
    joining,
    prefilled,
    recovery,
    scrape,
    shown,
    sleepers,
    startup,
)
from tests.benchmarks.beside import OURS, Beside

Figures = Any
"""What `run` returned, as JSON has it."""
Run = Callable[[], Coroutine[None, None, Figures]]
Prepare = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One row of the table of aims."""

    what: str
    must: float | None
    goal: float | None
    reached: Callable[[Figures], float]
    unit: str = ""
    is_least: bool = True
    """Whether more is better."""
    digits: int = 2

    def is_met(self, figures: Figures, wanted: float | None) -> bool | None:
        """Return whether it is; None where nothing is wanted."""
        if wanted is None:
            return None
        return self.reached(figures) >= wanted if self.is_least else self.reached(figures) <= wanted

    def told(self, value: float | None) -> str:
        """Return a number of this row."""
        return "" if value is None else f"{value:,.{self.digits}f}{f' {self.unit}' if self.unit else ''}"

    def wanted(self, value: float | None) -> str:
        """Return a bound of this row."""
        return "" if value is None else f"{'at least' if self.is_least else 'at most'} {self.told(value)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What `make bench CASE=name` measures."""

    name: str
    run: Run
    shows: Callable[[Figures], str]
    """Markdown."""
    aims: tuple[Aim, ...] = ()
    pictures: Callable[[Figures], Mapping[str, str]] = lambda _: {}
    """SVG by file name, which stand beside the page."""
    prepare: Prepare | None = None
    """What it needs and is kept from run to run; in nobody's time."""
    by_name_only: bool = False
    """Whether `make bench` leaves it out."""
    limit_s: float = 150.0
    """It is ended then."""

    @property
    def family(self) -> str:
        """Return the name without its last word: `CASE=postgres` is all of them."""
        return self.name.partition("-")[0]


def _beside(
    name: str, run: Callable[[], Coroutine[None, None, Figures]], *aims: Aim, base: str = "bare", **more: Any
) -> Case:
    return Case(name=name, run=run, shows=lambda figures: shown.both({name: figures}, base), aims=aims, **more)


def _side(name: str, key: str) -> Callable[[Figures], float]:
    return lambda figures: float(figures["sides"][name][key])


def _ratio(what: str, must: float | None, goal: float | None, side: str = OURS) -> Aim:
    return Aim(what=what, must=must, goal=goal, reached=_side(side, "ratio"))


def _growth(line: str) -> Aim:
    return Aim(
        what=f"cost of a saga at the most over the fewest: {line}",
        must=None,
        goal=None,
        reached=lambda figures: float(figures[line][-1]["ratio"]),
        is_least=False,
    )


def _long(figures: Figures) -> str:
    costs = ", ".join(f"{of['step_us']:.0f} us in {name} ({of['steps']:,} steps)" for name, of in figures.items())
    return f"{shown.both(figures)}\n\nA step costs, beyond what the bare client spends for its call: {costs}."


def _retention(figures: Figures) -> str:
    logs = ", ".join(f"{size / 1e6:.1f} MB {name}" for name, size in figures["wal_bytes"].items())
    return (
        f"{shown.both({'retention': figures}, prefilled.KEEPING)}\n\n{figures['forgotten_s']:,.0f} sagas a second were "
        f"forgotten meanwhile, of {figures['kept']:,}. The write-ahead log at the end: {logs}."
    )


SQLITE = (
    _beside(
        "epro-1",
        Beside(concurrency=1).on_sqlite,
        Aim(
            what="p50 of one saga at C=1 over bare's", must=2.5, goal=1.7, is_least=False,
            reached=_side(OURS, "p50_ratio"),
        ),
    ),
    _beside("epro-16", Beside(concurrency=16).on_sqlite, _ratio("sagas/s over bare's, SQLite, C=16", None, None)),
    _beside(
        "epro-64",
        Beside(concurrency=64).on_sqlite,
        _ratio("sagas/s over bare's, SQLite, C=64", 0.50, 0.75),
        Aim(
            what="processor time of a saga over bare's, C=64", must=0.6, goal=0.2, unit="ms", is_least=False,
            reached=_side(OURS, "over_ms"),
        ),
    ),
    _beside("epro-256", Beside(concurrency=256).on_sqlite, _ratio("sagas/s over bare's, SQLite, C=256", None, None)),
    _beside(
        "failing-64",
        Beside(concurrency=64, failing=True).on_sqlite,
        _ratio("sagas/s over bare's, failing and undone, C=64", 0.50, 0.75),
    ),
    _beside(
        "traced-64",
        Beside(concurrency=64, traced=True).on_sqlite,
        _ratio("sagas/s over bare's, every saga traced to a live receiver, C=64", 0.40, 0.60),
    ),
    _beside(
        "api-64",
        Beside(concurrency=64).over_api,
        _ratio("sagas/s over bare's, started over the gRPC API, C=64", 0.35, 0.55),
    ),
)  # fmt: skip
POSTGRES = (
    _beside("postgres-1", Beside(concurrency=1).on_postgres, by_name_only=True),
    _beside("postgres-16", Beside(concurrency=16).on_postgres, by_name_only=True),
    _beside(
        "postgres-64", Beside(concurrency=64).on_postgres, _ratio("sagas/s over bare's, PostgreSQL, C=64", 0.45, 0.70)
    ),
    _beside("postgres-256", Beside(concurrency=256).on_postgres, by_name_only=True),
    _beside("postgres-failing", Beside(concurrency=64, failing=True).on_postgres, by_name_only=True),
)
WHOLE = (
    Case(
        name="recovery",
        run=recovery.measure,
        shows=recovery.shown,
        aims=(
            Aim(
                what="2,000 parked sagas, killed, begun again, all done", must=4.0, goal=1.5, unit="s", is_least=False,
                reached=lambda figures: float(figures[recovery.LAST]["s"]),
            ),
        ),
    ),
    Case(
        name="sleepers",
        run=sleepers.measure,
        shows=sleepers.shown,
        aims=(
            Aim(
                what="memory for each sleeping saga", must=1_000, goal=200, unit="bytes", is_least=False, digits=0,
                reached=lambda figures: float(figures["bytes_each"]),
            ),
        ),
    ),
    _beside(
        "full",
        prefilled.full,
        _ratio("sagas/s with 10⁶ finished and 10⁵ sleeping in the store, over none", 0.90, 0.98, prefilled.FILLED),
        base=prefilled.EMPTY,
        prepare=prefilled.prepare,
    ),
    Case(
        name="retention",
        run=prefilled.retention,
        shows=_retention,
        prepare=prefilled.prepare,
        aims=(_ratio("sagas/s while retention forgets, over without", 0.95, None, prefilled.FORGETTING),),
    ),
    Case(
        name="cluster",
        run=cluster.measure,
        shows=cluster.shown,
        aims=(
            Aim(
                what="two processes on PostgreSQL over one, each with a core, by processor time", must=1.5, goal=1.8,
                reached=cluster.own_cores,
            ),
        ),
    ),
    Case(
        name="long",
        run=beside.long,
        shows=_long,
        aims=tuple(
            Aim(
                what=f"a step of 1,000, {what}, over a step of five: engine's processor time", must=None, goal=None,
                is_least=False,
                reached=lambda figures, name=name: float(figures[name]["step_us"] / figures["epro_bench"]["step_us"]),  # type: ignore[misc]  # bound here
            )
            for name, what in (("chain_bench", "in a chain"), ("wide_bench", "all at once"))
        ),
    ),
    Case(
        name="items",
        run=items.measure,
        shows=items.shown,
        aims=(
            Aim(
                what="a list of 100,000 items", must=None, goal=None, unit="items/s", digits=0,
                reached=lambda figures: float(figures["items_s"]),
            ),
        ),
    ),
    Case(
        name="startup",
        run=startup.measure,
        shows=startup.shown,
        prepare=prefilled.prepare,
        aims=tuple(
            Aim(
                what=way, must=must, goal=None, unit="s", is_least=False,
                reached=lambda figures, way=way: float(figures[way]["s"]),  # type: ignore[misc]  # bound here
            )
            for way, must in ((startup.HELP, 0.2), (startup.EMPTY, 1.0), (startup.FULL, 3.0))
        ),
    ),
)  # fmt: skip
BY_NAME = (
    _beside("tracing", beside.tracing, by_name_only=True),
    Case(name="items-undone", run=items.measure_undone, shows=items.shown, by_name_only=True),
    Case(name="scrape", run=scrape.measure, shows=scrape.shown, by_name_only=True),
    Case(
        name="growth",
        run=growth.measure,
        shows=growth.shown,
        pictures=growth.pictures,
        prepare=growth.prepare,
        aims=tuple(_growth(line) for line in growth.LINES),
        by_name_only=True,
        limit_s=1_200.0,
    ),
    Case(
        name=growth_postgres.NAME,
        run=growth_postgres.measure,
        shows=growth_postgres.shown,
        pictures=growth_postgres.pictures,
        prepare=growth_postgres.prepare,
        aims=tuple(_growth(line) for line in growth_postgres.LINES),
        by_name_only=True,
        limit_s=2_400.0,  # most of it fills the servers
    ),
)
SCALE = (
    Case(
        name="joining", run=joining.measure, shows=joining.shown, pictures=joining.pictures, by_name_only=True
    ),
    Case(name="failover", run=failover.measure, shows=failover.shown, by_name_only=True, limit_s=600.0),
    Case(name="forwarding", run=forwarding.measure, shows=forwarding.shown, by_name_only=True, limit_s=300.0),
    Case(name="capacity", run=capacity.measure, shows=capacity.shown, by_name_only=True, limit_s=600.0),
)  # fmt: skip
CASES = (*SQLITE, *POSTGRES, *WHOLE, *BY_NAME, *SCALE)


def chosen(wanted: str) -> list[Case]:
    """Return what a word of the command line means: a case, a family, `scale`, or nothing, which is the page."""
    if not wanted:
        return [case for case in CASES if not case.by_name_only]
    if wanted == "scale":
        return [next(case for case in CASES if case.name == "cluster"), *SCALE]
    exact = [case for case in CASES if case.name == wanted]
    return exact or [case for case in CASES if case.family == wanted]


def aims(sections: Mapping[str, Figures], cases: tuple[Case, ...] | list[Case] = CASES) -> str:
    """Return the table of aims, with what was reached."""
    rows = [
        (
            aim.what, aim.wanted(aim.must), aim.wanted(aim.goal), *_reached(aim, sections.get(case.name)),
            f"`{case.name}`",
        )
        for case in cases
        for aim in case.aims
    ]  # fmt: skip
    return shown.table(("", "must", "goal", "reached", "", "case"), rows)


def _reached(aim: Aim, figures: Figures | None) -> tuple[str, str]:
    if figures is None:
        return "not measured", ""
    must, goal = aim.is_met(figures, aim.must), aim.is_met(figures, aim.goal)
    verdict = "missed" if must is False else "goal" if goal else "must" if must else ""
    return aim.told(aim.reached(figures)), verdict
