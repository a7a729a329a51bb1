"""Mistakes of what drives sagas: mailboxes, memory, recovery, sleep, starts and watchers."""

from tests.defects.planting import Defect

IN_RUNTIME = (
    Defect(
        name="mailbox-not-looked-at-again",
        breaks="I36",
        module="runtime.actor",
        says="what comes while a commit is under way waits for ever",
        old="""        if self._mailbox is not None and (waiting := self._mailbox.take()) is not None:
            self._take_turn(*waiting)
        self._keeper.advanced(self)""",
        new="        self._keeper.advanced(self)",
    ),
    Defect(
        name="early-timer-not-armed-again",
        breaks="I35, I36",
        module="runtime.actor",
        says="a timer that fired a moment too early is gone",
        old="            turn.answer(self.state)\n            self._perform(turn.change, turn.timers)\n",
        new="            turn.answer(self.state)\n",
    ),
    Defect(
        name="leaves-memory-with-a-call-open",
        breaks="I35",
        module="runtime.actor",
        says="a saga whose only work is on the wire is put out of memory",
        old="self._held is None and not self._hands.open_calls",
        new="self._held is None",
    ),
    Defect(
        name="drained-put-to-sleep",
        breaks="I35, I36",
        module="runtime.rows",
        says="a process that drains says of what it left unstarted that it sleeps",
        old="    if is_draining:\n        return _AWAKE\n",
        new="",
    ),
    Defect(
        name="recovery-of-one-page",
        breaks="I35",
        module="runtime.recovery",
        says="recovery ends after its first page",
        old="""
                    self._untaken.extend(await self._journal.awake(last.saga_id, RECOVERY_PAGE_ROWS, shards))
""",
        new="\n                    pass\n",
    ),
    Defect(
        name="sweep-by-the-wrong-clock",
        breaks="I36",
        module="runtime.recovery",
        says="the sweeper asks what is due by a clock that began with the process",
        old="await self._wake_due(self._clock.now() + SWEEP_INTERVAL_S)",
        new="await self._wake_due(self._clock.monotonic() + SWEEP_INTERVAL_S)",
    ),
    Defect(
        name="open-calls-taken-for-own",
        breaks="I33, I36",
        module="saga.decide",
        says="a process goes on waiting for the children's calls of its predecessor",
        old="if not is_child or operation.open.epoch != draft.moment.epoch:",
        new="if not is_child:",
    ),
    Defect(
        name="watch-skips",
        breaks="I45",
        module="runtime.orchestrator",
        says="a watcher goes on behind the saga's latest version, and not behind the last record it was handed",
        old="                    seen = records[-1].version\n",
        new="                    seen = (watch.state or state).version\n",
    ),
)
