"""Sagas for answers: with their payloads readable, their children named, and never larger than a message may be."""

from collections.abc import Iterable

from orchestrator import limits
from orchestrator.api import views
from orchestrator.errors import Rejected
from orchestrator.ids import SagaId
from orchestrator.ports.plans import Plans
from orchestrator.runtime.orchestrator import Orchestrator
from orchestrator.saga.plan import Plan
from orchestrator.saga.state import SagaState, StepState
from orchestrator.v1 import saga_pb2 as pb

# What an answer adds around a saga.
_ENVELOPE_BYTES = 64


class Reading:
    """Makes messages out of states."""

    def __init__(self, *, orchestrator: Orchestrator, plans: Plans) -> None:
        self._orchestrator = orchestrator
        self._plans = plans

    async def readable(self, plan: Plan) -> Plans:
        """Return what reads the plan's payloads, which may have left memory."""
        await self._plans.plan(plan.definition, plan.revision)
        return self._plans

    async def children(self, state: SagaState, steps: Iterable[StepState]) -> dict[str, SagaId]:
        """Return the children that these steps of a saga are, by the key that each was started with."""
        found: dict[str, SagaId] = {}
        for _, key in views.child_calls(state, steps):
            child = await self._orchestrator.started_by(key)
            if child is not None:
                found[key] = child
        return found

    async def shown(self, state: SagaState, view: int) -> pb.Saga:
        """Return a saga in a view; `RESPONSE_TOO_LARGE` where no message may be so large."""
        if view == pb.SAGA_VIEW_FULL:
            await self.readable(state.plan)
        saga = views.saga(state, view, self._plans, await self.children(state, state.in_plan_order()))
        if saga.ByteSize() > limits.API_MESSAGE_BYTES_MAX - _ENVELOPE_BYTES:
            raise Rejected(
                "RESPONSE_TOO_LARGE",
                f"saga {state.saga_id} with all its payloads has {saga.ByteSize()} bytes, more than a message may have"
                f" ({limits.API_MESSAGE_BYTES_MAX}); ask for view STEPS, and ListSagaEvents for the payloads",
                saga_id=state.saga_id,
            )
        return saga
