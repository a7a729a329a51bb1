"""Whether the tests notice a mutant.

A mistake in a function is put into the function's code where it is loaded already, with the tests, and is taken out
again: the machine is pure, so that nothing of it is left. Only tests run that pass through its line, first the one that
noticed the last mistake in this function. A mistake in what runs when a module is imported, such as a row of a table,
is there from the import on, in a fork of this process that has loaded all but the machine; and all tests run.
"""

import gc
import importlib
import importlib.util
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import entry_points
from pathlib import Path
from random import Random  # noqa: TID251  (a fixed seed: the same stories in every run)
from types import FunctionType, ModuleType
from typing import Any

import coverage
import pytest
from _pytest.outcomes import OutcomeException
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import PACKAGE, Mutant

TESTS = ("tests/scenarios", "tests/unit/saga")
TABLE_TESTS = (*TESTS, "tests/properties/test_transitions.py")
SLOW = ("test_transitions.py", "cut_at_its_bound", "no_more_forward_calls_than_the_bound")
"""Tests that take most of the time of all: last, and not asked where somebody is in a hurry."""
STORY_SEED = 2026
STORY_BYTES = 360
BOUND_S = 1.0
"""Seconds of processor time after which a test has been stopped by an endless loop, …"""
BOUND_TIMES = 20.0
"""… unless it took that much of its usual time."""
IMPORT_BOUND_S = 60.0
"""The same for the slow tests, and for loading them all."""
MEMORY_BYTES = 1 << 30
"""What a mutant may add to the memory before it is stopped."""
_OPTIONS = ("-qq", "-s", "--no-header", "--no-summary", "-p", "no:cacheprovider", "-o", "timeout=0")
_WARM = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
"""Plugins that were loaded before are as good, but for the wording of their own assertions."""


class Unsound(Exception):
    """The tests fail without any mistake, so that nothing they say of one is worth anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killer: str | None
    """The test that noticed, or what stopped it; None where nothing did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Killer:
    """A test."""

    name: str
    run: Callable[[], None]


class _Noticed(Exception):
    """A test has failed."""


class _Endless(BaseException):
    """A test has run for too long; no `except Exception` of the machine stops it."""


def _stop(_signal: int, _frame: object) -> None:
    raise _Endless


def judge(mutants: Sequence[Mutant], *, stories: int | None, hear: Callable[[Verdict], bool]) -> None:
    """Give a verdict on each mutant, those in functions last, until `hear` has heard enough.

    `stories` random worlds see what no test noticed; where it is None, slow tests are left out as well.
    """
    if any(each.startswith("orchestrator.saga") for each in sys.modules):
        raise Unsound("the machine is loaded already; a mutant has to be there before it")
    _warm_up()
    called = [mutant for mutant in mutants if mutant.function is not None]
    imported = [mutant for mutant in mutants if mutant.function is None]
    if imported and (said := _in_child(partial(_import_and_run, None, stories))) is not None:
        raise Unsound(f"without any mistake, the tests fail: {said}")
    for mutant in imported:
        killer = _in_child(partial(_import_and_run, mutant, stories))
        if not hear(Verdict(mutant=mutant, killer=killer)):
            return
    if called:
        # The session has to go on while its tests are run again and again: what pytest has taken down is not put up.
        session = _Session(_Jury(stories), called, hear)
        code = pytest.main([*_OPTIONS, *_WARM, *TESTS], plugins=[session])
        if session.unsound is not None or code != pytest.ExitCode.OK:
            raise Unsound(f"without any mistake, the tests fail: {session.unsound or 'they cannot be loaded'}")


def _in_child(work: Callable[[], None]) -> str | None:
    """Do the work in a fork of this process; return what it raised or was stopped by, None where it came to its end."""
    ear, mouth = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ear)
        _try(work, mouth)
    os.close(mouth)
    with os.fdopen(ear) as told:
        said = told.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return f"stopped by {signal.Signals(os.WTERMSIG(status)).name}"
    return None if os.WEXITSTATUS(status) == 0 else said or "the process ended"


def _try(work: Callable[[], None], mouth: int) -> None:
    """Never return: whatever happens, this process ends here."""
    code = 1
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        work()
        code = 0
    except _Noticed as noticed:
        os.write(mouth, str(noticed).encode())
    finally:
        os._exit(code)


def _bounded(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, seconds)


# --- a mistake that is there from the import on


class _Mutated(MetaPathFinder, Loader):
    """Gives one module of the machine with a mistake in it."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = ".".join([*PACKAGE.parts, mutant.module.name]).removesuffix(".__init__")
        self._path = mutant.module.path
        self._code = mutant.compile()

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path.resolve(), loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, vars(module))


class _FirstFailure:
    """A plugin that runs what was collected, and the stories, up to the first failure."""

    def __init__(self, stories: int | None) -> None:
        self._stories = stories
        self.noticed: str | None = None

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        try:
            self._run(session.items)
        except _Noticed as noticed:
            self.noticed = str(noticed)
        return True

    def _run(self, items: Sequence[pytest.Item]) -> None:
        items = sorted((item for item in items if _is_wanted(item, self._stories)), key=_is_slow)
        for item, after in zip(items, [*items[1:], None], strict=True):
            _bounded(IMPORT_BOUND_S if _is_slow(item) else BOUND_S)
            _run_item(item, after)
        for story in _told(self._stories):
            _bounded(BOUND_S)
            story.run()


def _warm_up() -> None:
    """Load all that is slow and is not the machine: what pytest loads, and what the tests are made of."""
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    for name in ("hypothesis", "hypothesis.strategies", "immutables", "asyncio", "json"):
        importlib.import_module(name)
    gc.freeze()


def _import_and_run(mutant: Mutant | None, stories: int | None) -> None:
    if mutant is not None:
        sys.meta_path.insert(0, _Mutated(mutant))
    _bounded(IMPORT_BOUND_S)
    failure = _FirstFailure(stories)
    code = pytest.main([*_OPTIONS, *_WARM, *TABLE_TESTS], plugins=[failure])
    if failure.noticed is not None or code != pytest.ExitCode.OK:
        raise _Noticed(failure.noticed or "the import itself")


# --- a mistake in a function


class _Session:
    """A plugin that judges in place of running the tests, when they are loaded."""

    def __init__(self, jury: "_Jury", mutants: Sequence[Mutant], hear: Callable[[Verdict], bool]) -> None:
        self._jury, self._mutants, self._hear = jury, mutants, hear
        self.unsound: str | None = None

    @pytest.hookimpl
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        signal.signal(signal.SIGPROF, _stop)
        self._jury.gather(session.items)
        self.unsound = self._jury.first_failure()
        for mutant in self._mutants if self.unsound is None else ():
            if not self._hear(Verdict(mutant=mutant, killer=self._jury.killer_of(mutant))):
                break
        # A mistake that outlived its mutant would have been noticed in the name of others.
        self.unsound = self.unsound or self._jury.first_failure()
        return True


class _Jury:
    """The tests, loaded, and the lines that each of them passes through."""

    def __init__(self, stories: int | None) -> None:
        self._stories = stories
        self._killers: dict[str, Killer] = {}
        self._took_s: dict[str, float] = {}
        self._by_line: dict[str, Mapping[int, Sequence[str]]] = {}
        self._functions: dict[tuple[str, str, int], list[FunctionType]] = {}
        self._noticed: dict[tuple[str, tuple[str, int]], list[str]] = {}

    def gather(self, items: Sequence[pytest.Item]) -> None:
        """Run everything once."""
        wanted = sorted((item for item in items if _is_wanted(item, self._stories)), key=_is_slow)
        tests = [Killer(name=item.nodeid, run=_call_of(item)) for item in wanted]
        measured = coverage.Coverage(data_file=None, include=[f"{PACKAGE.resolve()}/*"], config_file=False)
        for killer in [*tests, *_told(self._stories)]:
            measured.start()
            measured.switch_context(killer.name)
            began = time.process_time()
            try:
                killer.run()
            finally:
                measured.stop()
            self._took_s[killer.name] = time.process_time() - began
            self._killers[killer.name] = killer
        data = measured.get_data()
        self._by_line = {path: data.contexts_by_lineno(path) for path in data.measured_files()}
        self._functions = _functions()
        gc.collect()
        gc.freeze()  # what is there for good need not be looked through again and again

    def killer_of(self, mutant: Mutant) -> str | None:
        """Return which test notices the mistake."""
        assert mutant.function is not None
        path = str(mutant.module.path.resolve())
        functions = self._functions.get((path, *mutant.function), [])
        names = self._in_order(mutant, path)
        sound = [(function, function.__code__) for function in functions]
        for function in functions:
            function.__code__ = mutant.compile()
        try:
            killer = self.first_failure(names)
        finally:
            for function, code in sound:
                function.__code__ = code
        if killer is not None:
            recent = self._noticed.setdefault((path, mutant.function), [])
            recent[:] = [killer, *(each for each in recent if each != killer)][:8]
        return killer

    def first_failure(self, names: Sequence[str] | None = None) -> str | None:
        """Run tests, all where none are named, and return the first that fails."""
        for name in list(self._killers) if names is None else names:
            try:
                _bounded(max(BOUND_S, BOUND_TIMES * self._took_s[name]))
                self._killers[name].run()
            except (Exception, _Endless, OutcomeException):  # noqa: BLE001  (whatever a mistake leads to)
                return name
            finally:
                _bounded(0.0)
        return None

    def _in_order(self, mutant: Mutant, path: str) -> list[str]:
        assert mutant.function is not None
        by_line = self._by_line.get(path, {})
        passing = {name for line in mutant.place.lines for name in by_line.get(line, ())} - {""}
        first = [each for each in self._noticed.get((path, mutant.function), ()) if each in passing]
        # Stories last: a test that states the rule says more about what is wrong.
        rest = sorted(passing - set(first), key=lambda name: (name.startswith("story"), self._took_s[name], name))
        return [*first, *rest]


def _functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    """Return every function of the machine that is loaded, by file, name and first line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    package = str(PACKAGE.resolve())
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(package):
            code = each.__code__
            found.setdefault((code.co_filename, code.co_name, code.co_firstlineno), []).append(each)
    return found


# --- what is run


def _run_item(item: pytest.Item, after: pytest.Item | None) -> None:
    for report in runtestprotocol(item, log=False, nextitem=after):
        if report.failed:
            raise _Noticed(item.nodeid)


def _call_of(item: pytest.Item) -> Callable[[], None]:
    """Return what runs a test: where it asks for nothing but its parameters, the function itself."""
    assert isinstance(item, pytest.Function)
    given: dict[str, object] = item.callspec.params if hasattr(item, "callspec") else {}
    if set(item.fixturenames) <= set(given):
        return partial(item.obj, **given)
    return partial(_run_item, item, None)


def _is_slow(item: pytest.Item) -> bool:
    return any(each in item.nodeid for each in SLOW)


def _is_wanted(item: pytest.Item, stories: int | None) -> bool:
    return stories is not None or not _is_slow(item)


def _told(count: int | None) -> Iterator[Killer]:
    """Yield random worlds, each held to the oracles of the properties; half to their end, by a willing person."""
    from tests.properties import test_machine  # late: the machine is loaded with it

    luck = Random(STORY_SEED)
    tests: list[Any] = [
        test_machine.test_a_saga_keeps_every_rule_in_a_hostile_world,
        test_machine.test_a_person_who_decides_whatever_is_asked_brings_every_saga_to_its_end,
    ]
    for number in range(count or 0):
        name, tape = f"story {number}", luck.randbytes(STORY_BYTES)
        yield Killer(name=name, run=partial(_tell, name, tests[number % 2], tape))


def _tell(name: str, test: Any, tape: bytes) -> None:
    try:
        test.hypothesis.inner_test(tape)
    except Exception as broken:
        raise _Noticed(name) from broken
