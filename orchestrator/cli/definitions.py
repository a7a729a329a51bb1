"""Commands about definitions: create, list, get, revisions, activate on a server; check without one."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.exits import Exit, Failure
from orchestrator.cli.output import echo, instant, note, paint, plain, word
from orchestrator.cli.session import Session, connected, pages
from orchestrator.limits import CLI_CALL_S, CLI_FOLDER_ENTRIES_MAX

if TYPE_CHECKING:
    from orchestrator.v1.definition_pb2 import Definition, Diagnostic, Revision

FILES = click.Path(exists=True, dir_okay=True, readable=True, allow_dash=True, path_type=Path)


@click.group()
def definitions() -> None:
    """Create, list and activate definitions."""


@definitions.command()
@click.argument("files", nargs=-1, required=True, type=FILES, metavar="FILE...")
@click.option("--activate", is_flag=True, help="Make each the one that new sagas start with.")
@click.option("--dry-run", is_flag=True, help="Check on the server, keep nothing; exit 1 on an error.")
@connected
def create(session: Session, files: Sequence[Path], *, activate: bool, dry_run: bool) -> int:
    """Check definitions against the running services and keep each as a revision.

    The first revision of a definition is active at once, a later one when it is activated.
    """
    from orchestrator.v1.definition_service_pb2 import ActivateRevisionRequest, CreateRevisionRequest

    ending = Exit.OK
    kept: list[Revision] = []
    answers: list[object] = []
    for name, source in children_first(sources(files)):
        request = CreateRevisionRequest(source=source, filename=name, validate_only=dry_run)
        response = session.definitions.CreateRevision(request, timeout=CLI_CALL_S)
        for diagnostic in response.diagnostics:
            note(_finding(diagnostic))
            if _is_error(diagnostic):
                ending = Exit.FAILED
        if response.HasField("revision"):
            if activate and not response.revision.active:
                wanted = ActivateRevisionRequest(
                    definition=response.revision.definition, revision=response.revision.revision
                )
                session.definitions.ActivateRevision(wanted, timeout=CLI_CALL_S)
                response.revision.active = True
            kept.append(response.revision)
        answers.append(plain(response))
    if not session.printer.is_table:
        session.printer.values(answers)
    elif not dry_run:
        session.printer.columns(("definition", "revision", "active"), [_revision_row(each)[:3] for each in kept])
    return ending


@definitions.command("list")
@connected
def list_(session: Session) -> None:
    """List definitions, each with its active revision."""
    from orchestrator.v1.definition_service_pb2 import ListDefinitionsRequest

    def fetch(token: str) -> "tuple[Sequence[Definition], str]":
        response = session.definitions.ListDefinitions(ListDefinitionsRequest(page_token=token), timeout=CLI_CALL_S)
        return response.definitions, response.next_page_token

    found: list[Definition] = list(pages(fetch, 0))
    if not session.printer.is_table:
        session.printer.messages(found)
        return
    rows = [(each.definition, each.active_revision, instant(each.revision.create_time)) for each in found]
    session.printer.columns(("definition", "active", "created"), rows)


@definitions.command()
@click.argument("definition")
@click.option("--revision", default="", help="A revision; the active one where absent.")
@connected
def get(session: Session, definition: str, *, revision: str) -> None:
    """Show a definition's source, as it was given."""
    from orchestrator.v1.definition_service_pb2 import GetDefinitionRequest

    request = GetDefinitionRequest(definition=definition, revision=revision)
    found = session.definitions.GetDefinition(request, timeout=CLI_CALL_S).definition
    if not session.printer.is_table:
        session.printer.message(found)
        return
    shown = found.revision
    if not session.printer.quiet:
        active = "active" if shown.active else f"not active; {found.active_revision} is"
        note(f"{found.definition} {shown.revision}, {active}, input {shown.input_type}, {instant(shown.create_time)}")
    echo(shown.source.rstrip("\n"))


@definitions.command()
@click.argument("definition")
@connected
def revisions(session: Session, definition: str) -> None:
    """List the revisions of a definition, newest first."""
    from orchestrator.v1.definition_service_pb2 import ListRevisionsRequest

    def fetch(token: str) -> "tuple[Sequence[Revision], str]":
        request = ListRevisionsRequest(definition=definition, page_token=token)
        response = session.definitions.ListRevisions(request, timeout=CLI_CALL_S)
        return response.revisions, response.next_page_token

    found: list[Revision] = list(pages(fetch, 0))
    if not session.printer.is_table:
        session.printer.messages(found)
        return
    rows = [(each.revision, "yes" if each.active else "", instant(each.create_time)) for each in found]
    session.printer.columns(("revision", "active", "created"), rows)


@definitions.command()
@click.argument("definition")
@click.argument("revision")
@connected
def activate(session: Session, definition: str, revision: str) -> None:
    """Make a revision the one that new sagas start with. Running sagas keep theirs."""
    from orchestrator.v1.definition_service_pb2 import ActivateRevisionRequest

    request = ActivateRevisionRequest(definition=definition, revision=revision)
    found = session.definitions.ActivateRevision(request, timeout=CLI_CALL_S).definition
    if not session.printer.is_table:
        session.printer.message(found)
    elif not session.printer.quiet:
        echo(f"{found.definition} is at {found.active_revision} now; running sagas keep the revision they started with")


def sources(files: Sequence[Path]) -> list[tuple[str, str]]:
    """Return name and text of every file, of every `.yaml` file of a folder, or of standard input for `-`."""
    found: list[tuple[str, str]] = []
    for path in files:
        if str(path) == "-":
            try:
                found.append(("standard input", sys.stdin.read()))
            except UnicodeDecodeError as failed:
                raise Failure("cannot read standard input: it is not UTF-8 text") from failed
            continue
        try:
            inside = _inside(path) if path.is_dir() else [path]
        except OSError as failed:
            raise Failure(f"cannot look into {failed.filename or path}: {failed.strerror}") from failed
        if not inside:
            raise Failure(f"{path} holds no .yaml file", Exit.USAGE)
        for one in inside:
            try:
                found.append((str(one), one.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError) as failed:
                why = failed.strerror if isinstance(failed, OSError) else "it is not UTF-8 text"
                raise Failure(f"cannot read {one}: {why}") from failed
    return found


def _inside(folder: Path) -> list[Path]:
    found: list[Path] = []
    for number, one in enumerate(folder.rglob("*"), 1):
        if number > CLI_FOLDER_ENTRIES_MAX:
            told = f"{folder} holds more than {CLI_FOLDER_ENTRIES_MAX:,} files and folders"
            raise Failure(f"{told}; name the definitions, or their own folder", Exit.USAGE)
        if one.match("*.y*ml"):
            found.append(one)
    return sorted(found)


def children_first(texts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return definitions in an order in which each comes after the child sagas that it starts.

    A text that cannot be read, and definitions in a circle, keep their places: the server says what is wrong with them.
    """
    from graphlib import CycleError, TopologicalSorter

    from orchestrator.definition.yaml import read

    def sagas_in(tree: object) -> list[str]:
        """Return every `saga:` below a tree: its own name, and its children's."""
        if isinstance(tree, list):
            return [found for item in tree for found in sagas_in(item)]
        if not isinstance(tree, dict):
            return []
        own = [tree["saga"]] if isinstance(tree.get("saga"), str) else []
        return own + [found for value in tree.values() for found in sagas_in(value)]

    places: dict[str, int] = {}
    children: dict[int, list[str]] = {}
    for place, (name, text) in enumerate(texts):
        document, _ = read(text, name)
        own, *rest = sagas_in(document.root if document is not None else None) or [""]
        places.setdefault(own, place)
        children[place] = rest
    order = TopologicalSorter({place: [places[c] for c in found if c in places] for place, found in children.items()})
    try:
        return [texts[place] for place in order.static_order()]
    except CycleError:
        return list(texts)


def _is_error(diagnostic: "Diagnostic") -> bool:
    from orchestrator.v1.definition_pb2 import DIAGNOSTIC_SEVERITY_ERROR

    return diagnostic.severity == DIAGNOSTIC_SEVERITY_ERROR


def _finding(diagnostic: "Diagnostic") -> str:
    from orchestrator.v1.definition_pb2 import DiagnosticSeverity

    severity = word(DiagnosticSeverity.Name(diagnostic.severity), "DIAGNOSTIC_SEVERITY_")
    place = ":".join([diagnostic.filename, *(str(n) for n in (diagnostic.line, diagnostic.column) if n)])
    fix = f" ({diagnostic.fix})" if diagnostic.fix else ""
    return f"{place}: {paint(severity)} {diagnostic.code}: {diagnostic.message}{fix}"


def _revision_row(revision: "Revision") -> tuple[str, str, str, str]:
    return revision.definition, revision.revision, "yes" if revision.active else "no", instant(revision.create_time)
