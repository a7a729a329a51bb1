"""Mistakes of the store and of whoever writes to it: fences, versions, groups."""

from tests.defects.planting import Defect

IN_JOURNAL = (
    Defect(
        name="fence-skipped",
        breaks="I2, I3",
        module="journal.memory",
        says="a writer that has a successor may append",
        old="if contents.epoch != self._epoch:",
        new="if contents.epoch < self._epoch:",
    ),
    Defect(
        name="acknowledged-before-commit",
        breaks="I7, R2",
        module="runtime.actor",
        says="callers are answered when the append is handed over, not when it is durable",
        old="            self._append(turn, is_leaving)\n        else:\n",
        new="            self._append(turn, is_leaving)\n            turn.answer(turn.state)\n        else:\n",
    ),
    Defect(
        name="performed-before-commit",
        breaks="I10, R2",
        module="runtime.actor",
        says="calls are sent while the record of them is on its way to the disk",
        old="        self._in_commit = turn\n",
        new="        self._in_commit = turn\n        self.state = turn.state\n        self._perform(turn.owed)\n",
    ),
    Defect(
        name="refusal-of-the-store-ignored",
        breaks="I7, I10",
        module="runtime.actor",
        says="an append that the store refused counts as durable",
        old="        if error is not None:\n            self._in_commit = None\n",
        new="        error = None\n        if error is not None:\n            self._in_commit = None\n",
    ),
    Defect(
        name="failed-commit-answered-as-done",
        breaks="I7, I29",
        module="runtime.actor",
        says="whoever asked for what could not be recorded is shown the saga, and not the error",
        old="            turn.answer(self.state, error)\n            raise error",
        new="            turn.answer(self.state)\n            raise error",
    ),
    Defect(
        name="group-answered-as-one",
        breaks="I7, I9",
        module="runtime.committer",
        says="all of a group are answered what the first of it is",
        old="            else:\n                waiting.on_committed(result)\n",
        new="            else:\n                waiting.on_committed(results[0])\n",
    ),
    Defect(
        name="submissions-dropped-during-commit",
        breaks="I36",
        module="runtime.committer",
        says="what is submitted while a group is written is thrown away with it",
        old="await self._commit(self._next_group())",
        new="await self._commit(self._next_group())\n                self._waiting.clear()",
    ),
    Defect(
        name="wake-of-the-state-before",
        breaks="I4, I35",
        module="runtime.actor",
        says="a row's wake-up is the one that was owed before its records",
        old="wake_at = min(turn.timers.values(), default=None)",
        new="wake_at = min(self._timers.values(), default=None)",
    ),
)
