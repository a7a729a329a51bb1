"""Mistakes of what keeps several processes apart: leases, fences, epochs, trust, and shards that go and come."""

from functools import partial

from tests.defects.planting import Defect

_defect = partial(Defect, is_of_clusters=True)

IN_CLUSTER = (
    _defect(
        name="append-by-any-member",
        breaks="I2, I3",
        module="journal.memory_leases",
        says="the store takes what any member writes, whose shard it may be (the row of a member is its only fence)",
        old="        if held.owner != self._member or held.epoch != append.epoch:\n",
        new="        if held.epoch < append.epoch:\n",
    ),
    _defect(
        name="append-under-any-epoch",
        breaks="I3",
        module="journal.memory_leases",
        says="the store asks who owns the shard, and not since when: what comes late from an earlier term is taken",
        old="        if held.owner != self._member or held.epoch != append.epoch:\n",
        new="        if held.owner != self._member:\n",
    ),
    _defect(
        name="append-unfenced",
        breaks="I2, I3",
        module="journal.memory_leases",
        says="the store looks at neither the member's row nor the shard (the row alone may be forgotten: who loses it "
        "loses its shards with it)",
        old="""        if self._member not in table.members:
            return Fenced(""",
        new="""        if self._member is not None:
            return None
        if self._member not in table.members:
            return Fenced(""",
    ),
    _defect(
        name="claimed-under-the-old-epoch",
        breaks="I2",
        module="journal.memory_leases",
        says="a shard that is claimed keeps its epoch; it is raised when it is set free only",
        old="epoch=self._table.shards[number].epoch + 1)",
        new="epoch=self._table.shards[number].epoch + (not to))",
    ),
    _defect(
        name="trusted-for-longer-than-the-lease",
        breaks="I33, I38",
        module="cluster.membership",
        says="a member believes in its lease for two of them (and others wait no longer for that)",
        old="max(term.trusted_until, trusted_until(sent_at, self._lease_s))",
        new="max(term.trusted_until, sent_at + 2 * self._lease_s)",
    ),
    _defect(
        name="trust-ends-by-timer-only",
        breaks="I33, I38",
        module="cluster.membership",
        says="who has stood still goes on as if no time had passed, until its own timer tells it",
        old="                if self._clock.now() < term.trusted_until:\n                    return epoch\n",
        new="                if not term.is_over:\n                    return epoch\n",
    ),
    _defect(
        name="trusted-from-the-answer-on",
        breaks="I33, I38",
        module="cluster.membership",
        says="trust is counted from when a renewal was answered, though it was over in between (either alone is made "
        "good by the other, and by the margin)",
        old="""        self._check_trust(term)
        if term.is_over:
            return False
        self.counts.renewals += 1
        term.trusted_until = max(term.trusted_until, trusted_until(sent_at, self._lease_s))
""",
        new="""        self.counts.renewals += 1
        term.trusted_until = max(term.trusted_until, trusted_until(self._clock.now(), self._lease_s))
""",
    ),
    _defect(
        name="calls-begun-unasked",
        breaks="I33, I38",
        module="runtime.actor",
        says="what a commit owes is begun without asking whether the shard is still its own, however long that took",
        old="        stopped = self._stopped or self._disowned(turn)\n",
        new="        stopped = self._stopped\n",
    ),
    _defect(
        name="one-member-twice",
        breaks="I38",
        module="cluster.membership",
        says="who has lost trust joins again as the member it was",
        old="        member = str(self._clock.new_uid())\n",
        new="        member = self._rows.pop() if self._rows else str(self._clock.new_uid())\n",
    ),
    _defect(
        name="left-before-it-was-quiet",
        breaks="I48",
        module="runtime.orchestrator",
        says="a shard is handed over with commits on their way",
        old="        self._directory.hand_over(shards)\n        await self._committer.settled(shards)\n",
        new="        self._directory.hand_over(shards)\n",
    ),
    _defect(
        name="lost-and-kept",
        breaks="I35, I36",
        module="runtime.orchestrator",
        says="who has lost a shard keeps its sagas in memory, and finds them there when it comes back",
        old="""        self._around.leaving.difference_update(shards)
        self._directory.hand_over(shards)
""",
        new="        self._around.leaving.difference_update(shards)\n",
    ),
    _defect(
        name="taken-over-and-not-taken-up",
        breaks="I35, I36",
        module="runtime.recovery",
        says="only timers are looked after in a shard that was taken over",
        old="        self._taken.update(shards)\n        self._has_taken.set()\n",
        new="        self._has_taken.set()\n",
    ),
    _defect(
        name="refused-although-durable",
        breaks="I8",
        module="runtime.actor",
        says="who loses a shard while a request is committed calls it another's, and the request is sent there as well",
        old="            turn.answer(self.state)  # it is durable",
        new="            turn.answer(self.state, stopped)  # it is durable",
    ),
    _defect(
        name="asked-when-trust-has-ended",
        breaks="I36",
        module="runtime.actor",
        says="who asks a process that has lost the saga, and does not know it yet, is never answered",
        old="            if answer is not None:\n                answer(error)\n            raise",
        new="            raise",
    ),
    _defect(
        name="ends-remembered-of-a-lost-shard",
        breaks="I45",
        module="runtime.directory",
        says="what was remembered of sagas that had ended is shown after another process has gone on with them",
        old="        self._ended.forget_in(shards)\n",
        new="        self._ended.forget_in(())\n",
    ),
    _defect(
        name="fenced-right-after-an-outage",
        breaks="I39",
        module="cluster.membership",
        says="the first to reach the database again fences everybody else",
        old="        return since_at is not None and may_fence(self._clock.now(), since_at, self._lease_s)\n",
        new="        return since_at is not None\n",
    ),
    _defect(
        name="old-view-believed",
        breaks="I38",
        module="cluster.moving",
        says="a view that was asked for before a shard was given away makes it one's own again",
        old="is_latest=acts == term.acts))",
        new="is_latest=True))",
    ),
    _defect(
        name="never-comes-back",
        breaks="I36",
        module="runtime.orchestrator",
        says="a shard that was handed over once, and has come back, is still held to be leaving",
        old="""        self._around.leaving.difference_update(shards)
        self._recovery.took(shards)
""",
        new="        self._recovery.took(shards)\n",
    ),
    _defect(
        name="moves-elsewhere-unnoticed",
        breaks="I36, I45",
        module="runtime.lookout",
        says="who waits at another node hears of the first record that comes, and of none after it",
        old="            if self._seen.get(saga) != version:\n",
        new="            if self._seen.get(saga) is None:\n",
    ),
)
