"""Every line that the code can write keeps the promises of docs/logs.md."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.telemetry.logs import FIELDS
from tests.architecture.log_calls import LEVELS, LogCall, chatty, log_calls, made_texts, nameless, root_calls, telling
from tests.architecture.test_tidy import assert_none, sources
from tests.architecture.tidy import Source

PAGE = (Path(__file__).parents[2] / "docs/logs.md").read_text(encoding="utf-8")
Rule = Callable[[Source], Iterator[str]]
TERMINALS = ("orchestrator/cli/", "orchestrator/testing/")
"""Here `print` is how a command answers."""


def code() -> Iterator[Source]:
    yield from sources("orchestrator")


def calls() -> Iterator[LogCall]:
    for source in code():
        yield from log_calls(source)


@pytest.mark.parametrize("rule", [made_texts, nameless, chatty, telling])
def test_every_call_obeys(rule: Rule) -> None:
    assert_none(finding for source in code() for finding in rule(source))


def test_nobody_writes_past_the_loggers() -> None:
    assert_none(found for each in code() if not each.path.startswith(TERMINALS) for found in root_calls(each))


def test_the_rules_see_the_calls_there_are() -> None:
    found = list(calls())
    assert len(found) > 50
    assert {call.level for call in found} == set(LEVELS.values())


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (made_texts, 'logger.error(f"saga {it} is odd")'),
        (made_texts, "_log.warning(told, it)"),
        (nameless, 'logger.error("saga %s is odd", it)'),
        (chatty, 'logger.info("saga %s has ended", it, extra=of_saga(it))'),
        (chatty, 'logger.info("ended", extra=of_saga(it))'),
        (telling, 'logger.debug("ended %s", report.message)'),
        (telling, 'logger.error("odd %s", call.request)'),
        (root_calls, 'logging.warning("odd")'),
        (root_calls, 'print("odd")'),
    ],
)
def test_each_rule_finds_what_it_is_for(rule: Rule, line: str) -> None:
    assert list(rule(Source(path="orchestrator/x.py", text=line)))


@pytest.mark.parametrize("rule", [made_texts, nameless, chatty, telling, root_calls])
def test_no_rule_finds_fault_with_a_good_line(rule: Rule) -> None:
    lines = 'logger.error("saga %s is odd: %s", it, error.message, extra=of_saga(it))\nlogger.info("took %d sagas", 3)'
    assert not list(rule(Source(path="orchestrator/x.py", text=lines)))


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_has_every_field_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", section("Fields"), re.MULTILINE)
    assert dict(rows) == dict(FIELDS)


def test_the_page_says_what_to_do_about_every_line_that_somebody_must_act_on() -> None:
    said = {plain(call.text) for call in calls() if call.level >= LEVELS["error"] and call.text is not None}
    listed = set(re.findall(r"^\| `(?:ERROR|CRITICAL)` \| (.+?) \|", section("What to alert on"), re.MULTILINE))
    assert listed == said


def plain(text: str) -> str:
    """A text as the page shows it: `…` for what is filled in."""
    return re.sub(r"%[.\d]*[a-z]", "…", text)


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
