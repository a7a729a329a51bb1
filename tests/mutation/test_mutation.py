"""The score that is kept is of the machine as it is, and a sample of mistakes is noticed by the tests alone."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.kept import SCORE, equivalents
from tests.mutation.mutants import mutants_of, read, sample
from tests.mutation.operators import mistakes

ROOT = Path(__file__).parents[2]
MUTANTS = int(os.environ.get("MUTANTS", "60"))
MUTANTS_SEED = int(os.environ.get("MUTANTS_SEED", "2026"))


def test_the_score_names_every_module_and_adds_up() -> None:
    kept = json.loads(SCORE.read_text(encoding="utf-8"))
    modules = kept["modules"]
    assert set(modules) == {each.module.name for each in mutants_of(read())}
    for each in [*modules.values(), kept["total"]]:
        assert each["mutants"] == each["killed"] + each["survived"] + each["equivalent"] + each["unjudged"]
    assert {name: sum(each[name] for each in modules.values()) for name in kept["total"]} == kept["total"]
    assert len(kept["survivors"]) == kept["total"]["survived"]


def test_what_is_listed_as_no_mistake_is_a_mutant_and_has_a_reason() -> None:
    names = {each.name for each in mutants_of(read())}
    assert [name for name in equivalents() if name not in names] == []
    assert [name for name, why in equivalents().items() if len(why) < 20] == []


def test_a_sample_of_mistakes_is_noticed_and_what_is_none_is_not() -> None:
    options = ["--sample", str(MUTANTS), "--seed", str(MUTANTS_SEED), "--quick"]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutation", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr[-2000:]}"


def test_a_sample_keeps_its_choice_when_other_mutants_go() -> None:
    every = mutants_of(read())
    chosen = sample(every, 50, seed=1)
    gone = chosen[7]
    after = sample([each for each in every if each is not gone], 50, seed=1)
    assert len(after) == 50
    assert {each.name for each in chosen} - {each.name for each in after} == {gone.name}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a is not b", {"a is b"}),
        ("a and b and c", {"a or b or c", "b and c", "a and c", "a and b"}),
        ("not a", {"a"}),
        ("-a", {"a"}),
        ("True", {"False"}),
        ("3", {"4"}),
        ("'text'", {"''"}),
        ("f'{a} text'", {"''"}),
        ("a if b else c", {"a", "c"}),
        ("a - b", {"a + b", "a"}),
        ("a | b", {"a & b", "a", "b"}),
        ("Colour.RED", {"Colour.GREEN"}),
        ("Colour.GREEN", {"Colour.RED"}),
        ("f(a, b)", {"f(b, a)"}),
        ("f(a, b=c)", {"f(a)"}),
        ("sorted(a, key=b)", {"list(a)", "sorted(a)"}),
        ("min(a, b)", {"max(a, b)", "min(b)", "min(a)"}),
        ("{a, b}", {"{a}", "{b}"}),
        ("{a}", {"{*()}"}),
        ("[a, b]", {"[a]", "[b]"}),
        ("{a: b, **c}", {"{**c}", "{a: b}"}),
        ("None", set[str]()),
    ],
)
def test_an_expression_may_be_wrong_in_these_ways(code: str, expected: set[str]) -> None:
    words = {"Colour": ("RED", "GREEN")}
    assert {ast.unparse(new) for _, new in mistakes(ast.parse(code, mode="eval").body, words)} == expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("if a: f()", {"if True:\n    f()", "if False:\n    f()"}),
        ("for a in b: f()", {"for a in ():\n    f()", "for a in b:\n    f()\n    break"}),
        ("while a: f()", {"while False:\n    f()", "while a:\n    f()\n    break"}),
        ("return a", {"return None"}),
        ("f()", {"pass"}),
        ("a += 1", {"pass"}),
        ("raise a", {"pass"}),
        ("continue", {"pass"}),
        ("break", {"pass", "continue"}),
        (
            "match a:\n case 1: f()\n case _: g()",
            {"match a:\n    case _:\n        g()", "match a:\n    case 1:\n        f()"},
        ),
    ],
)
def test_a_statement_may_be_wrong_in_these_ways(code: str, expected: set[str]) -> None:
    assert {ast.unparse(ast.fix_missing_locations(new)) for _, new in mistakes(ast.parse(code).body[0], {})} == expected
