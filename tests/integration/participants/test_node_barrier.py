"""The barrier written by another team in another language, from the published page alone."""

from typing import Any

import pytest

from orchestrator.bootstrap import SystemClock
from orchestrator.invoker import TargetConfig
from orchestrator.proving import Asked, prove
from tests.conformance.barrier_vectors import every_vector, play
from tests.integration.proving.test_proving import ASKED

pytestmark = pytest.mark.asyncio(loop_scope="session")  # gRPC knows one event loop per process


@pytest.mark.node
@every_vector
async def test_it_keeps_every_published_vector(vector: dict[str, Any], box_office: str) -> None:
    await play(box_office, vector)


@pytest.mark.node
async def test_it_is_proved_to_keep_every_rule(box_office: str) -> None:
    target = TargetConfig(name="box", address=box_office)
    report = await prove(target, ASKED, SystemClock(), timeout_s=5, parallel=8)
    assert {str(finding.verdict) for finding in report.findings} == {"HOLDS"}


@pytest.mark.node
async def test_one_that_knows_no_keys_is_caught(hotel: str) -> None:
    asked = Asked(
        forward="hotel.v1.Hotel/Book",
        compensate="hotel.v1.Hotel/Cancel",
        request={"guest": "g-{unique}", "nights": 1},
        undo_request={"booking_id": "{reply.booking_id}"},
    )
    target = TargetConfig(name="hotel", address=hotel)
    report = await prove(target, asked, SystemClock(), timeout_s=5, parallel=8)
    assert [finding.rule for finding in report.broken] == ["duplicate", "overtaken", "not-after"]
