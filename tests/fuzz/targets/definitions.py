"""Definitions: YAML, checked against the real types of real services, compiled, and played once where it compiles."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final

from orchestrator.definition.yaml import read
from orchestrator.errors import InputInvalid
from orchestrator.values import Payload
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, as_yaml, flipped, regrown, relined, reworded, spliced
from tests.fuzz.targets import expressions
from tests.fuzz.targets.worlds import played, texts, world

BAD: Final = Path(__file__).parents[2] / "unit" / "definition" / "bad"
WORDS: Final = (
    "saga", "input", "targets", "steps", "output", "attributes", "deadline", "call", "kind", "request", "compensate",
    "compensatable", "pivot", "retriable", "read", "after", "first", "when", "for_each", "in", "as", "parallel",
    "tolerate",
    "scope", "else", "on_failure", "retry", "ask", "wait", "signal", "type", "timeout", "sleep", "until", "every",
    "at_most",
    "poll", "probe", "applied", "refuse", "reason", "trigger", "at_least", "all_done", "one_success", "optional",
    "expect",
    "max_attempts", "initial_backoff", "max_backoff", "multiplier", "none", "start", "child", "forward", "compensation",
    "250ms", "1h", "366d", "0s", "&a", "*a", "<<", "!!str", "---", "? ", "|", ">-", "# ", "%YAML 1.2", "%TAG ! !a",
    "- ", ": ",
)  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give a catalogue of the examples, and a loop."""
    there = world()

    async def create(text: str) -> str:
        revisions = there.fresh()
        (created,) = await revisions.create_together([("saga.yaml", text)])
        revision, findings = created
        for each in findings:
            clear(each.render(), "saga.yaml:")
        if revision is None:
            assert findings, "refused, and nobody says why"
            return "refused"
        plan = await revisions.plan(revision.definition, revision.revision)
        try:
            played(plan, Payload(plan.input_type, b""))
        except InputInvalid as refused:
            clear(refused.message)
        return "taken"

    with asyncio.Runner() as runner:

        def run(data: bytes) -> str:
            try:
                text = data.decode()
            except UnicodeDecodeError:
                return "no text"
            return runner.run(create(text))

        seeds = [text.encode() for _, text in texts()]
        yield Target(
            run=run, mutate=mutated, seeds=[*seeds, *(path.read_bytes() for path in sorted(BAD.glob("*.yaml"))
                                                      if path.stat().st_size < 8_000)],
        )  # fmt: skip


def mutated(luck: Random, seeds: Sequence[bytes]) -> bytes:
    """Change the tree, lines, words, or bytes."""
    text, other = (luck.choice(seeds).decode("utf-8", "replace") for _ in range(2))
    kind = luck.random()
    if kind < 0.08:
        return flipped(luck, text.encode())
    if kind < 0.13:
        return spliced(luck, text.encode(), other.encode())
    if kind < 0.3:
        return relined(luck, text, other).encode("utf-8", "replace")
    if kind < 0.45:
        return reworded(luck, text, (*WORDS, *WORDS, *TEXTS)).encode("utf-8", "replace")
    trees = [tree for tree in (tree_of(text), tree_of(other)) if tree is not None]
    if not trees:
        return relined(luck, text, other).encode("utf-8", "replace")

    def spoken(words: str) -> str:
        if luck.random() < 0.3:
            return "${ " + luck.choice(expressions.WORDS) + " }"
        return reworded(luck, words, expressions.WORDS if "${" in words else WORDS)

    return as_yaml(luck, regrown(luck, trees[0], trees, spoken)).encode("utf-8", "replace")


def tree_of(text: str) -> Any:
    document, _ = read(text, "seed")
    return document.root if document is not None else None
