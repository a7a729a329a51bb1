"""A profile as a picture, as text for other tools, and as a list of what is hottest. Pure: counts in, text out.

The picture is one SVG file that needs nothing else: open it in a browser. A caller is drawn above what it called, as
wide as its share of the samples in which the loop was busy; the widest comes first. A click shows one part as wide as
the window, and what is typed in the box is marked wherever it stands.
"""

import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape

from orchestrator.frozen import frozen
from orchestrator.limits import FLAME_WIDTH_MIN
from orchestrator.ports.diagnostics import Profile

IDLE = "(idle)"
"""The loop waited for something to do; a stack of one frame, for tools that take the whole time."""

_ROW, _HEAD, _MARGIN = 18, 84, 12
_KINDS: Mapping[str, tuple[int, int]] = {
    "orchestrator": (22, 88),
    "grpc": (212, 62),
    "asyncio": (140, 38),
    "stdlib": (50, 62),
    "other": (285, 34),
    "native": (0, 0),
}
"""Who wrote a function -> hue and saturation of its bars."""


@frozen
class Hot:
    """A function, in how many samples it was the innermost one, and in how many it was on the stack at all."""

    function: str
    self_count: int
    total_count: int


def hottest(profile: Profile, count: int) -> list[Hot]:
    """Return the functions that were innermost most often."""
    own, total = Counter[str](), Counter[str]()
    for stack, seen in profile.stacks.items():
        frames = stack.split(";")
        own[frames[-1]] += seen
        total.update(dict.fromkeys(frames, seen))
    ranked = sorted(total, key=lambda function: (-own[function], -total[function], function))
    return [Hot(function=each, self_count=own[each], total_count=total[each]) for each in ranked[:count]]


def folded(profile: Profile) -> str:
    """Return a line for each stack, `outermost;…;innermost count`, as flame graph tools take it."""
    return "".join(f"{stack} {count}\n" for stack, count in sorted(_whole(profile).items()))


def speedscope(profile: Profile, name: str) -> str:
    """Return the profile as speedscope's file format has it."""
    frames: dict[str, int] = {}
    samples: list[list[int]] = []
    weights: list[float] = []
    for stack, count in sorted(_whole(profile).items()):
        samples.append([frames.setdefault(function, len(frames)) for function in stack.split(";")])
        weights.append(count / profile.hz)
    shown = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "shared": {"frames": [{"name": function} for function in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": name,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
        "exporter": "saga",
    }
    return json.dumps(shown, separators=(",", ":"))


def _whole(profile: Profile) -> dict[str, int]:
    return {**profile.stacks, **({IDLE: profile.idle_samples} if profile.idle_samples else {})}


class _Node:
    """A function where it stands in the picture."""

    __slots__ = ("below", "count", "own")

    def __init__(self) -> None:
        self.count = 0
        self.own = 0
        self.below: dict[str, _Node] = {}


@frozen
class _Bar:
    function: str
    depth: int
    begin: int
    """Samples left of it."""
    count: int
    own: int


def svg(profile: Profile, title: str) -> str:
    """Return the picture, as a file that stands alone."""
    root = _tree(profile.stacks)
    cut = _Cut(root.count * FLAME_WIDTH_MIN)
    bars = list(_bars(root, 0, 0, cut))
    depth = max((bar.depth for bar in bars), default=0)
    height = _HEAD + (depth + 1) * _ROW + _MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="100%" height="{height}" data-total="{root.count}">',
        f"<title>{_escape(title)}</title>",
        f"<style>{_STYLE}</style>",
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="24" style="font-size: 16px; font-weight: 600">{_escape(title)}</text>',
        f'<text x="{_MARGIN}" y="44" fill="#555">{_escape(_summary(profile, root, cut))}</text>',
        *_legend(root),
        _SEARCH,
        f'<svg id="bars" x="{_MARGIN}" y="{_HEAD}" height="{height - _HEAD}">',
        *(_drawn(bar, root.count) for bar in bars),
        "</svg>",
        f"<script><![CDATA[{_SCRIPT}]]></script>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _tree(stacks: Mapping[str, int]) -> _Node:
    root = _Node()
    for stack, count in stacks.items():
        node = root
        node.count += count
        for function in stack.split(";"):
            node = node.below.setdefault(function, _Node())
            node.count += count
        node.own += count
    return root


class _Cut:
    """What is too narrow to be seen, and how much of that there was."""

    def __init__(self, width_min: float) -> None:
        self.width_min = width_min
        self.functions = 0
        self.samples = 0

    def leaves_out(self, node: _Node) -> bool:
        if node.count >= self.width_min:
            return False
        self.functions += _size(node)
        self.samples += node.count
        return True


def _size(node: _Node) -> int:
    return 1 + sum(_size(each) for each in node.below.values())


def _bars(node: _Node, depth: int, begin: int, cut: _Cut) -> Iterator[_Bar]:
    for function, each in sorted(node.below.items(), key=lambda item: (-item[1].count, item[0])):
        if not cut.leaves_out(each):
            yield _Bar(function=function, depth=depth, begin=begin, count=each.count, own=each.own)
            yield from _bars(each, depth + 1, begin, cut)
        begin += each.count


def _drawn(bar: _Bar, total: int) -> str:
    x, width = 100 * bar.begin / total, 100 * bar.count / total
    share, own = _percent(bar.count, total), _percent(bar.own, total)
    hint = f"{bar.function}: {bar.count:,} samples, {share}; {bar.own:,} of them in itself, {own}"
    label = bar.function.partition(":")[2] or bar.function
    return (
        f'<svg class="f" x="{x:.4f}%" y="{bar.depth * _ROW}" width="{width:.4f}%" height="{_ROW - 1}"'
        f' data-b="{bar.begin}" data-c="{bar.count}"><title>{_escape(hint)}</title>'
        f'<rect width="100%" height="100%" rx="2" fill="{_colour(bar.function)}"/>'
        f'<text x="4" y="13">{_escape(label)}</text></svg>'
    )


def _legend(root: _Node) -> Iterator[str]:
    """Yield who wrote the functions that were innermost, with the share of each."""
    own = Counter[str]()

    def add(node: _Node) -> None:
        for function, each in node.below.items():
            own[_kind(function)] += each.own
            add(each)

    add(root)
    x = _MARGIN
    for kind, (hue, saturation) in _KINDS.items():
        if not own[kind]:
            continue
        text = f"{kind} {_percent(own[kind], root.count)}"
        yield f'<rect x="{x}" y="56" width="12" height="12" rx="2" fill="hsl({hue},{saturation}%,72%)"/>'
        yield f'<text x="{x + 17}" y="66">{_escape(text)}</text>'
        x += 34 + 7 * len(text)


def _summary(profile: Profile, root: _Node, cut: _Cut) -> str:
    looked = profile.samples or 1
    parts = [
        f"{profile.seconds:.1f} s at {profile.hz:g} Hz",
        f"{profile.samples:,} samples",
        f"busy in {_percent(looked - profile.idle_samples, looked)} of them: 100 % of this picture",
    ]
    if cut.functions:
        share = _percent(cut.samples, root.count)
        parts.append(f"{cut.functions:,} bars too narrow to be seen are left out, {share} in all")
    return "; ".join(parts) if root.count else "; ".join([*parts[:2], "the loop had nothing to do"])


def _colour(function: str) -> str:
    """Return a bar's colour: its author's, a little lighter or darker than its neighbours'."""
    hue, saturation = _KINDS[_kind(function)]
    shade = zlib.crc32(function.encode()) % 16
    return f"hsl({hue + shade - 8 if saturation else 0},{saturation}%,{66 + shade}%)"


def _kind(function: str) -> str:
    if function.startswith("("):
        return "native"
    package = function.partition(":")[0].partition(".")[0]
    match package:
        case "orchestrator":
            return "orchestrator"
        case "grpc":
            return "grpc"
        case "asyncio" | "uvloop":
            return "asyncio"
        case _:
            return "stdlib" if package in sys.stdlib_module_names else "other"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def _escape(text: str) -> str:
    """Return a text that is nothing but text in XML, which knows no control characters."""
    return escape("".join(char if char.isprintable() else "?" for char in text))


_STYLE = """
svg { font: 12px system-ui, sans-serif }
.f { cursor: pointer; overflow: hidden }
.f text { pointer-events: none; white-space: pre }
.f:hover rect { stroke: #222; stroke-width: 1.5 }
.f.above rect { opacity: .45 }
.f.found rect { fill: #7a2ff0 } .f.found text { fill: #fff }
input { font: 12px system-ui, sans-serif; width: 100%; box-sizing: border-box }
"""

_SEARCH = """<svg x="100%" overflow="visible"><foreignObject x="-262" y="12" width="250" height="26">
<input xmlns="http://www.w3.org/1999/xhtml" id="search" placeholder="mark functions (click widens, Esc resets)"/>
</foreignObject>
<text id="found" x="-12" y="52" text-anchor="end" fill="#555"></text></svg>"""

_SCRIPT = """
const picture = document.documentElement, bars = [...document.querySelectorAll('.f')];
const total = +picture.dataset.total, place = document.getElementById('bars');
const fit = () => place.setAttribute('width', Math.max(picture.clientWidth - 24, 100));
addEventListener('resize', fit); fit();
const show = (begin, count) => bars.forEach(bar => {
  const b = +bar.dataset.b, c = +bar.dataset.c, above = b <= begin && b + c >= begin + count;
  const left = Math.max(b, begin), right = Math.min(b + c, begin + count);
  bar.style.display = right > left ? '' : 'none';
  bar.setAttribute('x', 100 * (left - begin) / count + '%');
  bar.setAttribute('width', 100 * Math.max(right - left, 0) / count + '%');
  bar.classList.toggle('above', above && c > count);
});
bars.forEach(bar => bar.addEventListener('click', () => show(+bar.dataset.b, +bar.dataset.c)));
addEventListener('keydown', event => { if (event.key === 'Escape') show(0, total); });
document.getElementById('search').addEventListener('input', event => {
  const wanted = event.target.value.toLowerCase();
  let end = -1, sum = 0;
  bars.forEach(bar => {
    const is = wanted && bar.querySelector('title').textContent.split(': ')[0].toLowerCase().includes(wanted);
    bar.classList.toggle('found', !!is);
    const b = +bar.dataset.b, c = +bar.dataset.c;
    if (is && b + c > end) { sum += b + c - Math.max(b, end); end = b + c; }
  });
  document.getElementById('found').textContent = wanted ? (100 * sum / total).toFixed(1) + ' % of the samples' : '';
});
"""
