"""Where a run can be killed, and killing it there: at every turn, every append and every call of a life."""

from collections.abc import Iterator, Sequence
from itertools import chain

from orchestrator.testing import Fault, Kind, Run
from orchestrator.testing.flows import Flow

SEED = 1
_AT_APPENDS = (Kind.KILL_BEFORE_APPEND, Kind.KILL_IN_APPEND, Kind.KILL_AFTER_APPEND)
_AT_SENDS = (Kind.KILL_BEFORE_SEND, Kind.KILL_AFTER_SEND)


def places(run: Run, life: str) -> Iterator[Fault]:
    """Yield every kill that could strike one life of a run."""
    turns, appends, sends = run.passes[life]
    for at in range(1, appends + 1):
        yield from (Fault(kind, life, at) for kind in _AT_APPENDS)
    for at in range(1, sends + 1):
        yield from (Fault(kind, life, at) for kind in _AT_SENDS)
    for at in range(1, turns + 1):
        yield Fault(Kind.KILL_TURN, life, at)


def killed(flow: Flow, kills: Sequence[Fault], seed: int = SEED) -> Run:
    """Run a flow with what goes wrong in it by itself, and killed besides."""
    return flow.simulation().run(seed, tape=chain(flow.tape, kills))


def told(flow: Flow, kills: Sequence[Fault], run: Run) -> str:
    """Return what a person needs in order to see it again."""
    tape = "".join(f"  {fault}\n" for fault in (*flow.tape, *kills))
    return f"{flow.name} with\n{tape}broke: {'; '.join(run.violations)}"
