"""The three ends of a saga, and the status that each leaves it in."""

from collections.abc import Mapping

from orchestrator.saga.events import SagaCompensated, SagaCompleted, SagaTerminated
from orchestrator.saga.state import SagaStatus

Ending = SagaCompleted | SagaCompensated | SagaTerminated

ENDED_AS: Mapping[type, SagaStatus] = {
    SagaCompleted: SagaStatus.COMPLETED,
    SagaCompensated: SagaStatus.COMPENSATED,
    SagaTerminated: SagaStatus.TERMINATED,
}
