"""One saga: take a message, decide, append, and only when that is durable, evolve and perform.

::

       tell(command)
            |
            v  during a commit: [mailbox] --- control lane first
            |
            v  every message that waits is decided on, one after the other, into one append
        decide ... decide            nothing hangs on it? wait a moment for the next message, and share its append
            |
            v
        committer ---- durable? --no--> the supervisor is told; this actor never writes again
            |
           yes
            v
        state := folded state;  perform owed(new) - owed(old);  answer callers;  next turn

An actor is an object, not a task: a saga that waits costs its state and nothing else. There is one writer because
there is one append in flight at most, and the next decision is taken on the state that it made durable.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVarTuple

from immutables import Map

from orchestrator.errors import Fenced, NotOwner, OrchestratorError, RequestError
from orchestrator.ids import SagaId, StepId
from orchestrator.limits import COMMIT_HOLD_S, RECORDS_PER_APPEND_MAX
from orchestrator.logscope import About, of_saga
from orchestrator.ports.diagnostics import ActorFacts
from orchestrator.ports.journal import Append, Record, SearchRow
from orchestrator.runtime.mailbox import Answer, Envelope, Mailbox
from orchestrator.runtime.perform import Hands
from orchestrator.runtime.rows import rest_of, row_after
from orchestrator.runtime.surroundings import Surroundings
from orchestrator.saga import SagaState, check_steps, decide
from orchestrator.saga.commands import Command, TimerFired
from orchestrator.saga.effects import SetTimer, Timer, in_order
from orchestrator.saga.events import Event, touched
from orchestrator.saga.owed_since import NO_CHANGE, Change, owed_since, timers_after
from orchestrator.values import TraceContext

logger = logging.getLogger("orchestrator.actor")

Given = TypeVarTuple("Given")


class Guard(Protocol):
    """Runs a piece of an actor's work; whatever it raises ends this actor and no other."""

    def __call__(self, actor: "Actor", work: Callable[[*Given], None], *given: *Given) -> None:
        """Run it now, as a turn of the actor's saga."""
        ...


class Keeper(Protocol):
    """Who looks after an actor: the directory, with the supervisor behind it."""

    @property
    def guard(self) -> Guard:
        """Return what every turn of the actor is run by."""
        ...

    def advanced(self, actor: "Actor") -> None:
        """Hear that the actor has a new durable state, and may have nothing more to do."""
        ...


class _Turn:
    """What one turn decided: events, the state they lead to, and who waits for which answer."""

    __slots__ = ("answers", "change", "epoch", "events", "fired", "held_at", "records", "state", "timers", "touched")

    def __init__(self, state: SagaState, epoch: int) -> None:
        self.state = state
        self.epoch = epoch
        """Under which it was decided, and is written."""
        self.events: list[Event] = []
        self.records: Sequence[Record] = ()
        """The events as they are written, from when that begins."""
        self.answers: list[tuple[Answer, RequestError | None]] = []
        self.touched: frozenset[StepId] = frozenset()
        """The steps and items that the events name."""
        self.change = NO_CHANGE
        """What is owed with it beyond what has been performed, and what no longer."""
        self.fired: list[Timer] = []
        self.held_at: float | None = None
        """Since when, by the loop's clock, it waits for company; who joins it does not make it wait longer."""
        self.timers = Map[Timer, float]()
        """What is owed by time after it."""

    def answer(self, state: SagaState, error: OrchestratorError | None = None) -> None:
        for answer, rejected in self.answers:
            answer(error or rejected or state)


class Actor:
    """The single writer of one saga."""

    __slots__ = (
        "_activated_at",
        "_around",
        "_decided_at",
        "_flush",
        "_hands",
        "_held",
        "_in_commit",
        "_keeper",
        "_mailbox",
        "_performed",
        "_row",
        "_stopped",
        "_timers",
        "saga_id",
        "shard",
        "state",
    )

    def __init__(
        self, saga_id: SagaId, state: SagaState, around: Surroundings, keeper: Keeper, *, shard: int = 0
    ) -> None:
        """Begin with the state that the journal tells."""
        self.saga_id = saga_id
        self.shard = shard
        self.state = state
        """Durable: what callers are shown."""
        self._around = around
        self._keeper = keeper
        self._mailbox: Mailbox | None = None
        """Made when something has to wait: for most sagas nothing ever does."""
        self._hands = Hands(around.invoker, around.children, around.clock, around.observer)
        self._performed: SagaState | None = None
        """The state whose effects have been performed: the durable one, from the first turn on."""
        self._timers = Map[Timer, float]()
        """What of that is owed by time, and when."""
        self._row: SearchRow | None = None
        """The latest that was written, or given to be written."""
        self._in_commit: _Turn | None = None
        """What is on its way to the store; whatever comes meanwhile waits in the mailbox."""
        self._held: _Turn | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._stopped: OrchestratorError | None = None
        self._activated_at = self._decided_at = around.clock.now()
        """The second is when it took its last decision, read anyway: what it has been about since, for diagnostics."""

    @property
    def is_idle(self) -> bool:
        """Return whether the actor has nothing to do until a timer or a message comes."""
        return self._in_commit is None and self._held is None and not self._hands.open_calls

    @property
    def is_in_commit(self) -> bool:
        """Return whether more may be durable than `state` has: what is on its way to the store is there before it."""
        return self._in_commit is not None

    @property
    def has_children(self) -> bool:
        """Return whether the saga waits for a child."""
        return bool(self._hands.open_children)

    @property
    def wake_at(self) -> float | None:
        """Return the earliest timer that is owed."""
        return min(self._timers.values(), default=None)

    def facts(self) -> ActorFacts:
        """Return what a person is shown who asks what the process has in memory."""
        state, hands, wakes_at = self.state, self._hands, self.wake_at
        return ActorFacts(
            saga_id=self.saga_id,
            definition=state.plan.definition,
            status=state.status.value,
            version=state.version,
            shard=self.shard,
            mailbox=0 if self._mailbox is None else len(self._mailbox),
            doing=self._doing(wakes_at),
            since_at=self._decided_at,
            activated_at=self._activated_at,
            calls=hands.begun_calls,
            wake_at=wakes_at,
            timers=hands.armed_timers,
        )

    def _doing(self, wakes_at: float | None) -> str:
        if self._in_commit is not None:
            return "commit"
        if self._held is not None:
            return "held"
        if self._hands.open_calls:
            return "calls"
        if self._hands.open_children:
            return "children"
        return "idle" if wakes_at is None else "timer"

    def about(self) -> About:
        """Return what a line of the log says that is written in a turn of this saga."""
        return _about(self.saga_id, self.state)

    def tell(self, command: Command, answer: Answer | None = None) -> None:
        """Queue a command and take a turn if none is under way; raise `Overloaded` for a caller too many."""
        if self._stopped is not None:
            if answer is not None:
                answer(self._stopped)
            return
        if self._in_commit is None:
            self._around.observer.mailbox(1)
            self._keeper.guard(self, self._take_turn, command, answer)
        else:
            mailbox = self._mailbox = Mailbox() if self._mailbox is None else self._mailbox
            mailbox.put(Envelope(command, answer))
            self._around.observer.mailbox(len(mailbox))

    def fire_due(self, now_at: float) -> None:
        """Fire what is due by the wall clock: timers run on another clock, which a clock step leaves behind."""
        due = [SetTimer(timer, due_at) for timer, due_at in self._timers.items() if due_at <= now_at]
        for effect in sorted(due, key=in_order):
            self.tell(TimerFired(timer=effect.timer))

    def flush(self) -> None:
        """Commit a turn that waits for company."""
        if self._held is not None:
            self._keeper.guard(self, self._append, self._let_go_of(self._held), self._around.is_leaving(self.shard))

    def stop(self, error: OrchestratorError) -> None:
        """Never write again; abort what is open, answer whoever waits."""
        self._stopped = error
        if self._held is not None:
            self._let_go_of(self._held)
        self._hands.let_go()
        if self._mailbox is not None:
            self._mailbox.close(error)

    def _take_turn(self, command: Command, answer: Answer | None) -> None:
        """Decide on a message and on every other that waits, one after the other, then append once."""
        around, shard = self._around, self.shard
        try:
            epoch = around.ownership.epoch(shard)
        except NotOwner as error:
            if answer is not None:
                answer(error)
            raise
        turn = _Turn(self.state, epoch) if self._held is None else self._let_go_of(self._held)
        is_leaving = around.is_leaving(shard)
        try:
            self._decide(turn, command, answer, is_leaving=is_leaving)
            if turn.events:
                self._record(turn, is_leaving=is_leaving)
        except BaseException:
            turn.answer(self.state, OrchestratorError(f"saga {self.saga_id!r} was set aside; see its log"))
            raise
        if not turn.events:
            turn.answer(self.state)
            self._perform(turn.change, turn.timers)

    def _record(self, turn: _Turn, *, is_leaving: bool) -> None:
        """Append what was decided: at once, or in company where nobody waits for it and nothing new is owed after it.

        The second is what a branch that ends before its sibling decides. The sibling's end then shares the append: a
        third fewer commits for a saga that runs two and two. A crash meanwhile loses what a crash during the commit
        would.
        """
        is_urgent = turn.change.due or turn.answers or is_leaving or turn.state.is_terminal
        if is_urgent or len(turn.events) >= RECORDS_PER_APPEND_MAX:
            self._append(turn, is_leaving)
        else:
            loop = asyncio.get_running_loop()
            if turn.held_at is None:
                turn.held_at = loop.time()
            self._held = turn
            self._flush = loop.call_at(turn.held_at + COMMIT_HOLD_S, self.flush)

    def _let_go_of(self, held: _Turn) -> _Turn:
        assert self._flush is not None  # armed when a turn is held
        self._flush.cancel()
        self._held = self._flush = None
        return held

    def _decide(self, turn: _Turn, command: Command, answer: Answer | None, *, is_leaving: bool) -> None:
        held = len(turn.events)
        while True:
            if answer is not None:
                turn.answers.append((answer, None))  # before anything can fail
            if type(command) is TimerFired:
                self._forget(command.timer, turn)
            moment = self._around.moment(turn.epoch, is_draining=is_leaving)
            self._decided_at = moment.at
            decision = decide(turn.state, command, moment)
            turn.state = decision.state
            turn.events += decision.events
            if answer is not None and decision.rejected is not None:
                turn.answers[-1] = answer, decision.rejected
            if self._mailbox is None or len(turn.events) >= RECORDS_PER_APPEND_MAX:
                break
            if (waiting := self._mailbox.take()) is None:
                break
            command, answer = waiting
        steps = touched(turn.events[held:])
        check_steps(turn.state, steps, is_draining=is_leaving)  # what was held has been checked
        turn.touched = turn.touched | steps if held else steps
        turn.change = owed_since(self._performed, turn.state, turn.touched, turn.fired)
        turn.timers = timers_after(self._timers, turn.change)

    def _append(self, turn: _Turn, is_leaving: bool) -> None:  # noqa: FBT001  # as a guard hands it on
        epoch, version = turn.epoch, self.state.version
        turn.records = records = tuple(
            [Record(version=number, epoch=epoch, event=event) for number, event in enumerate(turn.events, version + 1)]
        )
        rest = rest_of(turn.state, turn.change.due, is_draining=is_leaving)
        wake_at = min(turn.timers.values(), default=None)
        self._row = row = row_after(self._row, turn.state, wake_at, rest, epoch=epoch, shard=self.shard)
        append = Append(saga_id=self.saga_id, expected_version=version, epoch=epoch, records=records, row=row)
        if logger.isEnabledFor(logging.DEBUG):
            span = version + 1, version + len(records)
            logger.debug("decided %d to %d: %s", *span, _shown(turn.events), extra=_about(self.saga_id, turn.state))
        self._in_commit = turn
        self._around.committer.submit(append, self._heard)

    def _heard(self, error: OrchestratorError | None) -> None:
        """Hear what became of the append that is on its way."""
        assert self._in_commit is not None  # it is answered once
        self._keeper.guard(self, self._committed, self._in_commit, error)

    def _committed(self, turn: _Turn, error: OrchestratorError | None) -> None:
        if error is not None:
            self._in_commit = None
            logger.debug("not recorded: %s", error.reason)
            if isinstance(error, Fenced):
                error = NotOwner(f"{error.message}; its shard has another owner by now", shard=self.shard)
            turn.answer(self.state, error)
            raise error
        self.state = turn.state
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("durable to %d, %s", self.state.version, self.state.status)
        stopped = self._stopped or self._disowned(turn)
        try:
            if stopped is None:
                # What is owed goes first: the services work while the rest of this is done.
                self._perform(turn.change, turn.timers)
            self._around.observer.recorded(self.state, turn.records)
        finally:
            turn.answer(self.state)  # it is durable, whatever becomes of the rest
            self._in_commit = None
        if stopped is not None:  # durable, and so answered; what is owed is for whoever goes on
            raise stopped
        if self._mailbox is not None and (waiting := self._mailbox.take()) is not None:
            self._take_turn(*waiting)
        self._keeper.advanced(self)

    def _disowned(self, turn: _Turn) -> OrchestratorError | None:
        """Return why nothing may be begun although it is durable: time has passed, and another may own the saga."""
        try:
            return None if self._around.ownership.epoch(self.shard) == turn.epoch else _moved(self)
        except NotOwner as error:
            return error

    def _perform(self, change: Change, timers: Map[Timer, float]) -> None:
        self._performed, self._timers = self.state, timers
        for effect in change.over:
            self._hands.release(effect)
        for effect in change.due:
            if type(effect) is not SetTimer or not self._around.is_leaving(self.shard):
                self._hands.perform(self.state, effect, self.tell)

    def _forget(self, timer: Timer, turn: _Turn) -> None:
        """Note that a timer has fired; what is owed of it all the same is due again."""
        turn.fired.append(timer)
        if timer in self._timers:
            self._timers = self._timers.delete(timer)


def _moved(actor: Actor) -> NotOwner:
    return NotOwner(f"saga {actor.saga_id!r}: its shard had another owner meanwhile", shard=actor.shard)


def _about(saga_id: SagaId, state: SagaState) -> About:
    trace_id = state.trace_id_of(state.trace_parts.number)
    where = TraceContext(trace_id=trace_id, span_id=0, sampled=state.trace.sampled)  # the span there is its caller's
    return of_saga(saga_id, trace=where, definition=state.plan.definition)


def _shown(events: Sequence[Event]) -> str:
    """Return what was decided by names alone: what an event carries may be somebody's data."""
    return ", ".join(f"{type(event).__name__} {getattr(event, 'step', None) or ''}".rstrip() for event in events)
