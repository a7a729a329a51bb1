"""What the hand-written pages say about the program is what the program does."""

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from orchestrator import bootstrap
from orchestrator.config import load
from orchestrator.invoker import metadata
from orchestrator.invoker.classify import ANSWERS, classify
from orchestrator.saga.events import AttentionReason, Phase, Report
from orchestrator.saga.outcome import CONFIGURATION, meaning
from orchestrator.saga.transitions import SAGA

DOCS = Path(__file__).parents[2] / "docs"
CONCEPTS, OPERATIONS, PARTICIPANTS = (
    (DOCS / name).read_text(encoding="utf-8") for name in ("concepts.md", "operations.md", "participants.md")
)


def section(page: str, heading: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def rows(text: str) -> list[list[str]]:
    """A table's rows, cell by cell."""
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")
    ]


def test_every_header_that_is_sent_is_in_the_table_of_concepts() -> None:
    sent = set(re.findall(r"^`([a-z-]+)`", metadata.__doc__, re.MULTILINE))
    told = set(
        re.findall(r"`([a-z-]+)`", " ".join(row[0] for row in rows(section(CONCEPTS, "What a participant must do"))))
    )
    assert told == sent | {"grpc-timeout"}


def test_the_diagram_of_statuses_has_every_change_that_the_machine_knows() -> None:
    drawn = set(re.findall(r"([A-Z_]+) --> ([A-Z_]+):", section(CONCEPTS, "Statuses")))
    known = {
        (before.value, after.value)
        for before, arcs in SAGA.items()
        for after in arcs.values()
        if after is not before and before.value != "QUEUED"
    }
    assert drawn == known


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode])
def test_the_table_of_status_codes_says_what_an_answer_means(code: str) -> None:
    table = rows(section(PARTICIPANTS, "What your status codes mean"))
    said = next(row[1] for row in table if f"`{code}`" in row[0])
    phase = Phase.REPLIED if code in ANSWERS | CONFIGURATION | {"OK"} else Phase.SENT
    outcome = meaning(Report(code=code, phase=phase), unknown_before=False)
    assert re.match(r"[A-Z_]+", said)[0] == outcome.value  # type: ignore[index]  # the table begins with the outcome


def test_every_reason_to_ask_a_person_has_its_advice() -> None:
    told = {row[0].strip("`") for row in rows(section(OPERATIONS, "A saga needs attention"))}
    assert {reason.value for reason in AttentionReason} <= told


def test_the_exit_code_of_a_full_disk_is_the_one_told() -> None:
    told = {row[0]: row[1] for row in rows(section(OPERATIONS, "Exit codes of `saga serve`"))}
    assert told[str(bootstrap.EXIT_STORAGE)] == "the journal could record no more"


def test_the_exit_code_of_a_server_that_has_stopped_is_the_one_told() -> None:
    told = {row[0]: row[1] for row in rows(section(OPERATIONS, "Exit codes of `saga serve`"))}
    assert told[str(bootstrap.EXIT_SERVER)].startswith("the API's server, or the one for peers, stopped by itself")


def test_the_example_configuration_is_accepted(tmp_path: Path) -> None:
    example = re.search(r"```yaml\n(.*?)```", OPERATIONS, re.DOTALL)
    assert example is not None
    for name in ("ca.pem", "client.pem", "client.key", "archive.binpb"):
        (tmp_path / name).touch()
    (tmp_path / "definitions").mkdir()
    (tmp_path / "saga.yaml").write_text(example[1], encoding="utf-8")
    settings = load(tmp_path / "saga.yaml", {}, []).settings
    assert sorted(settings.targets) == ["archive", "notifier", "scoring"]


def test_the_shown_way_to_say_more_than_a_code_is_understood() -> None:
    shown = re.search(r"```python failing.py\n(.*?)```", PARTICIPANTS, re.DOTALL)
    assert shown is not None
    names: dict[str, Any] = {}
    exec(shown[1], names)  # the page's own example

    class Context:
        def abort_with_status(self, status: grpc.Status) -> None:
            self.status = status

    context = Context()
    names["bank_is_busy"](context)
    report = classify(
        code=context.status.code.name,
        details=context.status.details,
        trailing=context.status.trailing_metadata,
        sent_at=None,
        ended_at=0.0,
    )
    assert (report.code, report.applied, report.error_reason) == ("UNAVAILABLE", False, "BANK_BUSY")
    assert report.retry_after_s == 2
    assert names["code_pb2"] is code_pb2
