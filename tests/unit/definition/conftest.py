"""A desk: revisions with all they stand on."""

import pytest

from tests.unit.definition.desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()
