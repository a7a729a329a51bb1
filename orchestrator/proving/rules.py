"""What a participant must keep, and what a trial found."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from orchestrator.frozen import frozen


class Verdict(StrEnum):
    """What is known about one rule."""

    HOLDS = "HOLDS"
    BROKEN = "BROKEN"
    NOT_JUDGED = "NOT_JUDGED"


@frozen
class Rule:
    """One promise."""

    sentence: str
    presupposes: tuple[str, ...] = ()
    """Rules without which a breach of this one would prove nothing: where one of them is broken, this is not judged."""


RULES: Mapping[str, Rule] = {
    "acts": Rule(sentence="a call is answered OK, and has an effect"),
    "duplicate": Rule(
        sentence="the same key again gets the stored reply, and has no second effect", presupposes=("acts",)
    ),
    "at-once": Rule(
        sentence="duplicates at the same moment have one effect and one reply; ABORTED asks to come again",
        presupposes=("duplicate",),
    ),
    "cut": Rule(
        sentence="a call whose connection was cut, and that is repeated, has one effect",
        presupposes=("duplicate", "at-once"),
    ),
    "slow": Rule(
        sentence="a call whose deadline passed, and that is repeated, has one effect",
        presupposes=("duplicate", "at-once", "cut"),
    ),
    "undo": Rule(sentence="an undo is answered OK, and takes the effect back", presupposes=("acts",)),
    "undo-twice": Rule(
        sentence="an undo that is repeated succeeds again, and takes nothing more back", presupposes=("undo",)
    ),
    "undo-first": Rule(sentence="an undo of a call that never came succeeds", presupposes=("acts",)),
    "overtaken": Rule(
        sentence="a call that comes after its undo is refused: FAILED_PRECONDITION, SAGA_STEP_ALREADY_COMPENSATED",
        presupposes=("undo-first",),
    ),
    "not-after": Rule(
        sentence="a call that comes past its saga-not-after is refused with FAILED_PRECONDITION", presupposes=("acts",)
    ),
    "refusal": Rule(
        sentence="a refusal leaves nothing behind: its key may act later, and other keys keep their replies",
        presupposes=("duplicate", "not-after"),
    ),
    "after-undo": Rule(
        sentence="a duplicate that comes after the undo gets the stored reply, or is refused, and does not act again",
        presupposes=("duplicate", "undo"),
    ),
}


@frozen
class Exchange:
    """One call of a trial: what was sent, what came back."""

    sent: str
    """In a word or two: `forward`, `forward again`, `undo`, `probe`."""
    method: str
    metadata: Mapping[str, str]
    request: str
    """The request as JSON."""
    code: str
    """A gRPC status code; `CUT` where we ended the call ourselves."""
    reason: str = ""
    message: str = ""
    reply: str = ""
    """The reply as JSON."""
    data: bytes | None = None
    """The reply's bytes; None where there was none."""
    took_s: float
    effects: int | None = None
    """What the probe counted, where this was one."""

    @property
    def key(self) -> str:
        """The idempotency key that was sent."""
        return self.metadata.get("idempotency-key", "")


@frozen
class Finding:
    """What a trial found about one rule."""

    rule: str
    verdict: Verdict
    why: str = ""
    """Where it does not hold, what was seen instead; where it was not judged, why not; else a note or nothing."""
    evidence: Sequence[Exchange] = ()


@frozen
class Report:
    """What was found about one participant."""

    findings: Sequence[Finding]
    left: int
    """Calls that acted and whose undo did not succeed: effects that may still stand."""

    @property
    def calls(self) -> int:
        """How many calls the findings rest on."""
        return sum(len(finding.evidence) for finding in self.findings)

    @property
    def broken(self) -> Sequence[Finding]:
        """The rules that do not hold."""
        return [finding for finding in self.findings if finding.verdict is Verdict.BROKEN]
