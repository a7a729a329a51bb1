"""Scripts of `saga simulate`: a line that names the example, then YAML."""

import contextlib
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random  # noqa: TID251  (seeded)
from typing import Final

import click

from orchestrator.cli.exploring import read_script
from orchestrator.cli.output import Printer
from orchestrator.cli.simulating import answers_of, drawn, inputs_of, script_of
from orchestrator.errors import InputInvalid, OrchestratorError
from orchestrator.values import Payload
from tests.fuzz.judging import Target, clear
from tests.fuzz.mutating import TEXTS, as_yaml, flipped, regrown, relined, reworded
from tests.fuzz.targets.definitions import tree_of
from tests.fuzz.targets.worlds import played, world

SEEDS: Final = (
    """order
steps:
  reserve: {error: UNAVAILABLE, after: 1s}
  ship:
    - {error: ABORTED, sent: false}
    - {reply: {}, after: 20ms}
""",
    """order
steps:
  authorise.undo: {error: FAILED_PRECONDITION, message: "locked", applied: true}
cancel: {at: 50ms, reason: no longer wanted}
""",
    "approval\nsignals:\n  - {at: 2s, signal: decision, payload: {approved: true, by: ada}}\n",
    """transfer
steps:
  open_case: {error: FAILED_PRECONDITION}
  credit: {error: DEADLINE_EXCEEDED, applied: false}
""",
    "bulk_import\nsteps:\n  insert[3]: {error: NOT_FOUND}\n  index.await: {reply: {done: true}}\n",
    "epro_intake\n{}\n",
)
WORDS: Final = (
    "steps", "signals", "cancel", "reply", "error", "message", "after", "sent", "applied", "at", "signal", "payload",
    "reason",
    "undo", "probe", "await", "stop", ".undo", "[0]", "[-1]", "decision", "UNAVAILABLE", "NOT_FOUND", "OK",
    "CANCELLED", "1e9h",
    "999999999999d", "0s", "-1", "1e308", ".inf", ".nan", "true", "~",
)  # fmt: skip


@contextmanager
def opened() -> Iterator[Target]:
    """Give the examples, and a file."""
    there = world()
    names = {step for plan in there.plans.values() for step in plan.steps}
    words = (*WORDS, *sorted(names))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "replies.yaml"

        def run(data: bytes) -> str:
            name, _, text = data.partition(b"\n")
            plan = there.plans.get(name.decode("utf-8", "replace"))
            if plan is None:
                return "nothing"
            path.write_bytes(text)
            try:
                script = script_of(read_script(path))
                answers = answers_of(script, there.revisions, plan, 0.1)
                inputs = inputs_of(script, there.revisions, plan, None)
                how = played(plan, Payload(plan.input_type, b""), answers, inputs)
            except (click.ClickException, OrchestratorError) as refused:
                told = refused.format_message() if isinstance(refused, click.ClickException) else refused.message
                clear(told, *(() if isinstance(refused, InputInvalid) else ("script", "replies.yaml")))
                return "refused"
            if how is None:
                return "endless"
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                for form in ("table", "json"):
                    drawn(Printer(format=form), plan, there.revisions, how, 80)
            return "taken"

        yield Target(
            run=run,
            mutate=lambda luck, seeds: mutated(luck, seeds, words),
            seeds=[seed.encode() for seed in SEEDS],
            input_bytes_max=2 * 1024,
        )


def mutated(luck: Random, seeds: Sequence[bytes], words: Sequence[str]) -> bytes:
    """Change the tree, words, lines or bytes."""
    seed = luck.choice(seeds)
    if luck.random() < 0.1:
        return flipped(luck, seed)
    (name, _, text), (_, _, other) = (
        each.decode("utf-8", "replace").partition("\n") for each in (seed, luck.choice(seeds))
    )
    kind = luck.random()
    if kind < 0.25:
        text = reworded(luck, text, (*words, *TEXTS))
    elif kind < 0.4:
        text = relined(luck, text, other)
    else:
        trees = [tree for tree in (tree_of(text), tree_of(other)) if tree is not None]
        if trees:
            text = as_yaml(luck, regrown(luck, trees[0], trees, lambda each: reworded(luck, each, words)))
    return f"{name}\n{text}".encode("utf-8", "replace")
