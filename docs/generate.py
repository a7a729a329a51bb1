"""Writes what follows from code: whole pages (limits.md, errors.md, …), tables of others, and Grafana's dashboards.

`python docs/generate.py` writes them, `--check` only says whether they are current (exit status 1 if not). The code is
the source: a limit's reason is the comment above it and its section the file it is in, an error's meaning is its
docstring, its gRPC code is in the tree at the top of errors.py.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs import cli_page, machine_page, proto_page, settings_page, simulating_page  # noqa: E402  (the project is found first, installed or not)
from docs.dashboards import page as dashboards_page  # noqa: E402  (the project is found first, installed or not)
from orchestrator import errors, limits  # noqa: E402  (the project is found first, installed or not)

UNITS = {"S": "s", "MS": "ms", "BYTES": "bytes", "CHARS": "characters"}
DO_NOT_EDIT = "<!-- Written by docs/generate.py from orchestrator/{}: change that, then run `make docs`. -->\n"


def limits_page() -> str:
    """Every bound: name, value with unit, reason; one table per file of orchestrator/limits."""
    page = [
        "# Limits\n",
        DO_NOT_EDIT.format("limits"),
        (
            "Every bound of the system, and why it is that number. A bound that a deployment may need to move is the\n"
            "default of a setting; the others are fixed. What goes past a bound is refused with an error that names it."
        ),
    ]
    for path in sorted((ROOT / "orchestrator/limits").glob("[!_]*.py")):
        source = path.read_text(encoding="utf-8")
        title, _, scope = (ast.get_docstring(ast.parse(source)) or "").partition(": ")
        page += [f"\n## {title}\n", f"What is bounded here: {scope}\n", "| limit | value | why |", "|---|---|---|"]
        page += [
            f"| `{name}` | {_quantity(name, getattr(limits, name))} | {reason} |" for name, reason in _bounds(source)
        ]
    return "\n".join(page) + "\n"


def _bounds(source: str) -> Iterator[tuple[str, str]]:
    """Each constant of a file and the comment above it."""
    comments: list[str] = []
    for line in source.splitlines():
        if line.startswith("# "):
            comments.append(line[2:])
            continue
        if name := re.match(r"([A-Z][A-Z0-9_]*)\b[^=]*=", line):
            yield name[1], " ".join(comments)
        comments = []


def _quantity(name: str, value: object) -> str:
    unit = next((word for part in name.split("_") if (word := UNITS.get(part))), "")
    if isinstance(value, int) and unit == "bytes" and value >= 1024:  # noqa: PLR2004  (a kibibyte is what it is)
        scale, word = (1024 * 1024, "MiB") if value % (1024 * 1024) == 0 else (1024, "KiB")
        return f"{value / scale:g} {word}"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:,.10g} {unit}".strip()
    return f"`{value!r}`"


def errors_page() -> str:
    """Every error class: its published reason, gRPC code, who must act, whether to ask again, what it means."""
    codes = dict(re.findall(r"[|`]- (\w+) +([A-Z_]{3,})$", errors.__doc__ or "", re.MULTILINE))
    page = [
        "# Errors\n",
        DO_NOT_EDIT.format("errors.py"),
        (
            "Every call that fails ends with a `google.rpc.Status` whose `ErrorInfo.reason` is in this table. A\n"
            "reason is never renamed, so a program may match on it; the sentence beside it is for people and may\n"
            "change. A step whose call fails is not an error: it is an outcome, and is recorded in the saga.\n"
        ),
        (
            "*Who acts*: the `caller` changes the request, the `system` is busy or broken, the `operator` mends the\n"
            "deployment. *Again*: `never` with the same request, `later` here, or `elsewhere` at another node.\n"
        ),
        (
            "Three reasons have no class: `INTERNAL` (a bug: quote the answer's request id, the server's log has the\n"
            "rest under it), `CANCELLED` (the call was given up before it was answered) and `REQUEST_EXPIRED` (left\n"
            "in the database for the saga's owner, and given up after a day in which it could not be done). An answer\n"
            "without `ErrorInfo` comes from gRPC itself: `RESOURCE_EXHAUSTED` for a message or metadata over the\n"
            "[limits](limits.md), `UNIMPLEMENTED` for an unknown method, `UNAVAILABLE` where nobody listens,\n"
            "`CANCELLED` where more calls have come than are kept until they are looked at (nothing was done), or\n"
            "where one was still under way when the server left: ask again with the same request id.\n"
        ),
        "| class | reason | gRPC code | who acts | again | what it means |",
        "|---|---|---|---|---|---|",
    ]
    order = [node.name for node in ast.parse(inspect.getsource(errors)).body if isinstance(node, ast.ClassDef)]
    for name in order:
        kind = getattr(errors, name)
        if not issubclass(kind, errors.OrchestratorError) or kind.__subclasses__():
            continue
        meaning = " ".join((inspect.getdoc(kind) or "").split())
        own = f"`{kind.reason}`" if "reason" in vars(kind) else "see right"
        code = f"`{codes[name]}`" if name in codes else "none: it never leaves the process"
        page.append(f"| `{name}` | {own} | {code} | {kind.fault} | {kind.retry} | {meaning} |")
    page += [
        "\n## Why a saga's state does not allow a request\n",
        (
            "All of them are `FAILED_PRECONDITION`, with `PreconditionFailure` naming the reason and the saga.\n"
            "Nothing was changed.\n"
        ),
        "| reason | what it means, and what to do |",
        "|---|---|",
    ]
    page += [f"| `{reason}` | {meaning} |" for reason, meaning in errors.REFUSALS.items()]
    return "\n".join(page) + "\n"


def api_page() -> str:
    """The gRPC reference, from the comments of the protos."""
    return proto_page.page(ROOT / "protos/orchestrator/v1")


PAGES = {
    "limits.md": limits_page,
    "errors.md": errors_page,
    "api.md": api_page,
    "cli.md": cli_page.page,
    "configuration.md": settings_page.page,
    "design/machine.md": machine_page.page,
    "simulating.md": simulating_page.page,
    "dashboards.md": dashboards_page.page,
    **dashboards_page.files(),
}


def main(arguments: list[str]) -> int:
    """Write or check every page; the exit status."""
    stale = 0
    for name, render in PAGES.items():
        path = ROOT / "docs" / name
        text = render()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            print(f"docs/{name} is not what its code says; run `make docs`")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/{name}")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
