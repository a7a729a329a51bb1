"""What was seen against what the rules say."""

from collections.abc import Iterator

from tests.integration.outcomes.cells import LATE_S, Cell, Crash
from tests.integration.outcomes.playing import Seen
from tests.integration.outcomes.rules import PROVEN, RULES, Kind, Then, expected, may_arrive_late, outcome_of


def wrong(seen: Seen) -> Iterator[str]:
    """Yield every way in which a cell is not as the rules say."""
    cell = seen.cell
    rule, wanted = RULES[cell.row], expected(cell.row, cell.kind, cell.then, overtaken=seen.is_overtaken)
    if seen.status != wanted.status:
        yield f"{rule.number}: the saga is {seen.status}, not {wanted.status}"
    if seen.outcome != wanted.outcome:
        yield f"{rule.number}: the step settled as {seen.outcome}, not {wanted.outcome}"
    meant = outcome_of(cell.row, cell.kind)
    first = "UNKNOWN" if meant == "ATTENTION" else meant
    if seen.first != first:
        yield f"{rule.number}: the first call alone is {seen.first}, not {first}"
    if len(seen.forward) != (arrivals := _arrivals(cell, wanted.attempts)):
        yield f"{rule.number}: {len(seen.forward)} calls arrived, not {arrivals}"
    # paused (R7) or between two connections (R9), attempts may have come to nothing on this side
    may_be_more = rule.number == "R7" or cell.row.startswith("connection-")
    if len(seen.opened) < wanted.attempts or (len(seen.opened) > wanted.attempts and not may_be_more):
        yield f"R1: {len(seen.opened)} attempts are recorded, not {wanted.attempts}"
    if len(seen.undo) != int(wanted.undone):
        yield f"R20: {len(seen.undo)} undos arrived, not {int(wanted.undone)}"
    yield from _keys(seen)
    yield from _drain(seen)
    yield from _believed(seen)


def _arrivals(cell: Cell, attempts: int) -> int:
    if cell.what.ending is None:
        return 0
    return attempts - 1 if cell.crash is Crash.OPENED else attempts


def _keys(seen: Seen) -> Iterator[str]:
    """R11: one key and the same bytes for every attempt, before and after a crash; another key for the undo."""
    keys = {each.key for each in seen.opened} | {each.key for each in seen.forward}
    if len(keys) != 1:
        yield f"R11: the call was made under {len(keys)} keys"
    name = seen.cell.saga_id.encode()
    if {each.message for each in seen.forward} - {b"\x0a" + bytes([len(name)]) + name}:
        yield "R11: the calls did not all carry the same bytes"
    if len({each.attempt for each in seen.forward}) != len(seen.forward):
        yield "R1: an attempt arrived twice"
    if {each.attempt for each in seen.forward} - {each.attempt for each in seen.opened}:
        yield "R1: an attempt arrived that is not recorded"
    undo_keys = {each.key for each in seen.undo_opened} | {each.key for each in seen.undo}
    if len(undo_keys) > 1 or undo_keys & keys:
        yield "R11: the undo has no key of its own"
    if {each.forward_key for each in seen.undo} - keys:
        yield "R11: the undo names another call than the one it undoes"


def _believed(seen: Seen) -> Iterator[str]:
    """R8a: a refusal that settled a lost call was asked for when that could not arrive any more."""
    cell = seen.cell
    settled = cell.then is Then.REFUSED and seen.outcome == "NOT_APPLIED" and may_arrive_late(cell.row, cell.kind)
    if settled and (early_s := seen.closed_at - seen.opened[-1].at) > 0:
        yield f"R8a: refused by a call that was made {early_s:.3f} s before the first could not arrive any more"


def _drain(seen: Seen) -> Iterator[str]:
    """R12, R12a: when the undo of an unknown call may be sent."""
    if not seen.undo or not seen.opened:
        return
    cell, undone_at = seen.cell, seen.undo[0].at
    if cell.kind is not Kind.BARRIER and cell.row not in PROVEN and undone_at < seen.closed_at:
        yield f"R12: undone {seen.closed_at - undone_at:.3f} s before the call was closed"
    # answered in time, it could not be seen to wait if its time were over; what is decided at once has not waited
    opened_at = seen.undo_opened[0].at
    is_visible = cell.kind is Kind.BARRIER and cell.what.timeout_s > LATE_S and opened_at != seen.settled_at
    if is_visible and opened_at >= seen.opened[0].deadline_at:
        yield "R12a: the undo waited, though the method keeps the barrier"
