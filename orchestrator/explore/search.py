"""The search: breadth first, fewest faults first, on the real machine.

Two states are one where nothing that can still happen differs: times, attempt numbers and texts do not count, the order
in which steps began and ended does. A path is remembered by its last move and where it came from, so that a finding
shows a shortest one of those with the fewest faults.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import field
from heapq import heappop, heappush
from uuid import UUID

from orchestrator.errors import InputInvalid, IntegrityError
from orchestrator.explore.abstract import Choice, Chooser, OpenChoice, abstract
from orchestrator.explore.proof import End, Flaw, end_of, flaw_of
from orchestrator.explore.world import Effects, Move, late, moves
from orchestrator.frozen import changed, frozen, frozen_tuple
from orchestrator.ids import SagaId, StepId
from orchestrator.limits import EXPLORE_FLAWS_MAX, EXPLORE_STATES_MAX
from orchestrator.saga import SagaState, blank, check, decide
from orchestrator.saga.commands import Command, Moment, Recovered, StartSaga
from orchestrator.saga.events import Event
from orchestrator.saga.plan import Operation, Plan
from orchestrator.saga.state import StepState, operation_of
from orchestrator.values import Payload, TraceContext

_BEGIN_AT = 1_000_000.0
_TICK_S = 0.001
_NOWHERE = -1
_OPERATIONS = tuple(Operation)


Chosen = tuple[tuple[Choice, bool], ...]


@frozen_tuple
class Progress:
    """How far the search is."""

    states: int
    waiting: int


@frozen
class Explored:
    """What the search found."""

    states: int
    moves: int
    faults: int
    """How many faults a path may hold."""
    is_complete: bool
    """False: a bound was reached, and the rest was not looked at."""
    ends: dict[tuple[str, ...], dict[End, int]] = field(default_factory=dict[tuple[str, ...], dict[End, int]])
    """The faults of a path -> how such paths ended, with the number of different ways there."""
    flaws: tuple[Flaw, ...] = ()

    @property
    def is_proven(self) -> bool:
        """Return whether every path was looked at, and ended as it must."""
        return self.is_complete and not self.flaws


@frozen
class _Node:
    state: SagaState
    effects: Effects
    answers: Chosen
    faults: tuple[str, ...]
    number: int
    depth: int
    """Moves from the start."""


class _Search:
    """One search under way."""

    def __init__(self, plan: Plan, faults_max: int, on_progress: Callable[[Progress], bool] | None) -> None:
        self._chooser = Chooser()
        self._plan = abstract(plan, self._chooser)
        self._faults_max = faults_max
        self._on_progress = on_progress
        self._numbers: dict[Hashable, int] = {}
        self._came: list[tuple[int, str]] = []
        """By a state's number: from which one it was first reached, and by which move."""
        self._led: list[list[int]] = []
        """By a state's number: from which ones it is reached without a fault."""
        self._ended: list[int] = []
        self._depths: list[int] = []
        self._looked_at: list[bool] = []
        self._levels: list[list[tuple[int, int, _Node]]] = [[] for _ in range(faults_max + 1)]
        """By the number of faults: a heap of what is to be looked at, the shortest way there first."""
        self._ends: dict[tuple[str, ...], dict[End, int]] = {}
        self._flaws: list[Flaw] = []
        self._moves = 0

    def run(self) -> Explored:
        start = Move("the saga starts", _start(), frozenset())
        first = _Node(state=blank(self._plan), effects=frozenset(), answers=(), faults=(), number=_NOWHERE, depth=0)
        self._step(first, start)
        is_complete = True
        for level in self._levels:
            while level:
                if len(self._came) > EXPLORE_STATES_MAX or not self._goes_on():
                    is_complete = False
                    level.clear()
                    break
                _, _, node = heappop(level)
                if not self._looked_at[node.number]:
                    self._looked_at[node.number] = True
                    self._look(node)
        if is_complete and not self._flaws:
            self._stuck_for_ever()
        return Explored(
            states=len(self._came),
            moves=self._moves,
            faults=self._faults_max,
            is_complete=is_complete,
            ends=self._ends,
            flaws=tuple(self._flaws),
        )

    def _goes_on(self) -> bool:
        return self._on_progress is None or self._on_progress(Progress(len(self._came), sum(map(len, self._levels))))

    def _look(self, node: _Node) -> None:
        if node.state.is_terminal:
            self._end(node)
            return
        possible = moves(node.state, node.effects)
        if all(move.fault for move in possible):
            # Nothing happens by itself any more.
            self._end(node)
        for move in possible:
            if not move.fault or len(node.faults) < self._faults_max:
                self._step(node, move)

    def _end(self, node: _Node) -> None:
        ends = self._ends.setdefault(tuple(sorted(node.faults)), {})
        end = end_of(node.state)
        self._ended.append(node.number)
        ends[end] = ends.get(end, 0) + 1
        # The saga has ended; a call that was overtaken by the next may still arrive, and be done.
        flaw = flaw_of(node.state, node.effects | late(node.state))
        if flaw is not None:
            self._flawed(Flaw(*flaw, self._path(node.number)))

    def _step(self, node: _Node, move: Move) -> None:
        """Take a move, and with it every answer that the author's texts could give on the way."""
        for taken in ways(self._chooser, node.state, node.answers, move):
            self._moves += 1
            faults = (*node.faults, *taken.faults)
            if len(faults) > self._faults_max:
                continue
            if taken.violated is not None:
                path = (*self._path(node.number), taken.told)
                rule = getattr(taken.violated, "number", taken.violated.reason)
                self._flawed(Flaw(rule, taken.violated.message, path))
            elif taken.state is not None:
                self._arrive(node, taken, move.effects, faults)

    def _arrive(self, came_from: _Node, taken: "Taken", effects: Effects, faults: tuple[str, ...]) -> None:
        assert taken.state is not None  # the caller has looked
        answers = tuple(sorted(taken.answers, key=str))
        key = (_shape(taken.state), effects, answers, tuple(sorted(faults)))
        number, depth = self._numbers.setdefault(key, len(self._came)), came_from.depth + 1
        if number == len(self._came):
            self._came.append((came_from.number, taken.told))
            self._led.append([])
            self._depths.append(depth)
            self._looked_at.append(False)
        elif self._looked_at[number] or depth >= self._depths[number]:
            number = _NOWHERE  # there is a way there that is as short
        if number != _NOWHERE:
            self._came[number], self._depths[number] = (came_from.number, taken.told), depth
            node = _Node(state=taken.state, effects=effects, answers=answers, faults=faults, number=number, depth=depth)
            heappush(self._levels[len(faults)], (depth, number, node))
        number = self._numbers[key]
        if not taken.faults and came_from.number != _NOWHERE:
            self._led[number].append(came_from.number)

    def _flawed(self, flaw: Flaw) -> None:
        if len(self._flaws) < EXPLORE_FLAWS_MAX:
            self._flaws.append(flaw)

    def _stuck_for_ever(self) -> None:
        """Find states from which no end is reached although nothing goes wrong any more."""
        ends, todo = set(self._ended), list(self._ended)
        while todo:
            for before in self._led[todo.pop()]:
                if before not in ends:
                    ends.add(before)
                    todo.append(before)
        lost = next((number for number in range(len(self._came)) if number not in ends), None)
        if lost is not None:
            what = "from here on nothing goes wrong, and yet the saga never comes to an end"
            self._flawed(Flaw("I35", what, self._path(lost)))

    def _path(self, number: int) -> tuple[str, ...]:
        found: list[str] = []
        while number != _NOWHERE:
            number, told = self._came[number]
            found.append(told)
        return tuple(reversed(found))


@frozen
class Taken:
    """One way a move went: which answers the author's texts gave, and where it led."""

    told: str
    answers: Chosen
    faults: tuple[str, ...]
    events: tuple[Event, ...] = ()
    state: SagaState | None = None
    violated: IntegrityError | None = None


def ways(chooser: Chooser, state: SagaState, answers: Chosen, move: Move) -> Iterator[Taken]:
    """Yield every way a move can go, one for each answer that is still open."""
    todo = [Taken(told=move.told, answers=answers, faults=(move.fault,) if move.fault else ())]
    while todo:
        taken = todo.pop()
        chooser.answers = dict(taken.answers)
        epoch = max(state.epoch, 1) + isinstance(move.command, Recovered)
        moment = Moment(at=max(state.updated_at + _TICK_S, move.not_before_at, _BEGIN_AT), entropy=0.5, epoch=epoch)
        try:
            decision = decide(state, move.command, moment)
            check(decision.state)
        except OpenChoice as open_:
            todo += [_answered(taken, open_.choice, answer=answer) for answer in (False, True)]
        except IntegrityError as violated:
            yield changed(taken, violated=violated)
        else:
            yield changed(taken, state=decision.state, events=decision.events)


def _answered(taken: Taken, choice: Choice, *, answer: bool) -> Taken:
    words = choice.told(answer=answer)
    is_told = not (choice.is_fault and answer)
    return Taken(
        told=f"{taken.told}; {words}" if is_told else taken.told,
        answers=(*taken.answers, (choice, answer)),
        faults=(*taken.faults, words) if choice.is_fault and not answer else taken.faults,
    )


def explore(plan: Plan, *, faults: int = 2, on_progress: Callable[[Progress], bool] | None = None) -> Explored:
    """Look at every path with at most so many faults; bounded by `EXPLORE_STATES_MAX`, and it says so where it was.

    `on_progress` is asked before every state, and ends the search by returning False.
    """
    return _Search(plan, faults, on_progress).run()


def replay(plan: Plan, path: Sequence[str]) -> Iterator[tuple[str, tuple[Event, ...], SagaState]]:
    """Yield each move of a path with what the machine recorded, and where the saga stands then.

    Raise `InputInvalid` where a line is not a move that can be made there: the definition has changed since.
    """
    chooser = Chooser()
    state, effects = blank(abstract(plan, chooser)), frozenset[StepId]()
    answers: Chosen = ()
    possible = [Move("the saga starts", _start(), effects)]
    for number, line in enumerate(path, 1):
        open_ways = [(move, taken) for move in possible for taken in ways(chooser, state, answers, move)]
        found = next(((move, taken) for move, taken in open_ways if taken.told == line), None)
        if found is None:
            known = "; ".join(repr(taken.told) for _, taken in open_ways)
            raise InputInvalid(f"line {number}", f"{line!r} cannot happen here; what can: {known}")
        move, taken = found
        if taken.violated is not None:
            raise taken.violated
        assert taken.state is not None  # it is one or the other
        state, effects, answers = taken.state, move.effects, taken.answers
        yield line, taken.events, state
        possible = [] if state.is_terminal else moves(state, effects)


def _start() -> Command:
    return StartSaga(
        saga_id=SagaId("explored"),
        uid=UUID(int=1),
        input=Payload("", b""),
        request_id="",
        trace=TraceContext(trace_id=1, span_id=0, sampled=False),
        attributes={},
    )


def _shape(state: SagaState) -> Hashable:
    """Return what a state can still do, without when and how often it did what it did."""
    steps = [*state.in_plan_order(), *(state.items[path] for path in sorted(state.items))]
    return (
        state.status,
        state.cause is not None,
        state.cancel_reason is not None,
        tuple(dict.fromkeys(state.attention)),
        tuple(sorted(state.rollbacks)),
        tuple((name, len(waiting)) for name, waiting in sorted(state.signals.items())),
        tuple(_step_shape(step, state.updated_at) for step in steps),
        _order(steps),
    )


def _step_shape(step: StepState, now_at: float) -> Hashable:
    if step.status.value == "PENDING":
        return None
    operations = tuple(_operation_shape(step, operation) for operation in _OPERATIONS)
    # A "no" and an undo wait for a call that may still be on its way (R8a, R12): here time does count.
    may_run = step.forward is not None and now_at < step.forward.over_at
    early = tuple(_is_early(step, operation) for operation in (Operation.FORWARD, Operation.PROBE))
    told = (step.status, step.outcome, step.settle_reason, step.in_else, step.undo_request is None)
    return (*told, may_run, early, operations)


def _is_early(step: StepState, operation: Operation) -> bool:
    """Return whether a call that is open was opened too early for its "no" to be believed."""
    of = operation_of(step, operation)
    if step.forward is None or of is None or of.open is None:
        return False
    over_at = step.forward.arrived_at if operation is Operation.FORWARD else step.forward.over_at
    return of.opened_at < over_at


def _operation_shape(step: StepState, operation: Operation) -> Hashable:
    of = operation_of(step, operation)
    if of is None:
        return None
    last = of.last.reply.data if of.last is not None and of.last.reply is not None else None
    return (of.open is not None, of.retry_at is not None, of.parked, of.unknown, min(of.spent, 2), last)


def _order(steps: Sequence[StepState]) -> Hashable:
    """Return in which order steps began and ended: it decides in which order they are undone."""
    versions = sorted({version for step in steps for version in (step.started_version, step.settled_version)})
    rank = {version: place for place, version in enumerate(versions)}
    return tuple((rank[step.started_version], rank[step.settled_version]) for step in steps)
