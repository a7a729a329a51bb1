"""The second witness: what the services say they did.

A service's effect ledger is a file `<service>.ledger.jsonl`, one JSON object a line, fsynced before the reply. The
checker needs these of its fields: `saga_id`, `saga_step`, `op` (`forward` or `compensate`), `key`, `effect` (1 where
something changed because of the call). A last line without its newline was never acknowledged and is left out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ConfigError
from orchestrator.ids import SagaId, StepId, item_of
from orchestrator.saga.events import SagaTerminated
from orchestrator.saga.plan import Operation
from orchestrator.saga.state import StepState, StepStatus
from orchestrator.verify.findings import Findings, Left, Violation
from orchestrator.verify.stream import Life, Stream

LEDGER_SUFFIX = ".ledger.jsonl"
_FIELDS = {"saga_id": str, "saga_step": str, "op": str, "key": str, "effect": int}

_STANDS: Mapping[StepStatus, frozenset[int]] = {
    StepStatus.APPLIED: frozenset({1}),
    StepStatus.UNDONE: frozenset({0}),
    StepStatus.NOT_APPLIED: frozenset({0}),
    StepStatus.SKIPPED: frozenset({0}),
    StepStatus.PENDING: frozenset({0}),
    # An unknown outcome of a step that has no undo is all that may remain of an ended saga, by itself.
    StepStatus.UNSETTLED: frozenset({0, 1}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLine:
    """One line of a ledger."""

    service: str
    saga_id: SagaId
    step: StepId
    operation: str
    key: str
    count: int


def read_ledgers(folder: Path) -> Iterator[LedgerLine]:
    """Yield every line of every ledger in a folder; `ConfigError` names the line that is not one."""
    files = sorted(folder.glob(f"*{LEDGER_SUFFIX}"))
    if not files:
        raise ConfigError(f"{folder} has no *{LEDGER_SUFFIX}; give the folder that the services were given as data")
    for path in files:
        with path.open("rb") as file:  # a last line may be torn in the middle of a character
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield _effect(path, number, line)


def _effect(path: Path, number: int, line: bytes) -> LedgerLine:
    try:
        fields = json.loads(line.decode())
        for name, kind in _FIELDS.items():
            _be(kind, name, fields[name])
        return LedgerLine(
            service=path.name.removesuffix(LEDGER_SUFFIX),
            saga_id=SagaId(fields["saga_id"]),
            step=StepId(fields["saga_step"]),
            operation=fields["op"],
            key=fields["key"],
            count=fields["effect"],
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path}:{number}: not a ledger line ({error!r}); see docs/reliability.md") from error


def _be(kind: type, name: str, value: object) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is no {kind.__name__}")


class Ledgers:
    """All effects, by saga and by key."""

    def __init__(self, effects: Iterable[LedgerLine]) -> None:
        """Read them once; one entry a distinct key is kept."""
        self.by_key: Counter[str] = Counter()
        self.net: Counter[tuple[SagaId, StepId]] = Counter()
        self.keys: dict[SagaId, dict[str, StepId]] = {}
        self.last: dict[str, tuple[int, str]] = {}
        """Key -> the number of the last line that tells of it, and its service: of a forward call, of its effect."""
        self.count = 0
        for effect in effects:
            if effect.saga_id and effect.key:  # others were nobody's saga
                self._take(effect)

    def _take(self, effect: LedgerLine) -> None:
        self.count += 1
        self.by_key[effect.key] += effect.count
        # Asking about a call, or for its end, is no effect of the step.
        sign = {Operation.FORWARD.value: 1, Operation.COMPENSATE.value: -1}.get(effect.operation, 0)
        self.net[effect.saga_id, effect.step] += effect.count * sign
        self.keys.setdefault(effect.saga_id, {})[effect.key] = effect.step
        if effect.count or sign < 0:
            self.last[effect.key] = self.count, effect.service

    def keeping(self, definitions: Mapping[SagaId, str]) -> Mapping[str, frozenset[StepId]]:
        """Return definition -> steps whose service keeps a ledger: it has a line of that step, or of an item of it."""
        found: dict[str, set[StepId]] = {}
        for saga_id, step in self.net:
            found.setdefault(definitions.get(saga_id, ""), set()).add(item_of(step)[0])
        return {definition: frozenset(steps) for definition, steps in found.items()}


def check_effects(stream: Stream, ledgers: Ledgers, keeping: frozenset[StepId], findings: Findings) -> None:
    """I10, I13, I19, I24: the services' account of a saga against its own; `keeping`: steps they account for."""
    saga_id = stream.row.saga_id
    recorded = {event.key for life in stream.every_life() for opened in life.opened.values() for _, event in opened}
    seen = ledgers.keys.get(saga_id, {})
    findings.add(
        "I10", (stream.broken("I10", f"{seen[k]} acted under key {k}") for k in seen if k not in recorded), len(seen)
    )
    twice = [key for key in seen if ledgers.by_key[key] > 1]
    findings.add(
        "I13", (stream.broken("I13", f"{seen[key]} took effect twice under {key}") for key in twice), len(seen)
    )
    for life in stream.every_life():
        findings.hold("I19", _acts_after_undo(stream, life, ledgers))
    state = stream.state
    if state is not None and state.is_terminal and not isinstance(stream.ending, SagaTerminated):
        by_hand = {each.path for each in left_standing(stream)} | stream.resolved()
        paths = [
            each
            for each in state.everything()
            if item_of(each.id)[0] in keeping and each.items is None and each.id not in by_hand
        ]
        findings.add("I24", _unbalanced(stream, paths, ledgers), len(paths))


def _acts_after_undo(stream: Stream, life: Life, ledgers: Ledgers) -> Iterator[Violation | int]:
    """R13: a call that was on its way while its undo passed it. A ledger's lines are in the order of their effects."""
    undos = {event.key for _, event in life.opened.get(Operation.COMPENSATE, [])}
    over = [ledgers.last[key] for key in undos if key in ledgers.last]
    if not over:
        return
    for key in sorted({event.key for _, event in life.opened.get(Operation.FORWARD, [])}):
        acted, service = ledgers.last.get(key, (0, ""))
        undone = [number for number, where in over if where == service]
        if not undone:
            continue
        yield 1
        if acted > max(undone):
            yield stream.broken("I19", f"{life.path} acted under {key} after it had been undone", life.undo_opened or 0)


def _unbalanced(stream: Stream, paths: list[StepState], ledgers: Ledgers) -> Iterator[Violation]:
    for state in paths:
        path, status = state.id, state.status
        net = ledgers.net[stream.row.saga_id, path]
        # A step that had not come to its end when a person completed the saga may have been applied.
        unknown = frozenset({0, 1}) if stream.was_cut_short else frozenset[int]()
        if net not in _STANDS.get(status, unknown):
            yield stream.broken("I24", f"{path} is {status.value}, and {net} of its effect stands")


def left_standing(stream: Stream) -> Iterator[Left]:
    """Yield what a person let stand: effects left, words said in place of a service's, sagas ended as they were."""
    saga_id = stream.row.saga_id
    for life in stream.every_life():
        if life.left is not None:
            yield Left(saga_id=saga_id, path=life.path, why="was left as it is")
        if stream.was_cut_short and life.reset is None and life.opened.get(Operation.FORWARD) and not life.ended:
            yield Left(saga_id=saga_id, path=life.path, why="had not come to its end when a person ended the saga")
    for path in sorted(stream.resolved()):
        yield Left(saga_id=saga_id, path=path, why="is what a person said, not what its service said")
    if isinstance(stream.ending, SagaTerminated):
        for path in stream.ending.left or (StepId(""),):
            yield Left(saga_id=saga_id, path=path, why="was left by a termination")


def check_strangers(known: set[SagaId], ledgers: Ledgers, findings: Findings) -> None:
    """I10 for whole sagas: no service acted for a saga that the journal does not have."""
    strangers = [saga_id for saga_id in ledgers.keys if saga_id not in known]
    findings.add(
        "I10",
        (
            Violation(invariant="I10", saga_id=s, message="a service acted for it; the journal has no such saga")
            for s in strangers
        ),
        len(ledgers.keys),
    )
