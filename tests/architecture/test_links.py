"""Pages lead somewhere: links, anchors, commands, targets of make, and the tour's line counts."""

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest

from orchestrator.cli.main import saga

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    {ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / name / "README.md" for name in ("tests", "services"))}
)
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<path>[^)\s#]*)(?:#(?P<anchor>[^)\s]+))?\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")
_TYPED = re.compile(r"^(?: {4}|\$ |)(?:[A-Z_]+=\S+ )*((?:saga|make) [a-z-].*)$", re.MULTILINE)
_COMMAND = re.compile(r"(?:saga|make) [a-z-]")
_STOP = re.compile(r"\]\((?P<path>[^)]+)\) \| (?P<lines>\d+) \|")


def slug(heading: str) -> str:
    """GitHub's anchor of a heading: its words, without markup and punctuation, joined by dashes."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(text: str) -> set[str]:
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCED.sub("", text)):
        name = slug(heading)
        again = sum(1 for each in found if re.fullmatch(rf"{re.escape(name)}(-\d+)?", each))
        found.add(f"{name}-{again}" if name in found else name)
    return found


def broken(page: Path, text: str) -> Iterator[str]:
    """What is wrong with a page's links; addresses elsewhere are not asked."""
    for link in _LINK.finditer(_INLINE.sub("", _FENCED.sub("", text))):
        path, anchor = unquote(link["path"]), link["anchor"]
        if re.match(r"[a-z]+:", path):
            continue
        target = (page.parent / path).resolve() if path else page
        if path and not target.exists():
            yield f"{path} does not exist"
        elif ROOT not in target.parents:
            yield f"{path} leaves the project"
        elif anchor and anchor not in anchors(text if target == page else target.read_text(encoding="utf-8")):
            yield f"{path}#{anchor}: no such heading"


def typed(text: str) -> Iterator[str]:
    """Every command of ours that a page shows, in a block or in a sentence."""
    prose = _FENCED.sub("", text)
    blocks = "\n".join(match.group() for match in _FENCED.finditer(text))
    indented = "\n".join(line for line in prose.splitlines() if line.startswith("    "))
    whole = re.sub(r"\\\n\s*", " ", blocks + "\n" + indented)  # a command may go on in the next line
    yield from (match[1] for match in _TYPED.finditer(whole))
    yield from (code for code in _INLINE.findall(prose) if _COMMAND.match(code) and " = " not in code)


def unknown(command: str) -> str:
    """What the program does not know in a command line; empty where it knows all of it."""
    lexer = shlex.shlex(command.partition("…")[0], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    program, *words = itertools.takewhile(lambda word: not re.fullmatch(r"[|&;<>()]+", word), lexer)
    if program == "make":
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        return " ".join(word for word in words[:1] if "=" not in word and word not in targets)
    known: click.Command = saga
    while isinstance(known, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = known.get_command(click.Context(known), name)
        if found is None:
            return name
        known = found
    options = {flag for each in known.params for flag in each.opts} | {"-h", "--help"}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return " ".join(flag for flag in given if flag not in options)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_page_and_to_a_heading_of_it(page: Path) -> None:
    assert list(broken(page, page.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_a_page_shows_is_known_to_the_program(page: Path) -> None:
    shown = list(typed(page.read_text(encoding="utf-8")))
    assert [f"{command}: {what}" for command in shown if (what := unknown(command))] == []


def test_the_pages_show_commands_at_all() -> None:
    shown = [command for page in PAGES for command in typed(page.read_text(encoding="utf-8"))]
    assert {"make demo", "saga serve --config saga.yaml > server.log 2>&1 & server=$!"} <= set(shown)


def test_every_page_is_in_the_index() -> None:
    folder = ROOT / "docs"
    listed = {link["path"] for link in _LINK.finditer((folder / "README.md").read_text(encoding="utf-8"))}
    pages = {page.relative_to(folder).as_posix() for page in folder.rglob("*.md")} - {"README.md"}
    assert pages - listed == set()


def test_the_tour_tells_how_long_its_stops_are() -> None:
    tour = ROOT / "docs" / "tour.md"
    stops = list(_STOP.finditer(tour.read_text(encoding="utf-8")))
    assert len(stops) >= 10
    for stop in stops:
        lines = len((tour.parent / stop["path"]).read_text(encoding="utf-8").splitlines())
        assert abs(lines - int(stop["lines"])) <= max(10, lines // 5), f"{stop['path']} has {lines} lines"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a](nowhere.md)", "nowhere.md does not exist"),
        ("[a](#nothing)", "#nothing: no such heading"),
        ("[a](../../outside)", "../../outside does not exist"),
        ("# One two\n[a](#one-two) [b](https://example.org/x.md) `[c](nowhere.md)`", None),
    ],
)
def test_a_link_that_leads_nowhere_is_found(text: str, wrong: str | None) -> None:
    assert list(broken(ROOT / "docs" / "page.md", text)) == ([] if wrong is None else [wrong])


@pytest.mark.parametrize(
    ("command", "what"),
    [
        ("saga frobnicate --x", "frobnicate"),
        ("saga definitions forget", "forget"),
        ("saga start order --wait --hurry", "--hurry"),
        ("saga start order --id=1 --input '{\"a\": 1}' | cat", ""),
        ("make nothing", "nothing"),
        ('make test ARGS="tests/unit -k cancel"', ""),
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, what: str) -> None:
    assert unknown(command) == what
