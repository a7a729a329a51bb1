"""What nobody in a cluster may do, watched from the database: who owned which shard when, in books of its own.

The store refuses what a stale owner writes; that is one line of defence, and here is nobody's. What is held, at every
statement, every durable append and every call:

* I2: a shard that gets another owner gets a higher epoch; an epoch has one writer; along a saga no epoch falls.
* I3: whatever is durable was written by the shard's owner of that moment, under its epoch.
* I38: no shard leaves a member whose lease is not over but by its own wish; a member that is gone never comes back.
* I38: nobody takes a shard for its own that is another's, and no call begins there. Trust ends before anybody may take
  it, so no moment is excused; a call that began before is on its way under the old epoch, and nobody can help it.
* I48: what is handed over in peace has nothing on its way any more.
* I39: after everybody was without the database, nobody is fenced before all had time to come back.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection

from orchestrator.ids import SagaId
from orchestrator.ports.invoker import CallRequest
from orchestrator.ports.journal import Append
from orchestrator.ports.leases import Shard, View
from orchestrator.testing.loop import Life

_OUTAGE_SHARE = 0.5
"""Of a lease: an outage that is shorter need not have been noticed by everybody."""
_EARLY_SHARE = 0.9
"""Of a lease: clocks may differ by a little."""


class Oversight:
    """Keeps books about one cluster, and writes down what breaks a rule."""

    def __init__(self, lease_s: float, broken: list[str]) -> None:
        """Violations are added to `broken`."""
        self._lease_s = lease_s
        self._broken = broken
        self._view: View | None = None
        self._life_of: dict[str, Life] = {}
        """Member -> the life that joined as it."""
        self._over_at: dict[str, float] = {}
        """Member -> when its lease is over, by the database's clock."""
        self._used: set[str] = set()
        """Members that have owned something by their own doing."""
        self._writer: dict[tuple[int, int], Life] = {}
        """Shard and epoch -> who wrote under it."""
        self._epochs: dict[SagaId, int] = {}
        self._shards: dict[SagaId, int] = {}
        self._given: dict[tuple[int, int], Life] = {}
        """Shard and epoch that ended by being handed over, and by whom."""
        self._outage_began_at: float | None = None
        self._outage_ended_at: float | None = None
        self.believes: dict[Life, Callable[[], Collection[int]]] = {}
        """What each life takes for its own, by its own clock."""
        self.on_told: Callable[[str, str], None] = lambda _who, _what: None
        """Hears of every change of owner, for the tale of a run."""
        self.checked: Counter[str] = Counter()
        self.moved = 0
        """Changes of owner."""
        self.fenced = 0
        """Members whose row another one took away."""

    # --- members -----------------------------------------------------------------------------------------------------

    def joins(self, life: Life, member: str) -> None:
        """Hear that a life asks to join as a member: again where it has not heard, and never once it was one."""
        self.checked["I38"] += 1
        if member in self._used:
            self.tell(f"I38 member {member}: {life.name} joins under it, and it has been a member before")
        if self._life_of.setdefault(member, life) is not life:
            self.tell(f"I38 member {member}: {life.name} joins under it, and it is {self._life_of[member].name}'s")

    def renewed(self, member: str, over_at: float) -> None:
        """Hear until when a member's lease goes."""
        self._over_at[member] = over_at

    def was_away(self, *, is_away: bool) -> None:
        """Hear that the database is away for everybody, or back."""
        at = asyncio.get_running_loop().time()
        if is_away:
            self._outage_began_at = at if self._outage_began_at is None else self._outage_began_at
            return
        began_at, self._outage_began_at = self._outage_began_at, None
        if began_at is not None and at - began_at >= self._lease_s * _OUTAGE_SHARE:
            self._outage_ended_at = at

    # --- shards ------------------------------------------------------------------------------------------------------

    def seen(self, view: View, actor: str, statement: str, life: Life) -> None:
        """Compare the leases with how they stood, after a statement in the name of a member."""
        before, self._view = self._view, view
        if before is None:
            return
        present, gone = {each.member for each in view.members}, list[str]()
        for each in before.members:
            if each.member not in present:
                self._left(each.member, actor, life, view.at)
                gone.append(each.member)
        if statement == "claim":
            self._used.add(actor)
        self.checked["I2"] += 1
        for old, new in zip(before.shards, view.shards, strict=True):
            if old == new:
                continue
            if old.owner != new.owner and new.epoch <= old.epoch:
                self.tell(f"I2 shard {new.shard}: it has another owner, and epoch {new.epoch} after {old.epoch}")
            if old.owner in self._life_of and old.owner != new.owner:
                is_own = self._life_of[old.owner] is life and actor == old.owner
                self._moved(old, life, view.at, is_own=is_own)
                if is_own and statement == "give" and self._life_of.get(new.owner) is not life:
                    self._given[old.shard, old.epoch] = life
            if old.owner != new.owner and new.owner:
                self.on_told(self._name(new.owner), f"has shard {new.shard} under epoch {new.epoch}")
        for member in gone:
            self._over_at[member] = 0.0  # what is given to it from here on is nobody's

    def _left(self, member: str, actor: str, life: Life, at: float) -> None:
        """Hear that a member's row is gone."""
        if member == actor and self._life_of.get(member) is life:
            return
        self.fenced += 1
        self.on_told(life.name, f"fenced {self._name(member)}")
        self.checked["I38"] += 1
        if at < self._over_at.get(member, 0.0):
            self.tell(f"I38 member {member}: {life.name} fenced it while its lease was good")
        self.checked["I39"] += 1
        ended_at = self._outage_ended_at
        early_s = self._lease_s * _EARLY_SHARE
        if ended_at is not None and asyncio.get_running_loop().time() - ended_at < early_s:
            since_s = asyncio.get_running_loop().time() - ended_at
            self.tell(f"I39 member {member}: {life.name} fenced it {since_s:.1f} s after the database came back")

    def _moved(self, old: Shard, life: Life, at: float, *, is_own: bool) -> None:
        """Hear that a shard has left a member, by its own doing or another's."""
        self.moved += 1
        self.checked["I38"] += 2
        was = self._life_of[old.owner]
        if not was.is_over and was in self.believes and old.shard in self.believes[was]():
            self.tell(f"I38 shard {old.shard}: it has left {was.name}, which still believes in it")
        if not is_own and at < self._over_at.get(old.owner, 0.0):
            taken = f"{life.name} took it from {self._name(old.owner)}, whose lease was good"
            self.tell(f"I38 shard {old.shard}: {taken}")

    # --- what is written and called ----------------------------------------------------------------------------------

    def landed(self, life: Life, append: Append) -> None:
        """Hold what is durable against who owned its shard at that moment."""
        assert self._view is not None  # nobody writes before there was a member
        saga, epoch = append.saga_id, append.epoch
        shard = self._shards.setdefault(saga, append.row.shard)
        held = self._view.shards[shard]
        self.checked["I3"] += 1
        if self._life_of.get(held.owner) is not life or held.epoch != epoch:
            owner = f"{self._name(held.owner)}'s under epoch {held.epoch}"
            self.tell(f"I3 saga {saga}: {life.name} wrote under epoch {epoch}, and shard {shard} is {owner}")
        if self._writer.setdefault((shard, epoch), life) is not life:
            other = self._writer[shard, epoch].name
            self.tell(f"I2 saga {saga}: {life.name} wrote under epoch {epoch} of shard {shard}, and so did {other}")
        if epoch < self._epochs.get(saga, 0):
            self.tell(f"I2 saga {saga}: epoch {epoch} after {self._epochs[saga]}")
        self._epochs[saga] = epoch

    def refused(self, life: Life, append: Append) -> None:
        """Hear that an append was not taken which its life has waited for."""
        shard = self._shards.get(append.saga_id, append.row.shard)
        self.checked["I48"] += 1
        if self._given.get((shard, append.epoch)) is life:
            self.tell(f"I48 saga {append.saga_id}: {life.name} handed shard {shard} over with a commit on its way")

    def begins(self, life: Life, call: CallRequest) -> None:
        """Hold a call that begins against who owns its saga's shard."""
        shard = self._shards.get(call.saga_id)
        if shard is None or self._view is None:
            return  # what is called without a record is I10's to tell
        self.checked["I38"] += 1
        owner = self._view.shards[shard].owner
        if self._life_of.get(owner) is not life:
            what = f"{call.operation.value} {call.attempt} of {call.step}"
            self.tell(f"I38 saga {call.saga_id}: {life.name} begins {what}, and shard {shard} is {self._name(owner)}'s")

    def believed(self, life: Life, shard: int) -> None:
        """Hear that a life takes a shard for its own."""
        self.checked["I38"] += 1
        if not life.is_over and not self.is_owner(life, shard):
            owner = "" if self._view is None else self._view.shards[shard].owner
            self.tell(f"I38 shard {shard}: {life.name} believes that it is its own, and it is {self._name(owner)}'s")

    def shard_of(self, saga: SagaId) -> int:
        """Return where a saga lies that has records."""
        return self._shards[saga]

    def is_owner(self, life: Life, shard: int) -> bool:
        """Return whether a shard is a life's, by the database."""
        return self._view is not None and self._life_of.get(self._view.shards[shard].owner) is life

    def tell(self, what: str) -> None:
        """Write down a violation."""
        self._broken.append(what)

    def _name(self, member: str) -> str:
        known = self._life_of.get(member)
        return "nobody" if known is None else known.name
