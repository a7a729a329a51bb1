"""Every status code, every phase of a stream, every moment of a crash, every kind of method: what follows is the rule.

`python -m tests.integration.outcomes` plays the same, prints the table and writes it to `docs/outcomes.md`.
"""

from pathlib import Path

import pytest

from tests.integration.outcomes import page
from tests.integration.outcomes.cells import Crash, cells
from tests.integration.outcomes.judging import wrong
from tests.integration.outcomes.playing import play
from tests.integration.outcomes.rules import CODES, RULES, Kind

PAGE = Path(__file__).parents[3] / "docs" / "outcomes.md"


def test_the_matrix_leaves_nothing_out() -> None:
    every = cells()
    assert len(CODES) == 17
    assert {cell.what.row for cell in every} == set(RULES) - {"crashed"}
    answered = {(cell.what.group, cell.what.phase) for cell in every if cell.what.group in CODES}
    assert len(answered) == 17 * 5
    for kind in Kind:
        for crash in Crash:
            assert any((cell.kind, cell.crash) == (kind, crash) for cell in every)


@pytest.mark.timeout(600)  # what a busy machine was too slow for is played again
@pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process
async def test_every_way_a_call_can_end_has_the_consequence_that_the_rules_say(tmp_path: Path) -> None:
    every = await play(cells(), tmp_path)
    found = [f"{seen.cell}: {why}" for seen in every for why in wrong(seen)]
    assert found == [], "\n".join(found[:40])
    assert page.render(every) == PAGE.read_text(encoding="utf-8"), "run `python -m tests.integration.outcomes`"
