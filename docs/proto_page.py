"""Turns the comments of `protos/orchestrator/v1` into the reference page docs/api.md.

The sources are read line by line and not through protoc, so that the page can be checked where only the runtime
packages are installed; tests/unit/api/test_reference.py holds it against the descriptors, so nothing can be missing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FILES = (
    "saga_service.proto",
    "operator_service.proto",
    "saga.proto",
    "definition_service.proto",
    "definition.proto",
    "admin_service.proto",
    "diagnostics_service.proto",
)
SERVICE = re.compile(r"service (\w+) {")
RPC = re.compile(r"rpc (\w+)\((\w+)\) returns \((stream )?(\w+)\);")
TYPE = re.compile(r"(message|enum) (\w+) {")
ONEOF = re.compile(r"oneof (\w+) {")
FIELD = re.compile(r"((?:repeated |optional )?[\w.]+(?:<[\w, .]+>)?) (\w+) = (\d+)(.*);")
VALUE = re.compile(r"([A-Z][A-Z0-9_]*) = (\d+);")

HEAD = """\
# API reference

<!-- Written by docs/proto_page.py from protos/orchestrator/v1: change that, then run `make docs`. -->

Package `orchestrator.v1`, served at port 7400, on loopback unless configured otherwise. The server has health
(`grpc.health.v1`) and reflection (v1 and v1alpha), so `grpcurl` and its relatives need no files. Reasons are explained
in [errors.md](errors.md), bounds in [limits.md](limits.md).

| method | in one line | retry |
|---|---|---|
"""


@dataclass(slots=True)
class Item:
    """A service, a message or an enum."""

    kind: str
    name: str
    comment: str
    rows: list[tuple[str, ...]] = field(default_factory=list)


def page(folder: Path) -> str:
    """The whole page."""
    items = [item for name in FILES for item in read((folder / name).read_text(encoding="utf-8"))]
    services = [item for item in items if item.kind == "service"]
    text = HEAD
    for service in services:
        for name, _, _, _, comment in service.rows:
            first, retry = comment.split(". ")[0].split("\n")[0], comment.partition("Retry: ")[2].replace("\n", " ")
            text += f"| [`{name}`](#{name.lower()}) | {first.rstrip('.')}. | {retry.rstrip('.')} |\n"
    for service in services:
        text += f"\n## {service.name}\n\n{service.comment}\n"
        for name, request, stream, response, comment in service.rows:
            text += f"\n### {name}\n\n{link(request)} → {stream}{link(response)}\n\n{comment}\n"
    text += "\n## Messages\n"
    names = {item.name for item in items}
    for item in items:
        if item.kind == "message":
            text += f"\n### {item.name}\n\n" + (f"{item.comment}\n\n" if item.comment else "")
            text += "| field | type | meaning |\n|---|---|---|\n" if item.rows else "No fields.\n"
            for name, type_name, oneof, meaning in item.rows:
                shown = f"{link(type_name) if type_name in names else f'`{type_name}`'}{oneof}"
                text += f"| `{name}` | {shown} | {flat(meaning)} |\n"
    text += "\n## Enums\n"
    for item in items:
        if item.kind == "enum":
            text += f"\n### {item.name}\n\n{item.comment}\n\n| value | meaning |\n|---|---|\n"
            text += "".join(f"| `{name}` | {flat(meaning)} |\n" for name, meaning in item.rows)
    return text


def link(name: str) -> str:
    """A link to a message of this page."""
    return f"[{name}](#{name.lower()})"


def flat(text: str) -> str:
    """A comment as a table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def read(source: str) -> Iterator[Item]:
    """The items of one file, in its order."""
    comment: list[str] = []
    item: Item | None = None
    oneof = ""
    for line in (raw.strip() for raw in source.splitlines()):
        if line.startswith("//"):
            comment.append(line.removeprefix("//").removeprefix(" "))
            continue
        text, comment = "\n".join(comment), []
        if found := SERVICE.match(line):
            item = Item("service", found[1], text)
        elif found := TYPE.match(line):
            item = Item(found[1], found[2], text)
        elif found := ONEOF.match(line):
            oneof = f", one of `{found[1]}`"
        elif item and (found := RPC.match(line)):
            item.rows.append((found[1], found[2], found[3] or "", found[4], text))
        elif item and item.kind == "enum" and (found := VALUE.match(line)):
            item.rows.append((found[1], text))
        elif item and (found := FIELD.match(line)):
            required = "Required. " if "REQUIRED" in found[4] else ""
            item.rows.append((found[2], found[1], oneof, required + text))
        if line == "}" and oneof:
            oneof = ""
        elif line.endswith("}") and item:
            yield item
            item = None
