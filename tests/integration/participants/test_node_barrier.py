"""The barrier written by another team in another language, from the published page alone."""

from typing import Any

import pytest

from tests.conformance.barrier_vectors import every_vector, play


@pytest.mark.node
@every_vector
async def test_it_keeps_every_published_vector(vector: dict[str, Any], box_office: str) -> None:
    await play(box_office, vector)
