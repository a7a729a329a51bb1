"""Runs every transcript in this folder. `python -m tests.scenarios.test_scenarios --rewrite` writes the outputs anew.

Read the difference before you commit it: a rewritten output is a claim that the machine should behave so.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.transcript import Transcript
from tests.scenarios import operations, records

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.txt"))
RULE = "----"


def blocks_of(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield comment, command and output; blocks are set apart by an empty line."""
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        comment = [line for line in lines if line.startswith("#")]
        command, _, output = "\n".join(lines[len(comment) :]).partition(f"\n{RULE}")
        yield "\n".join(comment), command, output.strip("\n")


def rewritten(text: str) -> str:
    """Return the text with the outputs the machine gives now; what they leave out is held to `records`."""
    transcript = Transcript()
    blocks: list[str] = []
    for comment, command, _ in blocks_of(text):
        if command.startswith("plan") and blocks[1:]:
            records.hold(transcript.machine.events)
        answered = [command, RULE, transcript.run(command)] if command else []
        if (
            command
            and not command.startswith(("plan", "explain", "undo_plan"))
            and transcript.machine.rejected is not None
        ):
            records.hold_refusal(transcript.machine.rejected, command, transcript.machine.state)
        if command:
            operations.hold(transcript.machine.state, transcript.machine.events)
        blocks.append("\n".join([*([comment] if comment else []), *answered]))
    records.hold(transcript.machine.events)
    records.hold_state(transcript.machine.state, transcript.machine.events)
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_machine_tells_the_story_as_it_was_written(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# "), "a scenario begins with the rule it is about, and why"
    assert rewritten(text) == text


def test_a_story_with_another_ending_is_noticed() -> None:
    text = next(iter(FILES)).read_text(encoding="utf-8")
    assert rewritten(text.replace("RUNNING", "COMPLETED", 1)) == text


if __name__ == "__main__" and "--rewrite" in sys.argv:
    for each in FILES:
        each.write_text(rewritten(each.read_text(encoding="utf-8")), encoding="utf-8")
