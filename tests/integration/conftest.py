"""What several folders of tests have in common."""

import pytest

from orchestrator import limits


@pytest.fixture
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers leave half a second before their caller gives up, or a whole one: a busy machine takes the usual tenth.

    For a caller of `PATIENCE_S`: a shorter patience has a smaller margin.
    """
    monkeypatch.setattr(limits, "API_WAIT_MARGIN_S", 1.0)
    monkeypatch.setattr(limits, "API_ANSWER_MARGIN_S", 0.5)
