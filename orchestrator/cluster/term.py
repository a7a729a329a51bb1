"""How long a member may believe in its lease, and when it may declare another's over: arithmetic on instants.

::

    on this process's clock          sent_at ------------------ trusted until ----------- (lease over, at the earliest)
                                     |<------ 2/3 lease ------->|<----- 1/3: margin ----->|
    at the store                          renewed ------------------------------------------- expires_at
                                          |<------------------- lease --------------------->|

The store counts the lease from when the renewal arrives, the member counts its trust from when it was *sent*: however
long the way took, trust began first. The margin is for what the two may differ by: a clock that follows a wall clock
which was set (`CLOCK_SLEW_MAX`), and what was begun under trust and is still on its way when it ends.

==========================================================  =======================================================
 of one member                                               then
==========================================================  =======================================================
 the answer to a renewal comes within the trust before       trust reaches to 2/3 of a lease after it was sent
 the answer comes later than that                            trust was over in between: as below
 trust is over                                               it owns nothing, and joins anew as another member
 the store says that it is no member any more                the same, at once
==========================================================  =======================================================

==========================================================  =======================================================
 of another, whose lease is over by the store's clock        then
==========================================================  =======================================================
 this member has reached the store throughout one lease      it fences the other
 it has not: the store was away, or it has just come          it waits, for everybody was away, and may be back soon
 it saw the other renew less than 2/3 of a lease ago          it waits: the store's clock was set
==========================================================  =======================================================
"""

from collections.abc import Collection

from orchestrator.errors import ConfigError
from orchestrator.limits import (
    LEASE_RENEWALS,
    LEASE_S_MAX,
    LEASE_S_MIN,
    LEASE_TRUST_SHARE,
    LOOK_PAUSE_S,
    LOOKS_RATE_MAX,
    STORE_CALL_SHARE,
)
from orchestrator.ports.leases import Member


def check_lease(lease_s: float) -> float:
    """Return the length of a lease in seconds; `ConfigError` where it is out of bounds."""
    if not LEASE_S_MIN <= lease_s <= LEASE_S_MAX:
        raise ConfigError(
            f"a lease of {lease_s:g} s is out of bounds; give one of {LEASE_S_MIN:g} s to {LEASE_S_MAX:g} s"
        )
    return lease_s


def trusted_until(sent_at: float, lease_s: float) -> float:
    """Return until when a lease may be believed that was asked for at `sent_at`; both by this process's clock."""
    return sent_at + lease_s * LEASE_TRUST_SHARE


def renew_every_s(lease_s: float) -> float:
    """Return the interval between two renewals: four of them may fail in a row before trust ends."""
    return lease_s / LEASE_RENEWALS


def call_s_max(lease_s: float) -> float:
    """Return how long one question to the store may take, so that another fits into the same trust."""
    return lease_s * STORE_CALL_SHARE


def look_pause_s(member_count: int, lease_s: float) -> float:
    """Return how far apart two looks of one member are at least, so that all of them together are not a herd."""
    return min(max(LOOK_PAUSE_S, member_count / LOOKS_RATE_MAX), renew_every_s(lease_s))


def may_fence(now_at: float, reached_since_at: float, lease_s: float) -> bool:
    """Return whether this member has reached the store for a whole lease, and may judge who has not."""
    return now_at - reached_since_at >= lease_s


def is_silent(now_at: float, renewed_at: float, lease_s: float) -> bool:
    """Return whether a member has not renewed for so long by this process's clock that the store's may be believed.

    `renewed_at` is when its last renewal was seen first, which is a renewal later than it was, at most.
    """
    return now_at >= trusted_until(renewed_at, lease_s)


def fences_first(dead: Member, members: Collection[Member]) -> str:
    """Return who looks at the very end of a member's lease; the others see it at their next renewal.

    It is the next one by UUID whose own lease outlives it: everybody names the same one from the same view.
    """
    living = sorted(each.member for each in members if each.expires_at > dead.expires_at)
    later = [member for member in living if member > dead.member]
    return (later or living or [""])[0]
