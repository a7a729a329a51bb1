"""What the owner of a service said about its methods, and where a definition says otherwise.

Facts about a method come from four places, and the first that speaks is believed::

    configuration of the method > of its target > `option (orchestrator.v1.saga)` > `idempotency_level` > nothing holds

Configuration comes first because the operator answers for what is called, and cannot mend another team's annotation.
The annotations are read from the descriptors that are pinned with a revision, so a saga keeps those it started with.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodDescriptorProto, MethodOptions

from orchestrator.definition.diagnostics import At, Code
from orchestrator.definition.flat import Flat
from orchestrator.definition.model import Compensate, Step
from orchestrator.frozen import frozen
from orchestrator.ports.methods import MethodFacts, TargetFacts
from orchestrator.saga.plan import OutcomeProfile, StepKind
from orchestrator.v1.annotations_pb2 import SagaMethod
from orchestrator.v1.annotations_pb2 import saga as annotation

_PROFILES: Final[Mapping[int, OutcomeProfile]] = {
    SagaMethod.DEFAULT: OutcomeProfile.DEFAULT,
    SagaMethod.DTM: OutcomeProfile.DTM,
}


@frozen
class Declared:
    """What is believed of a method, whoever said it."""

    idempotent: bool
    """It honours the idempotency key (R8a)."""
    repeatable: bool
    """Asking it twice does no harm, whatever it answers the second time."""
    barrier: bool
    """It keeps the barrier contract (R13)."""
    profile: OutcomeProfile
    """How its status codes are meant (R6)."""


@frozen
class Called:
    """The methods of one step that were found."""

    forward: MethodDescriptor | None
    undo: MethodDescriptor | None = None
    probe: MethodDescriptor | None = None


def full_name(method: MethodDescriptor) -> str:
    """Return `package.Service/Method`."""
    return f"{method.containing_service.full_name}/{method.name}"


def declared(target: TargetFacts, method: MethodDescriptor) -> Declared:
    """Return what holds for a method of a target."""
    options = _options(method)
    said = options.Extensions[annotation]
    owner = MethodFacts(
        idempotent=said.idempotent if said.HasField("idempotent") else None,
        barrier=said.barrier if said.HasField("barrier") else None,
        profile=_PROFILES.get(said.outcome_profile),
    )
    facts = target.of(full_name(method)).over(owner)
    # What changes nothing may be asked twice, and when it is refused later, the earlier call changed nothing either.
    idempotent = _effect(options) == SagaMethod.READ if facts.idempotent is None else facts.idempotent
    return Declared(
        idempotent=idempotent,
        # Less than the key: a repeated Delete may answer NOT_FOUND although the first one was applied.
        repeatable=idempotent or options.idempotency_level == MethodOptions.IDEMPOTENT,
        barrier=bool(facts.barrier),
        profile=facts.profile or OutcomeProfile.DEFAULT,
    )


def contradictions(flat: Flat, called: Mapping[str, Called], top: At) -> None:
    """Warn where a step is not what the owners of its methods say; the definition wins, its author knows the saga."""
    for name, found in called.items():
        at, step = At(top.findings, flat[name].path), flat[name].step
        if found.forward is None:
            continue
        _kind(step, found.forward, at)
        _undo(step, found.forward, found.undo, at)
        if found.probe is not None:
            _probe(found.forward, found.probe, at)


def _kind(step: Step, method: MethodDescriptor, at: At) -> None:
    effect = _effect(_options(method))
    kind = str(step.kind or StepKind.COMPENSATABLE)
    has_undo = isinstance(step.compensate, Compensate)
    word = SagaMethod.Effect.Name(effect)
    if effect == SagaMethod.READ and kind != StepKind.READ:
        _warn(at / "call", f"{method.name} is declared {word}, it changes nothing", "write `kind: read`")
    elif effect not in {SagaMethod.READ, SagaMethod.EFFECT_UNSPECIFIED} and kind == StepKind.READ:
        why = f"{method.name} is declared {word}, it changes something"
        _warn(at / "kind", why, "remove `kind: read`, and say what undoes it")
    elif effect in {SagaMethod.PIVOT, SagaMethod.RETRIABLE} and has_undo:
        why = f"{method.name} is declared {word}, it cannot be undone"
        _warn(at / "compensate", why, "remove `compensate`, and write the kind")
    elif effect == SagaMethod.PIVOT and kind == "retriable":
        _warn(at / "kind", f"{method.name} is declared {word}, it may be refused", "write `kind: pivot`")


def _undo(step: Step, forward: MethodDescriptor, undo: MethodDescriptor | None, at: At) -> None:
    if undo is not None:
        undoes = _options(undo).Extensions[annotation].compensates
        if undoes and undoes != full_name(forward):
            why = f"{undo.name} is declared to undo {undoes}, not {full_name(forward)}"
            _warn(at / "compensate" / "call", why, "call what undoes this step")
    elif step.compensate == "none" and (undo := next(_undos_of(forward), None)) is not None:
        why = f"{undo.name} is declared to undo {forward.name}, and here nothing does"
        _warn(at / "compensate", why, f"call {full_name(undo)}")


def _probe(forward: MethodDescriptor, probe: MethodDescriptor, at: At) -> None:
    options = _options(probe)
    probes, effect = options.Extensions[annotation].probes, _effect(options)
    if probes and probes != full_name(forward):
        why = f"{probe.name} is declared to probe {probes}, not {full_name(forward)}"
        _warn(at / "probe" / "call", why, "call what can tell whether this step was applied")
    if effect not in {SagaMethod.READ, SagaMethod.EFFECT_UNSPECIFIED}:
        why = f"{probe.name} is declared {SagaMethod.Effect.Name(effect)}, it changes something"
        _warn(at / "probe" / "call", why, "call a method that only reads")


def _undos_of(method: MethodDescriptor) -> Iterator[MethodDescriptor]:
    """Yield the methods of the same service that are declared to undo this one."""
    name = full_name(method)
    others = method.containing_service.methods
    return (other for other in others if _options(other).Extensions[annotation].compensates == name)


def _effect(options: MethodOptions) -> "SagaMethod.Effect.ValueType":
    said = options.Extensions[annotation].effect
    if said == SagaMethod.EFFECT_UNSPECIFIED and options.idempotency_level == MethodOptions.NO_SIDE_EFFECTS:
        return SagaMethod.READ
    return said


def _options(method: MethodDescriptor) -> MethodOptions:
    """Return the options as this process reads them: the pool of a revision may not know the extension."""
    proto = MethodDescriptorProto()
    method.CopyToProto(proto)
    return proto.options


def _warn(at: At, message: str, fix: str) -> None:
    at.value(Code.UNLIKE_ANNOTATION, message, fix)
