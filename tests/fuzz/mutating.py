"""Making inputs out of inputs: flipped and spliced bytes, words of a dictionary, lines, and trees of plain values.

Everything draws from one `Random`, so that a seed stands for every input of a run, in order.
"""

import copy
import json
import re
from collections.abc import Callable, Sequence
from random import Random  # noqa: TID251  (seeded)
from typing import Any, Final, TypeAlias

Tree: TypeAlias = Any
"""A plain value: dict, list, str, int, float, bool or None."""

NUMBERS: Final = (
    0, -0.0, 1, -1, 2, 7, 0.5, 100, 127, 128, 255, 256, 1_000, 65_535, 65_536, 2**31 - 1, 2**31, -(2**31), 2**32,
    2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**25, 1e308, 1e-320, float("inf"),
    float("-inf"), float("nan"),
)  # fmt: skip
TEXTS: Final = (
    "", " ", "\n", "\t", "\0", "\x7f", "\u2028", "\ufeff", "\u202e", "é", "\N{SNOWMAN}", "\U0001f600", "a" * 300, "0",
    "-1", "null", "true", "..", "../x", "/", "%", "%s", "%n", "{}", "${", "${}", "$${x}", "${ input }", "}", "'", '"',
    "\\", "\r\n", "a.b", "a[0]", "a[-1]", "a[99999999999999999999]", "*", "&a", "!!x", "<<", "2026-01-31T00:00:00Z",
    "1e400", "9" * 400, "0x", "~", "[", "{", "-", "@x", "(" * 40, "[" * 40,
)  # fmt: skip
_WORD: Final = re.compile(r"[A-Za-z0-9_.]+|\s+|.", re.DOTALL)


def scalar(luck: Random) -> Tree:
    """Return a value that programs tend to forget."""
    kind = luck.random()
    if kind < 0.4:
        return luck.choice(NUMBERS)
    return luck.choice(TEXTS) if kind < 0.8 else luck.choice((None, True, False, [], {}, [[]], {"": None}))


def flipped(luck: Random, data: bytes) -> bytes:
    """Return bytes with a few of them changed, lost, doubled or moved."""
    found = bytearray(data)
    for _ in range(1 + int(luck.expovariate(1.0))):
        at = luck.randrange(len(found) + 1)
        size = 1 + int(luck.expovariate(0.2))
        match luck.randrange(6):
            case 0 if at < len(found):
                found[at] ^= 1 << luck.randrange(8)
            case 1 if at < len(found):
                found[at] = luck.choice((0, 0x7F, 0x80, 0xFF, luck.randrange(256)))
            case 2:
                del found[at : at + size]
            case 3:
                found[at:at] = found[at : at + size]
            case 4:
                found[at:at] = luck.randbytes(size)
            case _:
                del found[at:]
    return bytes(found)


def spliced(luck: Random, first: bytes, second: bytes) -> bytes:
    """Return the beginning of one and the end of another."""
    return first[: luck.randrange(len(first) + 1)] + second[luck.randrange(len(second) + 1) :]


def reworded(luck: Random, text: str, words: Sequence[str]) -> str:
    """Return a text with words lost, doubled, swapped, or taken from a dictionary."""
    parts = _WORD.findall(text)
    for _ in range(1 + int(luck.expovariate(0.8))):
        at = luck.randrange(len(parts) + 1)
        match luck.randrange(5):
            case 0:
                del parts[at : at + 1 + luck.randrange(3)]
            case 1:
                parts[at:at] = parts[at : at + 1 + luck.randrange(6)]
            case 2 if at < len(parts):
                other = luck.randrange(len(parts))
                parts[at], parts[other] = parts[other], parts[at]
            case 3:
                parts.insert(at, luck.choice(TEXTS))
            case _:
                parts[at : at + luck.randrange(2)] = [luck.choice(words)]
    return "".join(parts)


def relined(luck: Random, text: str, other: str) -> str:
    """Return a text with lines lost, doubled, moved, indented, or taken from another text."""
    lines, others = text.splitlines(keepends=True), other.splitlines(keepends=True) or [""]
    for _ in range(1 + int(luck.expovariate(0.8))):
        at = luck.randrange(len(lines) + 1)
        match luck.randrange(6):
            case 0:
                del lines[at : at + 1 + luck.randrange(3)]
            case 1:
                lines[at:at] = lines[at : at + 1 + luck.randrange(4)]
            case 2 if at < len(lines):
                line = lines.pop(at)
                lines.insert(luck.randrange(len(lines) + 1), line)
            case 3 if at < len(lines):
                lines[at] = " " * luck.randrange(9) + lines[at].lstrip(" ")
            case 4 if at < len(lines):
                lines[at] = lines[at].rstrip("\n") + str(scalar(luck)) + "\n"
            case _:
                begin = luck.randrange(len(others))
                lines[at:at] = others[begin : begin + 1 + luck.randrange(5)]
    return "".join(lines)


def regrown(luck: Random, tree: Tree, others: Sequence[Tree], text: Callable[[str], str]) -> Tree:
    """Return a tree with branches lost, doubled, moved, renamed, or taken from another tree; `text` changes texts."""
    root = [copy.deepcopy(tree)]
    for _ in range(1 + int(luck.expovariate(0.7))):
        places = list(_places(root))
        holder, key = luck.choice(places)
        if holder is root and len(places) > 1:  # the whole tree is changed seldom
            holder, key = luck.choice(places)
        match luck.randrange(8):
            case 0 if holder is not root:
                del holder[key]
            case 1:
                holder[key] = scalar(luck)
            case 2:
                there, at = luck.choice(places)
                holder[key] = copy.deepcopy(there[at])
            case 3:
                source = [luck.choice(others)]
                there, at = luck.choice(list(_places(source)))
                holder[key] = copy.deepcopy(there[at])
            case 4 if isinstance(holder, dict):
                _renamed(luck, holder, key, luck.choice(others))
            case 5 if isinstance(holder[key], list):
                holder[key] = holder[key] * (1 + luck.randrange(3))
            case 6:
                holder[key] = [holder[key]] if luck.random() < 0.5 else {"x": holder[key]}
            case _:
                leaves = [(on, at) for on, at in places if isinstance(on[at], str)]
                if leaves:
                    on, at = luck.choice(leaves)
                    on[at] = text(on[at])
    return root[0]


def _renamed(luck: Random, holder: dict[str, Tree], key: str, other: Tree) -> None:
    """Put the value below a key that stands somewhere else: of this tree, or of the other one."""
    keys = [str(at) for on, at in _places([other]) if isinstance(on, dict)] + [*holder, luck.choice(TEXTS)]
    holder[luck.choice(keys)] = holder[key] if luck.random() < 0.5 else holder.pop(key)


def _places(root: list[Tree]) -> "list[tuple[Tree, Any]]":
    """Return every place of a tree, as what holds it and the key there."""
    found: list[tuple[Tree, Any]] = [(root, 0)]
    for holder, key in found:  # it grows meanwhile
        value = holder[key]
        if isinstance(value, dict):
            found += [(value, at) for at in value]
        elif isinstance(value, list):
            found += [(value, at) for at in range(len(value))]
    return found


def as_yaml(luck: Random, tree: Tree) -> str:
    """Write a tree as YAML: flow style in one line, or one key of the top a line, or all of it in lines."""
    style = luck.random()
    if style < 0.3:
        return json.dumps(tree, ensure_ascii=luck.random() < 0.5)
    if style < 0.6 and isinstance(tree, dict):
        return "".join(f"{json.dumps(key)}: {json.dumps(value)}\n" for key, value in tree.items())
    return json.dumps(tree, indent=1, ensure_ascii=False)
