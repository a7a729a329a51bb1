"""Putting a command to a saga and waiting until what it decided is durable, wherever the saga is."""

import asyncio

from orchestrator.errors import OrchestratorError, VersionConflict
from orchestrator.ids import SagaId
from orchestrator.runtime.actor import Actor
from orchestrator.runtime.directory import Directory
from orchestrator.runtime.surroundings import Surroundings
from orchestrator.saga import SagaState, decide
from orchestrator.saga.commands import Command


class Asking:
    """Finds the saga, brings it into memory where need be, and gives back its answer."""

    def __init__(self, directory: Directory, around: Surroundings) -> None:
        """Ask through the directory; nothing is held here."""
        self._directory = directory
        self._around = around

    async def ask(self, name: SagaId, command: Command, *, validate_only: bool = False) -> SagaState:
        """Return the durable state after the command, or raise why it is refused.

        With `validate_only` nothing is recorded, and the state is the one that the command was judged by.
        """
        if not validate_only:
            await self.refuse_foreign(name)
        state = await self._directory.state(name)
        while not validate_only:
            if state.is_terminal and self._changes_nothing(state, command):
                return state
            try:
                return await self.ask_actor(await self._directory.actor(name), command)
            except VersionConflict:  # it left memory between being found and being asked
                state = await self._directory.state(name)
        self._changes_nothing(state, command)
        return state

    async def refuse_foreign(self, name: SagaId) -> None:
        """Raise `NotOwner` where another process runs the saga, before it is read for nothing.

        One that is active here is ours until its actor goes, also in a shard that is being handed over.
        """
        if self._directory.active(name) is None:
            self._directory.refuse_foreign(await self._directory.shard(name))

    async def ask_actor(self, actor: Actor, command: Command) -> SagaState:
        """Ask an actor; one that decided nothing has no commit after which it would go to rest, so it goes now."""
        try:
            return await _answer(actor, command)
        finally:
            self._directory.rest(actor)

    def _changes_nothing(self, state: SagaState, command: Command) -> bool:
        decision = decide(state, command, self._around.moment(state.epoch, is_draining=self._around.is_draining))
        if decision.rejected is not None:
            raise decision.rejected
        return not decision.events


async def _answer(actor: Actor, command: Command) -> SagaState:
    """Tell an actor and wait until what it decided is durable."""
    answered: asyncio.Future[SagaState | OrchestratorError] = asyncio.get_running_loop().create_future()

    def answer(result: SagaState | OrchestratorError) -> None:
        if not answered.done():
            answered.set_result(result)

    actor.tell(command, answer)
    result = await answered
    if isinstance(result, OrchestratorError):
        raise result
    return result
