"""What may be wrong with one place of a program: a node of its syntax, and the nodes that could stand there instead.

Each operator is a mistake that a person makes: a bound off by one, a condition forgotten, a row left out of a table,
the wrong word of two, a field not given.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

Mistake = tuple[str, ast.AST]
"""What it is, in words that name it, and the node that stands there instead."""
Words = Mapping[str, tuple[str, ...]]
"""Enumeration -> its members, in order."""

SHOWN = 90
_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_CALLED = {"min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list"}


def text_of(node: ast.AST) -> str:
    """Return the source of a node in one line, not too long."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def mistakes(node: ast.AST, words: Words) -> Iterator[Mistake]:
    """Yield what could stand in the place of `node`."""
    if isinstance(node, ast.Attribute):
        yield from _word(node, words)
    else:
        yield from _BY_NODE.get(type(node), _none)(node)


def _none(_node: ast.AST) -> Iterator[Mistake]:
    return iter(())


def _instead(node: ast.AST, new: ast.AST) -> Mistake:
    return f"{text_of(node)} -> {text_of(new)}", new


def _without(node: ast.AST, part: ast.AST, new: ast.AST) -> Mistake:
    return f"{text_of(node)} without {text_of(part)}", new


def _word(node: ast.Attribute, words: Words) -> Iterator[Mistake]:
    """Yield the next member of the same enumeration."""
    if isinstance(node.value, ast.Name) and node.attr in (members := words.get(node.value.id, ())):
        another = members[(members.index(node.attr) + 1) % len(members)]
        yield _instead(node, ast.Attribute(node.value, another, ast.Load()))


def _compare(node: ast.Compare) -> Iterator[Mistake]:
    for index, op in enumerate(node.ops):
        for other in _COMPARED[type(op)]:
            ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield _instead(node, ast.Compare(node.left, ops, node.comparators))


def _bool_op(node: ast.BoolOp) -> Iterator[Mistake]:
    yield _instead(node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values))
    for index, value in enumerate(node.values):
        left = node.values[:index] + node.values[index + 1 :]
        yield _without(node, value, left[0] if len(left) == 1 else ast.BoolOp(node.op, left))


def _bin_op(node: ast.BinOp) -> Iterator[Mistake]:
    if type(node.op) in _COMPUTED:
        yield _instead(node, ast.BinOp(node.left, _COMPUTED[type(node.op)](), node.right))
    yield _without(node, node.right, node.left)
    if isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Add):
        yield _without(node, node.left, node.right)


def _unary_op(node: ast.UnaryOp) -> Iterator[Mistake]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield _instead(node, node.operand)


def _constant(node: ast.Constant) -> Iterator[Mistake]:
    match node.value:
        case bool() as truth:
            yield _instead(node, ast.Constant(not truth))
        case int() | float() as number:
            yield _instead(node, ast.Constant(number + 1))
        case str() as text:
            yield _instead(node, ast.Constant("" if text else "?"))
        case _:
            return


def _joined(node: ast.JoinedStr) -> Iterator[Mistake]:
    yield _instead(node, ast.Constant(""))


def _either(node: ast.IfExp) -> Iterator[Mistake]:
    yield _instead(node, node.body)
    yield _instead(node, node.orelse)


def _branch(node: ast.If) -> Iterator[Mistake]:
    for truth in (True, False):
        what = f"if {text_of(node.test)}: always" if truth else f"if {text_of(node.test)}: never"
        yield what, ast.If(ast.Constant(truth), node.body, node.orelse)


def _while(node: ast.While) -> Iterator[Mistake]:
    yield f"while {text_of(node.test)}: never", ast.While(ast.Constant(False), node.body, node.orelse)
    once = ast.While(node.test, [*node.body, ast.Break()], node.orelse)
    yield f"while {text_of(node.test)}: once", once


def _for(node: ast.For) -> Iterator[Mistake]:
    what = f"for {text_of(node.target)} in {text_of(node.iter)}"
    yield f"{what}: none", ast.For(node.target, ast.Tuple([], ast.Load()), node.body, node.orelse)
    yield f"{what}: only the first", ast.For(node.target, node.iter, [*node.body, ast.Break()], node.orelse)


def _comprehension(node: ast.comprehension) -> Iterator[Mistake]:
    for index, test in enumerate(node.ifs):
        left = node.ifs[:index] + node.ifs[index + 1 :]
        yield (
            f"… if {text_of(test)}: always",
            ast.comprehension(target=node.target, iter=node.iter, ifs=left, is_async=0),
        )


def _return(node: ast.Return) -> Iterator[Mistake]:
    if node.value is not None and not isinstance(node.value, ast.Constant):
        yield f"{text_of(node)}: None", ast.Return(ast.Constant(None))


def _statement(node: ast.stmt) -> Iterator[Mistake]:
    yield f"without {text_of(node)}", ast.Pass()


def _break(node: ast.Break) -> Iterator[Mistake]:
    yield "break -> continue", ast.Continue()
    yield "without break", ast.Pass()


def _call(node: ast.Call) -> Iterator[Mistake]:
    name = text_of(node.func)
    if isinstance(node.func, ast.Name) and name in _CALLED:
        new = ast.Name(_CALLED[name], ast.Load())
        keywords = [] if name == "sorted" else node.keywords
        yield _instead(node, ast.Call(new, node.args, keywords))
    for index, (one, other) in enumerate(pairwise(node.args)):
        if isinstance(one, ast.Starred) or isinstance(other, ast.Starred) or name in {"isinstance", "min", "max"}:
            continue
        args = [*node.args[:index], other, one, *node.args[index + 2 :]]
        yield f"{text_of(node)}: {text_of(one)} and {text_of(other)} swapped", ast.Call(node.func, args, node.keywords)
    if name in {"min", "max"}:
        for index, arg in enumerate(node.args if len(node.args) > 1 else []):
            yield _without(node, arg, ast.Call(node.func, node.args[:index] + node.args[index + 1 :], node.keywords))
    for index, keyword in enumerate(node.keywords):
        keywords = node.keywords[:index] + node.keywords[index + 1 :]
        yield f"{name}(…) without {text_of(keyword)}", ast.Call(node.func, node.args, keywords)


def _elements(node: ast.Set | ast.List) -> Iterator[Mistake]:
    for index, each in enumerate(node.elts):
        left = node.elts[:index] + node.elts[index + 1 :]
        if isinstance(node, ast.List):
            yield _without(node, each, ast.List(left, node.ctx))
        else:
            # `{}` would be a dict
            yield _without(node, each, ast.Set(left or [ast.Starred(ast.Tuple([], ast.Load()), ast.Load())]))


def _row(node: ast.Dict) -> Iterator[Mistake]:
    for index, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
        what = f"**{text_of(value)}" if key is None else f"{text_of(key)}: {text_of(value)}"
        left = ast.Dict(node.keys[:index] + node.keys[index + 1 :], node.values[:index] + node.values[index + 1 :])
        yield f"{{…}} without {what}", left


def _slice(node: ast.Slice) -> Iterator[Mistake]:
    if node.lower is not None:
        yield _without(node, node.lower, ast.Slice(upper=node.upper, step=node.step))
    if node.upper is not None:
        yield _without(node, node.upper, ast.Slice(lower=node.lower, step=node.step))


def _match(node: ast.Match) -> Iterator[Mistake]:
    if len(node.cases) < 2:
        return
    for index, case in enumerate(node.cases):
        if ast.unparse(case.body[0]).startswith("assert_never"):
            continue  # it is there for type checkers
        guard = "" if case.guard is None else f" if {text_of(case.guard)}"
        cases = node.cases[:index] + node.cases[index + 1 :]
        yield f"without case {text_of(case.pattern)}{guard}", ast.Match(node.subject, cases)


def _case(node: ast.match_case) -> Iterator[Mistake]:
    if node.guard is not None:
        yield f"case … if {text_of(node.guard)}: always", ast.match_case(node.pattern, None, node.body)


def _match_or(node: ast.MatchOr) -> Iterator[Mistake]:
    for index, pattern in enumerate(node.patterns):
        left = node.patterns[:index] + node.patterns[index + 1 :]
        yield _without(node, pattern, left[0] if len(left) == 1 else ast.MatchOr(left))


def _match_class(node: ast.MatchClass) -> Iterator[Mistake]:
    for index, (name, pattern) in enumerate(zip(node.kwd_attrs, node.kwd_patterns, strict=True)):
        if not any(isinstance(each, ast.MatchAs) and each.name for each in ast.walk(pattern)):
            names = node.kwd_attrs[:index] + node.kwd_attrs[index + 1 :]
            patterns = node.kwd_patterns[:index] + node.kwd_patterns[index + 1 :]
            new = ast.MatchClass(node.cls, node.patterns, names, patterns)
            yield f"{text_of(node)} without {name}={text_of(pattern)}", new


_BY_NODE: dict[type[ast.AST], Callable[..., Iterator[Mistake]]] = {
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.BinOp: _bin_op,
    ast.UnaryOp: _unary_op,
    ast.Constant: _constant,
    ast.JoinedStr: _joined,
    ast.IfExp: _either,
    ast.If: _branch,
    ast.While: _while,
    ast.For: _for,
    ast.comprehension: _comprehension,
    ast.Return: _return,
    ast.Expr: _statement,
    ast.Assign: _statement,
    ast.AugAssign: _statement,
    ast.Raise: _statement,
    ast.Continue: _statement,
    ast.Break: _break,
    ast.Call: _call,
    ast.Set: _elements,
    ast.List: _elements,
    ast.Dict: _row,
    ast.Slice: _slice,
    ast.Match: _match,
    ast.match_case: _case,
    ast.MatchOr: _match_or,
    ast.MatchClass: _match_class,
}
