"""The trials: for each rule, the calls that would show a breach, and what is made of the answers.

A trial that ends without an exception found its rule to hold. What it says of a breach is what was seen, never a guess
at the cause.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from orchestrator.limits import PROVING_CUTS
from orchestrator.participant import ALREADY_COMPENSATED, NOT_AFTER_PASSED
from orchestrator.proving.case import NO_ANSWER, Bench, Case, has_undone, same
from orchestrator.proving.rules import Exchange

_QUICK_S = 0.001
"""The shortest call that is told from none: cuts are spread over at least this."""


class Breach(Exception):
    """The rule does not hold; the message says what was seen."""


class Undecided(Exception):
    """Nothing can be said about the rule; the message says why."""


@dataclass(slots=True, kw_only=True, eq=False)
class Trial:
    """One rule's cases and all that was said in them."""

    bench: Bench
    run: str
    """A word of this run of the program."""
    number: int
    is_telling: bool = False
    """Two effects of one request have different replies, so a reply alone tells whether there was a second effect."""
    took_s: float = _QUICK_S
    """What an ordinary call takes."""
    evidence: list[Exchange] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    def case(self, *, like: Case | None = None) -> Case:
        """Return a new saga's step, with the same request as another's where one is given."""
        uid: UUID = self.bench.clock.new_uid()
        unique = like.unique if like is not None else f"{self.run}-{self.number}-{len(self.cases)}"
        made = Case(bench=self.bench, unique=unique, uid=uid, evidence=self.evidence)
        self.cases.append(made)
        return made

    async def made(self) -> tuple[Case, Exchange, int | None]:
        """Return a case whose forward call was answered OK, and how many effects there were before it."""
        case = self.case()
        before = await case.effects()
        first = await case.forward_until_answered()
        if first.code != "OK":
            raise Undecided(f"the first call was {told(first)}, which it was not before")
        return case, first, before


def told(exchange: Exchange) -> str:
    """Return an answer in words."""
    if exchange.code == "OK":
        return "answered OK"
    reason = f" {exchange.reason}" if exchange.reason else ""
    return f"answered {exchange.code}{reason}" + (f" ({exchange.message})" if exchange.message else "")


def answered(exchange: Exchange) -> Exchange:
    """Return an answer that is the service's own; raise `Undecided` for one that gRPC may have made."""
    if exchange.code in NO_ANSWER:
        raise Undecided(f"`{exchange.sent}` got no answer to judge: {told(exchange)}")
    return exchange


async def expect_effects(case: Case, before: int | None, more: int, when: str) -> None:
    """Raise `Breach` where the probe sees another number of effects than it should."""
    now = await case.effects()
    if before is not None and now is not None and now - before != more:
        raise Breach(f"{when} the probe counts {now - before} effects; it should be {more}")


def expect_same(first: Exchange, again: Exchange) -> None:
    """Raise `Breach` where a duplicate was not answered as the first call was."""
    if answered(again).code != "OK":
        raise Breach(f"`{again.sent}` with the same key was {told(again)}")
    if not same((first, again)):
        raise Breach(f"`{again.sent}` with the same key got another reply")


def judge_by_replies(trial: Trial) -> None:
    """Raise `Undecided` where replies are all there is, and they do not tell one effect from two."""
    if not trial.bench.subject.can_count and not trial.is_telling:
        raise Undecided("calls with different keys get the same reply, so a reply tells nothing; give --probe")


def need_probe(trial: Trial, what: str) -> None:
    """Raise `Undecided` where only a probe could see."""
    if not trial.bench.subject.can_count:
        raise Undecided(f"{what}; only --probe can see it")


async def acts(trial: Trial) -> None:
    """Two keys, one request: the second call is the control that says whether replies tell effects apart."""
    case = trial.case()
    before = await case.effects()
    first = await case.forward_until_answered()
    if first.code != "OK":
        raise Breach(f"the forward call was {told(first)}; give a --request that the service accepts")
    await expect_effects(case, before, 1, "after one call")
    second = await trial.case(like=case).forward_until_answered()
    trial.is_telling = second.code == "OK" and not same((first, second))
    trial.took_s = max(_QUICK_S, min(first.took_s, second.took_s))  # the first one may have paid for a warm start


async def duplicate(trial: Trial) -> None:
    """The same key, twice more."""
    case, first, before = await trial.made()
    for _ in range(2):
        expect_same(first, await case.forward_until_answered())
    await expect_effects(case, before, 1, "after three calls with one key")
    judge_by_replies(trial)


async def at_once(trial: Trial) -> None:
    """Many calls with one new key in one turn of the loop, then one more."""
    case = trial.case()
    before = await case.effects()
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(case.forward()) for _ in range(trial.bench.parallel)]
    seen = [call.result() for call in calls]
    wrong = next((each for each in seen if each.code not in {"OK", "ABORTED"}), None)
    if wrong is not None:
        answered(wrong)
        raise Breach(f"of {len(seen)} calls with one key at once, one was {told(wrong)}")
    last = answered(await case.forward_until_answered())
    replies = [each for each in [*seen, last] if each.code == "OK"]
    if last.code != "OK":
        raise Breach(f"after the crowd, the same key was {told(last)}")
    if not same(replies):
        count = len({each.data for each in replies})
        raise Breach(f"{len(seen)} calls with one key at once got {count} different replies")
    await expect_effects(case, before, 1, f"after {len(seen)} calls with one key at once")
    judge_by_replies(trial)


async def cut(trial: Trial) -> None:
    """The stream is reset at moments spread over an ordinary call, then the key is sent again."""
    await _lost(trial, "cut", lambda case, after_s: case.forward(cut_after_s=after_s))


async def slow(trial: Trial) -> None:
    """The deadline passes at moments spread over an ordinary call, then the key is sent again."""
    await _lost(trial, "late", lambda case, after_s: case.forward(deadline_s=after_s))


async def _lost(trial: Trial, word: str, lose: Callable[[Case, float], Awaitable[Exchange]]) -> None:
    for moment in range(PROVING_CUTS):
        case = trial.case()
        before = await case.effects()
        lost = await lose(case, trial.took_s * (moment + 0.5) / PROVING_CUTS)
        again = answered(await case.forward_until_answered())
        if again.code != "OK":
            raise Breach(f"the repetition of a call that was {word} was {told(again)}")
        if lost.code == "OK":
            expect_same(lost, again)
        expect_same(again, await case.forward_until_answered())
        await expect_effects(case, before, 1, f"after a call that was {word} and its repetitions")
    need_probe(trial, "replies were right; whether the lost call had an effect of its own cannot be seen in them")


async def undo(trial: Trial) -> None:
    """The call, then its undo."""
    case, _, before = await trial.made()
    _expect_undone(await case.undo(), "the undo")
    await expect_effects(case, before, 0, "after the undo")
    need_probe(trial, "it was answered OK; whether the effect is gone cannot be seen in that")


async def undo_twice(trial: Trial) -> None:
    """The undo's key again, and again."""
    case, _, before = await trial.made()
    _expect_undone(await case.undo(), "the undo")
    for _ in range(2):
        _expect_undone(await case.undo(), "the repeated undo")
    await expect_effects(case, before, 0, "after three undos with one key")


async def undo_first(trial: Trial) -> None:
    """The undo alone."""
    case = trial.case()
    before = await case.effects()
    for _ in range(2):
        _expect_undone(await case.undo(), "the undo of a call that never came")
    await expect_effects(case, before, 0, "after the undo of a call that never came")


async def overtaken(trial: Trial) -> None:
    """The undo, then the call: twice, since it may be repeated too."""
    case = trial.case()
    before = await case.effects()
    _expect_undone(await case.undo(), "the undo of a call that never came")
    for _ in range(2):
        call = answered(await case.forward())
        if call.code == "OK":
            raise Breach("a call that came after its undo was answered OK: nobody will ever undo it")
        if (call.code, call.reason) != ("FAILED_PRECONDITION", ALREADY_COMPENSATED):
            raise Breach(f"a call that came after its undo was {told(call)}, not FAILED_PRECONDITION with the reason")
    await expect_effects(case, before, 0, "after a call that came after its undo")


async def not_after(trial: Trial) -> None:
    """A call whose `saga-not-after` is an hour ago."""
    case = trial.case()
    before = await case.effects()
    call = answered(await case.forward(is_late=True))
    if call.code == "OK":
        raise Breach("a call an hour past its saga-not-after was answered OK")
    if call.code != "FAILED_PRECONDITION" or call.reason not in {"", NOT_AFTER_PASSED}:
        raise Breach(f"a call an hour past its saga-not-after was {told(call)}")
    await expect_effects(case, before, 0, "after a call past its saga-not-after")


async def refusal(trial: Trial) -> None:
    """One key acts, another is refused for lateness; then both are sent again, in time."""
    kept, first, before = await trial.made()
    refused = trial.case()
    before_refused = await refused.effects()
    if answered(await refused.forward(is_late=True)).code == "OK":
        raise Undecided("the late call, which was to be refused, was answered OK")
    expect_same(first, await kept.forward_until_answered())
    again = answered(await refused.forward_until_answered())
    if again.code != "OK":
        raise Breach(f"a key that was refused once, sent again in time, was {told(again)}")
    is_scoped = before == before_refused  # the probe sees one case's effects, not those of both
    await expect_effects(kept, before, 1 if is_scoped else 2, "after a refusal of another key")
    judge_by_replies(trial)


async def after_undo(trial: Trial) -> None:
    """The call, its undo, then the call's key again."""
    case, first, before = await trial.made()
    _expect_undone(await case.undo(), "the undo")
    again = answered(await case.forward_until_answered())
    if again.code == "OK" and not same((first, again)):
        raise Breach("a duplicate that came after the undo got another reply")
    if again.code not in {"OK", "FAILED_PRECONDITION"}:
        raise Breach(f"a duplicate that came after the undo was {told(again)}")
    await expect_effects(case, before, 0, "after a duplicate that came after the undo")
    if again.code == "OK":
        judge_by_replies(trial)


def _expect_undone(exchange: Exchange, what: str) -> None:
    if not has_undone(answered(exchange)):
        raise Breach(f"{what} was {told(exchange)}")


TRIALS: Mapping[str, Callable[[Trial], Awaitable[None]]] = {
    "acts": acts,
    "duplicate": duplicate,
    "at-once": at_once,
    "cut": cut,
    "slow": slow,
    "undo": undo,
    "undo-twice": undo_twice,
    "undo-first": undo_first,
    "overtaken": overtaken,
    "not-after": not_after,
    "refusal": refusal,
    "after-undo": after_undo,
}
