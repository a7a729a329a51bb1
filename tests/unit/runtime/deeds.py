"""Shards that a test gives and takes, and what runs in them."""

from collections.abc import Sequence

from orchestrator.errors import NotOwner
from orchestrator.ids import SagaId
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.ownership import shard_of
from orchestrator.saga.events import Report
from orchestrator.testing.shorthand import plan, step
from orchestrator.values import Payload
from tests.kit.machine import report
from tests.kit.parts import wait

SHARDS = 4
PLAN = plan(step("a", idempotent=True))
WAITING = plan(wait("w"))
GO = Payload("Signal", b"now")
NAMES = ["s", "t", "u", "v", "w", "x", "y", "z"]


class Deeds:
    """An ownership that the test writes: what is not in `held` is another's, at `neighbour`."""

    shard_count = SHARDS
    obstacle: str | None = None

    def __init__(self, *shards: int, epoch: int = 1) -> None:
        self.held = dict.fromkeys(shards, epoch)

    def owned(self) -> Sequence[int]:
        return sorted(self.held)

    def epoch(self, shard: int) -> int:
        if shard not in self.held:
            raise NotOwner(f"shard {shard} is the neighbour's", shard=shard, owner="neighbour:1")
        return self.held[shard]


def well(_call: CallRequest) -> Report | None:
    return report()


def hangs(_call: CallRequest) -> Report | None:
    return None


def named(shard: int) -> str:
    return next(name for name in NAMES if shard_of(SagaId(name), SHARDS) == shard)
