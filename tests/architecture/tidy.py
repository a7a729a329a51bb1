"""The house rules that no linter knows, as functions from a source to findings.

A finding is one line, `path:line: what is wrong; what to do`. The rules know nothing of this project's files, so that
`test_tidy_rules.py` can try each on a few lines of text; `test_tidy.py` runs them over the project.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

FILE_LINES_WARN = 400
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
ESSAY_LINES_MIN = 20

BANNED_NAMES = frozenset(
    {"utils", "helpers", "common", "base", "core", "misc", "manager", "handler", "service", "models", "types"}
)
BANNED_TEST_WORDS = frozenset({"coverage", "extended", "comprehensive", "misc", "additional", "improved"})
# Spelled apart, so that this file does not find itself.
LEFT_OVER = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
# A path of the author's own machine, and a package index of the author's own network, work for nobody else.
OWN_MACHINE = re.compile(r"(?<![\w.}~<-])/(?:work|root|home|Users|tmp/team)/|--(?:extra-)?index" + r"-url")
TYPE_IGNORE = re.compile(r"#\s*(?:type|pyright):\s*ignore(?P<rest>.*)")
EXPLAINED = re.compile(r"^\[[\w, -]+\]\s*[#(:-]*\s*\w.{4,}")

# What the machine may import from the standard library: values and arithmetic, never the world.
PURE_MODULES = frozenset(
    {"dataclasses", "enum", "typing", "collections", "collections.abc", "decimal", "uuid", "hashlib", "math"}
    | {"functools", "itertools", "operator"}
)
# The one third-party name: a map that is a value. A saga has up to 100,000 items, and each event changes one of them:
# a copied dict would cost all of them each time, and `immutables` computes and does nothing else.
PURE_THIRD_PARTY = {"immutables": frozenset({"Map"})}
# `sleep` of these waits; a definition's own step of that name (`saga.sleep("nap", "1s")`) does not.
CLOCK_MODULES = frozenset({"asyncio", "time"})
PURE_NAMES = {"datetime": frozenset({"datetime", "date", "time", "timedelta", "timezone", "UTC"})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file: its path relative to the project, with forward slashes, and its text."""

    path: str
    text: str

    @classmethod
    def read(cls, root: Path, path: Path) -> "Source":
        """Read `path`, naming it from `root`."""
        return cls(path=path.relative_to(root).as_posix(), text=path.read_text(encoding="utf-8"))

    @property
    def lines(self) -> list[str]:
        """The text by line, without line ends."""
        return self.text.splitlines()

    @property
    def tree(self) -> ast.Module:
        """The parsed text; a syntax error names the file."""
        return ast.parse(self.text, filename=self.path)


def file_size(source: Source, reasons: dict[str, str]) -> Iterator[str]:
    """A file over 400 lines needs a reason on the list, one over 600 has none; a reason no longer needed goes."""
    count = len(source.lines)
    if count > FILE_LINES_MAX:
        yield f"{source.path}: {count} lines, over {FILE_LINES_MAX}; split it by the questions it answers"
    elif count > FILE_LINES_WARN and source.path not in reasons:
        yield f"{source.path}: {count} lines, over {FILE_LINES_WARN}; split it, or give LONG_FILES its reason"
    elif count <= FILE_LINES_WARN and source.path in reasons:
        yield f"{source.path}: {count} lines are few enough now; take it off LONG_FILES"


def function_size(source: Source) -> Iterator[str]:
    """A function fits on a screen: 70 lines from its `def` to its end."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES_MAX:
                yield f"{source.path}:{node.lineno}: {node.name} has {count} lines, over {FUNCTION_LINES_MAX}"


def essay(source: Source, modules_count: int) -> Iterator[str]:
    """A package opens with an essay (20 lines where it has more than one module) and re-exports, nothing else."""
    tree = source.tree
    text = ast.get_docstring(tree)
    if text is None:
        yield f"{source.path}: no docstring; say what the package is for"
    elif modules_count > 1 and len(text.splitlines()) < ESSAY_LINES_MIN:
        yield (
            f"{source.path}: an essay of {len(text.splitlines())} lines, under {ESSAY_LINES_MIN}; "
            "purpose, picture, invariants, what it may import, what to read next"
        )
    for node in tree.body[1:] if text else tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_dunder_assignment(node):
            continue
        yield f"{source.path}:{node.lineno}: a package's door holds its essay and re-exports; move this inside"


def _is_dunder_assignment(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return bool(targets) and all(isinstance(target, ast.Name) and target.id.startswith("__") for target in targets)


def names(path: str, allowed: frozenset[str] = frozenset()) -> Iterator[str]:
    """A name says what lives there, and can be typed: none of the empty words, ASCII only."""
    if not path.isascii():
        yield f"{path}: not an ASCII name; it looks right and cannot be typed"
    pure = PurePath(path)
    if path not in allowed and pure.suffix in {"", ".py"}:
        for part in (*pure.parts[:-1], pure.stem):
            if part in BANNED_NAMES:
                yield f"{path}: {part!r} says nothing; name it for what lives there"


def test_names(source: Source) -> Iterator[str]:
    """A test's name states a rule; words about the test instead of the rule are refused."""
    tree = source.tree
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    named = [(1, PurePath(source.path).stem), *((node.lineno, node.name) for node in functions)]
    for line, name in named:
        if name.startswith("test_") and BANNED_TEST_WORDS & set(name.split("_")):
            yield f"{source.path}:{line}: {name} speaks of the test; let it state the rule"


def left_over(source: Source) -> Iterator[str]:
    """No marker of unfinished work."""
    for number, line in enumerate(source.lines, start=1):
        if found := LEFT_OVER.search(line):
            yield f"{source.path}:{number}: {found[0]} left over; finish it or drop it"


def own_machine(source: Source) -> Iterator[str]:
    """Nothing that is true on the author's machine only."""
    for number, line in enumerate(source.lines, start=1):
        if found := OWN_MACHINE.search(line):
            yield f"{source.path}:{number}: {found[0]!r} exists on one machine only"


def ignored_types(source: Source) -> Iterator[str]:
    """A silenced type checker is told which finding, and the reader why: `# type: ignore[code]  # because …`."""
    for number, line in enumerate(source.lines, start=1):
        if (found := TYPE_IGNORE.search(line)) and not EXPLAINED.match(found["rest"]):
            yield f"{source.path}:{number}: an ignore without a code and a reason on its line"


def pure_imports(source: Source) -> Iterator[str]:
    """The machine imports its own package, the nouns below it, values of the standard library, a persistent map."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            if module.split(".")[0] == "orchestrator" or module in PURE_MODULES:
                continue
            if name not in PURE_NAMES.get(module, ()) and name not in PURE_THIRD_PARTY.get(module, ()):
                yield f"{source.path}:{node.lineno}: {' '.join(filter(None, (module, name)))} is not for the machine"


def sleeps(source: Source) -> Iterator[str]:
    """No yield by `sleep(0)` that does not say for what it gives its turn up; in tests no sleep but a `poll`."""
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and _is_sleep(node.func)):
            continue
        argument = node.args[0] if node.args else None
        comment = source.lines[node.lineno - 1].partition("#")[2]
        if isinstance(argument, ast.Constant) and argument.value == 0:
            if "turn" not in comment:
                yield f"{source.path}:{node.lineno}: sleep(0) hopes that another task ran; say `# one turn: for what`"
        elif source.path.startswith("tests/") and "poll" not in comment:
            yield f"{source.path}:{node.lineno}: a test sleeps; wait for the fact, or say `# poll: for what`"


def _is_sleep(function: ast.expr) -> bool:
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "sleep"
        and isinstance(function.value, ast.Name)
        and function.value.id in CLOCK_MODULES
    )


def blind_excepts(source: Source, homes: frozenset[str]) -> Iterator[str]:
    """`except Exception` has few homes: where a fault of one saga or request is kept from the others.

    To clean up and `raise` again is no catch.
    """
    if source.path in homes:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and _is_blind(node.type) and not _raises_again(node):
            yield f"{source.path}:{node.lineno}: a blind except; name what may happen and who acts on it"


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _is_blind(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(_is_blind(element) for element in kind.elts)
    return kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"})


def limit_comments(source: Source) -> Iterator[str]:
    """Every number in a file of limits has its reason right above it."""
    lines = source.lines
    for name, line in limit_names(source):
        if not lines[line - 2].startswith("# ") or lines[line - 2].startswith("# ---"):
            yield f"{source.path}:{line}: {name} has no reason above it"


def limit_names(source: Source) -> Iterator[tuple[str, int]]:
    """The constants of a file of limits, each with its line."""
    for node in source.tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id.isupper():
            yield target.id, node.lineno
