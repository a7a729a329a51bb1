import json
from xml.etree import ElementTree

import pytest

from orchestrator.diagnostics.flame import IDLE, folded, hottest, speedscope, svg
from orchestrator.ports.diagnostics import Profile

SVG = "{http://www.w3.org/2000/svg}"
STACKS = {
    "orchestrator.api:serve;orchestrator.runtime:turn": 30,
    "orchestrator.api:serve;orchestrator.runtime:turn;json:dumps": 50,
    "orchestrator.api:serve;grpc.aio:send": 15,
    "asyncio.events:run;orchestrator.runtime:turn;orchestrator.runtime:turn": 5,
}


def profile(stacks: dict[str, int] | None = None, *, idle: int = 100) -> Profile:
    stacks = STACKS if stacks is None else stacks
    samples = sum(stacks.values()) + idle
    return Profile(seconds=samples / 100, hz=100.0, samples=samples, idle_samples=idle, stacks=stacks)


def bars(text: str) -> list[tuple[str, float, float, float]]:
    """What is drawn: function, left and right edge in percent, and row."""
    found = []
    for each in ElementTree.fromstring(text).iter(f"{SVG}svg"):
        if each.get("class") == "f":
            title = each.find(f"{SVG}title")
            assert title is not None
            left, width = float(each.attrib["x"][:-1]), float(each.attrib["width"][:-1])
            row = float(each.attrib["y"])
            found.append(((title.text or "").split(": ")[0], round(left, 3), round(left + width, 3), row))
    return found


def test_a_caller_is_above_what_it_called_and_as_wide_as_its_share() -> None:
    drawn = bars(svg(profile(), "a title"))
    rows = sorted({row for *_, row in drawn})
    assert sorted((rows.index(row), left, right, name) for name, left, right, row in drawn) == [
        (0, 0.0, 95.0, "orchestrator.api:serve"),
        (0, 95.0, 100.0, "asyncio.events:run"),
        (1, 0.0, 80.0, "orchestrator.runtime:turn"),
        (1, 80.0, 95.0, "grpc.aio:send"),
        (1, 95.0, 100.0, "orchestrator.runtime:turn"),
        (2, 0.0, 50.0, "json:dumps"),
        (2, 95.0, 100.0, "orchestrator.runtime:turn"),
    ]


def test_the_picture_says_what_it_is_of() -> None:
    text = svg(profile(), "epro at 127.0.0.1:7400")
    assert "epro at 127.0.0.1:7400" in text
    assert "2.0 s at 100 Hz; 200 samples; busy in 50.0 % of them" in text
    assert "orchestrator 35.0 %" in text
    assert "stdlib 50.0 %" in text
    assert "grpc 15.0 %" in text


def test_a_hint_tells_counts_and_shares() -> None:
    text = svg(profile(), "t")
    assert "<title>orchestrator.runtime:turn: 80 samples, 80.0 %; 30 of them in itself, 30.0 %</title>" in text


def test_nothing_is_fetched_from_anywhere() -> None:
    text = svg(profile(), "t").replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xhtml", "")
    assert "http" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_whatever_a_function_is_called_it_is_only_text() -> None:
    name = "m:<lambda>]]></script><script>alert(1)</script>&\x1b\u2028"
    root = ElementTree.fromstring(svg(profile({name: 5}), "<b>&amp;</b>\x00"))
    assert len(list(root.iter(f"{SVG}script"))) == 1
    [title] = [each.text for each in root.findall(f"{SVG}title")]
    assert title == "<b>&amp;</b>?"
    [(drawn, *_)] = bars(svg(profile({name: 5}), "t"))
    assert drawn == "m:<lambda>]]></script><script>alert(1)</script>&??"


def test_what_is_too_narrow_is_left_out_and_said_to_be() -> None:
    text = svg(profile({"a:wide": 99_990, "a:thin;a:thinner": 6, "a:wide;b:thin": 4}), "t")
    assert [name for name, *_ in bars(text)] == ["a:wide"]
    assert "3 bars too narrow to be seen are left out, 0.0 % in all" in text


def test_a_loop_with_nothing_to_do_has_an_empty_picture() -> None:
    text = svg(profile({}), "t")
    assert bars(text) == []
    assert "the loop had nothing to do" in text


def test_equal_profiles_have_equal_pictures() -> None:
    backwards = dict(reversed(STACKS.items()))
    assert svg(profile(), "t") == svg(profile(backwards), "t")


def test_folded_stacks_have_a_line_each_and_the_idle_time() -> None:
    assert folded(profile({"a:b;c:d": 3, "a:b": 1}, idle=7)) == f"{IDLE} 7\na:b 1\na:b;c:d 3\n"
    assert folded(profile({"a:b": 1}, idle=0)) == "a:b 1\n"


def test_speedscope_gets_its_own_format() -> None:
    file = json.loads(speedscope(profile({"a:b;c:d": 3, "a:b": 1}, idle=7), "epro"))
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    names = [frame["name"] for frame in file["shared"]["frames"]]
    [shown] = file["profiles"]
    assert shown["name"] == "epro"
    assert shown["type"] == "sampled"
    stacks = [";".join(names[at] for at in sample) for sample in shown["samples"]]
    assert dict(zip(stacks, shown["weights"], strict=True)) == pytest.approx({IDLE: 0.07, "a:b": 0.01, "a:b;c:d": 0.03})
    assert shown["endValue"] == pytest.approx(0.11)


def test_the_hottest_are_those_that_were_innermost_most_often_and_recursion_counts_once() -> None:
    hot = hottest(profile(), 3)
    assert [(each.function, each.self_count, each.total_count) for each in hot] == [
        ("json:dumps", 50, 50),
        ("orchestrator.runtime:turn", 35, 85),
        ("grpc.aio:send", 15, 15),
    ]
