"""Writes the table of faults (orchestrator/testing/fates.py) into docs/simulating.md.

The page is written by hand but for what stands between its `drawn` marks.
"""

import ast
import inspect
import re
from pathlib import Path

from orchestrator.testing.fates import Kind

PAGE = Path(__file__).parent / "simulating.md"
_DRAWN = re.compile(r"(<!-- drawn: kinds[^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)


def page() -> str:
    """Return the page as it is, with the kinds as the code has them."""
    return _DRAWN.sub(lambda found: found[1] + table() + found[2], PAGE.read_text(encoding="utf-8"))


def table() -> str:
    """Every kind of fault, and the sentence that stands below it."""
    (tree,) = ast.parse(inspect.getsource(Kind)).body
    assert isinstance(tree, ast.ClassDef)  # what was given
    lines = ["| on a tape | what goes wrong |", "|---|---|"]
    for name, told in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(name, ast.Assign) and isinstance(name.value, ast.Constant):
            assert isinstance(told, ast.Expr), f"{name.value.value!r} says nothing"
            assert isinstance(told.value, ast.Constant), "as above"
            sentence = " ".join(str(told.value.value).split()).replace("... ", "… ")
            lines.append(f"| `{Kind(str(name.value.value))}` | {sentence} |")
    return "\n".join(lines) + "\n"
