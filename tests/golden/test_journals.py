import base64
import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.ids import SagaId
from orchestrator.journal import codec
from orchestrator.saga.events import AttentionReason, CauseKind, Phase, SettleReason, SkipReason, Verb
from orchestrator.saga.plan import Operation, Outcome
from tests.golden.writing import FOLDER, plain

JOURNALS = sorted(FOLDER.glob("*/*.jsonl"))
NEWEST = [path for path in JOURNALS if path.parent == JOURNALS[-1].parent]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def says_at_least(actual: Any, expected: Any) -> bool:
    """A later release may say more of an old record (a field that was added, at its default), never less or other."""
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(
            name in actual and says_at_least(actual[name], value) for name, value in expected.items()
        )
    return bool(actual == expected and type(actual) is type(expected))


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_journal_of_any_release_reads_as_it_was_meant(path: Path) -> None:
    for line in lines(path):
        body = base64.b64decode(line["body"])
        record = codec.decode_record(SagaId(path.stem), line["version"], line["epoch"], line["type"], body)
        told = json.loads(json.dumps(plain(record.event)))
        assert says_at_least(told, line["event"]), f"version {record.version}: {told}"


@pytest.mark.parametrize("path", NEWEST, ids=lambda path: path.stem)
def test_what_is_written_anew_has_the_bytes_it_had(path: Path) -> None:
    """But for the order of attributes, which is anybody's, so that the bytes are compared in one of their own."""
    for line in lines(path):
        body = base64.b64decode(line["body"])
        _, anew = codec.encode(codec.decode(line["type"], body))
        assert sorted(anew) == sorted(body), f"version {line['version']}: {anew!r}, and was {body!r}"


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_stream_is_a_stream(path: Path) -> None:
    assert [line["version"] for line in lines(path)] == list(range(1, len(lines(path)) + 1))


def test_every_word_of_the_format_is_golden() -> None:
    """A word that no golden journal has could be renamed unseen."""
    text = "".join(path.read_text() for path in JOURNALS)
    words = [
        word.value for kind in (Verb, SettleReason, CauseKind, AttentionReason, SkipReason, Phase) for word in kind
    ]
    words += [word.value for kind in (Operation, Outcome) for word in kind]
    assert [word for word in words if f'"{word}"' not in text] == []


def test_every_event_type_is_golden() -> None:
    golden = {line["type"] for path in JOURNALS for line in lines(path)}
    assert golden == {event_type.__name__ for event_type in codec.EVENT_TYPES}, (
        "write new types into a folder of the release that adds them: python -m tests.golden.writing RELEASE"
    )
