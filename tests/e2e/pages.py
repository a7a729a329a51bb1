"""Pages that show a terminal, run: files are written, commands typed into one shell, answers compared.

A fenced block with a file's name after its language is that file. In a block of language `console`, a line that begins
with `$ ` is a command (a backslash continues it) and what follows is its answer. Other blocks are for the eye.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(?P<language>\w*)(?: +(?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run, in the order in which it is taken out.
_VARYING = (
    (re.compile(r"^\S*bash: .*Killed.*\n", re.MULTILINE), ""),  # the shell's own remark
    (re.compile(r"^[█▒░·] \w.*\n?", re.MULTILINE), ""),  # the legend names only the glyphs that were drawn
    (re.compile(r"[█▒░·]+"), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+Z"), "TIME"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "TRACE"),
    (re.compile(r"\br[0-9a-f]{12}\b"), "REVISION"),
    (re.compile(r"\b\d+(\.\d+)? (us|ms|s)\b"), "DURATION"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is typed, and what the page says comes back."""

    text: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page's files and its terminal, in their order."""

    files: Mapping[str, str]
    commands: tuple[Command, ...]

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Read what a page shows."""
        blocks = list(_FENCE.finditer(path.read_text(encoding="utf-8")))
        return cls(
            files={block["file"]: block["text"] for block in blocks if block["file"]},
            commands=tuple(
                each for block in blocks if block["language"] == "console" for each in _typed(block["text"])
            ),
        )


def _typed(text: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        length = next(index for index, line in enumerate(lines, 1) if not line.endswith("\\"))
        yield Command(text="\n".join(lines[:length]), shown="\n".join(lines[length:]))


def alike(text: str) -> str:
    """Take out of an answer what no two runs share."""
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return text.strip()


class Shell:
    """One bash for a whole page, so that its variables, functions and jobs live on."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=environ,
        )

    def type(self, command: str) -> str:
        """Run a command and return what it said."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: PT018  # both are pipes
        self._process.stdin.write(f"{command}\necho; echo '=='\n")
        self._process.stdin.flush()
        said = ""
        for line in self._process.stdout:
            if line == "==\n":
                return said.removesuffix("\n")
            said += line
        raise AssertionError(f"the shell ended after {command!r}: {said}")

    def close(self) -> None:
        """End the shell and whatever still runs in it."""
        self.type("kill -9 $(jobs -p) 2>/dev/null")
        self._process.communicate()
