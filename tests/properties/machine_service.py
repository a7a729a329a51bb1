"""The service that a random saga calls, and what it remembers: as much as the plan says, and no more."""

from collections import Counter
from dataclasses import dataclass

from orchestrator.ids import StepId
from orchestrator.saga.plan import OnFailure, Plan, Step, StepKind


def keeps_keys(step: Step) -> bool:
    """Whether the service behind a step replays its first answer to a key, declared or only relied on."""
    return step.call.idempotent or step.call.retry.explicit


def is_dtm(step: Step) -> bool:
    return step.call.profile.value == "dtm"


@dataclass(frozen=True, slots=True)
class Hanging:
    """A call that runs on unheard; it honours its deadline, by a clock that is off by the allowed skew."""

    step: StepId
    key: str
    until_at: float


class Service:
    """What was really done, by step or item."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.effects: Counter[StepId] = Counter()
        self.answers: dict[str, str] = {}
        """Key -> what it was answered with, where it was done."""
        self.operations: dict[StepId, str] = {}
        """What a long-running operation has come to: `running`, `yes`, `not` or `lost`."""
        self.tombstones: set[str] = set()

    def forward(self, path: StepId, key: str, wanted: str = "yes") -> str:
        """Do it, or refuse with the wanted answer; a kept key gives its first answer again."""
        spec = self.plan.step_of(path)
        if key in self.tombstones:
            return "ABORTED" if is_dtm(spec) else "FAILED_PRECONDITION"
        if keeps_keys(spec) and key in self.answers:
            return self.answers[key]
        if wanted == "no" and spec.poll is not None:
            self.effects[path] = 0  # what was under way has come to nothing
        if wanted in {"yes", "wait"} and spec.kind is not StepKind.READ:
            if spec.awaits is not None:
                self.operations[path] = "running"
            elif spec.poll is not None:
                self.effects[path] = 1
            else:
                self.effects[path] += 1
        elif spec.awaits is not None and wanted == "yes":
            self.operations[path] = "running"
        if wanted == "yes":
            # A refusal leaves nothing behind, not even under the key; nor is "not yet" an answer for good.
            self.answers[key] = wanted
        return wanted

    def _is_insisted(self, spec: Step) -> bool:
        """Whether a step has to succeed in the end."""
        insisted = spec.kind is StepKind.RETRIABLE or spec.on_failure is OnFailure.RETRY
        insisted = insisted or (self.plan.pivot is not None and spec.kind is StepKind.READ)
        return insisted and not spec.optional

    def ends(self, path: StepId, as_what: str, key: str) -> str:
        """Bring a long-running operation to its end, once."""
        if self.operations.get(path) == "running":
            self.operations[path] = as_what
            if as_what == "yes" and self.plan.step_of(path).kind is not StepKind.READ:
                self.effects[path] += 1
            if as_what != "yes" and self._is_insisted(self.plan.step_of(path)):
                # Begun once, it is the same operation for whoever asks again; unless it has to succeed in the end.
                self.answers.pop(key, None)
        return self.operations.get(path, "lost")

    def undo(self, path: StepId, key: str) -> None:
        self.effects[path] = 0
        self.operations.pop(path, None)
        self.answers.pop(key, None)
        if self.plan.step_of(path).call.barrier:
            self.tombstones.add(key)
