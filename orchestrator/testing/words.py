"""What services say where all goes well, in the messages of compiled definitions.

An empty message will do for most replies. What says that something is done cannot be made up: of a probe, a poll and a
long-running operation it has to be given, as JSON, by the name of its step: `capture`, `capture.probe`, `index.await`.
"""

from collections.abc import Collection, Mapping, Sequence

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from orchestrator.errors import InputInvalid
from orchestrator.explore.play import OPERATION_WORDS
from orchestrator.ids import StepId, item_of
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.plans import JsonInput, Plans
from orchestrator.saga.plan import Call, Operation, Plan, Step
from orchestrator.testing.services import Replies, Word
from orchestrator.values import Payload

_OPERATION = operations_pb2.Operation.DESCRIPTOR.full_name
_CANCELLED = 1

JsonReplies = Mapping[str, Mapping[str, object]]
"""Step, or step and operation as in `capture.probe` -> the reply once it is done."""


def words(plans: Sequence[Plan], catalogue: Plans, replies: JsonReplies, where: str = "replies") -> Replies:
    """Return what services say; raise `InputInvalid`, below `where`, for a reply that fits no call or one not given."""
    given: dict[tuple[str, Operation, str], Payload] = {}
    for name, values in replies.items():
        plan, path, operation = _place(name, plans, f"{where}.{name}")
        reply_type = plan.step_of(path).call_of(operation).reply_type
        given[path, operation, reply_type] = catalogue.payload(
            plan, reply_type, JsonInput(dict(values)), f"{where}.{name}"
        )
    _refuse_what_is_missing(plans, {(path, operation) for path, operation, _ in given}, where)

    def say(call: CallRequest, word: Word) -> Payload | None:
        if word is Word.NOT_YET and call.operation is Operation.PROBE and call.reply_type != _OPERATION:
            return None  # of an empty message `applied` would say that it was not done
        paths = call.step, item_of(call.step)[0]
        found = next((said for path in paths if (said := given.get((path, call.operation, call.reply_type)))), None)
        if word is Word.DONE and found is not None:
            return found
        return Payload(call.reply_type, _operation(word) if call.reply_type == _OPERATION else b"")

    return say


def _place(name: str, plans: Sequence[Plan], where: str) -> tuple[Plan, StepId, Operation]:
    path, _, word = name.partition(".")
    plan = next((each for each in plans if item_of(StepId(path))[0] in each.steps), None)
    if plan is None:
        known = ", ".join(step for each in plans for step in each.steps)
        raise InputInvalid(where, f"no such step; there are {known}")
    operation = OPERATION_WORDS.get(word)
    if operation is None or operation not in _asked(plan.step_of(StepId(path))):
        raise InputInvalid(where, f"step {path} makes no such call; write `{path}` or `{path}.undo`")
    return plan, StepId(path), operation


def _asked(step: Step) -> Collection[Operation]:
    """Return the operations that a step calls a service for."""
    stops = step.awaits is not None and step.awaits.stop is not None
    calls = {
        Operation.FORWARD: isinstance(step.body, Call),
        Operation.COMPENSATE: step.compensation is not None,
        Operation.PROBE: step.probe is not None,
        Operation.AWAIT: step.awaits is not None,
        Operation.STOP: stops,
    }
    return [operation for operation, is_called in calls.items() if is_called]


def _refuse_what_is_missing(plans: Sequence[Plan], said: Collection[tuple[str, Operation]], where: str) -> None:
    missing: list[str] = []
    for step in (step for plan in plans for step in plan.steps.values()):
        needed = {"": step.poll, ".probe": step.probe, ".await": step.awaits}
        missing += [
            f"{step.id}{word}"
            for word, what in needed.items()
            if what is not None and (step.id, OPERATION_WORDS[word.removeprefix(".")]) not in said
        ]
    if missing:
        raise InputInvalid(where, f"say what answers once it is done: {', '.join(missing)}")


def _operation(word: Word) -> bytes:
    if word is Word.NOT_DONE:
        stopped = status_pb2.Status(code=_CANCELLED, message="stopped")
        return bytes(operations_pb2.Operation(done=True, error=stopped).SerializeToString())
    return bytes(operations_pb2.Operation(name="simulated", done=word is Word.DONE).SerializeToString())
