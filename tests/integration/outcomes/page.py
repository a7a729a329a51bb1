"""The page docs/outcomes.md, written from what was seen."""

from collections.abc import Iterable, Iterator, Sequence

from tests.integration.outcomes.cells import LATE_S, PHASES, Crash, What
from tests.integration.outcomes.playing import Seen
from tests.integration.outcomes.rules import CODES, RULES, SKEW_S, Kind, Then

HEAD = """\
# Outcomes: what follows from every way a call can end

<!-- Written by `python -m tests.integration.outcomes` from what it saw. A test plays it again and compares. -->

A server that speaks HTTP/2 by hand ended the calls of {count:,} sagas: with every status code in every phase of the
stream, by every way to lose an answer, and with the orchestrator dying before, after and in between. This is what the
sagas did. The rules behind it: [concepts.md](concepts.md#when-a-call-is-repeated); what a service should answer:
[participants.md](participants.md#what-your-status-codes-mean); what may be declared: [annotations.md](annotations.md).

*After* says how much of an answer was written before it ended: nothing (for a status: trailers only), headers, half a
message, or the whole message. *Alone* is what the end says about the effect. Then come four kinds of method: of `plain`
nothing is known; `retried` is the same, but its step writes a `retry`; `keyed` honours the idempotency key; `barrier`
keeps the barrier contract, and nothing else is said of it; `dtm` honours the key too, and means its codes as services
written for DTM do, so that it refuses with ABORTED.

| word | meaning |
|---|---|
| **done** | the step is APPLIED, the saga goes on |
| **failed** | the step is NOT_APPLIED, the saga goes back; nothing of this step is undone |
| **undone** | nobody knows whether it was applied, so it is undone, {skew:g} s after the call's deadline |
| **undone at once** | the same, without waiting |
| **again** | the call is made again, with the same key and the same bytes |
| *refused:* ... | and where it is then refused for good, this follows |
| **a person** | the saga NEEDS_ATTENTION |

Asked again, OK is always **done**; ALREADY_EXISTS is **done** after an UNKNOWN call, and a refusal after one that was
NOT_APPLIED. Where every attempt ends as the first one did, the attempts end with the budget; then it is **undone** if
the outcome is UNKNOWN, and **failed** if it is NOT_APPLIED.

A refusal that was asked for while an UNKNOWN call could still arrive settles nothing (R8a): the service keeps nothing
of it, and would judge the late call anew. The call is made once more, {skew:g} s after the deadline of the UNKNOWN one.
"""
_SECTIONS = (
    ("The service answers", "status", "after"),
    ("The answer is late", "status", "when"),
    ("The answer is lost", "how", "after"),
    ("The service says more than a code", "what it says", "with"),
    ("There is no connection", "what", "how"),
)
_CRASH = """
## The orchestrator crashes

An attempt whose end nobody saw is UNKNOWN (R1), whatever its end was: the server did everything above, and it made no
difference. What was recorded holds as if there had been no crash.

| the process dies when | plain | retried | keyed | barrier | dtm |
|---|---|---|---|---|---|
"""


def render(every: Sequence[Seen]) -> str:
    """Return the whole page."""
    text = HEAD.format(count=len(every), skew=SKEW_S)
    for number, (title, first, second) in enumerate(_SECTIONS):
        lines = _rows([seen for seen in every if seen.cell.crash is Crash.NEVER and _section(seen.cell.what) == number])
        head = f"| {first} | {second} | alone | plain | retried | keyed | barrier | dtm | rule |\n|{'---|' * 9}\n"
        text += f"\n## {title}\n\n{head}" + "".join(lines)
    return text + _CRASH + "".join(_crash_rows(every))


def _section(what: What) -> int:
    if what.phase == "late":
        return 1
    if what.group in CODES:
        return 0
    if what.group.startswith(("applied", "push-back")):
        return 3
    return 4 if what.group == "no connection" else 2


def _rows(section: Sequence[Seen]) -> Iterator[str]:
    """Yield a row for all phases of a group, or all groups of a phase, to which the same happened."""
    by_what: dict[What, list[Seen]] = {}
    for seen in section:
        by_what.setdefault(seen.cell.what, []).append(seen)
    merged: dict[tuple[str, str], list[What]] = {}
    is_late = _section(section[0].cell.what) == 1
    for what, group in by_what.items():
        alone = {_quiet(seen.first) for seen in group}
        cells = [_told([seen for seen in group if seen.cell.kind is kind]) for kind in Kind]
        told = " | ".join([", ".join(sorted(alone)), *cells, RULES[what.row].number])
        merged.setdefault(("" if is_late else what.group, told), []).append(what)
    for (name, told), alike in merged.items():
        phases = ", ".join(what.phase for what in alike)
        if {what.ending.after for what in alike if what.ending is not None} == set(PHASES.values()):
            phases = "any of it"
        who = name or ("any" if len(alike) == len(CODES) else ", ".join(what.group for what in alike))
        yield f"| {who} | {'after the deadline' if is_late else phases} | {told} |\n"


def _crash_rows(every: Sequence[Seen]) -> Iterator[str]:
    for crash, when in (
        (Crash.OPENED, "the attempt is recorded, and nothing was sent"),
        (Crash.SENT, "the call has ended, and nothing of that is recorded"),
    ):
        columns: list[str] = []
        for kind in Kind:
            of_kind = [s for s in every if (s.cell.crash, s.cell.kind) == (crash, kind)]
            of_kind = [s for s in of_kind if s.cell.what.timeout_s > LATE_S]
            whats = {seen.cell.what for seen in of_kind}
            told = {_told([seen for seen in of_kind if seen.cell.what == what]) for what in whats}
            columns.append("; ".join(sorted(told)))
        yield f"| {when} | {' | '.join(columns)} |\n"
    same = all(_is_as_without(seen, every) for seen in every if seen.cell.crash is Crash.RECORDED)
    words = "as above" if same else "not as above"
    yield f"| the end is recorded, and nothing was done about it | {' | '.join([words] * len(Kind))} |\n"


def _is_as_without(seen: Seen, every: Iterable[Seen]) -> bool:
    cell = seen.cell
    alike = (
        other
        for other in every
        if other.cell.crash is Crash.NEVER
        and (other.cell.what, other.cell.kind, other.cell.then) == (cell.what, cell.kind, cell.then)
    )
    return all(_facts(other) == _facts(seen) for other in alike)


def _facts(seen: Seen) -> tuple[object, ...]:
    # how often is a matter of time: another process may come when the first call can no longer arrive (R8a)
    return seen.status, seen.first, seen.outcome, seen.is_undone, seen.is_again


def _told(group: Sequence[Seen]) -> str:
    """Say what happened to one kind of method, whatever the service said when it was asked again."""
    if len({seen.is_again for seen in group}) > 1:
        return "now again, now not"
    if not group[0].is_again:
        return "; ".join(sorted({_end(seen) for seen in group}))
    if [seen.cell.then for seen in group] == [Then.SAME]:
        return f"again, then {_end(group[0])}"
    refused = [_end(seen) for seen in group if seen.cell.then is Then.REFUSED]
    return f"again; *refused:* {', '.join(sorted(set(refused)))}"


def _end(seen: Seen) -> str:
    if seen.status == "NEEDS_ATTENTION":
        return "a person"
    if seen.status == "COMPLETED":
        return "done"
    if not seen.is_undone:
        return "failed"
    return "undone at once" if seen.is_undone_at_once else "undone"


def _quiet(outcome: str) -> str:
    return outcome or "nothing"
