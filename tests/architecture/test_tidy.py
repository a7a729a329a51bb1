"""The project obeys its own rules (tests/architecture/tidy.py)."""

import ast
import inspect
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from orchestrator import errors
from tests.architecture import tidy
from tests.architecture.tidy import Source

ROOT = Path(__file__).parents[2]
CODE_ROOTS = ("orchestrator", "services", "protos", "tests")
PROTO_PACKAGES = ("epro", "shop", "travel", "bank", "expenses", "importer")
GENERATED = ("orchestrator/v1/", *(f"services/{package}/v1/" for package in PROTO_PACKAGES))
TOP_LEVEL = frozenset(
    {"pyproject.toml", "protos", "orchestrator", "services", "tests", "compose", "docs"}
    | {"README.md", "Makefile", ".ci", ".gitignore"}
)
TEXT_SUFFIXES = frozenset({".py", ".md", ".toml", ".yaml", ".yml", ".proto", ".sql", ".sh", ".js", ".txt", ".mmd", ""})
SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "build", ".hypothesis"})

# Files over 400 lines, each with the reason why it is still one idea. An entry goes when its file is short again.
LONG_FILES: dict[str, str] = {
    "orchestrator/saga/events.py": "one published vocabulary, each value with its meaning; it holds no logic",
    "orchestrator/saga/outcome.py": "one table and its fold: what an end means is read beside what follows from it",
    "orchestrator/saga/plan.py": "one tree of values that name each other; what it derives is in edges.py",
    "orchestrator/saga/state.py": "one tree of values with their invariants at the fields, and what is asked of them",
    "orchestrator/telemetry/instruments.py": "one table of everything that is published, and no logic",
    "tests/properties/machine_world.py": "one world: the network, people and time act on one saga, in any order",
}
# invoker/service.py is named for the port it implements.
NAMES_ALLOWED = frozenset({"orchestrator/invoker/service.py"})
# The only places that may catch what they do not know.
BLIND_EXCEPT_HOMES = frozenset(
    {
        "orchestrator/runtime/supervisor.py",
        "orchestrator/api/edge.py",
        "orchestrator/api/desk.py",
        "orchestrator/telemetry/observers.py",
    }
)
# Limits whose room is not built yet. An entry goes when something obeys the limit.
UNUSED_LIMITS: frozenset[str] = frozenset()
# Error classes whose test comes with the part that raises them. An entry goes when its test is there.
UNTESTED_ERRORS: frozenset[str] = frozenset()


def walk(*roots: str) -> Iterator[Path]:
    for root in roots:
        for folder, folders, files in os.walk(ROOT / root):
            folders[:] = sorted(set(folders) - SKIPPED_FOLDERS)
            yield from (Path(folder) / name for name in sorted(files))


def sources(*roots: str) -> Iterator[Source]:
    for path in walk(*roots):
        source_path = path.relative_to(ROOT).as_posix()
        if path.suffix == ".py" and not source_path.startswith(GENERATED):
            yield Source.read(ROOT, path)


def texts() -> Iterator[Source]:
    """Every text people wrote, wherever it is; lock files and generated code are not written by people."""
    for path in (*walk(*CODE_ROOTS, "docs", "compose", ".ci"), *map(ROOT.joinpath, ("README.md", "Makefile"))):
        source_path = path.relative_to(ROOT).as_posix()
        if path.suffix in TEXT_SUFFIXES and not source_path.startswith((*GENERATED, ".ci/lock/")):
            yield Source.read(ROOT, path)


def assert_none(findings: Iterable[str]) -> None:
    found = list(findings)
    assert not found, "\n" + "\n".join(found)


def error_classes() -> list[type[errors.OrchestratorError]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value)
        and issubclass(value, errors.OrchestratorError)
        and value.__module__ == errors.__name__
    ]


def test_files_are_short() -> None:
    assert_none(finding for source in sources(*CODE_ROOTS) for finding in tidy.file_size(source, LONG_FILES))
    gone = [path for path in LONG_FILES if not (ROOT / path).exists()]
    assert not gone, "LONG_FILES names files that are gone"


def test_functions_fit_on_a_screen() -> None:
    assert_none(finding for source in sources(*CODE_ROOTS) for finding in tidy.function_size(source))


def test_packages_open_with_an_essay() -> None:
    doors = [source for source in sources("orchestrator") if source.path.endswith("/__init__.py")]
    counts = [len(list((ROOT / door.path).parent.glob("*.py"))) - 1 for door in doors]
    assert_none(finding for door, count in zip(doors, counts, strict=True) for finding in tidy.essay(door, count))


def test_names_say_what_lives_there() -> None:
    paths = (path.relative_to(ROOT).as_posix() for path in walk(*CODE_ROOTS, "docs", "compose", ".ci"))
    assert_none(finding for path in paths for finding in tidy.names(path, NAMES_ALLOWED))


def test_test_names_state_rules() -> None:
    assert_none(finding for source in sources("tests") for finding in tidy.test_names(source))


def test_nothing_is_left_over() -> None:
    assert_none(finding for source in texts() for finding in tidy.left_over(source))


def test_nothing_is_true_on_one_machine_only() -> None:
    assert_none(finding for source in texts() for finding in tidy.own_machine(source))


def test_lock_files_name_no_host() -> None:
    locks = sorted((ROOT / ".ci/lock").glob("*.txt"))
    assert locks
    assert_none(
        f"{path.name}: names an address" for path in locks if re.search(r"://|^--", path.read_text(), re.MULTILINE)
    )


def test_a_silenced_type_checker_has_a_reason() -> None:
    assert_none(finding for source in sources("orchestrator") for finding in tidy.ignored_types(source))


def test_the_machine_imports_values_only() -> None:
    assert_none(finding for source in sources("orchestrator/saga") for finding in tidy.pure_imports(source))


def test_nobody_sleeps_instead_of_waiting() -> None:
    assert_none(finding for source in sources("orchestrator", "tests") for finding in tidy.sleeps(source))


def test_blind_excepts_stay_home() -> None:
    code = sources("orchestrator")
    assert_none(finding for source in code for finding in tidy.blind_excepts(source, BLIND_EXCEPT_HOMES))


def test_every_limit_has_its_reason() -> None:
    assert_none(finding for source in sources("orchestrator/limits") for finding in tidy.limit_comments(source))


def test_every_limit_is_written_once() -> None:
    """The door of `limits` takes all that its files have: of two of one name it would silently keep the later."""
    names = [name for source in sources("orchestrator/limits") for name, _ in tidy.limit_names(source)]
    assert names
    assert_none(f"{name} is in two files; keep one" for name, count in Counter(names).items() if count > 1)


def test_every_limit_is_used() -> None:
    limits = {source.path: source for source in sources("orchestrator/limits")}
    words = {
        word for source in sources("orchestrator", "tests") if source.path not in limits for word in _words(source)
    }
    unused = {name for source in limits.values() for name, _ in tidy.limit_names(source)} - words
    assert_none(f"{name} bounds nothing; obey it or drop it" for name in sorted(unused - UNUSED_LIMITS))
    assert_none(f"{name} is obeyed now; take it off UNUSED_LIMITS" for name in sorted(UNUSED_LIMITS - unused))


def test_every_error_says_who_must_act() -> None:
    for kind in error_classes():
        assert re.fullmatch(r"[A-Z][A-Z_]+", kind.reason), kind
        assert isinstance(kind.fault, errors.Fault), kind
        assert isinstance(kind.retry, errors.Retry), kind
        assert kind.__doc__, kind


def test_no_two_errors_publish_one_reason() -> None:
    own = [kind.reason for kind in error_classes() if "reason" in vars(kind)]
    assert sorted(own) == sorted(set(own))


def test_every_error_is_provoked_in_a_test() -> None:
    words = {
        word
        for source in sources("tests")
        if not source.path.startswith("tests/architecture/") and source.path != "tests/unit/test_errors.py"
        for word in _words(source)
    }
    untested = {kind.__name__ for kind in error_classes() if not kind.__subclasses__()} - words
    assert_none(f"{name} is in no test; provoke it" for name in sorted(untested - UNTESTED_ERRORS))
    assert_none(f"{name} is tested now; take it off UNTESTED_ERRORS" for name in sorted(UNTESTED_ERRORS - untested))


def test_the_top_level_is_fixed() -> None:
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what belongs to the project cannot be told from what was built")
    listed = subprocess.run([git, "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {path.split("/")[0] for path in listed.splitlines()} <= TOP_LEVEL


def _words(source: Source) -> set[str]:
    """The names a file's code uses; words in its comments and sentences do not count."""
    return {
        name
        for node in ast.walk(source.tree)
        for name in (getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None))
        if isinstance(name, str)
    }
