"""The three standard streams as a program needs them: they are there, and take whatever is written.

What is closed is opened on nothing: the next file or socket would otherwise get its number, and our words. What a
terminal's encoding cannot show is written as a mark or an escape that it can. What is full or gone ends no work.
"""

import codecs
import os
import sys
from contextlib import suppress

_MARKS = {"…": "~", "█": "#", "▒": "x", "░": "?", "·": "."}
"""Ours, each one column wide as the one it is in the place of."""
_ERRORS = "saga.escaped"


def settle() -> None:
    """Put the streams right; first of all, before anything is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free: this one
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115
    codecs.register_error(_ERRORS, _escaped)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]  # what the interpreter makes has it


def finish() -> None:
    """Write what is left; what cannot be written is given up, and is no complaint of the interpreter's."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            give_up(stream.fileno())


def give_up(number: int) -> None:
    """Send what is still written to a stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def say(text: str) -> None:
    """Print a line on standard error, where there is one that takes it."""
    import click

    with suppress(OSError):
        click.echo(text, err=True)


def is_text(value: str) -> bool:
    """Return whether a text can be written in UTF-8: what stands for a stray byte, or half a character, cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Return what an encoding takes instead of what it does not: our marks, or an escape as JSON has it."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_shown, error.object[error.start : error.end])), error.end


def _shown(char: str) -> str:
    if char in _MARKS:
        return _MARKS[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004  (a byte that was no UTF-8, as Python hands it on)
        return f"\\x{code - 0xDC00:02x}"
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
