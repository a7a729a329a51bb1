"""Generate the committed Python code of every `.proto` file, or check that it is current.

    python protos/generate.py            rewrite orchestrator/v1/ and services/*/v1/
    python protos/generate.py --check    generate aside, compare, exit 1 and name every file that differs

Why the output is committed: a newcomer needs neither protoc nor the generator to run or to read the code. Why the tools
are pinned (`grpcio-tools`, `mypy-protobuf` in the `protos` dependency group): the same input must give the same bytes
on every machine, otherwise the check means nothing.

Two kinds of tree:

* `protos/orchestrator/v1` is package `orchestrator.v1` and its Python home has the same name, so the imports fit.
* `protos/epro/v1` is package `epro.v1`, a name that belongs to the study and not to this repository. Its Python home is
  `services.epro.v1`, so `epro.v1` in import lines is rewritten. The names inside the descriptors stay as they are: a
  client in any language sees `epro.v1.Archive` from `epro/v1/archive_service.proto`. So it is with the worked examples:
  `shop.v1` is `services.shop.v1`.

Only `*_pb2.py`, `*_pb2_grpc.py` (for files with a service) and their `.pyi` are owned by this script: what it would not
write again is deleted. An `__init__.py` is written when there is none and left alone afterwards. `google/rpc`,
`google/api` and `google/longrunning` are taken from googleapis-common-protos, `google/protobuf` from grpcio-tools.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import re
import shutil
import sys
import sysconfig
import tempfile
from importlib import resources
from pathlib import Path

from google.rpc import status_pb2
from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent
ROOT = PROTOS.parent
GRPCIO_TOOLS_VERSION = "1.80.0"
"""Exact: other versions print other bytes, and its runtime check refuses a protobuf older than its own."""

GOOGLEAPIS = Path(status_pb2.__file__).parents[2]

INIT_TEXT = '"""Generated from `protos/{source}` by `python protos/generate.py`; not edited by hand."""\n'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One folder of `.proto` files and the Python package it becomes."""

    source: str
    """Folder below `protos/`, which is also the proto package with slashes."""
    target: str
    """Folder below the repository root."""

    @property
    def rewrites(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        """How an import of the proto package must read when it lives under another Python name."""
        wire, home = self.source.replace("/", "."), self.target.replace("/", ".")
        if wire == home:
            return ()
        name = re.escape(wire)
        return (
            (re.compile(rf"^(\s*)from {name}( import |\.)", re.MULTILINE), rf"\1from {home}\2"),
            (re.compile(rf"^(\s*)import {name}(\.| )", re.MULTILINE), rf"\1import {home}\2"),
            (re.compile(rf"'{name}\.(\w+_pb2)'"), rf"'{home}.\1'"),  # what messages give as their __module__
        )


EXAMPLES = ("shop", "travel", "bank", "expenses", "importer")
"""Each has its protos and its services under one name; see services/README.md."""

TREES = (
    Tree(source="orchestrator/v1", target="orchestrator/v1"),
    Tree(source="epro/v1", target="services/epro/v1"),
    *(Tree(source=f"{example}/v1", target=f"services/{example}/v1") for example in EXAMPLES),
)


def main(argv: list[str]) -> int:
    """Exit code 0, or 1 when `--check` found stale files or a tool is missing."""
    parser = argparse.ArgumentParser(description="Generate Python code from protos/.")
    parser.add_argument("--check", action="store_true", help="compare only; exit 1 when the committed code is stale")
    check = parser.parse_args(argv).check
    installed = importlib.metadata.version("grpcio-tools")
    if installed != GRPCIO_TOOLS_VERSION:
        print(f"grpcio-tools is {installed}, the committed code is made with {GRPCIO_TOOLS_VERSION}: install that one")
        return 1
    stale: list[str] = []
    for tree in TREES:
        fresh = generate(tree)
        stale += compare(tree, fresh) if check else write(tree, fresh)
    for line in stale:
        print(line)
    if check and stale:
        print("generated code is stale: run python protos/generate.py and commit the result")
        return 1
    print(f"{'current' if check else 'generated'}: {', '.join(t.target for t in TREES if sources(t))}")
    return 0


def sources(tree: Tree) -> list[Path]:
    """The tree's `.proto` files in a fixed order; empty when the folder does not exist."""
    return sorted((PROTOS / tree.source).glob("*.proto"))


def generate(tree: Tree) -> dict[str, str]:
    """File name -> text of everything the tree's sources turn into."""
    files = sources(tree)
    if not files:
        return {}
    with_service = [path for path in files if re.search(r"^service \w", path.read_text(), re.MULTILINE)]
    with tempfile.TemporaryDirectory() as folder:
        run_protoc(files, "--python_out", "--mypy_out", folder)
        if with_service:
            run_protoc(with_service, "--grpc_python_out", "--mypy_grpc_out", folder)
        texts = {path.name: path.read_text() for path in Path(folder, tree.source).iterdir()}
    for pattern, replacement in tree.rewrites:
        texts = {name: pattern.sub(replacement, text) for name, text in texts.items()}
    return texts


def run_protoc(files: list[Path], code_flag: str, stub_flag: str, folder: str) -> None:
    """One protoc run, code and stubs; raises SystemExit with protoc's own message above it."""
    stub_plugin = stub_flag.strip("-").removesuffix("_out")
    executable = Path(sysconfig.get_path("scripts"), f"protoc-gen-{stub_plugin}")
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{GOOGLEAPIS}",
        f"-I{alias_operations(folder)}",
        f"-I{resources.files('grpc_tools') / '_proto'}",
        f"--plugin=protoc-gen-{stub_plugin}={executable}",
        f"{code_flag}={folder}",
        f"{stub_flag}=quiet:{folder}",
        *(str(path) for path in files),
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc refused the sources; nothing was written")


def alias_operations(folder: str) -> Path:
    """An include folder with `google/longrunning/operations.proto` under its real name.

    The package ships that file as `operations_proto.proto` while its Python module registers the real name; a message
    that imported the shipped name would generate, and then fail to load.
    """
    include = Path(folder, "include")
    alias = include / "google" / "longrunning" / "operations.proto"
    if not alias.exists():
        alias.parent.mkdir(parents=True)
        shutil.copyfile(GOOGLEAPIS / "google" / "longrunning" / "operations_proto.proto", alias)
    return include


def owned(tree: Tree) -> set[str]:
    """Names of generated files that are in the target folder now."""
    folder = ROOT / tree.target
    return {path.name for path in folder.glob("*_pb2*.py*") if path.suffix in {".py", ".pyi"}}


def compare(tree: Tree, fresh: dict[str, str]) -> list[str]:
    """One line per file that is stale, absent, or left over."""
    folder = ROOT / tree.target
    found = owned(tree)
    findings = []
    for name in sorted(found | fresh.keys()):
        if name not in fresh:
            findings.append(f"{tree.target}/{name}: its source is gone")
        elif name not in found:
            findings.append(f"{tree.target}/{name}: not generated yet")
        elif (folder / name).read_text() != fresh[name]:
            findings.append(f"{tree.target}/{name}: differs from its source")
    return findings


def write(tree: Tree, fresh: dict[str, str]) -> list[str]:
    """Make the target folder hold exactly `fresh`; nothing to report."""
    folder = ROOT / tree.target
    for name in owned(tree) - fresh.keys():
        (folder / name).unlink()
    if fresh:
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in fresh.items():
        (folder / name).write_text(text)
    package = folder
    while fresh and package != ROOT:
        if not (package / "__init__.py").exists():
            (package / "__init__.py").write_text(INIT_TEXT.format(source=tree.source))
        package = package.parent
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
