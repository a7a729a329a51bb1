"""Every mutant of a package: where it is, what is wrong with it, and the code that has it."""

import ast
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

from tests.mutation.operators import Mistake, Words, mistakes, text_of

PACKAGE = Path("orchestrator/saga")
_TYPES = frozenset({"dict", "list", "set", "tuple", "frozenset", "type", "Mapping", "Sequence", "Map", "Callable"})
"""What is subscripted by a type: nothing in the brackets is ever computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One file, read."""

    name: str
    path: Path
    tree: ast.Module


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A node where it hangs in the tree."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    where: str
    """The function, `Class.method`, or empty for what runs when the module is imported."""
    function: ast.FunctionDef | None
    lines: range
    """Of the innermost statement, without the statements in it."""

    def put(self, node: ast.AST) -> None:
        """Hang another node there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One mistake in one place."""

    name: str
    """`module.function: what`, the same whatever else is changed in the file."""
    module: Module
    place: _Place
    new: ast.AST

    @property
    def function(self) -> tuple[str, int] | None:
        """Return the name and the first line of the function it is in; None where only a new import shows it."""
        function = self.place.function
        if function is None:
            return None
        return function.name, min([function.lineno, *(each.lineno for each in function.decorator_list)])

    def compile(self) -> CodeType:
        """Return the code of the function, or of the whole module, with the mistake in it."""
        place, function = self.place, self.place.function
        copied = ast.copy_location(self.new, place.node)
        place.put(copied)
        ast.fix_missing_locations(place.parent)
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = self.module.tree if function is None else ast.Module([_plain(function)], [])
                code = compile(tree, self.module.path.resolve(), "exec")
        finally:
            place.put(place.node)
        if function is None:
            return code
        return next(each for each in code.co_consts if isinstance(each, CodeType))


def _plain(function: ast.FunctionDef) -> ast.FunctionDef:
    """Return the function without what is evaluated around it."""
    bare = ast.arguments(
        posonlyargs=function.args.posonlyargs,
        args=function.args.args,
        vararg=function.args.vararg,
        kwonlyargs=function.args.kwonlyargs,
        kw_defaults=[None] * len(function.args.kwonlyargs),
        kwarg=function.args.kwarg,
        defaults=[],
    )
    new = ast.FunctionDef(name=function.name, args=bare, body=function.body, decorator_list=[], returns=None)
    return ast.copy_location(new, function)


def read(package: Path = PACKAGE) -> list[Module]:
    """Read every module of a package."""
    return [
        Module(name=path.stem, path=path, tree=ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted(package.glob("*.py"))
    ]


def words_of(modules: Sequence[Module]) -> Words:
    """Return the enumerations of a package, also under the names by which its modules import them."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in (node for module in modules for node in module.tree.body if isinstance(node, ast.ClassDef)):
        if any(isinstance(base, ast.Name) and base.id.endswith("Enum") for base in kind.bases):
            found[kind.name] = tuple(
                each.targets[0].id
                for each in kind.body
                if isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
            )
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                found |= {each.asname: found[each.name] for each in node.names if each.asname and each.name in found}
    return found


def mutants_of(modules: Sequence[Module]) -> list[Mutant]:
    """Return every mutant, in the order of the files; the second of one name in one function is called `… #2`."""
    words, found = words_of(modules), list[Mutant]()
    for module in modules:
        seen: Counter[str] = Counter()
        for place in _places(module.tree):
            if _is_noticed_at_once(place):
                continue
            for what, new in _truths(place) or mistakes(place.node, words):
                name = f"{module.name}.{place.where}: {what}" if place.where else f"{module.name}: {what}"
                seen[name] += 1
                count = seen[name]
                name = name if count == 1 else f"{name} #{count}"
                found.append(Mutant(name=name, module=module, place=place, new=new))
    return found


def by_luck(mutants: Sequence[Mutant], seed: int) -> list[Mutant]:
    """Order mutants by their names and luck: those that come first stand for all."""
    return sorted(mutants, key=lambda each: hashlib.sha256(f"{seed}:{each.name}".encode()).digest())


def sample(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """Choose some: a mutant that stays stays chosen, whatever comes beside it."""
    return by_luck(mutants, seed)[:count]


def _truths(place: _Place) -> list[Mistake]:
    """Return what a function that says yes or no may say too readily."""
    node, function = place.node, place.function
    if function is None or not isinstance(node, ast.Return) or isinstance(node.value, ast.Constant):
        return []
    if not (isinstance(function.returns, ast.Name) and function.returns.id == "bool"):
        return []
    return [(f"{text_of(node)}: {truth}", ast.Return(ast.Constant(truth))) for truth in (True, False)]


def _is_noticed_at_once(place: _Place) -> bool:
    """Return whether this is the only assignment to a name: without it the next line that reads it fails."""
    match place.node:
        case ast.Assign(targets=[ast.Name(id=name)]) if place.function is not None:
            stores = (each for each in ast.walk(place.function) if isinstance(each, ast.Name) and each.id == name)
            return sum(isinstance(each.ctx, ast.Store) for each in stores) == 1
        case _:
            return False


def _places(tree: ast.Module) -> Iterator[_Place]:
    for index, statement in enumerate(tree.body):
        yield from _walk(tree, "body", index, statement, where="", function=None)


def _walk(
    parent: ast.AST,
    field: str,
    index: int | None,
    node: ast.AST,
    *,
    where: str,
    function: ast.FunctionDef | None,
    lines: range = range(0),
) -> Iterator[_Place]:
    if _is_no_code(node, function):
        return
    if isinstance(node, ast.stmt | ast.match_case):
        lines = _own_lines(node)
    name = f"{where}.{node.name}".lstrip(".") if isinstance(node, ast.FunctionDef | ast.ClassDef) else where
    inner = node if isinstance(node, ast.FunctionDef) and function is None else function
    if not (isinstance(node, ast.stmt) and function is None):
        yield _Place(parent=parent, field=field, index=index, node=node, where=where, function=function, lines=lines)
    for child_field, value in ast.iter_fields(node):
        if _is_no_code_of(node, child_field):
            continue
        is_body = isinstance(node, ast.FunctionDef) and child_field == "body"
        within = inner if is_body else function
        for child_index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            # The words between the values of a sentence stand or fall with it.
            if isinstance(child, ast.AST) and not (isinstance(node, ast.JoinedStr) and isinstance(child, ast.Constant)):
                yield from _walk(node, child_field, child_index, child, where=name, function=within, lines=lines)


def _own_lines(node: ast.stmt | ast.match_case) -> range:
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, node.body[0].lineno)
    body = getattr(node, "cases", None) or getattr(node, "body", None)
    if not body:
        return range(node.lineno, (node.end_lineno or node.lineno) + 1)
    first = body[0].pattern.lineno if isinstance(body[0], ast.match_case) else body[0].lineno
    return range(node.lineno, max(first, node.lineno + 1))


def _is_no_code(node: ast.AST, function: ast.FunctionDef | None) -> bool:
    """Return whether nothing of the node is ever wrong by itself: words for people and for type checkers."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assert() | ast.Pass():
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never"))):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__" | "__slots__")]) | ast.Call(func=ast.Name(id="TypeVar")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.BinOp(op=ast.BitOr())) if function is None:
            return name[0].isupper() and not name.isupper()  # a union of types under a name
        case _:
            return False


def _is_no_code_of(node: ast.AST, field: str) -> bool:
    match node, field:
        case _, "annotation" | "returns" | "decorator_list" | "bases" | "ctx" | "format_spec" | "targets" | "target":
            return True
        case ast.Subscript(value=ast.Name(id=name)), "slice":
            return name in _TYPES
        case ast.Call(func=ast.Subscript()), "func":
            return True
        case _:
            return False
