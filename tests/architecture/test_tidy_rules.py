"""Each rule of tests/architecture/tidy.py finds what it is for, and leaves alone what is right."""

import pytest

from tests.architecture import tidy
from tests.architecture.tidy import Source


def source(text: str, path: str = "orchestrator/saga/plan.py") -> Source:
    return Source(path=path, text=text)


@pytest.mark.parametrize(
    ("count", "reasons", "found"),
    [
        (400, {}, ""),
        (401, {}, "give LONG_FILES its reason"),
        (401, {"orchestrator/saga/plan.py": "one table"}, ""),
        (400, {"orchestrator/saga/plan.py": "one table"}, "few enough now"),
        (601, {"orchestrator/saga/plan.py": "one table"}, "split it by the questions"),
    ],
)
def test_a_file_is_short_or_has_a_reason(count: int, reasons: dict[str, str], found: str) -> None:
    findings = list(tidy.file_size(source("x\n" * count), reasons))
    assert len(findings) == bool(found)
    assert not found or found in findings[0]


@pytest.mark.parametrize(("count", "is_found"), [(70, False), (71, True)])
@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_a_function_fits_on_a_screen(keyword: str, count: int, is_found: bool) -> None:
    text = f"class A:\n    {keyword} f():\n" + "        x = 1\n" * (count - 1)
    assert bool(list(tidy.function_size(source(text)))) is is_found


@pytest.mark.parametrize(
    ("text", "modules_count", "found"),
    [
        ("", 1, "no docstring"),
        ('"""Short."""\n', 1, ""),
        ('"""Short."""\n', 2, "an essay of 1 lines"),
        ('"""' + "line\n" * 20 + '"""\nfrom a import b\n__all__ = ["b"]\n__version__: str = "1"\n', 2, ""),
        ('"""Short."""\nx = 1\n', 1, "move this inside"),
        ('"""Short."""\ndef f(): ...\n', 1, "move this inside"),
    ],
)
def test_a_package_opens_with_an_essay_and_nothing_else(text: str, modules_count: int, found: str) -> None:
    findings = list(tidy.essay(source(text), modules_count))
    assert len(findings) == bool(found)
    assert not found or found in findings[0]


@pytest.mark.parametrize(
    ("path", "is_found"),
    [
        ("orchestrator/utils.py", True),
        ("orchestrator/common/plan.py", True),
        ("orchestrator/invoker/service.py", False),
        ("services/service.py", True),
        ("orchestrator/saga/pl\u0430n.py", True),
        ("docs/types.md", False),
        ("orchestrator/saga/plan.py", False),
    ],
)
def test_a_name_says_what_lives_there(path: str, is_found: bool) -> None:
    assert bool(list(tidy.names(path, frozenset({"orchestrator/invoker/service.py"})))) is is_found


@pytest.mark.parametrize(
    ("name", "is_found"), [("test_cancel_past_pivot_is_rejected", False), ("test_extended_cancel", True)]
)
def test_a_test_name_states_a_rule(name: str, is_found: bool) -> None:
    assert bool(list(tidy.test_names(source(f"def {name}(): ...", "tests/unit/test_a.py")))) is is_found


@pytest.mark.parametrize(("text", "is_found"), [("# TO" + "DO later", True), ("TODOS = 1", False), ("done", False)])
def test_unfinished_work_is_found(text: str, is_found: bool) -> None:
    assert bool(list(tidy.left_over(source(text)))) is is_found


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("see /ho" + "me/me/notes", True),
        ("pip install --index" + "-url x", True),
        ("orchestrator/work/item", False),
        ("a/b", False),
    ],
)
def test_a_path_of_one_machine_is_found(text: str, is_found: bool) -> None:
    assert bool(list(tidy.own_machine(source(text)))) is is_found


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("x = f()  # type: ig" + "nore", True),
        ("x = f()  # type: ig" + "nore[arg-type]", True),
        ("x = f()  # pyright: ig" + "nore[reportAny]", True),
        ("x = f()  # type: ig" + "nore[arg-type]  # the library's stub is wrong", False),
    ],
)
def test_an_ignore_names_its_code_and_reason(text: str, is_found: bool) -> None:
    assert bool(list(tidy.ignored_types(source(text)))) is is_found


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("import time", True),
        ("from os import path", True),
        ("from datetime import now", True),
        ("import datetime", True),
        ("from datetime import timedelta", False),
        ("from collections.abc import Mapping", False),
        ("from orchestrator.ids import SagaId", False),
        ("def f():\n    import random", True),
        ("from operator import attrgetter", False),
        ("from immutables import Map", False),
        ("from immutables import MapMutation", True),
        ("import immutables", True),
    ],
)
def test_the_machine_may_not_import_the_world(text: str, is_found: bool) -> None:
    assert bool(list(tidy.pure_imports(source(text)))) is is_found


@pytest.mark.parametrize(
    ("text", "path", "is_found"),
    [
        ("await_ = asyncio.sleep(0)", "orchestrator/runtime/actor.py", True),
        ("asyncio.sleep(0)  # one turn: the store did not wait", "orchestrator/runtime/actor.py", False),
        ("asyncio.sleep(delay_s)", "orchestrator/runtime/actor.py", False),
        ("asyncio.sleep(0.1)", "tests/unit/test_a.py", True),
        ("time.sleep(0.1)", "tests/unit/test_a.py", True),
        ('saga.sleep("nap", "1s")', "tests/unit/test_a.py", False),
        ("asyncio.sleep(0.1)  # poll: another process's file", "tests/unit/test_a.py", False),
    ],
)
def test_a_sleep_is_no_way_to_wait(text: str, path: str, is_found: bool) -> None:
    assert bool(list(tidy.sleeps(source(text, path)))) is is_found


@pytest.mark.parametrize(
    ("kind", "is_found"),
    [("", True), (" Exception", True), (" (OSError, BaseException)", True), (" OSError", False)],
)
def test_a_blind_except_is_found(kind: str, is_found: bool) -> None:
    text = f"try:\n    f()\nexcept{kind}:\n    g()\n"
    assert bool(list(tidy.blind_excepts(source(text), frozenset()))) is is_found
    assert not list(tidy.blind_excepts(source(text), frozenset({"orchestrator/saga/plan.py"})))
    assert not list(tidy.blind_excepts(source(text + "    raise\n"), frozenset()))


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("# Because.\nSTEPS_MAX = 1\n", False),
        ("# --- section ---\nSTEPS_MAX = 1\n", True),
        ("# Because.\nA_MAX = 1\nB_MAX: int = 2\n", True),
        ("\nimport os\n", False),
    ],
)
def test_a_number_without_a_reason_is_found(text: str, is_found: bool) -> None:
    assert bool(list(tidy.limit_comments(source(text)))) is is_found
