"""Configuration: a YAML file, or (after the line `environ`) the value of a variable that stands for a section."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final

from orchestrator.config import load
from orchestrator.config.settings import Settings
from orchestrator.errors import ConfigError
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, as_yaml, flipped, regrown, relined, reworded
from tests.fuzz.targets.definitions import tree_of

SEEDS: Final = (
    """\
api: {host: 127.0.0.1, port: 7400}
http: {host: "::1", port: 0}
store: sqlite:saga.sqlite
grace_s: 20
log: {level: info, format: json}
definitions: [order.yaml]
targets:
  stock:
    address: 127.0.0.1:50051
    idempotent: true
    barrier: true
    descriptors: {set: image.binpb}
    methods:
      shop.v1.Stock/Reserve: {idempotent: false, outcomes: dtm}
  payments: {address: "dns:///payments:50051", tls: {ca: ca.pem}, descriptors: {reflection: true}}
""",
    "store: 'memory:'\ntargets:\n  a: {address: 'unix:/run/a.sock', insecure: true}\n",
    'environ\n{"a": {"address": "127.0.0.1:1", "descriptors": {"files": ["a.proto"], "include": ["."]}}}',
    "environ\n[order.yaml]",
)
WORDS: Final = (
    "api", "http", "store", "targets", "definitions", "log", "grace_s", "host", "port", "address", "idempotent",
    "barrier",
    "descriptors", "set", "files", "include", "reflection", "methods", "outcomes", "tls", "ca", "cert", "key",
    "insecure",
    "limits", "breaker", "level", "format", "&a", "*a", "<<", "!!python/object:os.system", "!!binary", "!!float",
    "!!timestamp",
    "2026-01-31", "1:30", "0o17", "0x1F", ".inf", "~", "---", "...", "%YAML 1.1", "? ", "|", ">-", "#", "sqlite:",
    "memory:",
)  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give a folder that has the files the seeds name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("order.yaml", "image.binpb", "ca.pem", "a.proto"):
            (folder / file).write_bytes(b"")
        path = folder / "saga.yaml"

        def run(data: bytes) -> str:
            head, _, rest = data.partition(b"\n")
            environ: Mapping[str, str] = {}
            if head == b"environ":
                text = rest.decode("utf-8", "surrogateescape")
                environ = {
                    "ORCHESTRATOR_TARGETS": text,
                    "ORCHESTRATOR_DEFINITIONS": text,
                    "ORCHESTRATOR_API__PORT": text,
                }
            else:
                path.write_bytes(data)
            try:
                loaded = load(None if environ else path, environ)
                loaded.settings.target_configs()
            except ConfigError as refused:
                clear(refused.message, "saga.yaml", "ORCHESTRATOR_", *Settings.model_fields)
                return "refused"
            loaded.settings.model_dump(mode="json")
            return "taken"

        yield Target(run=run, mutate=mutated, seeds=[seed.encode() for seed in SEEDS], input_bytes_max=3 * 1024)


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change bytes, words, lines or the tree."""
    seed = luck.choice(seeds)
    if luck.random() < 0.2:
        return flipped(luck, seed)
    text, other = (each.decode("utf-8", "replace") for each in (seed, luck.choice(seeds)))
    head, text = ("environ\n", text.partition("\n")[2]) if text.startswith("environ\n") else ("", text)
    kind = luck.random()
    if kind < 0.35:
        text = reworded(luck, text, (*WORDS, *TEXTS))
    elif kind < 0.5:
        text = relined(luck, text, other)
    else:
        trees = [tree for tree in (tree_of(text), tree_of(other)) if tree is not None]
        if trees:
            text = as_yaml(luck, regrown(luck, trees[0], trees, lambda each: reworded(luck, each, WORDS)))
    return (head + text).encode("utf-8", "replace")
