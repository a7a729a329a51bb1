"""The other members' leases, as one member sees them: which are over, and when the next one may be."""

from orchestrator.cluster.moving import Term
from orchestrator.cluster.term import fences_first, is_silent, renew_every_s
from orchestrator.ports.leases import Member


def over(term: Term, now_at: float, lease_s: float) -> list[Member]:
    """Return the other members whose lease is over by the store's clock, and for long by this process's own.

    Notes in the term since when each has been seen not to renew, so it is asked once for every view.
    """
    before = term.renewed
    term.renewed = {}
    for each in term.view.members:
        ends_at, seen_at = before.get(each.member, (0.0, 0.0))
        is_known = ends_at == each.expires_at
        term.renewed[each.member] = (ends_at, seen_at) if is_known else (each.expires_at, now_at)
    return [
        each
        for each in term.view.members
        if each.member != term.member
        and each.expires_at <= term.view.at
        and is_silent(now_at, term.renewed[each.member][1], lease_s)
    ]


def look_in_s(term: Term, now_at: float, lease_s: float, *, may_fence: bool) -> float:
    """Return when to look next: at the next renewal, or when a lease ends that is this member's to fence."""
    in_s, view = renew_every_s(lease_s), term.view
    for each in view.members:
        left_s = each.expires_at - view.at
        if each.member == term.member or left_s >= in_s or fences_first(each, view.members) != term.member:
            continue
        if left_s > 0.0:
            in_s = left_s
        elif term.reached_since_at is not None and not may_fence:
            in_s = min(in_s, term.reached_since_at + lease_s - now_at)
    return in_s
